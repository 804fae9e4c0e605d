"""What a stock model holds at the last position of a text, layer by layer, read by hooks in one forward."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pkt_bench_laten import anatomy
from pkt_bench_laten.batching import groups_by_length, pad_right

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pkt_bench import LayerStream


@dataclass(frozen=True)
class Internals:
    """B texts at their last position t. `r = x + a` and the layer's output is `r + m`.

    Attributes:
        x: the layer's input, [B, L, d].
        a: attention output after o_proj, [B, L, d].
        c: what down_proj reads, one number per feed-forward neuron, [B, L, f].
        m: feed-forward output, [B, L, d].
        self_value: p_h(t, t) v_h(t), [B, L, heads, head_dim].
        context: sum over s of p_h(t, s) v_h(s), [B, L, heads, head_dim].
        last: the last layer's output, which the final norm reads, [B, d].
    """

    x: Tensor
    a: Tensor
    c: Tensor
    m: Tensor
    self_value: Tensor
    context: Tensor
    last: Tensor

    @property
    def r(self) -> Tensor:
        """The residual stream between attention and feed-forward, [B, L, d]."""
        return self.x + self.a


@torch.no_grad()
def read_internals(model: PreTrainedModel, sequences: Sequence[Sequence[int]]) -> Internals:
    """A forward over `sequences` of token ids, similar lengths together, with hooks that keep the last positions."""
    groups = groups_by_length([len(sequence) for sequence in sequences])
    readers = [_Reader(model, [sequences[i] for i in group]) for group in groups]
    for reader in readers:
        with reader.attached(anatomy.layers(model)):
            last = anatomy.final_norm(model).register_forward_pre_hook(reader.norm_input)
            try:
                anatomy.decoder(model)(input_ids=reader.ids, use_cache=False)
            finally:
                last.remove()
    return _in_order([reader.result() for reader in readers], groups)


@torch.no_grad()
def stream_internals(stream: LayerStream, sequences: Sequence[Sequence[int]]) -> Internals:
    """`read_internals` of a model that is read from its files: every layer is opened once, for all sequences."""
    groups = groups_by_length([len(sequence) for sequence in sequences])
    readers = [_Reader(stream.model, [sequences[i] for i in group]) for group in groups]
    passages = [stream.enter(reader.ids) for reader in readers]
    hidden = [passage.hidden for passage in passages]
    for layer in range(stream.layers):
        with stream.layer(layer) as block:
            for number, (reader, passage) in enumerate(zip(readers, passages, strict=True)):
                with reader.attached([block]):
                    hidden[number] = stream.step(block, layer, hidden[number], passage)
    for reader, state in zip(readers, hidden, strict=True):
        reader.keep("last", state)
    return _in_order([reader.result() for reader in readers], groups)


def _in_order(parts: Sequence[Internals], groups: Sequence[Sequence[int]]) -> Internals:
    """Internals of groups of texts as those of all texts in their own order."""
    back = torch.tensor([index for group in groups for index in group]).argsort().to(parts[0].x.device)
    return Internals(**{f.name: torch.cat([getattr(part, f.name) for part in parts])[back] for f in fields(Internals)})


class _Reader:
    """The hooks of one forward and what they have seen.

    Attention weights are not among a stock model's outputs under sdpa. p_h(t, t) is read by running each
    attention module once more with v_proj's output replaced by the indicator of position t: what o_proj then
    reads is p_h(t, t) itself, whatever the family does to queries and keys.
    """

    def __init__(self, model: PreTrainedModel, sequences: Sequence[Sequence[int]]) -> None:
        device = anatomy.head_weight(model).device  # the layers of a streamed model are nowhere
        self.heads = anatomy.heads(model.config)
        self.ids = pad_right(sequences, 0, device)
        self.rows = torch.arange(len(sequences), device=device)
        self.ends = torch.tensor([len(sequence) - 1 for sequence in sequences], device=device)
        self.probing = False
        self.seen: dict[str, list[Tensor]] = {name: [] for name in ("x", "a", "c", "m", "z", "v", "p", "last")}

    def keep(self, name: str, value: Tensor) -> None:
        """Keeps the last position of each text."""
        self.seen[name].append(value[self.rows, self.ends].clone())

    @contextlib.contextmanager
    def attached(self, blocks: Sequence[Any]) -> Iterator[None]:
        """Layers with hooks; they are gone afterwards, whatever happens."""
        handles = []
        for block in blocks:
            attention, mlp = block.self_attn, block.mlp
            handles += [
                block.register_forward_pre_hook(self._layer_input, with_kwargs=True),
                attention.v_proj.register_forward_hook(self._value),
                attention.o_proj.register_forward_pre_hook(self._context),
                attention.o_proj.register_forward_hook(self._attention_output),
                attention.register_forward_hook(self._probe, with_kwargs=True),
                mlp.down_proj.register_forward_pre_hook(lambda _m, args: self.keep("c", args[0])),
                mlp.down_proj.register_forward_hook(lambda _m, _args, output: self.keep("m", output)),
            ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def norm_input(self, _module: object, args: tuple[Any, ...]) -> None:
        """A hook on the final norm: what it reads."""
        self.keep("last", args[0])

    def _layer_input(self, _module: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.keep("x", args[0] if args else kwargs["hidden_states"])

    def _value(self, _module: object, _args: object, output: Tensor) -> Tensor | None:
        if not self.probing:
            self.keep("v", output)
            return None
        indicator = torch.zeros_like(output)
        indicator[self.rows, self.ends] = 1
        return indicator

    def _context(self, _module: object, args: tuple[Tensor, ...]) -> None:
        self.keep("p" if self.probing else "z", args[0])

    def _attention_output(self, _module: object, _args: object, output: Tensor) -> None:
        if not self.probing:
            self.keep("a", output)

    def _probe(
        self,
        module: Any,  # noqa: ANN401 - every family has its own attention class
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        _output: object,
    ) -> None:
        self.probing = True
        try:
            module.forward(*args, **kwargs)
        finally:
            self.probing = False

    def result(self) -> Internals:
        """All that was seen, stacked over layers."""
        stacked = {name: torch.stack(values, dim=1) for name, values in self.seen.items() if name != "last"}
        count, kv, width = self.heads.count, self.heads.kv, self.heads.width
        per_head = (*stacked["z"].shape[:2], count, width)
        value = stacked["v"].view(*stacked["v"].shape[:2], kv, width).repeat_interleave(self.heads.group, dim=2)
        return Internals(
            x=stacked["x"],
            a=stacked["a"],
            c=stacked["c"],
            m=stacked["m"],
            # every channel of a head holds the same probability
            self_value=stacked["p"].view(per_head) * value,
            context=stacked["z"].view(per_head),
            last=self.seen["last"][0],
        )

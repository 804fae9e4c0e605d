"""A checkpoint read from its files one layer at a time, for models that are too large to hold.

What lies outside the layers (embedding, final norm, head) is loaded; a layer's weights are there while its block is
open. A forward is then a loop over the layers with everything else inside:

    passage = stream.enter(ids)
    for index in range(stream.layers):
        with stream.layer(index) as block:
            hidden = stream.step(block, index, hidden, passage)

What a layer is called with (masks, positions) depends on the family; it is asked of the family's own forward, run once
with layers that hand their input on and keep what they were called with.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pkt_bench.errors import IntegrityError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Passage:
    """A batch on its way in: the first layer's input `(B, T, d)`, and what each layer is called with beside it."""

    hidden: Tensor
    arguments: tuple[dict[str, Any], ...]


class LayerStream:
    """A decoder-only checkpoint, opened layer by layer. Opening it reads names alone.

    With `code`, the model is built by the code in its folder, which the user allowed.

    Attributes:
        config: the model's configuration.
        layers: how many layers it has.
    """

    def __init__(self, folder: Path, files: list[Path], dtype: str, device: str, *, code: bool = False) -> None:
        from safetensors import safe_open
        from transformers import AutoConfig

        self.device = torch.device(device)
        self.dtype = getattr(torch, dtype)
        self._files: dict[str, Path] = {}
        for file in files:
            with safe_open(file, "pt") as content:
                self._files |= dict.fromkeys(content.keys(), file)
        self._code = code
        self.config: Any = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=code)
        self.layers: int = self.config.num_hidden_layers
        _return_large_blocks()

    @functools.cached_property
    def model(self) -> PreTrainedModel:
        """The model with its layers on the meta device and everything else loaded, frozen, in evaluation mode."""
        from transformers import AutoModelForCausalLM

        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(
                self.config, dtype=self.dtype, trust_remote_code=self._code
            )
        model.requires_grad_(requires_grad=False).eval()
        self._load_outside(model)
        return model

    def tensor(self, name: str) -> Tensor:
        """One weight by its name in `named_parameters()`, read from the files now.

        Raises:
            IntegrityError: the checkpoint has no such weight, or it is not finite.
        """
        from safetensors import safe_open

        stored = self._stored(name)
        with safe_open(self._files[stored], "pt", device=str(self.device)) as content:
            weight: Tensor = content.get_tensor(stored).to(self.dtype)
        if not torch.isfinite(weight).all():
            raise IntegrityError(f"{self._files[stored]}: {stored} holds NaN or infinity. Fetch the checkpoint again.")
        return weight

    @contextlib.contextmanager
    def layer(self, index: int) -> Iterator[nn.Module]:
        """The block of one layer with its weights, frozen; they are gone when it is left."""
        block = self.model.model.layers[index]
        names = [name for name, _ in block.named_parameters()]
        for name in names:
            weight = self.tensor(f"model.layers.{index}.{name}")
            expected = block.get_parameter(name).shape
            if weight.shape != expected:
                raise IntegrityError(
                    f"model.layers.{index}.{name} has shape {tuple(weight.shape)} in the checkpoint,"
                    f" {tuple(expected)} by its configuration. Fetch the whole checkpoint."
                )
            _put(block, name, nn.Parameter(weight, requires_grad=False))
        try:
            yield block
        finally:
            for name in names:
                empty = torch.empty_like(block.get_parameter(name), device="meta")
                _put(block, name, nn.Parameter(empty, requires_grad=False))

    @torch.no_grad()
    def enter(self, ids: Tensor) -> Passage:
        """Token ids `(B, T)` up to the first layer's door. Rows are padded on the right, if at all."""
        recorders = [_Recorder(block) for block in self.model.model.layers]
        blocks = self.model.model.layers
        self.model.model.layers = nn.ModuleList(recorders)
        try:
            self.model.model(input_ids=ids.to(self.device), use_cache=False)
        finally:
            self.model.model.layers = blocks
        return Passage(recorders[0].hidden, tuple(recorder.arguments for recorder in recorders))

    def step(self, block: nn.Module, index: int, hidden: Tensor, passage: Passage) -> Tensor:
        """What layer `index` makes of `hidden` `(B, T, d)`."""
        out = block(hidden, **passage.arguments[index])
        return out[0] if isinstance(out, tuple) else out

    def logits(self, hidden: Tensor) -> Tensor:
        """The last layer's output `(..., d)` as logits `(..., V)`, capped where the family caps them."""
        out: Tensor = self.model.lm_head(self.model.model.norm(hidden))
        cap = getattr(self.model.config, "final_logit_softcapping", None)
        return out if cap is None else torch.tanh(out / cap) * cap

    def _load_outside(self, model: PreTrainedModel) -> None:
        inside = {id(weight) for weight in model.model.layers.parameters()}
        for name, weight in list(model.named_parameters()):
            if id(weight) not in inside:
                _put(model, name, nn.Parameter(self.tensor(name), requires_grad=False))
        model.tie_weights()
        # buffers (the rotary frequencies, an embedding's scale) are made by the constructors: made again, off meta
        for name, module in list(model.named_modules()):
            if any(buffer.is_meta for buffer in module.buffers(recurse=False)):
                self._renew(model, name, module)

    def _renew(self, model: PreTrainedModel, name: str, module: nn.Module) -> None:
        """Constructs a module without weights anew, so that its buffers hold what they should."""
        if hasattr(module, "rope_init_fn") or "Rotary" in type(module).__name__:
            fresh: Any = type(module)(config=self.config)
        elif hasattr(module, "scalar_embed_scale"):
            # a scaled embedding: the weights are there, the scale is a number its constructor was given
            scale = torch.tensor(module.scalar_embed_scale)
            module.register_buffer("embed_scale", scale.to(self.device), persistent=False)
            return
        else:
            raise IntegrityError(
                f"{type(model).__name__} cannot be read layer by layer: {name} has buffers that pkt-bench cannot"
                " make. Load it whole."
            )
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, fresh.to(self.device))

    def _stored(self, name: str) -> str:
        if name in self._files:
            return name
        if name == "lm_head.weight" and self.config.tie_word_embeddings:
            return self._stored("model.embed_tokens.weight")
        raise IntegrityError(f"the checkpoint has no {name}. Configuration and weights do not fit; fetch all of it.")


class _Recorder(nn.Module):
    """Stands for a layer: hands its input on and keeps what it was called with."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        # families look at a layer's attributes to choose its mask
        for attribute in ("attention_type", "layer_type"):
            if hasattr(block, attribute):
                setattr(self, attribute, getattr(block, attribute))
        self.hidden: Tensor
        self.arguments: dict[str, Any]

    def forward(self, hidden_states: Tensor, **arguments: Any) -> Tensor:  # noqa: ANN401 - a family's own
        self.hidden, self.arguments = hidden_states, arguments
        return hidden_states


def _put(module: nn.Module, name: str, weight: nn.Parameter) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, weight)


@functools.cache
def _return_large_blocks() -> None:
    """Tells glibc to give blocks of a mebibyte and more back to the system when they are freed; elsewhere nothing.

    By default it keeps those below 32 MiB for itself. Layers come and go while small results stay, which land in the
    holes: the heap grew by 30 MB with each layer of a 1.1 B-parameter checkpoint.
    """
    import ctypes

    threshold = -3  # M_MMAP_THRESHOLD of malloc.h
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(threshold, 1 << 20)

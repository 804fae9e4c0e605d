"""The sensitivities of a teacher that is too large to hold: one layer's weights and sums in memory at a time.

Forward, layer by layer, every record's input of each layer is kept; backward, from the head down, each layer's forward
is computed again with gradients. Twice the reading of the files and one more forward than the resident form, for the
memory of one layer and of the inputs: records x tokens x (layers + 1) x d.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pkt_bench import Encoded, LayerStream, Passage
from pkt_bench_nuggets.sensitivity import accumulating, answer_cross_entropy, first_predicted, times_weight
from pkt_bench_nuggets.tables import EMBEDDING, HEAD, TableSums

Save = Callable[[Mapping[str, Tensor]], None]


def streamed_sensitivity(
    stream: LayerStream,
    records: Sequence[Encoded],
    save: Save,
    progress: Callable[[float], None] = lambda fraction: None,  # noqa: ARG005 - the signature of a progress report
) -> int:
    """What `sensitivity` gives for layers, embedding and head, handed to `save` part by part as it is done.

    Args:
        stream: the teacher, layer by layer.
        records: as for `sensitivity`.
        save: called with the sums by parameter name: of the head, of each layer, last one first, of the embedding (of
            tied tables once, with both uses). They are not kept.
        progress: called with the fraction done.

    Returns:
        How many records had no answer token.
    """
    asked = [record for record in records if record.supervised]
    steps = _Steps(2 * stream.layers, progress)
    ids = [torch.tensor([record.ids], device=stream.device) for record in asked]
    passages = [stream.enter(each) for each in ids]
    inputs = [[passage.hidden.detach()] for passage in passages]
    for index in range(stream.layers):
        with stream.layer(index) as block, torch.no_grad():
            for passage, seen in zip(passages, inputs, strict=True):
                seen.append(stream.step(block, index, seen[-1], passage))
        steps.done()
    tables = _tables(stream.model, ids, EMBEDDING if stream.model.config.tie_word_embeddings else HEAD)
    gradients = [seen.pop() for seen in inputs]
    with tables.watching():
        for number, record in enumerate(asked):
            tables.record = number
            gradients[number] = _through_head(stream, gradients[number], record)
    if not tables.tied:
        _finish(stream.model, tables, save)
        tables = _tables(stream.model, ids, EMBEDDING)
    for index in reversed(range(stream.layers)):
        entering = [seen.pop() for seen in inputs]
        gradients = _back_through(stream, index, passages, entering, gradients, save)
        steps.done()
    for number, gradient in enumerate(gradients):
        tables.add_embedding(number, gradient)
    _finish(stream.model, tables, save)
    return len(records) - len(asked)


def _back_through(
    stream: LayerStream,
    index: int,
    passages: Sequence[Passage],
    entering: Sequence[Tensor],
    leaving: Sequence[Tensor],
    save: Save,
) -> list[Tensor]:
    """Saves the sums of one layer, given each record's input `(1, T, d)` and the gradient of its output.

    Nothing of the layer is held when it returns. Returns the gradients of the inputs.
    """
    gradients = []
    with stream.layer(index) as block:
        prefix = f"model.layers.{index}."
        weights: dict[str, nn.Parameter] = {prefix + name: w for name, w in block.named_parameters()}
        sums = {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in weights.items()}
        with accumulating(weights, sums):
            for passage, hidden, gradient in zip(passages, entering, leaving, strict=True):
                leaf = hidden.requires_grad_()
                stream.step(block, index, leaf, passage).backward(gradient)
                gradients.append(_gradient(leaf))
        for name, weight in weights.items():
            times_weight(sums[name], weight)
        save(sums)
    return gradients


class _Steps:
    """Turns "another of so many steps is done" into a fraction."""

    def __init__(self, total: int, progress: Callable[[float], None]) -> None:
        self.total, self.taken, self.progress = total, 0, progress

    def done(self) -> None:
        self.taken += 1
        self.progress(self.taken / self.total)


def _tables(model: Any, ids: Sequence[Tensor], name: str) -> TableSums:  # noqa: ANN401 - transformers has no types
    """Sums for one table; the rows that each record reads are known, for the forward that read them is over."""
    weight = (model.get_input_embeddings() if name == EMBEDDING else model.get_output_embeddings()).weight
    tables = TableSums(model, {name: torch.zeros_like(weight, dtype=torch.float32)})
    for number, each in enumerate(ids):
        tables.read(number, each)
    return tables


def _through_head(stream: LayerStream, hidden: Tensor, record: Encoded) -> Tensor:
    """The gradient of a record's loss by the last layer's output `(1, T, d)`."""
    leaf = hidden.detach().requires_grad_()
    keep = torch.arange(first_predicted(record) - 1, hidden.shape[1] - 1, device=hidden.device)
    answer_cross_entropy(stream.logits(leaf[:, keep])[0], record).backward()
    return _gradient(leaf)


def _gradient(leaf: Tensor) -> Tensor:
    assert leaf.grad is not None  # noqa: S101 - a backward pass has just gone through it
    return leaf.grad


def _finish(model: Any, tables: TableSums, save: Save) -> None:  # noqa: ANN401 - transformers has no types
    for name, total in tables.sums.items():
        weight = (model.get_input_embeddings() if name == EMBEDDING else model.get_output_embeddings()).weight
        times_weight(total, weight)
        save({name: total})

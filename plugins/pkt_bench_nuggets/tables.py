"""Sums of |gradient| for embedding and head, record by record, without a gradient of the tables' size.

A table's dense gradient is as large as the table. The embedding's is zero but for the rows that a record reads, and the
head's is a product of two thin matrices, summed here slice by slice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
TABLES = (EMBEDDING, HEAD)
ROWS = 1024  # of the head's gradient at once


class TableSums:
    """Adds |d loss / d table| of each record to `sums`, in place, as its backward pass goes by.

    Set `record` before a record's forward. Where the tables are tied, one table has both uses: the two gradients of a
    row are added before the absolute value is taken, so a record's head must be done before its embedding, as a
    backward pass does. Rows of a padding token get nothing from the embedding, as in torch.

    Args:
        model: with `get_input_embeddings` and `get_output_embeddings`.
        sums: by parameter name, float32, in the parameter's shape; a table that is not there is not watched.
    """

    def __init__(self, model: Any, sums: Mapping[str, Tensor]) -> None:  # noqa: ANN401 - transformers has no types
        self.embedding: nn.Embedding = model.get_input_embeddings()
        self.head: nn.Module = model.get_output_embeddings()
        self.tied = self.embedding.weight is self.head.weight
        self.record = 0
        self.sums = sums
        self._embedding_sums = sums.get(EMBEDDING)
        self._head_sums = sums.get(EMBEDDING if self.tied else HEAD)
        self._read_ids: dict[int, Tensor] = {}
        self._from_head: dict[int, Tensor] = {}

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Hooks on the two modules while it is open."""
        hooks = []
        if self._embedding_sums is not None:
            hooks.append(self.embedding.register_forward_hook(self._embedded))
        if self._head_sums is not None:
            hooks.append(self.head.register_forward_pre_hook(_with_gradient))
            hooks.append(self.head.register_forward_hook(self._answered))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def read(self, record: int, ids: Tensor) -> None:
        """Says which rows of the embedding a record reads, where its forward runs outside of `watching`."""
        self._read_ids[record] = ids.flatten()

    def _embedded(self, _module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        self.read(self.record, args[0])
        if not torch.is_grad_enabled():
            return output
        leaf = output.detach().requires_grad_()
        leaf.register_hook(partial(self.add_embedding, self.record))
        return leaf

    def _answered(self, _module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(partial(self._add_head, self.record, args[0].detach()))

    def _add_head(self, record: int, hidden: Tensor, gradient: Tensor) -> None:
        """`hidden` `(..., n, d)` is the head's input, `gradient` `(..., n, V)` that of its output."""
        assert self._head_sums is not None  # noqa: S101 - else there is no hook
        hidden, gradient = hidden.flatten(0, -2), gradient.flatten(0, -2)
        if self.tied:
            read = self._read_ids[record].unique()
            self._from_head[record] = gradient[:, read].T @ hidden
            gradient = gradient.index_fill(1, read, 0)
        for start in range(0, len(self._head_sums), ROWS):
            part = gradient[:, start : start + ROWS].T @ hidden
            self._head_sums[start : start + ROWS] += part.abs_()

    def add_embedding(self, record: int, gradient: Tensor) -> None:
        """Adds one record's part, given the gradient `(1, T, d)` of the embedding module's output."""
        assert self._embedding_sums is not None  # noqa: S101 - else nobody asks
        scale = getattr(self.embedding, "embed_scale", None)  # gemma's embedding multiplies what it reads
        gradient = gradient.flatten(0, -2)
        if scale is not None:
            gradient = gradient * scale.to(gradient.dtype)
        read, where = self._read_ids.pop(record).unique(return_inverse=True)
        rows = gradient.new_zeros(len(read), gradient.shape[1]).index_add_(0, where, gradient)
        if self.embedding.padding_idx is not None:
            rows[read == self.embedding.padding_idx] = 0
        if self.tied:
            rows += self._from_head.pop(record)
        self._embedding_sums.index_add_(0, read, rows.abs().float())


def _with_gradient(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Where nothing before the head needs a gradient, its input does, or its output would have none to look at."""
    if torch.is_grad_enabled() and not args[0].requires_grad:
        return (args[0].detach().requires_grad_(), *args[1:])
    return args

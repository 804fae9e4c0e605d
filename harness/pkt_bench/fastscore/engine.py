"""One row of many branches through a transformers model: masks, positions, logits where they are asked for."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pkt_bench.fastscore.buffer import Buffer, Rows
from pkt_bench.fastscore.families import causal_model, windows


class Engine:
    """A model with a buffer of the tokens it has computed.

    Attributes:
        buffer: their keys and values.
        tokens_computed: how many tokens went through the model.
        tokens_distinct: how many of them had to: the tokens of the trees it was given, and those it generated.
    """

    def __init__(self, model: Any, room: int) -> None:  # noqa: ANN401 - a PreTrainedModel, or PEFT's wrapper of one
        self._model = causal_model(model)
        self._windows = windows(self._model.config)
        # transformers calls it `cache` from 5.24 on
        named = inspect.signature(self._model.forward).parameters
        self._cache = "cache" if "cache" in named else "past_key_values"
        self._device = self._model.get_input_embeddings().weight.device
        self.buffer = Buffer(self._model.config.num_hidden_layers, room)
        # by column of the buffer: how many tokens lie before it on its path
        self.positions = np.zeros(0, dtype=np.int64)
        self.tokens_computed = self.tokens_distinct = 0

    def run(
        self, tokens: NDArray[np.int64], positions: NDArray[np.int64], seen: NDArray[np.bool_], asks: Sequence[int]
    ) -> torch.Tensor:
        """Computes tokens, writes them into the buffer behind its used columns, and gives logits.

        Args:
            tokens: their ids, (n,).
            positions: how many tokens lie before each on its path, (n,).
            seen: which columns each of them sees, itself included, (n, used columns + n).
            asks: the numbers of those whose prediction is wanted.

        Returns:
            The logits, (asks, vocabulary), in the model's dtype.
        """
        used, count = self.buffer.used, len(tokens)
        self.buffer.make_room(count)
        if len(self.positions) < used + count:
            self.positions = np.resize(self.positions, self.buffer.room)
        self.positions[used : used + count] = positions
        wanted = torch.as_tensor(list(asks) or [count - 1], device=self._device)
        self.tokens_computed += count
        with torch.no_grad():
            output = self._model(
                input_ids=torch.from_numpy(tokens).to(self._device)[None],
                attention_mask=self._masks(seen, positions, self.positions[: used + count]),
                position_ids=torch.from_numpy(positions).to(self._device)[None],
                use_cache=True,
                logits_to_keep=wanted,
                **{self._cache: self.buffer},
            )
        logits: torch.Tensor = output.logits[0]
        return logits if len(asks) else logits[:0]

    def rows(self, rows: int, tokens: int) -> Rows:
        """Room for whole sequences side by side."""
        return Rows(self._model.config.num_hidden_layers, rows, tokens)

    def run_rows(self, rows: Rows, tokens: NDArray[np.int64]) -> torch.Tensor:
        """Computes one more token of each of the first rows.

        Args:
            rows: sequences without gaps: a token's number in its row is its position.
            tokens: their ids, (n,).

        Returns:
            The logits after each, (n, vocabulary), in the model's dtype.
        """
        count = len(tokens)
        positions = np.array(rows.lengths[:count], dtype=np.int64)
        columns = np.arange(positions.max() + 1)
        seen = columns[None, :] <= positions[:, None]
        masks = self._masks(seen, positions, columns)
        upright = {kind: mask.transpose(0, 2) for kind, mask in masks.items()} if isinstance(masks, dict) else None
        self.tokens_computed += count
        with torch.no_grad():
            output = self._model(
                input_ids=torch.from_numpy(tokens).to(self._device)[:, None],
                attention_mask=upright if isinstance(masks, dict) else masks.transpose(0, 2),
                position_ids=torch.from_numpy(positions).to(self._device)[:, None],
                use_cache=True,
                logits_to_keep=1,
                **{self._cache: rows},
            )
        for row in range(count):
            rows.lengths[row] += 1
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def take(self, columns: NDArray[np.int64]) -> None:
        """Keeps some columns of the buffer and forgets the others."""
        self.positions[: len(columns)] = self.positions[columns]
        self.buffer.take(torch.from_numpy(columns))

    def _masks(
        self, seen: NDArray[np.bool_], positions: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        """What to add to the attention's scores, (1, 1, n, columns), for each kind of layer: 0 or minus infinity."""
        masks: dict[int | None, torch.Tensor] = {}
        for window in self._windows.values():
            if window in masks:
                continue
            near = seen if window is None else seen & (positions[:, None] - columns[None, :] < window)
            mask = torch.zeros(near.shape, dtype=self._model.dtype, device=self._device)
            masks[window] = mask.masked_fill_(torch.from_numpy(~near).to(self._device), -torch.inf)[None, None]
        if "" in self._windows:
            return masks[self._windows[""]]
        return {kind: masks[window] for kind, window in self._windows.items()}

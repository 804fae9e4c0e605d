"""Keys and values of the tokens computed so far, written in place: what a model sees as its cache."""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin


class _Layer(CacheLayerMixin):
    """One layer's keys and values, (1, key-value heads, columns, channels), in storage that grows."""

    is_sliding = False

    def __init__(self, columns: _Columns) -> None:
        super().__init__()
        self._columns = columns
        self._keys = self._values = torch.empty(0)

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        room = self._columns.room
        self._keys = key_states.new_empty((*key_states.shape[:2], room, key_states.shape[3]))
        self._values = value_states.new_empty((*value_states.shape[:2], room, value_states.shape[3]))
        self.is_initialized = True

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        *_: Any,  # noqa: ANN401 - whatever a transformers version passes
        **__: Any,  # noqa: ANN401
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes the new columns after those in use; gives all in use and the new ones, as views."""
        begin, end = self._columns.used, self._columns.used + key_states.shape[2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        elif self._keys.shape[2] < end:
            self._keys, self._values = (_grown(each, begin, self._columns.room) for each in (self._keys, self._values))
        self._keys[:, :, begin:end] = key_states
        self._values[:, :, begin:end] = value_states
        return self._keys[:, :, :end], self._values[:, :, :end]

    def take(self, columns: torch.Tensor) -> None:
        """Keeps some columns, in their order."""
        if self.is_initialized:
            columns = columns.to(self._keys.device)
            self._keys[:, :, : len(columns)] = self._keys.index_select(2, columns)
            self._values[:, :, : len(columns)] = self._values.index_select(2, columns)

    def gather(self, columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of some columns, each (1, key-value heads, columns, channels)."""
        columns = columns.to(self._keys.device)
        return self._keys.index_select(2, columns), self._values.index_select(2, columns)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._columns.used + query_length, 0

    def get_seq_length(self) -> int:
        return self._columns.used

    def get_max_length(self) -> int:
        return -1

    get_max_cache_shape = get_max_length


def _grown(old: torch.Tensor, used: int, room: int) -> torch.Tensor:
    new = old.new_empty((*old.shape[:2], room, old.shape[3]))
    new[:, :, :used] = old[:, :, :used]
    return new


class _Columns:
    """How many columns are in use, and how many there is room for."""

    def __init__(self, room: int) -> None:
        self.used, self.room = 0, room


class Buffer(Cache):
    """A cache whose columns are tokens of any branch: who sees which is for the mask to say.

    A pass writes its columns after the `used` ones. To keep them, raise `used`; to forget some, lower it.
    """

    def __init__(self, layers: int, room: int) -> None:
        self._columns = _Columns(max(room, 1))
        super().__init__(layers=[_Layer(self._columns) for _ in range(layers)])

    @property
    def used(self) -> int:
        """Columns that the next pass sees."""
        return self._columns.used

    @used.setter
    def used(self, used: int) -> None:
        self._columns.used = used

    @property
    def room(self) -> int:
        """Columns there is room for."""
        return self._columns.room

    def make_room(self, columns: int) -> None:
        """Sees to it that so many more columns fit."""
        needed = self._columns.used + columns
        if needed > self._columns.room:
            self._columns.room = max(needed, self._columns.room * 3 // 2)

    def take(self, columns: torch.Tensor) -> None:
        """Keeps some columns and forgets the others."""
        for layer in self.layers:
            layer.take(columns)
        self._columns.used = len(columns)


class _RowLayer(CacheLayerMixin):
    """One layer's keys and values of sequences side by side, (rows, key-value heads, tokens, channels)."""

    is_sliding = False

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self._rows = rows
        self._keys = self._values = torch.empty(0)

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        shape = self._rows.shape
        # what a row has not got yet is masked, and must be a number nevertheless
        self._keys = key_states.new_zeros((shape[0], key_states.shape[1], shape[1], key_states.shape[3]))
        self._values = value_states.new_zeros((shape[0], value_states.shape[1], shape[1], value_states.shape[3]))
        self.is_initialized = True

    def put(self, row: int, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        length = key_states.shape[2]
        self._keys[row, :, :length] = key_states[0]
        self._values[row, :, :length] = value_states[0]

    def move(self, rows: torch.Tensor, to: torch.Tensor) -> None:
        rows, to = rows.to(self._keys.device), to.to(self._keys.device)
        self._keys[to] = self._keys[rows]
        self._values[to] = self._values[rows]

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        *_: Any,  # noqa: ANN401 - whatever a transformers version passes
        **__: Any,  # noqa: ANN401
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes a token of each row behind its others; gives all of the rows, as views."""
        count = len(key_states)
        lengths = torch.tensor(self._rows.lengths[:count], device=self._keys.device)
        rows = torch.arange(count, device=self._keys.device)
        self._keys[rows, :, lengths] = key_states[:, :, 0]
        self._values[rows, :, lengths] = value_states[:, :, 0]
        width = max(self._rows.lengths[:count]) + 1
        return self._keys[:count, :, :width], self._values[:count, :, :width]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return max(self._rows.lengths) + query_length, 0

    def get_seq_length(self) -> int:
        return max(self._rows.lengths)

    def get_max_length(self) -> int:
        return self._rows.shape[1]

    get_max_cache_shape = get_max_length


class Rows(Cache):
    """A cache of whole sequences side by side, each as long as it is.

    Attributes:
        shape: how many rows there are, and of how many tokens.
        lengths: how many tokens each row has.
    """

    def __init__(self, layers: int, rows: int, tokens: int) -> None:
        self.shape = (rows, tokens)
        self.lengths = [0] * rows
        super().__init__(layers=[_RowLayer(self) for _ in range(layers)])

    def put(self, row: int, buffer: Buffer, columns: torch.Tensor) -> None:
        """Fills a row with columns of a buffer."""
        for own, other in zip(self.layers, buffer.layers, strict=True):
            own.put(row, *other.gather(columns))
        self.lengths[row] = len(columns)

    def move(self, rows: list[int], to: list[int]) -> None:
        """Puts some rows in place of others."""
        for layer in self.layers:
            layer.move(torch.tensor(rows), torch.tensor(to))
        for row, place in zip(rows, to, strict=True):
            self.lengths[place] = self.lengths[row]

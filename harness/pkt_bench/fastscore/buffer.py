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

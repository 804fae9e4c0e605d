"""Rows dealt out to the splits of a suite, by a seed that is the suite's name: the same on every machine."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pkt_bench import Record, Split

Sizes = Mapping[Split, int]
ORDER: tuple[Split, ...] = ("extract", "align", "validation", "train")
"""Who takes first: of too few rows it is the training split that gets fewer."""


@dataclass(frozen=True)
class Pool:
    """Records to deal out, and what a reader of the numbers should know of where they came from."""

    records: Sequence[Record]
    notes: tuple[str, ...] = ()


class Dealt:
    """`Suite.records`: records of a pool that is read when they are first asked for.

    `sizes` as in the papers, and a validation split, which they do not have. The training split takes what the others
    leave, up to its size; of a small pool the others take two thirds at most, each its share.
    """

    def __init__(self, name: str, sizes: Sizes, pool: Callable[[], Pool]) -> None:
        self._name, self._sizes, self._pool = name, sizes, pool
        self._made: dict[str, tuple[Mapping[Split, Sequence[Record]], tuple[str, ...]]] = {}

    def __call__(self, split: Split) -> Sequence[Record]:
        """The records of a split."""
        return self._dealt()[0][split]

    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers should know of the records."""
        return self._dealt()[1]

    def _dealt(self) -> tuple[Mapping[Split, Sequence[Record]], tuple[str, ...]]:
        where = os.environ.get("PKT_BENCH_DATA", "")
        if where not in self._made:
            pool = self._pool()
            # each prompt once: a record that stood in two splits would leak
            drawn = list({record.prompt: record for record in pool.records}.values())
            random.Random(f"pkt_bench_papers {self._name}").shuffle(drawn)  # noqa: S311 - repeatable, not secret
            self._made[where] = deal(drawn, self._sizes), pool.notes
        return self._made[where]


def deal(records: Sequence[Record], sizes: Sizes) -> dict[Split, Sequence[Record]]:
    """Cuts records, in their order, into splits of these sizes."""
    others = sum(size for split, size in sizes.items() if split != "train")
    share = min(1.0, len(records) * 2 / 3 / others)
    dealt: dict[Split, Sequence[Record]] = {}
    for split in ORDER:
        size = sizes[split] if split == "train" else int(sizes[split] * share)
        dealt[split], records = records[:size], records[size:]
    return dealt

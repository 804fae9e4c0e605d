"""Greedy continuations of many contexts at once, over one buffer: each token is computed once, whoever shares it.

Contexts are taken in the order of their tree, so that those that begin alike are in the buffer together. A sequence
that has ended leaves its place to the next; columns that nobody sees any more are given back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from pkt_bench.fastscore.engine import Engine
from pkt_bench.fastscore.tree import Node, grow, key, walk

Ended = Callable[[list[int]], bool]
"""Whether a sequence of generated tokens has come to its end with the last one."""


@dataclass(frozen=True)
class Limits:
    """How much is computed and held at once.

    `tokens` of a pass; `sequences` that grow at once; `columns` that they see together where they grow in one buffer;
    `held` tokens with keys and values of sequences that each have their own.
    """

    tokens: int
    sequences: int
    columns: int
    held: int


def generate(
    engine: Engine, contexts: Sequence[Sequence[int]], most: int, ended: Ended, limits: Limits
) -> list[list[int]]:
    """What greedy decoding says after each context: at most `most` tokens, the one that ended it included.

    Args:
        engine: with an empty buffer.
        contexts: as tokens, none empty.
        most: tokens to generate at most.
        ended: asked after each token.
        limits: how much is computed at once.
    """
    numbers: dict[bytes, int] = {}
    which = [numbers.setdefault(key(context), len(numbers)) for context in contexts]
    said = _Garden(engine, list(numbers), most, ended, limits).grow()
    return [list(said[number]) for number in which]


@dataclass(eq=False)
class _Plant:
    """A sequence that grows: the number of its context, its next position, what it has said."""

    number: int
    position: int
    said: list[int] = field(default_factory=list)


# so many sequences at once, and reading the weights costs little for each
_MANY = 16


class _Garden:
    """All contexts of one call: those that wait, and the sequences that grow."""

    def __init__(self, engine: Engine, contexts: Sequence[bytes], most: int, ended: Ended, limits: Limits) -> None:
        self._engine, self._most, self._ended = engine, most, ended
        self._tokens, self._limit = limits.tokens, limits.columns
        root, self._paths = grow(contexts)
        engine.tokens_distinct += root.size
        self._waiting = [node.ends[0] for node, _ in walk(root) if node.ends][::-1]
        # of each node of a context that waits: how many do, and the columns its tokens have, once they are computed
        self._needed: dict[Node, int] = {}
        for path in self._paths:
            for node in path:
                self._needed[node] = self._needed.get(node, 0) + 1
        self._columns: dict[Node, NDArray[np.int64]] = {}
        self._growing: list[_Plant] = []
        self._said: dict[int, list[int]] = {}
        longest = max((path[-1].end for path in self._paths), default=1) + most
        # whole sequences side by side cost least, unless what they share would leave room for few of them
        apart = min(limits.held // longest, limits.sequences)
        self._bed: _Together | _Apart
        if 2 * apart >= min(_MANY, limits.sequences, len(self._paths)):
            self._bed = _Apart(engine, apart, longest)
        else:
            self._bed = _Together(engine, limits.sequences)

    def grow(self) -> dict[int, list[int]]:
        while self._waiting or self._growing:
            free = self._bed.places - len(self._growing)
            if self._waiting and (not self._growing or free >= min(len(self._waiting), self._bed.places // 4 or 1)):
                self._sow(free)
            self._step()
            self._tidy()
        return self._said

    # ------------------------------------------------------------ contexts

    def _sow(self, free: int) -> None:
        """Computes the contexts of up to `free` more sequences, as far as there is room, and their first tokens."""
        row = _Row(self._tokens)
        new: list[int] = []
        used = self._engine.buffer.used
        while self._waiting and len(new) < free:
            number = self._waiting[-1]
            path = self._paths[number]
            missing = sum(len(node.tokens) for node in path if node not in self._columns)
            if used + missing > self._limit and (self._growing or new):
                break
            used += missing
            self._waiting.pop()
            new.append(number)
            for node in path:
                if node not in self._columns:
                    self._put(node, path, row)
        self._flush(row)
        # what nobody waits for any more is seen by those that grow, or by nobody
        for number in new:
            for node in self._paths[number]:
                self._needed[node] -= 1
                if not self._needed[node]:
                    del self._needed[node], self._columns[node]
        self._end()

    def _put(self, node: Node, path: list[Node], row: _Row) -> None:
        """Puts a node of a path into a row, and runs the row whenever it is full."""
        begin = 0
        self._columns[node] = np.empty(0, dtype=np.int64)
        while begin < len(node.tokens):
            end = min(len(node.tokens), begin + row.room)
            first = self._engine.buffer.used + len(row)
            above = np.concatenate([self._columns[each] for each in path if each in self._columns])
            row.add(node.tokens[begin:end], node.start + begin, above)
            self._columns[node] = np.concatenate([self._columns[node], np.arange(first, first + end - begin)])
            if end == len(node.tokens) and node.ends:
                columns = np.concatenate([self._columns[each] for each in path[: path.index(node) + 1]])
                row.ask(node.ends[0], node.end, columns)
            if not row.room:
                self._flush(row)
            begin = end

    def _flush(self, row: _Row) -> None:
        if not len(row):
            return
        used = self._engine.buffer.used
        tokens, positions, seen = row.arrays(used)
        logits = self._engine.run(tokens, positions, seen, row.asks)
        self._engine.buffer.used = used + len(tokens)
        for first, (number, position, columns) in zip(_greedy(logits), row.asked, strict=True):
            self._bed.plant(len(self._growing), columns)
            self._growing.append(_Plant(number, position, [first]))
        row.clear()

    # ------------------------------------------------------------ tokens

    def _step(self) -> None:
        """One more token of each sequence that grows."""
        if not self._growing:
            return
        tokens = np.array([plant.said[-1] for plant in self._growing], dtype=np.int64)
        positions = np.array([plant.position for plant in self._growing], dtype=np.int64)
        self._engine.tokens_distinct += len(tokens)
        logits = self._bed.step(tokens, positions)
        for plant, token in zip(self._growing, _greedy(logits), strict=True):
            plant.position += 1
            plant.said.append(token)
        self._end()

    def _end(self) -> None:
        """Takes out the sequences that have come to their end; the last ones take their places."""
        stay = []
        for row, plant in enumerate(self._growing):
            if len(plant.said) >= self._most or self._ended(plant.said):
                self._said[plant.number] = plant.said
            else:
                stay.append(row)
        left = len(stay)
        if left == len(self._growing):
            return
        free = sorted(set(range(left)) - set(stay))
        moved = [row for row in stay if row >= left]
        for row, place in zip(moved, free, strict=True):
            self._growing[place] = self._growing[row]
        del self._growing[left:]
        if moved:
            self._bed.move(moved, free)

    def _tidy(self) -> None:
        """Gives columns back that nobody sees or waits for, once they are a third of all."""
        used = self._engine.buffer.used
        if not used:
            return
        wanted = self._bed.seen(len(self._growing))
        for columns in self._columns.values():
            wanted[columns] = True
        keep = np.flatnonzero(wanted)
        if len(keep) and used - len(keep) < max(used // 3, 64):
            return
        self._engine.take(keep)
        self._bed.taken(keep)
        place = np.cumsum(wanted) - 1
        self._columns = {node: place[columns] for node, columns in self._columns.items()}


class _Together:
    """Sequences that grow in the buffer itself, and see in it what is theirs: nothing they share is copied."""

    def __init__(self, engine: Engine, places: int) -> None:
        self._engine, self.places = engine, places
        # by growing sequence and column of the buffer
        self._seen = np.zeros((places, 0), dtype=np.bool_)

    def plant(self, row: int, columns: NDArray[np.int64]) -> None:
        self._widen(0)
        self._seen[row] = False
        self._seen[row, columns] = True

    def step(self, tokens: NDArray[np.int64], positions: NDArray[np.int64]) -> torch.Tensor:
        count, used = len(tokens), self._engine.buffer.used
        self._widen(count)
        self._seen[:count, used : used + count] = np.eye(count, dtype=np.bool_)
        logits = self._engine.run(tokens, positions, self._seen[:count, : used + count], range(count))
        self._engine.buffer.used = used + count
        return logits

    def move(self, rows: list[int], to: list[int]) -> None:
        self._seen[to] = self._seen[rows]

    def seen(self, count: int) -> NDArray[np.bool_]:
        self._widen(0)
        found: NDArray[np.bool_] = np.logical_or.reduce(self._seen[:count, : self._engine.buffer.used], axis=0)
        return found

    def taken(self, columns: NDArray[np.int64]) -> None:
        self._seen = np.ascontiguousarray(self._seen[:, columns])

    def _widen(self, more: int) -> None:
        """Room for the columns of the buffer and so many more."""
        width = self._engine.buffer.used + more
        if self._seen.shape[1] < width:
            wider = np.zeros((len(self._seen), max(width, self._seen.shape[1] * 3 // 2)), dtype=np.bool_)
            wider[:, : self._seen.shape[1]] = self._seen
            self._seen = wider


class _Apart:
    """Sequences that grow side by side, each with a copy of its context: they look at nothing but their own."""

    def __init__(self, engine: Engine, places: int, longest: int) -> None:
        self._engine, self.places = engine, places
        self._rows = engine.rows(places, longest)

    def plant(self, row: int, columns: NDArray[np.int64]) -> None:
        self._rows.put(row, self._engine.buffer, torch.from_numpy(columns))

    def step(self, tokens: NDArray[np.int64], _: NDArray[np.int64]) -> torch.Tensor:
        return self._engine.run_rows(self._rows, tokens)

    def move(self, rows: list[int], to: list[int]) -> None:
        self._rows.move(rows, to)

    def seen(self, _: int) -> NDArray[np.bool_]:
        return np.zeros(self._engine.buffer.used, dtype=np.bool_)

    def taken(self, _: NDArray[np.int64]) -> None:
        """Has copies of its own."""


class _Row:
    """What goes through the model next: pieces of contexts, each with the columns it continues."""

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self.clear()

    def clear(self) -> None:
        self._pieces: list[tuple[NDArray[np.int64], int, NDArray[np.int64]]] = []
        self._count = 0
        self.asks: list[int] = []
        self.asked: list[tuple[int, int, NDArray[np.int64]]] = []

    def __len__(self) -> int:
        return self._count

    @property
    def room(self) -> int:
        return self._tokens - self._count

    def add(self, tokens: NDArray[np.int64], position: int, above: NDArray[np.int64]) -> None:
        self._pieces.append((tokens, position, above))
        self._count += len(tokens)

    def ask(self, number: int, position: int, columns: NDArray[np.int64]) -> None:
        """Asks for what follows the last token: the first of context `number`, which sees `columns`."""
        self.asks.append(self._count - 1)
        self.asked.append((number, position, columns))

    def arrays(self, used: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Tokens, positions, and which columns each sees, with `used` columns before them."""
        seen = np.zeros((self._count, used + self._count), dtype=np.bool_)
        begin = 0
        for tokens, _, above in self._pieces:
            end = begin + len(tokens)
            seen[begin:end, above] = True
            seen[begin:end, used + begin : used + end] |= np.tri(len(tokens), dtype=np.bool_)
            begin = end
        tokens = np.concatenate([tokens for tokens, _, _ in self._pieces])
        positions = np.concatenate([np.arange(start, start + len(tokens)) for tokens, start, _ in self._pieces])
        return tokens, positions, seen


def _greedy(logits: torch.Tensor) -> list[int]:
    # as transformers' generate does
    found: list[int] = logits.to(torch.float32).argmax(dim=-1).tolist()
    return found

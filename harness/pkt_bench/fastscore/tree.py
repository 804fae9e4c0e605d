"""The tokens of all requests as one tree, and the passes that compute each of its tokens once.

Few-shot examples that all documents share, a document's question that all its choices share, the letters that differ in
their last token only: each is a path of the tree. A pass is one row through the model, of whole branches side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int64]

PASS_COST = 8
"""Tokens that a pass of its own costs more than carrying them along in another one: weights are read once per pass."""


@dataclass(eq=False, slots=True)
class Node:
    """A run of tokens without a branch.

    Attributes:
        tokens: the run, (n,).
        start: how many tokens lie before it on its path.
        children: what can follow it.
        ends: the numbers of the sequences that end with it.
        size: tokens in it and below it.
        asks: the offsets in `tokens` whose prediction somebody asks for, with what for (see `likelihood`).
        asked: such offsets in it and below it.
    """

    tokens: Tokens
    start: int
    children: list[Node] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    size: int = 0
    asks: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    asked: int = 0

    @property
    def end(self) -> int:
        """How many tokens its path has with it."""
        return self.start + len(self.tokens)


def key(*parts: Sequence[int]) -> bytes:
    """Tokens as bytes that are ordered as the tokens are."""
    return b"".join(np.asarray(part, dtype=">u4").tobytes() for part in parts)


def grow(keys: Sequence[bytes]) -> tuple[Node, list[list[Node]]]:
    """The tree of sequences given by their keys, and the path of each: its nodes from the root on, without the root."""
    order = sorted(range(len(keys)), key=keys.__getitem__)
    root = Node(np.empty(0, dtype=np.int64), 0)
    stack = [root]
    before = root.tokens
    for number in order:
        tokens = np.frombuffer(keys[number], dtype=">u4").astype(np.int64)
        common = _common(before, tokens)
        while stack[-1].start >= common and len(stack) > 1:
            stack.pop()
        if stack[-1].end > common:
            _split(stack[-1], common)
        if common < len(tokens):
            child = Node(tokens[common:], common)
            stack[-1].children.append(child)
            stack.append(child)
        stack[-1].ends.append(number)
        before = tokens
    return root, _paths(root, len(keys))


def _common(a: Tokens, b: Tokens) -> int:
    """How many tokens two sequences begin with alike."""
    length = min(len(a), len(b))
    differs = a[:length] != b[:length]
    first = int(differs.argmax()) if length else 0
    return first if length and differs[first] else length


def _split(node: Node, at: int) -> None:
    """Ends a node at a depth; what came later becomes its one child."""
    cut = at - node.start
    rest = Node(node.tokens[cut:], at, node.children, node.ends)
    node.tokens, node.children, node.ends = node.tokens[:cut], [rest], []


def _paths(root: Node, count: int) -> list[list[Node]]:
    """The path of each sequence; works out the sizes on the way."""
    paths: list[list[Node]] = [[] for _ in range(count)]
    for node, path in walk(root):
        for number in node.ends:
            paths[number] = path[1:]
    for node in postorder(root):
        node.size = len(node.tokens) + sum(child.size for child in node.children)
    return paths


def walk(root: Node) -> Iterator[tuple[Node, list[Node]]]:
    """Every node with its path, itself included, parents first."""
    stack = [(root, [root])]
    while stack:
        node, path = stack.pop()
        yield node, path
        stack += [(child, [*path, child]) for child in reversed(node.children)]


def postorder(root: Node) -> list[Node]:
    """Every node, children first."""
    found, stack = [], [root]
    while stack:
        node = stack.pop()
        found.append(node)
        stack += node.children
    return found[::-1]


# ---------------------------------------------------------------- passes


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens `begin` to `end` of a node in a row. `parent` is the piece before it in its path, -1 the kept path.

    `answers` says that what is asked of these tokens is asked in this row.
    """

    node: Node
    begin: int
    end: int
    parent: int
    answers: bool = True

    def __len__(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class Pass:
    """One row through the model: pieces side by side that all continue the first `base` tokens kept.

    A pass that is kept is a single path, and adds its tokens to those kept for the passes below it.
    """

    base: int
    pieces: tuple[Piece, ...]
    kept: bool

    def __len__(self) -> int:
        return sum(map(len, self.pieces))


def passes(root: Node, tokens: int, asks: int) -> Iterator[Pass]:
    """The passes that compute a tree, each of at most `tokens` tokens, of which at most `asks` are asked.

    A branch too large for one pass is cut: the tokens above it are kept, unless they are so few that it is cheaper to
    carry them along in each pass below. Depth first, so that what is kept is always the path of what comes next.
    """
    for node in postorder(root):
        node.asked = len(node.asks) + sum(child.asked for child in node.children)
    answered: set[int] = set()
    stack: list[tuple[Node, int, tuple[Node, ...]]] = [(root, 0, ())]
    while stack:
        node, base, above = stack.pop()
        above = (*above, node) if len(node.tokens) else above
        carried = sum(len(each.tokens) for each in above)
        rows = -(-node.size // tokens)
        few = (
            carried * (rows - 1) <= PASS_COST and 2 * carried <= tokens and sum(len(n.asks) for n in above) * 2 <= asks
        )
        if carried and not (few and node.children):
            yield from _kept(above, base, min(tokens, asks) if any(n.asks for n in above) else tokens, answered)
            base, above, carried = base + carried, (), 0
        room, room_asks = tokens - carried, asks - sum(len(each.asks) for each in above)
        small = [child for child in node.children if child.size <= room and child.asked <= room_asks]
        taken = set(map(id, small))
        for bin_ in _bins(small, room, room_asks):
            yield Pass(base, tuple(_row(above, bin_, answered)), kept=False)
        stack += [(child, base, above) for child in reversed(node.children) if id(child) not in taken]


def _kept(above: Sequence[Node], base: int, tokens: int, answered: set[int]) -> Iterator[Pass]:
    """A path in passes of at most `tokens`."""
    row: list[Piece] = []
    room = tokens
    for node in above:
        begin = 0
        while begin < len(node.tokens):
            end = min(len(node.tokens), begin + room)
            row.append(Piece(node, begin, end, len(row) - 1, id(node) not in answered))
            room -= end - begin
            begin = end
            if room == 0:
                yield Pass(base, tuple(row), kept=True)
                base, row, room = base + tokens, [], tokens
        answered.add(id(node))
    if row:
        yield Pass(base, tuple(row), kept=True)


def _bins(nodes: Sequence[Node], room: int, room_asks: int) -> Iterator[list[Node]]:
    """Branches put together so that each row is as full as it gets: the largest first, each where it first fits."""
    bins: list[tuple[list[Node], int, int]] = []
    for node in sorted(nodes, key=lambda each: -each.size):
        for number, (held, left, left_asks) in enumerate(bins):
            if node.size <= left and node.asked <= left_asks:
                held.append(node)
                bins[number] = (held, left - node.size, left_asks - node.asked)
                break
        else:
            bins.append(([node], room - node.size, room_asks - node.asked))
    for held, _, _ in bins:
        yield held


def _row(above: Sequence[Node], branches: Sequence[Node], answered: set[int]) -> Iterator[Piece]:
    """The pieces of a row: what is carried, then each branch, parents first."""
    count = 0
    for node in above:
        yield Piece(node, 0, len(node.tokens), count - 1, id(node) not in answered)
        answered.add(id(node))
        count += 1
    stack = [(branch, count - 1) for branch in reversed(branches)]
    while stack:
        node, parent = stack.pop()
        yield Piece(node, 0, len(node.tokens), parent)
        stack += [(child, count) for child in reversed(node.children)]
        count += 1

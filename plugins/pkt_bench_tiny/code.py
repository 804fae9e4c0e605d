"""The code suite: write the body of a list function from its docstring; judged by running it on probe inputs.

Programs chain one or two operations. Splits are disjoint by meaning: programs that behave alike on all probe
inputs count as one program, whatever their text, and all of them belong to the same split.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from .splits import SIZES, SPLITS, Split, seeded

ENTRY_POINT = "solve"

PROBES: tuple[tuple[int, ...], ...] = (
    (),
    (3,),
    (5, -2, 7, 4),
    (2, 2, 9, 1, 2),
    (-4, 0, 6, 3, -1, 8),
    (10, 3, 5, 5, 1, 12, 4),
    (1, 2, 3, 4, 5, 6, 7),
    (-6, 11, -3, 7, 0, 2, 5, 9),
)
"""Inputs that tell programs apart and judge an answer."""

_Row = tuple[str, str, str, str, str]
# family, digits k may be (-: there is no k), two wordings, expression on the list xs
_CHANGES: tuple[_Row, ...] = (
    ("add", "12345", "add {k} to each number", "increase each number by {k}", "[x + {k} for x in xs]"),
    ("take", "123", "subtract {k} from each number", "lower each number by {k}", "[x - {k} for x in xs]"),
    ("times", "2345", "multiply each number by {k}", "scale each number by {k}", "[x * {k} for x in xs]"),
    ("modulo", "234", "take each number modulo {k}", "reduce each number modulo {k}",
     "[x % {k} for x in xs]"),
    ("above", "12345", "keep the numbers above {k}", "drop all but those above {k}",
     "[x for x in xs if x > {k}]"),
    ("below", "23456", "keep the numbers below {k}", "drop all but those below {k}",
     "[x for x in xs if x < {k}]"),
    ("without", "123", "remove every {k}", "drop all that equal {k}", "[x for x in xs if x != {k}]"),
    ("first", "1234", "take the first {k} numbers", "keep {k} numbers from the start", "xs[:{k}]"),
    ("skip", "123", "skip the first {k} numbers", "leave out {k} numbers at the start", "xs[{k}:]"),
    ("last", "234", "take the last {k} numbers", "keep {k} numbers from the end", "xs[-{k}:]"),
    ("append", "678", "append {k}", "put {k} at the end", "xs + [{k}]"),
    ("square", "-", "square each number", "multiply each number by itself", "[x * x for x in xs]"),
    ("negate", "-", "negate each number", "flip the sign of each number", "[-x for x in xs]"),
    ("absolute", "-", "take absolute values", "make each number positive", "[abs(x) for x in xs]"),
    ("even", "-", "keep the even numbers", "drop the odd numbers", "[x for x in xs if x % 2 == 0]"),
    ("odd", "-", "keep the odd numbers", "drop the even numbers", "[x for x in xs if x % 2 == 1]"),
    ("reverse", "-", "reverse the list", "turn the list around", "xs[::-1]"),
    ("ascend", "-", "sort the list", "put the numbers in rising order", "sorted(xs)"),
    ("descend", "-", "sort downwards", "put the numbers in falling order", "sorted(xs, reverse=True)"),
    ("unique", "-", "sort the different numbers", "sort without duplicates", "sorted(set(xs))"),
    ("second", "-", "take every second number", "skip every other number", "xs[::2]"),
    ("repeat", "-", "repeat the list", "put the list twice in a row", "xs + xs"),
)  # fmt: skip
_ENDS: tuple[_Row, ...] = (
    ("sum", "-", "return the sum", "add up all numbers", "sum(xs)"),
    ("length", "-", "return the length", "count the numbers", "len(xs)"),
    ("largest", "-", "return the largest or 0", "find the maximum or 0", "max(xs, default=0)"),
    ("smallest", "-", "return the smallest or 0", "find the minimum or 0", "min(xs, default=0)"),
)
STUDENT_FAMILIES = frozenset(
    ("add", "times", "modulo", "above", "without", "first", "last", "append",
     "negate", "even", "reverse", "ascend", "second", "sum", "largest")
)  # fmt: skip
"""The operations that the student's pretraining shows, about 60 % of all families."""


@dataclass(frozen=True)
class Operation:
    """One step on the list `xs`: family, wordings, Python expression, and the same to be called."""

    family: str
    wordings: tuple[str, str]
    expression: str
    apply: Callable[[Any], Any]
    ends: bool


@dataclass(frozen=True)
class CodeItem:
    """A function to complete: `prompt` ends with the docstring, `answer` starts with the next newline."""

    families: tuple[str, ...]
    meaning: tuple[str, ...]
    prompt: str
    answer: str

    @property
    def key(self) -> str:
        """What may be in one split only: the behaviour on the probes."""
        return " ".join(self.meaning)

    @property
    def program(self) -> str:
        """The whole function."""
        return self.prompt + self.answer + "\n"

    @property
    def cases(self) -> tuple[tuple[tuple[list[int]], Any], ...]:
        """(arguments, expected result) for each probe, as plain Python literals."""
        import ast

        return tuple(
            ((list(probe),), ast.literal_eval(result)) for probe, result in zip(PROBES, self.meaning, strict=True)
        )


@cache
def operations() -> tuple[Operation, ...]:
    """Every operation with every number it may carry."""
    return tuple(
        Operation(
            family,
            (first.format(k=k), second.format(k=k)),
            expression.format(k=k),
            eval(f"lambda xs: {expression.format(k=k)}"),  # noqa: S307  our own table above, nothing else
            ends,
        )
        for table, ends in ((_CHANGES, False), (_ENDS, True))
        for family, digits, first, second, expression in table
        for k in digits
    )


@cache
def _programs() -> dict[tuple[str, ...], tuple[tuple[Operation, ...], ...]]:
    """All programs of one and two operations, grouped by meaning: the results on the probes, as text."""
    groups: defaultdict[tuple[str, ...], list[tuple[Operation, ...]]] = defaultdict(list)
    for head in operations():
        after = [head.apply(list(probe)) for probe in PROBES]
        groups[tuple(map(repr, after))].append((head,))
        if not head.ends:
            for tail in operations():
                groups[tuple([repr(tail.apply(xs)) for xs in after])].append((head, tail))
    return {meaning: tuple(programs) for meaning, programs in groups.items()}


def write(chain: tuple[Operation, ...], meaning: tuple[str, ...], rng: random.Random) -> CodeItem:
    """Write one program with its docstring in a drawn wording."""
    wording = ", then ".join(rng.choice(operation.wordings) for operation in chain)
    prompt = f'def {ENTRY_POINT}(xs):\n    """{wording[0].upper()}{wording[1:]}."""'
    *changes, final = chain
    lines = [f"\n    xs = {operation.expression}" for operation in changes]
    lines.append(f"\n    return {final.expression}")
    return CodeItem(tuple(o.family for o in chain), meaning, prompt, "".join(lines))


@cache
def _splits() -> dict[tuple[str, ...], Split | None]:
    """Which split each meaning belongs to; None: to no split.

    Only meanings that need two operations and tell at least four probes apart are asked.
    """
    rng = seeded("code splits")
    asked = [
        meaning
        for meaning, chains in _programs().items()
        if all(len(chain) == 2 for chain in chains) and len(set(meaning)) >= 4
    ]
    rng.shuffle(asked)
    placed: dict[tuple[str, ...], Split | None] = dict.fromkeys(_programs())
    names = [split for split in SPLITS for _ in range(SIZES[split])]
    placed.update(zip(asked, names, strict=False))
    return placed


@cache
def items(split: Split) -> tuple[CodeItem, ...]:
    """The records of one split."""
    rng = seeded(f"code {split}")
    members = [meaning for meaning, owner in _splits().items() if owner == split]
    rng.shuffle(members)
    return tuple(write(rng.choice(_programs()[meaning]), meaning, rng) for meaning in members)


def held_out() -> frozenset[str]:
    """Keys of the validation and test programs, whose behaviour no pretraining document may have."""
    return frozenset(item.key for split in ("validation", "test") for item in items(split))


def functions(rng: random.Random, single_share: float, families: frozenset[str] | None = None) -> Iterator[CodeItem]:
    """Endless programs, none that behaves like a validation or test program.

    `single_share` of them have one operation, the others two; with `families` given, only those occur.
    """
    allowed = [
        (chain, meaning)
        for meaning, chains in _programs().items()
        if _splits()[meaning] not in ("validation", "test")
        for chain in chains
        if families is None or all(operation.family in families for operation in chain)
    ]
    by_length = [[a for a in allowed if len(a[0]) == length] for length in (1, 2)]
    while True:
        chain, meaning = rng.choice(by_length[0] if rng.random() < single_share else by_length[1])
        yield write(chain, meaning, rng)

"""The arithmetic suite: word problems of one to three steps, answered by a chain of steps and `#### n`.

Splits are disjoint by plot and numbers: a held-out problem is not even seen with other names and objects.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from .splits import SIZES, Split, seeded

LARGEST = 50
"""No operand and no result of a record exceeds this; none is negative."""

_NAMES = (
    "Ann", "Ben", "Cara", "Dan", "Eva", "Finn", "Gail", "Hugo", "Ida", "Jack",
    "Kim", "Leo", "Mia", "Ned", "Olga", "Paul", "Rosa", "Sam", "Tina", "Will",
)  # fmt: skip
_OBJECTS = (
    "apples", "books", "coins", "cards", "cups", "eggs", "keys", "lamps", "marbles", "nuts",
    "pens", "plates", "rings", "ropes", "shells", "shirts", "stamps", "stones", "toys", "tickets",
)  # fmt: skip
_MORE = ("{who} finds {n} more.", "{who} buys {n} more.", "{who} gets {n} more from {other}.")
_LESS = ("{who} loses {n}.", "{who} sells {n}.", "{who} gives {n} to {other}.")
_STEPS_OF_SPLIT = ((1, 1), (2, 2), (3, 2))  # (steps, weight): a fifth has one step


@dataclass(frozen=True)
class ArithmeticItem:
    """A word problem. `answer` is the chain, one step per line, closed by `#### number`."""

    key: str
    steps: int
    prompt: str
    answer: str
    number: int


def equation(left: int, sign: str, right: int) -> tuple[str, int]:
    """One step as it is written, `12+7=19`, and its result."""
    result = {"+": left + right, "-": left - right, "*": left * right}[sign]
    return f"{left}{sign}{right}={result}", result


def draw(steps: int, rng: random.Random, largest: int = LARGEST) -> ArithmeticItem:
    """Draw one problem with the given number of steps (1 to 3) and no number above `largest`."""
    who, other = rng.sample(_NAMES, 2)
    thing = rng.choice(_OBJECTS)
    sentences: list[str] = []
    chain: list[str] = []
    plot: list[str] = []
    if rng.random() < 0.35:
        bags = rng.randint(2, 6)
        each = rng.randint(2, min(8, largest // bags))
        sentences.append(f"{who} has {bags} bags with {each} {thing} each.")
        line, total = equation(bags, "*", each)
        chain.append(line)
        plot.append("bags")
    else:
        total = rng.randint(1, largest * 4 // 5)
        sentences.append(f"{who} has {total} {thing}.")
        plot.append("has")
    question = f"How many {thing} does {who} have now?"
    together = len(chain) == 0 and steps == 2 and total <= largest // 3 and rng.random() < 0.5
    if together:
        more = rng.randint(1, largest // 2 - total)
        sentences.append(f"{other} has {more} more than {who}.")
        line, others = equation(total, "+", more)
        chain.append(line)
        line, total = equation(total, "+", others)
        chain.append(line)
        plot.append("together")
        question = f"How many {thing} do they have together?"
    while len(chain) < steps:
        gains = rng.random() < 0.5
        if total < 2 or total > largest - 2:
            gains = total < 2
        number = rng.randint(1, min(largest - total if gains else total, largest * 3 // 5))
        form = rng.randrange(3)
        sentences.append((_MORE if gains else _LESS)[form].format(who=who, other=other, n=number))
        plot.append(f"{'more' if gains else 'less'}{form}")
        line, total = equation(total, "+" if gains else "-", number)
        chain.append(line)
    prompt = f"Question: {' '.join(sentences)} {question}\nAnswer:"
    return ArithmeticItem(" ".join([*plot, *chain]), steps, prompt, " " + "\n".join(chain) + f"\n#### {total}", total)


@cache
def _all_items() -> dict[Split, tuple[ArithmeticItem, ...]]:
    rng = seeded("arithmetic")
    seen: set[str] = set()
    drawn: dict[Split, tuple[ArithmeticItem, ...]] = {}
    counts, weights = zip(*_STEPS_OF_SPLIT, strict=True)
    order: tuple[Split, ...] = ("test", "validation", "extract", "align", "train")
    for split in order:
        members: list[ArithmeticItem] = []
        while len(members) < SIZES[split]:
            item = draw(rng.choices(counts, weights)[0], rng)
            if item.key not in seen:
                seen.add(item.key)
                members.append(item)
        drawn[split] = tuple(members)
    return drawn


def items(split: Split) -> tuple[ArithmeticItem, ...]:
    """The records of one split."""
    return _all_items()[split]


@cache
def held_out() -> frozenset[str]:
    """Keys of the validation and test problems, which no pretraining document may have."""
    return frozenset(item.key for split in ("validation", "test") for item in _all_items()[split])


def problems(rng: random.Random, weights: tuple[int, int, int], largest: int) -> Iterator[ArithmeticItem]:
    """Endless problems of one, two and three steps in the given proportions, none of them held out."""
    while True:
        item = draw(rng.choices((1, 2, 3), weights)[0], rng, largest)
        if item.key not in held_out():
            yield item


def equations(rng: random.Random, lines: int, largest: int) -> Iterator[str]:
    """Endless sheets of bare equations, written like the steps of a chain."""
    while True:
        sheet: list[str] = []
        for _ in range(lines):
            sign = rng.choice("++--*")
            if sign == "+":
                left = rng.randint(1, largest - 1)
                right = rng.randint(1, largest - left)
            elif sign == "-":
                left = rng.randint(1, largest)
                right = rng.randint(1, left)
            else:
                left = rng.randint(2, 6)
                right = rng.randint(2, min(8, largest // left))
            sheet.append(equation(left, sign, right)[0])
        yield " " + "\n".join(sheet)

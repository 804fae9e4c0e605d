"""Average ranks over many pairs and suites: Friedman's test and Nemenyi's critical difference, after Demsar (2006).

A block is a suite of a pair; within one, methods are ranked by score, the best 1, ties sharing the average. Over N
blocks and k methods, two mean ranks differ at 5 % where they are apart by more than

    CD = q sqrt(k (k + 1) / (6 N)),   q = the 95 % point of the studentised range of k, divided by sqrt(2)

J. Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006), section 3.2.2. Left out are:

- Untouched models, and rows of which a setting was chosen by test scores.
- Of several boards of a pair that may not be ranked together, all but the first that has the suite.
- Methods without a score in more than half of the blocks; they are named. Of the blocks, those where one of the
  remaining methods has no score.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pkt_bench_leaderboards.records import Board, Row

FEWEST_BLOCKS = 2
FEWEST_METHODS = 3
FEW_BLOCKS = 10
"""Below this many blocks the chi-squared approximation of Friedman's test is rough (Demsar: N > 10, k > 5)."""

# what makes two rows of different boards the same method: name, version, distribution, settings
_Key = tuple[str, str, str, str]
_Block = tuple[str, str]


@dataclass(frozen=True)
class Ranking:
    """Mean ranks of methods over blocks, the best first; without methods, `note` says why there is none.

    `p` is Friedman's, `critical_difference` Nemenyi's at 5 %. `left_out` names the methods that too many blocks lack.
    """

    methods: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    critical_difference: float | None
    blocks: int
    p: float | None
    left_out: tuple[str, ...]
    note: str


def ranking(boards: Sequence[Board]) -> Ranking:
    """Ranks the methods of all boards over the (pair, suite) blocks that all of them have a score in."""
    blocks, labels = _blocks(boards)
    scored = Counter(key for scores in blocks.values() for key in scores)
    kept = [key for key in labels if 2 * scored[key] >= len(blocks) and scored[key]]
    left_out = tuple(sorted(labels[key] for key in labels if key not in kept))
    complete = [scores for scores in blocks.values() if all(key in scores for key in kept)]
    why = ""
    if len(kept) < FEWEST_METHODS:
        why = f"no ranks: {len(kept)} methods have a score in half of the blocks, {FEWEST_METHODS} are needed"
    elif len(complete) < FEWEST_BLOCKS:
        count = f"{len(complete)} of {len(blocks)} (pair, suite) blocks"
        why = f"no ranks: {count} have a score of every method, {FEWEST_BLOCKS} are needed"
    if why:
        return Ranking((), (), None, len(complete), None, left_out, why)
    return _ranked([labels[key] for key in kept], [[scores[key] for key in kept] for scores in complete], left_out)


def critical_difference(methods: int, blocks: int) -> float:
    """Nemenyi's at 5 %: how far two mean ranks of `methods` over `blocks` must be apart."""
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(0.95, methods, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(methods * (methods + 1) / (6 * blocks))


def average_ranks(scores: Sequence[Sequence[float]]) -> list[float]:
    """The mean rank of each column of `scores` (blocks, methods), higher being better and rank 1 the best."""
    from scipy.stats import rankdata

    ranks = [rankdata([-value for value in block]) for block in scores]
    return [float(sum(column)) / len(scores) for column in zip(*ranks, strict=True)]


def friedman(scores: Sequence[Sequence[float]]) -> float:
    """Friedman's p that all columns of `scores` (blocks, methods) are alike; 1 where every block is one tie."""
    from scipy.stats import friedmanchisquare

    if all(len(set(block)) == 1 for block in scores):
        return 1.0
    return float(friedmanchisquare(*zip(*scores, strict=True)).pvalue)


def _ranked(names: Sequence[str], scores: Sequence[Sequence[float]], left_out: tuple[str, ...]) -> Ranking:
    means = average_ranks(scores)
    order = sorted(range(len(names)), key=lambda index: (means[index], names[index]))
    note = f"with {len(scores)} blocks the test is rough: more pairs and suites say more" * (len(scores) < FEW_BLOCKS)
    return Ranking(
        methods=tuple(names[index] for index in order),
        mean_ranks=tuple(means[index] for index in order),
        critical_difference=critical_difference(len(names), len(scores)),
        blocks=len(scores),
        p=friedman(scores),
        left_out=left_out,
        note=note,
    )


def _blocks(boards: Sequence[Board]) -> tuple[dict[_Block, dict[_Key, float]], dict[_Key, str]]:
    """The scores of each block, higher being better, and what each method is called."""
    blocks: dict[_Block, dict[_Key, float]] = {}
    labels: dict[_Key, str] = {}
    for board in boards:
        rows = [row for row in board.rows if not (row.reference or row.oracle)]
        labels |= {_key(row): row.label for row in rows if _key(row) not in labels}
        for index, column in enumerate(board.columns):
            sign = 1.0 if column.higher_is_better else -1.0
            scores = {_key(row): sign * value for row in rows if (value := row.squares[index].value) is not None}
            if scores:
                blocks.setdefault((board.pair, column.suite), scores)
    return blocks, _told_apart(labels)


def _told_apart(labels: Mapping[_Key, str]) -> dict[_Key, str]:
    """The labels, with all settings where two boards call different settings alike."""
    often = Counter(labels.values())
    return {key: label if often[label] == 1 else f"{label} v{key[1]} {key[3]}" for key, label in labels.items()}


def _key(row: Row) -> _Key:
    return (row.method, row.version, row.distribution, row.settings)

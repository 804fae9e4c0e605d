"""Mean ranks over many pairs and suites as words, JSON and CSV: which methods are within a critical difference."""

from __future__ import annotations

import json
from dataclasses import asdict

from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.formats.delimited import lines
from pkt_bench_leaderboards.ranking import Ranking
from pkt_bench_leaderboards.sheet import Cell, Heading, Line, Note, Sheet

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def groups(ranking: Ranking) -> list[tuple[int, int]]:
    """The longest runs of methods (first and last index) whose mean ranks are within the critical difference."""
    if ranking.critical_difference is None:
        return []
    ranks = ranking.mean_ranks
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(
            index for index in range(first, len(ranks)) if ranks[index] - ranks[first] <= ranking.critical_difference
        )
        # one that lies within the one before says nothing new
        if not found or last > found[-1][1]:
            found.append((first, last))
    return found


def write(ranking: Ranking) -> Sheet:
    """The ranks as a table: methods that share a letter are within the critical difference of each other."""
    letters = [
        "".join(_letter(n) for n, (a, z) in enumerate(groups(ranking)) if a <= i <= z) for i in _indices(ranking)
    ]
    headings = (
        Heading("method", "method", right=False),
        Heading("rank", "mean rank"),
        Heading("alike", "alike", right=False),
    )
    table = tuple(
        Line((Cell(method), Cell(f"{rank:.2f}"), Cell(letters[index])), winner=index == 0 and len(ranking.methods) > 1)
        for index, (method, rank) in enumerate(zip(ranking.methods, ranking.mean_ranks, strict=True))
    )
    return Sheet(
        "ranks", f"{ranking.blocks} blocks, a suite of a pair each", headings, table, tuple(_notes(ranking)), fixed=1
    )


def as_json(ranking: Ranking) -> str:
    """Every figure as it is, and the runs of methods that are within the critical difference."""
    alike = [list(ranking.methods[first : last + 1]) for first, last in groups(ranking)]
    return json.dumps(asdict(ranking) | {"alike": alike}, indent=1, ensure_ascii=False) + "\n"


def as_csv(ranking: Ranking, *, tabs: bool = False) -> str:
    """One line a method."""
    heading = ("method", "mean_rank", "critical_difference", "blocks", "p")
    rest = (ranking.critical_difference, ranking.blocks, ranking.p)
    pairs = zip(ranking.methods, ranking.mean_ranks, strict=True)
    return lines(heading, [(method, rank, *rest) for method, rank in pairs], tabs=tabs)


def _notes(ranking: Ranking) -> list[Note]:
    notes = []
    if ranking.note:
        notes.append(Note("ranks", ranking.note))
    if ranking.critical_difference is not None:
        notes.append(
            Note(
                "alike",
                "methods that share a letter are within Nemenyi's critical difference at 5 %"
                f" ({ranking.critical_difference:.2f} ranks)",
            )
        )
        notes.append(Note("p", f"{text.probability(ranking.p)} that all are alike (Friedman)"))
    if ranking.left_out:
        notes.append(Note("left out", f"no score in more than half of the blocks: {', '.join(ranking.left_out)}"))
    notes.append(Note("blocks", "those in which every method has a score; untouched models and oracles are not ranked"))
    return notes


def _indices(ranking: Ranking) -> range:
    return range(len(ranking.methods))


def _letter(number: int) -> str:
    return _LETTERS[number] if number < len(_LETTERS) else f"({number + 1})"

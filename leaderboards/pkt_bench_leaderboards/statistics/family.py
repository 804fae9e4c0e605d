"""Many tests at once: p corrected after Holm, seed variance pooled over a family, and who is ahead of whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from pkt_bench_leaderboards.statistics.paired import Differences, Paired, paired_mean

K = TypeVar("K")


def holm(ps: Sequence[float]) -> list[float]:
    """The p values corrected after Holm (1979), in the order given: the chance of any false find is bounded by each."""
    order = sorted(range(len(ps)), key=lambda index: ps[index])
    corrected = [0.0] * len(ps)
    least = 0.0
    for done, index in enumerate(order):
        least = max(least, min(1.0, (len(ps) - done) * ps[index]))
        corrected[index] = least
    return corrected


def pooled_seed_variance(family: Sequence[Differences]) -> float:
    """What seeds add to a difference beyond chance, as the variance of one seed, on average over a family.

    Of a few seeds the variance is hardly known: by chance it comes out as nothing every third time. The average over
    all comparisons of a board is known much better. 0 where no comparison has two seeds.
    """
    found = [(suite.table.ms_seeds - suite.table.ms_rest) / suite.table.n for suite in family if _has_seeds(suite)]  # type: ignore[union-attr]
    return max(0.0, sum(found) / len(found)) if found else 0.0


def compare_all(family: Mapping[K, Mapping[str, Differences]]) -> dict[K, Paired]:
    """Tests a family of comparisons, each on the mean over its suites (by name); p corrected after Holm.

    The variance that seeds add on a suite is taken as no less than the family's average there.
    """
    suites = {suite for compared in family.values() for suite in compared}
    variances = {
        suite: pooled_seed_variance([compared[suite] for compared in family.values() if suite in compared])
        for suite in suites
    }
    tested = {
        key: paired_mean(list(compared.values()), [variances[suite] for suite in compared])
        for key, compared in family.items()
        if compared
    }
    return dict(zip(tested, corrected(list(tested.values())), strict=True))


def corrected(family: Sequence[Paired]) -> list[Paired]:
    """The comparisons with p corrected for all of them."""
    ps = holm([paired.p for paired in family])
    return [replace(paired, p_holm=p) for paired, p in zip(family, ps, strict=True)]


def _has_seeds(suite: Differences) -> bool:
    return suite.table is not None and suite.table.seeds > 1

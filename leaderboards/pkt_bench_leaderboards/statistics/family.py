"""Many tests at once: p corrected after Holm, seed variance pooled over a family, and who is ahead of whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from pkt_bench_leaderboards.statistics.paired import Differences, Paired, SeedVariance, paired_mean

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


def pooled_seed_variance(family: Sequence[Differences], independent: int) -> SeedVariance:
    """How far seeds scatter, on average over a family of comparisons of which so many are `independent`.

    Of a few seeds that is hardly known; over all comparisons of a board it is known much better.
    """
    tables = [suite.table for suite in family if suite.table is not None and suite.table.seeds > 1]
    if not tables:
        return SeedVariance(0.0, 1)
    variance = sum(table.ms_seeds / table.n for table in tables) / len(tables)
    freedom = sum(table.seeds - 1 for table in tables) * min(1.0, independent / len(tables))
    return SeedVariance(variance, max(1, int(freedom)))


def compare_all(family: Mapping[K, Mapping[str, Differences]], *, independent: int | None = None) -> dict[K, Paired]:
    """Tests a family of comparisons, each on the mean over its suites (by name); p corrected after Holm.

    How far seeds scatter on a suite is taken as no less than the family's average there. `independent` is how
    many of the comparisons on a suite tell of seeds that no other tells of: of all pairs of k methods, k - 1.
    """
    suites = {suite for compared in family.values() for suite in compared}
    variances = {}
    for suite in suites:
        found = [compared[suite] for compared in family.values() if suite in compared]
        variances[suite] = pooled_seed_variance(found, len(found) if independent is None else independent)
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

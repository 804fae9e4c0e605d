"""Two methods on the same items: do they differ, by how much, and what could have been found at all?

Two questions, and the answer is the more doubtful of both:

- Would these very students differ on other items? The sign of each item's difference, averaged over seeds, is flipped:
  an exact permutation test. With one seed each and answers right or wrong it is the exact McNemar test.
- Would students of other seeds? Differences have items and seeds crossed, so their mean has the variance of `crossed`,
  and is set against it (seeds are blocks: that of one method is paired with the same seed of the other). With few seeds
  their variance is uncertain; in a family of comparisons it is taken as no less than the family's average.

With one seed the second question has no answer, and none is pretended: `seeds` is 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pkt_bench_leaderboards.statistics.answers import Answers, by_seed, is_right_or_wrong, lined_up, shared_documents
from pkt_bench_leaderboards.statistics.crossed import LEVEL, Crossed, crossed
from pkt_bench_leaderboards.statistics.signs import DRAWS, EXACT_STEPS, sign_flip_drawn, sign_flip_exact

if TYPE_CHECKING:
    from numpy.typing import NDArray

POWER = 0.8


@dataclass(frozen=True)
class Paired:
    """Two methods on the same `n` items and seeds: two-sided `p`, mean `difference` with its 95 % interval.

    `p_holm` is p corrected for all the comparisons of its family, null before that. `gained` and `lost` count the items
    that are worth more and less (`turned` where less is better). `seeds` are those that both have; with 1, what another
    seed would give is unknown. With as many items and seeds a difference of `detectable` is found four times out of
    five; to find the observed one as often takes `items_needed` with these seeds or `seeds_needed` with these items,
    null where no number of them would do.
    """

    p: float
    difference: float
    n: int
    gained: int
    lost: int
    test: str
    p_holm: float | None = None
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int = 1
    detectable: float | None = None
    items_needed: int | None = None
    seeds_needed: int | None = None


@dataclass(frozen=True)
class SeedVariance:
    """How far the differences of single seeds scatter: their `variance`, and how many degrees of freedom tell it."""

    variance: float
    freedom: int


@dataclass(frozen=True)
class Differences:
    """One suite: what each item was worth more under each seed, `values` (n, S), and their `table`, unless n is 1.

    `steps`: the mean over seeds is a whole number of parts of 1 / steps; null where answers are not right or wrong.
    """

    values: NDArray[Any]
    table: Crossed | None
    steps: int | None


def differences(
    method: Mapping[int, Answers] | Sequence[Answers],
    other: Mapping[int, Answers] | Sequence[Answers],
    *,
    fixed: bool = False,
) -> Differences | None:
    """The answers of one method less those of another, by seed; None where no item is in common.

    Only items that every run answered count, and the seeds that both have. Where they have none in common, the means
    over their own seeds are compared, as one seed. With `fixed` the other is the same whatever the seed, as a model is
    that nothing was done to: its mean is set against every seed.
    """
    ours, theirs = by_seed(method), by_seed(other)
    if not ours or not theirs:
        return None
    documents = shared_documents([*ours.values(), *theirs.values()])
    if documents.size == 0:
        return None
    both = [seed for seed in ours if seed in theirs]
    if fixed or not both:
        left, right = lined_up(list(ours.values()), documents), lined_up(list(theirs.values()), documents)
        values = (left if fixed else left.mean(axis=1, keepdims=True)) - right.mean(axis=1, keepdims=True)
        steps = math.lcm(left.shape[1], right.shape[1])
    else:
        left, right = (lined_up([runs[seed] for seed in both], documents) for runs in (ours, theirs))
        values, steps = left - right, len(both)
    values[abs(values) < 1e-12] = 0.0
    whole = is_right_or_wrong(left) and is_right_or_wrong(right)
    return Differences(values, crossed(values), steps if whole else None)


def turned(paired: Paired) -> Paired:
    """The same, where less is better: what got more got worse."""
    return replace(paired, gained=paired.lost, lost=paired.gained)


def paired_test(
    method: Mapping[int, Answers] | Sequence[Answers],
    other: Mapping[int, Answers] | Sequence[Answers],
    *,
    fixed: bool = False,
) -> Paired | None:
    """Do two methods differ on the same items? Answers by seed; None where no item is in common. See `differences`."""
    found = differences(method, other, fixed=fixed)
    return None if found is None else paired_mean([found])


def paired_mean(suites: Sequence[Differences], family: Sequence[SeedVariance] | None = None) -> Paired:
    """Do two methods differ in the mean over suites, each with its own items?

    `family` is how far seeds scatter on each suite in a whole family of comparisons. Without it, what these few
    seeds say is all that is known. Either is stretched by its own quantile, as in `crossed.interval`.
    """
    k = len(suites)
    means = [float(suite.values.mean()) for suite in suites]
    each = [suite.values.mean(axis=1) for suite in suites]
    seeds = min(suite.values.shape[1] for suite in suites)
    p, test = _over_items(suites, each)
    found = Paired(
        p=p,
        difference=sum(means) / k,
        n=sum(values.size for values in each),
        gained=sum(int((values > 0).sum()) for values in each),
        lost=sum(int((values < 0).sum()) for values in each),
        test=test,
        seeds=seeds,
    )
    tables = [suite.table for suite in suites if suite.table is not None]
    return found if len(tables) < k else _with_seeds(found, tables, family)


# ---------------------------------------------------------------- over items


def _over_items(suites: Sequence[Differences], each: Sequence[NDArray[Any]]) -> tuple[float, str]:
    """The p over the items of all suites, and the name of the test; `each` are a suite's means over seeds (n,)."""
    import numpy as np

    known = [suite.steps for suite in suites if suite.steps is not None]
    alike = len({values.size for values in each}) == 1 and len(known) == len(suites)
    steps = math.lcm(*known) if known else 1
    if alike and steps * sum(values.size for values in each) <= EXACT_STEPS:
        whole = np.concatenate([np.rint(values * steps).astype(np.int64) for values in each])
        one = len(suites) == 1 and steps == 1
        return sign_flip_exact(whole), "exact McNemar" if one else "exact sign-flip permutation"
    # an item of a small suite weighs more in the mean over suites
    weighted = np.concatenate([values / values.size for values in each])
    return sign_flip_drawn(weighted), f"sign-flip permutation, {DRAWS} draws"


# ---------------------------------------------------------------- over items and seeds


def _with_seeds(found: Paired, tables: Sequence[Crossed], family: Sequence[SeedVariance] | None) -> Paired:
    from scipy.special import ndtri, stdtrit

    k = len(tables)
    items = sum(table.of_items for table in tables) / k**2
    freedom = sum(table.n - 1 for table in tables)
    own = sum(table.of_seeds for table in tables) / k**2
    few = sum(table.seeds - 1 for table in tables)
    of_seeds = own
    if family is not None and few:
        pairs = zip(tables, family, strict=True)
        of_seeds = sum(max(table.of_seeds, known.variance / table.seeds) for table, known in pairs) / k**2
        few = sum(known.freedom for known in family)
    width = float(stdtrit(freedom, (1 + LEVEL) / 2)) ** 2 * items
    width += float(stdtrit(few, (1 + LEVEL) / 2)) ** 2 * of_seeds if of_seeds else 0.0
    p = _p_of_both(found.difference, items, of_seeds, freedom, few)
    half = math.sqrt(width)
    several = found.seeds > 1
    reach = float(ndtri((1 + LEVEL) / 2) + ndtri(POWER))
    return replace(
        found,
        p=max(found.p, min(1.0, p)) if several else found.p,
        test=f"{found.test}; t over items and seeds" if several else found.test,
        stderr=math.sqrt(items + of_seeds),
        low=found.difference - half,
        high=found.difference + half,
        detectable=reach * math.sqrt(items + of_seeds),
        items_needed=_items_needed(found.difference / reach, found.n, tables, of_seeds),
        seeds_needed=_seeds_needed(found.difference / reach, tables, of_seeds) if several else None,
    )


def _p_of_both(difference: float, items: float, seeds: float, freedom: int, few: int) -> float:
    """The least p at which the interval of `crossed.interval` leaves out 0: its two quantiles are those of p."""
    from scipy.special import stdtr, stdtrit

    if difference == 0:
        return 1.0
    if not seeds:
        return 2 * float(stdtr(freedom, -abs(difference) / math.sqrt(items))) if items else 0.0
    low, high = -100.0, 0.0
    for _ in range(40):
        middle = (low + high) / 2
        tail = math.exp(middle) / 2
        reached = float(stdtrit(freedom, tail)) ** 2 * items + float(stdtrit(few, tail)) ** 2 * seeds
        low, high = (low, middle) if reached < difference**2 else (middle, high)
    return math.exp(high)


def _items_needed(effect: float, n: int, tables: Sequence[Crossed], of_seeds: float) -> int | None:
    """How many items find `effect` (in quantiles) with these seeds; None where seeds alone hide it."""
    k = len(tables)
    chance = sum(table.ms_rest / (table.n * table.seeds) for table in tables) / k**2
    lasting = max(0.0, of_seeds - chance)
    passing = sum(table.of_items for table in tables) / k**2 + of_seeds - lasting
    left = effect**2 - lasting
    return max(1, math.ceil(n * passing / left)) if left > 0 else None


def _seeds_needed(effect: float, tables: Sequence[Crossed], of_seeds: float) -> int | None:
    """How many seeds find `effect` on these items; None where the items alone hide it, however many seeds answer."""
    left = effect**2 - sum(table.of_items for table in tables) / len(tables) ** 2
    return max(1, math.ceil(min(table.seeds for table in tables) * of_seeds / left)) if left > 0 else None

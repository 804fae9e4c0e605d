"""The statistics behind a board: the error of a mean over seeds, the gap closed, and the paired test.

The standard error of a mean over S seeds that answered the same n items. Write x_is = m + a_i + b_s + c_is for item i
under seed s. More seeds average b and c out, but never a: the items stay the same. With e_s the standard error over
items within seed s, and v the variance (S - 1) of the S scores,

    se^2 = mean(e_s^2) + v / S

estimates var(a)/n + var(b)/S + (1 + 1/S) var(c)/n: both kinds of variance, and one var(c)/n too many rather than too
few. With one seed it is e_s, and what another seed would have given is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 9_999
EXACT_STEPS = 20_000
"""Most steps there may be for the exact distribution, a matter of 0.1 s; beyond, signs are drawn."""


def seeds_stderr(values: Sequence[float], stderrs: Sequence[float | None]) -> float | None:
    """Standard error of the mean of `values`, one per seed, each with its standard error over the same items.

    None where an item error is unknown. See the module for the formula.
    """
    known = [e for e in stderrs if e is not None]
    if not values or len(known) < len(values):
        return None
    item = sum(e * e for e in known) / len(known)
    if len(values) == 1:
        return math.sqrt(item)
    mean = sum(values) / len(values)
    spread = sum((x - mean) ** 2 for x in values) / (len(values) - 1)
    return math.sqrt(item + spread / len(values))


def suites_stderr(stderrs: Sequence[float | None]) -> float | None:
    """Standard error of a mean over suites, whose items are not the same: sqrt(sum of squares) / number."""
    known = [e for e in stderrs if e is not None]
    if not known or len(known) < len(stderrs):
        return None
    return math.sqrt(sum(e * e for e in known)) / len(known)


def gap_is_settled(
    student: float, student_stderr: float | None, teacher: float, teacher_stderr: float | None
) -> bool | None:
    """Whether teacher and student are more than two standard errors apart; None where an error is unknown."""
    if student_stderr is None or teacher_stderr is None:
        return None
    return abs(teacher - student) > 2 * math.hypot(student_stderr, teacher_stderr)


def gap_closed(value: float, student: float, teacher: float) -> float:
    """The share of the way from student to teacher: 0 is the student, 1 the teacher, either side is possible."""
    return (value - student) / (teacher - student)


# ---------------------------------------------------------------- the paired test


@dataclass(frozen=True)
class Answers:
    """What one run's answers to a task were worth: `documents` (n,) numbers that name them, `values` (n,)."""

    documents: NDArray[Any]
    values: NDArray[Any]


@dataclass(frozen=True)
class Paired:
    """Two methods on the same `n` items and seeds: two-sided `p`, mean `difference` with its 95 % interval.

    `p_holm` is p corrected for all the comparisons of its family, null before that. `gained` and `lost` count the items
    that got better and worse, `seeds` the seeds that both have (1: what another seed would give is unknown). With as
    many items and seeds a difference of `detectable` is found four times out of five; to find the observed one as often
    takes `items_needed` with these seeds or `seeds_needed` with these items, null where no number of them would do.
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


def paired_test(method: Sequence[Answers], student: Sequence[Answers]) -> Paired | None:
    """Do two methods differ on the same items? One `Answers` per seed; None where no item is in common.

    Under the null hypothesis the sign of each item's difference is a coin. With answers that are right or wrong, the
    differences of means over seeds are whole steps of a fraction, and the distribution of their sum is worked out
    exactly: with one seed each, that is the exact McNemar test. Otherwise signs are drawn, with a fixed seed.
    Seeds are taken as they are: the test speaks of these students, the standard error of the board of others too.
    """
    import numpy as np

    ours, theirs = _mean_over_seeds(method), _mean_over_seeds(student)
    shared, left, right = np.intersect1d(ours.documents, theirs.documents, return_indices=True)
    if shared.size == 0:
        return None
    difference = ours.values[left] - theirs.values[right]
    difference[np.abs(difference) < 1e-12] = 0.0
    steps = math.lcm(len(method), len(student))
    exact = all(_is_right_or_wrong(answers.values) for answers in (*method, *student))
    if exact and steps * shared.size <= EXACT_STEPS:
        p = sign_flip_exact(np.rint(difference * steps).astype(np.int64))
        test = "exact McNemar" if steps == 1 else "exact sign-flip permutation"
    else:
        p, test = sign_flip_drawn(difference), f"sign-flip permutation, {DRAWS} draws"
    gained, lost = int((difference > 0).sum()), int((difference < 0).sum())
    return Paired(p, float(difference.mean()), int(shared.size), gained, lost, test)


def sign_flip_exact(steps: NDArray[Any]) -> float:
    """Two-sided p of the sum of whole `steps` (n,) when each may take either sign.

    The chance that the absolute sum over all 2^n signs is at least the observed one, from the exact distribution of the
    sum of the positive steps: one binomial per size of step, convolved.
    """
    import numpy as np

    sizes, counts = np.unique(np.abs(steps[steps != 0]), return_counts=True)
    if sizes.size == 0:
        return 1.0
    distribution = np.ones(1)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        wider = np.zeros(distribution.size + size * count)
        for chosen, chance in enumerate(_coin(count)):
            wider[chosen * size : chosen * size + distribution.size] += chance * distribution
        distribution = wider
    total = int((sizes * counts).sum())
    sums = 2 * np.arange(total + 1) - total
    return min(1.0, float(distribution[np.abs(sums) >= abs(int(steps.sum()))].sum()))


def sign_flip_drawn(differences: NDArray[Any], draws: int = DRAWS, seed: int = 0) -> float:
    """Two-sided p of the sum of `differences` (n,) from `draws` random signs and the observed one."""
    import numpy as np

    random = np.random.default_rng(seed)
    sizes = np.abs(differences[differences != 0])
    if sizes.size == 0:
        return 1.0
    observed = abs(float(differences.sum()))
    # sums of the same numbers in another order differ in the last bits
    threshold = observed * (1 - 1e-9)
    extreme = 0
    for start in range(0, draws, 500):
        signs = random.integers(0, 2, size=(min(500, draws - start), sizes.size), dtype=np.int8)
        extreme += int((np.abs((2 * signs - 1) @ sizes) >= threshold).sum())
    return (extreme + 1) / (draws + 1)


def _coin(n: int) -> list[float]:
    """The chances of 0 .. n heads in n throws, each rounded once."""
    whole = 2**n
    ways = 1
    chances = []
    for heads in range(n + 1):
        chances.append(ways / whole)
        ways = ways * (n - heads) // (heads + 1)
    return chances


def _is_right_or_wrong(values: NDArray[Any]) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _mean_over_seeds(seeds: Sequence[Answers]) -> Answers:
    """The items every seed answered, with the mean of what that was worth."""
    import numpy as np

    documents = seeds[0].documents
    for answers in seeds[1:]:
        documents = np.intersect1d(documents, answers.documents)
    total = np.zeros(documents.size)
    for answers in seeds:
        _, _, where = np.intersect1d(documents, answers.documents, return_indices=True)
        total += answers.values[where]
    # intersect1d sorts, so every seed's values came in the order of the sorted documents
    return Answers(np.sort(documents), total / len(seeds))

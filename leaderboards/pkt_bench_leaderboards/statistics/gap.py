"""Gap closed: the share of the way from student to teacher, `(method - student) / (teacher - student)`.

A ratio of means over the same items. Its interval is Fieller's (1954): all shares g for which `method - student -
g (teacher - student)` cannot be told from nothing. Where the gap itself cannot be told from nothing there is no such
interval, and no share is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pkt_bench_leaderboards.statistics.crossed import LEVEL, crossed, stretched

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Gap:
    """The share closed, and its 95 % interval over items and seeds."""

    closed: float
    low: float
    high: float


@dataclass(frozen=True)
class Three:
    """One suite: `method` (n, S), `student` (n,) and `teacher` (n,) on the same items."""

    method: NDArray[Any]
    student: NDArray[Any]
    teacher: NDArray[Any]


def gap_closed(value: float, student: float, teacher: float) -> float:
    """The share of the way from student to teacher: 0 is the student, 1 the teacher, either side is possible."""
    return (value - student) / (teacher - student)


def gap_is_settled(
    student: float, student_stderr: float | None, teacher: float, teacher_stderr: float | None
) -> bool | None:
    """Whether teacher and student are more than two standard errors apart; None where an error is unknown.

    For scores whose answers are not at hand; where they are, teacher and student are tested on the same items.
    """
    if student_stderr is None or teacher_stderr is None:
        return None
    return abs(teacher - student) > 2 * math.hypot(student_stderr, teacher_stderr)


def gap_interval(suites: Sequence[Three], *, level: float = LEVEL) -> Gap | None:
    """The share of the gap that is closed in the mean over suites; None where the gap cannot be told from nothing."""
    import numpy as np

    k = len(suites)
    if not k or any(suite.student.size < 2 for suite in suites):
        return None
    # of a share g the tested mean is `ahead - g * gap`, its items' part of the variance `v0 + 2 g v01 + g^2 v1`
    ahead = gap = v0 = v01 = v1 = of_seeds = chance = 0.0
    for suite in suites:
        n = suite.student.size
        own, whole = suite.method.mean(axis=1) - suite.student, suite.teacher - suite.student
        ahead, gap = ahead + float(own.mean()) / k, gap + float(whole.mean()) / k
        spread = np.cov(np.stack([own, -whole])) / (n * k**2)
        v0, v01, v1 = v0 + float(spread[0, 0]), v01 + float(spread[0, 1]), v1 + float(spread[1, 1])
        table = crossed(suite.method)
        if table is not None:
            of_seeds += table.of_seeds / k**2
            # what is chance within the items' part is counted with the seeds
            chance += table.ms_rest / (n * table.seeds * k**2)
    v0 = max(v0 - chance, v0 / 2)
    share = ahead / gap if gap else 0.0
    items = max(0.0, v0 + 2 * share * v01 + share**2 * v1)
    freedom, few = (sum(size - 1 for size in sizes) for sizes in zip(*(s.method.shape for s in suites), strict=True))
    q, by_seeds = stretched(items, of_seeds, freedom, few, level=level)
    seeds = by_seeds * of_seeds
    # (ahead - g gap)^2 <= q (v0 + 2 g v01 + g^2 v1) + seeds
    a = gap**2 - q * v1
    b = -2 * (ahead * gap + q * v01)
    c = ahead**2 - q * v0 - seeds
    if a <= 0:
        return None
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return Gap(share, (-b - root) / (2 * a), (-b + root) / (2 * a))

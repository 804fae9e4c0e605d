"""Who is ahead on a board, and is it real: tests on the same items, families of them, places, gaps, controls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pkt_bench_leaderboards import statistics
from pkt_bench_leaderboards.comparable import Entry, RowKey
from pkt_bench_leaderboards.labels import is_called
from pkt_bench_leaderboards.records import Against, Column
from pkt_bench_leaderboards.statistics import SIGNIFICANT, Answers, Paired, compare_all
from pkt_bench_leaderboards.statistics.answers import lined_up, shared_documents
from pkt_bench_leaderboards.statistics.family import corrected
from pkt_bench_leaderboards.statistics.gap import Gap, Three
from pkt_bench_leaderboards.statistics.paired import Differences, differences, turned

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_PAIRED = 60
"""With more ranked rows than this, places are by standard errors and not by tests of every pair."""

# the answers of every seed of a method on a suite
Answered = Mapping[tuple[RowKey, str], Mapping[int, Answers]]


@dataclass(frozen=True)
class Standing:
    """What a row's place rests on: one more than the rows that are significantly ahead, and those it is ahead of."""

    place: int
    beats: tuple[RowKey, ...] = ()


@dataclass(frozen=True)
class Contest:
    """The rows of a board with the answers of those where every seed's are known."""

    kinds: Mapping[RowKey, Entry]
    columns: Sequence[Column]
    answered: Answered
    _known: dict[tuple[RowKey, RowKey, str], Differences | None] = field(default_factory=dict)

    @property
    def suites(self) -> list[str]:
        """The suites of the board."""
        return [column.suite for column in self.columns]

    def differences(self, row: RowKey, other: RowKey, suite: str) -> Differences | None:
        """What `row` is worth more than `other` on each item and seed; None where answers are not known."""
        key = (row, other, suite)
        if key not in self._known:
            self._known[key] = self._differences(row, other, suite)
        return self._known[key]

    def _differences(self, row: RowKey, other: RowKey, suite: str) -> Differences | None:
        ours, theirs = self.answered.get((row, suite)), self.answered.get((other, suite))
        if not ours or not theirs:
            return None
        fixed, turned = (self.kinds[each].paradigm == "reference" for each in (other, row))
        if turned and not fixed:
            found = differences(theirs, ours, fixed=True)
            return None if found is None else replace(found, values=-found.values, table=_turned(found.table))
        return differences(ours, theirs, fixed=fixed)

    def over(self, row: RowKey, other: RowKey, suites: Iterable[str]) -> dict[str, Differences]:
        """The differences on those of the suites where answers of both are known."""
        found = {suite: self.differences(row, other, suite) for suite in suites}
        return {suite: each for suite, each in found.items() if each is not None}

    # ------------------------------------------------------------ against the baseline

    def against(self, baseline: RowKey | None) -> dict[tuple[RowKey, str], Paired]:
        """Every row on every suite against the baseline.

        One family, but for the untouched models: those are no contestants, and each is tested on its own.
        """
        if baseline is None:
            return {}
        rows = [row for row in self.kinds if row != baseline]
        every = {(row, suite): self.over(row, baseline, [suite]) for row in rows for suite in self.suites}
        less = {column.suite for column in self.columns if not column.higher_is_better}
        found = self._families(every, lambda key: key[0])
        return {key: turned(paired) if key[1] in less else paired for key, paired in found.items()}

    def mean_against(self, baseline: RowKey | None, rows: Iterable[RowKey]) -> dict[RowKey, Paired]:
        """The means of `rows` over all suites against that of the baseline; one family as in `against`."""
        if baseline is None:
            return {}
        every = {row: self.over(row, baseline, self.suites) for row in rows if row != baseline}
        whole = {row: found for row, found in every.items() if len(found) == len(self.suites)}
        return self._families(whole, lambda row: row)

    def _families(self, every: Mapping[Any, Mapping[str, Differences]], row_of: Any) -> dict[Any, Paired]:  # noqa: ANN401 - keys of either kind
        contestants = {key: found for key, found in every.items() if self.kinds[row_of(key)].paradigm != "reference"}
        tested = compare_all(contestants)
        for key in every.keys() - contestants.keys():
            tested |= compare_all({key: every[key]})
        return tested

    # ------------------------------------------------------------ places

    def standings(
        self, means: Mapping[RowKey, tuple[float, float | None]], suites: Sequence[str], *, higher_is_better: bool
    ) -> dict[RowKey, Standing]:
        """The place of each row that has a mean over `suites`, from its mean and standard error.

        Every pair is tested on the same items, corrected after Holm. Where answers are not known, or rows are too many
        for that, the means are set against their standard errors, as if items were not the same: that errs towards no
        difference. A row without a standard error has no place.
        """
        rows = list(means)
        if not self.unpaired(rows, suites):
            pairs = {(a, b): self.over(a, b, suites) for number, a in enumerate(rows) for b in rows[number + 1 :]}
            if all(len(found) == len(suites) for found in pairs.values()):
                return _by_tests(rows, compare_all(pairs, independent=len(rows) - 1), higher_is_better=higher_is_better)
        return _by_errors(means, higher_is_better=higher_is_better)

    def unpaired(self, rows: Sequence[RowKey], suites: Sequence[str]) -> str:
        """Why not every pair of rows can be tested on the same items; empty where they can."""
        if len(rows) > MOST_PAIRED:
            return f"more than {MOST_PAIRED} rows"
        lacking = sum(any((row, suite) not in self.answered for suite in suites) for row in rows)
        return f"the answers of {lacking} of {len(rows)} rows are not at hand" if lacking and len(rows) > 1 else ""

    # ------------------------------------------------------------ the gap, and controls

    def gap(self, row: RowKey, student: RowKey, teacher: RowKey, suites: Sequence[str]) -> Gap | None:
        """The share of the gap that a row closes, with its interval; None where answers are not known."""
        found = [self._three(row, student, teacher, suite) for suite in suites]
        three = [each for each in found if each is not None]
        return statistics.gap_interval(three) if len(three) == len(suites) else None

    def _three(self, row: RowKey, student: RowKey, teacher: RowKey, suite: str) -> Three | None:
        each = [self.answered.get((key, suite)) for key in (row, student, teacher)]
        runs = [list(answers.values()) for answers in each if answers]
        if len(runs) < len(each):
            return None
        documents = shared_documents([run for found in runs for run in found])
        if documents.size == 0:
            return None
        method, low, high = (lined_up(found, documents) for found in runs)
        if self.kinds[row].paradigm == "reference":
            method = method.mean(axis=1, keepdims=True)
        return Three(method, low.mean(axis=1), high.mean(axis=1))

    def controls(self, labels: Mapping[RowKey, str]) -> dict[RowKey, tuple[Against, ...]]:
        """Each method against its controls, over the suites that both have; one family.

        A control of a method with several settings is set against those with the same settings, or where none has,
        against all.
        """
        pairs = {
            (method, control): self.over(method, control, self.suites)
            for control, kind in self.kinds.items()
            if kind.control_of
            for method in self._controlled(control, kind.control_of)
        }
        tested = compare_all({pair: found for pair, found in pairs.items() if found})
        found: dict[RowKey, list[Against]] = {}
        for (method, control), paired in tested.items():
            found.setdefault(method, []).append(Against(labels[control], labels[method], paired))
        return {method: tuple(each) for method, each in found.items()}

    def _controlled(self, control: RowKey, name: str) -> list[RowKey]:
        # of its own distribution's method, where there is one; else of the only one that is called so
        named = [row for row in self.kinds if is_called(row, name)]
        own = [row for row in named if row.distribution == control.distribution]
        methods = own or (named if len({row.distribution for row in named}) == 1 else [])
        alike = [row for row in methods if row.settings == control.settings]
        return alike or methods


def better(paired: Paired, *, higher_is_better: bool) -> bool | None:
    """Whether a difference is for the better (True) or the worse; None where it may be chance."""
    p = paired.p if paired.p_holm is None else paired.p_holm
    if p >= SIGNIFICANT or paired.difference == 0:
        return None
    return (paired.difference > 0) is higher_is_better


def _turned(table: statistics.Crossed | None) -> statistics.Crossed | None:
    return None if table is None else replace(table, mean=-table.mean)


def _by_tests(
    rows: Sequence[RowKey], tested: Mapping[tuple[RowKey, RowKey], Paired], *, higher_is_better: bool
) -> dict[RowKey, Standing]:
    beats: dict[RowKey, list[RowKey]] = {row: [] for row in rows}
    behind = dict.fromkeys(rows, 0)
    for (a, b), paired in tested.items():
        ahead = better(paired, higher_is_better=higher_is_better)
        if ahead is not None:
            winner, loser = (a, b) if ahead else (b, a)
            beats[winner].append(loser)
            behind[loser] += 1
    return {row: Standing(1 + behind[row], tuple(beats[row])) for row in rows}


def _by_errors(means: Mapping[RowKey, tuple[float, float | None]], *, higher_is_better: bool) -> dict[RowKey, Standing]:
    import numpy as np
    from scipy.special import ndtri

    rows = [row for row, (_, stderr) in means.items() if stderr is not None]
    if not rows:
        return {}
    values = np.array([means[row][0] for row in rows]) * (1 if higher_is_better else -1)
    variances = np.array([float(means[row][1] or 0.0) ** 2 for row in rows])
    # Bonferroni's bound over all pairs
    needed = float(-ndtri(SIGNIFICANT / max(1, len(rows) * (len(rows) - 1)))) if len(rows) > 1 else 0.0
    found = {}
    for index, row in enumerate(rows):
        ahead: NDArray[Any] = values - values[index] > needed * np.sqrt(variances + variances[index])
        found[row] = Standing(1 + int(ahead.sum()))
    return found


__all__ = ["MOST_PAIRED", "Contest", "Standing", "better", "corrected"]

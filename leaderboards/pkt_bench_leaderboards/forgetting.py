"""What students lost elsewhere, and how far repeated runs of an untouched model are apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pkt_bench_leaderboards.comparable import Entry, RowKey
from pkt_bench_leaderboards.items import ItemKey
from pkt_bench_leaderboards.records import Column, Forgotten, Noise
from pkt_bench_leaderboards.statistics import Answers, compare_all
from pkt_bench_leaderboards.statistics.answers import lined_up, shared_documents
from pkt_bench_leaderboards.statistics.paired import Differences, differences, turned

if TYPE_CHECKING:
    import pyarrow as pa


class Elsewhere(NamedTuple):
    """A figure of a run that its suite is not ranked by. Names as in the schema."""

    run_id: str
    task: str
    metric: str
    filter: str
    value: float | None
    higher_is_better: bool | None
    comparability: str | None

    @property
    def key(self) -> ItemKey:
        """What its answers are found by."""
        return (self.run_id, self.task, self.metric, self.filter)


class Repeat(NamedTuple):
    """One of several runs of an untouched model on a suite. Names as in the schema."""

    run_id: str
    method: str
    distribution: str | None
    suite: str
    task: str
    metric: str
    filter: str
    value: float
    comparability: str

    @property
    def key(self) -> ItemKey:
        """What its answers are found by."""
        return (self.run_id, self.task, self.metric, self.filter)


def read_elsewhere(runs: pa.Table, counted: Iterable[Entry]) -> dict[str, list[Elsewhere]]:
    """By run, the figures of the counted runs on tasks other than the one their suite is ranked by."""
    import pyarrow.compute as pc

    own = {entry.run_id: entry.task for entry in counted}
    # null, which filter leaves out, where headline is unknown
    table = runs.filter(pc.invert(runs["headline"]))
    found: dict[str, list[Elsewhere]] = defaultdict(list)
    for each in _rows(table, Elsewhere._fields):
        row = Elsewhere(*each)
        if own.get(row.run_id, row.task) != row.task:
            found[row.run_id].append(row)
    return dict(found)


def read_repeats(runs: pa.Table) -> list[list[Repeat]]:
    """Runs of an untouched model that were each really made, with what they repeat: two or more each."""
    import pyarrow.compute as pc

    # a score that was taken over from another run is no second measurement
    stages = runs["stage_seconds"]
    made = pc.or_kleene(pc.is_null(stages), pc.invert(pc.match_substring(stages, "score (reused)")))
    # by pattern, because a Python value as an argument imports pandas where it is installed
    done = pc.and_kleene(pc.match_substring_regex(runs["outcome"], "^done$"), pc.is_valid(runs["value"]))
    untouched = pc.and_kleene(pc.match_substring_regex(runs["paradigm"], "^reference$"), runs["headline"])
    table = runs.filter(pc.and_kleene(pc.and_kleene(untouched, done), made))
    found: dict[tuple[str, str | None, str], dict[str, Repeat]] = defaultdict(dict)
    for each in _rows(table, Repeat._fields):
        row = Repeat(*each)
        found[row.method, row.distribution, row.comparability][row.run_id] = row
    return [list(by_run.values()) for by_run in found.values() if len(by_run) > 1]


def noise(
    repeats: Iterable[Sequence[Repeat]], columns: Sequence[Column], answers: Mapping[ItemKey, Answers]
) -> tuple[Noise, ...]:
    """How far repeated runs that are comparable with a board's are apart."""
    keys = {column.comparability for column in columns}
    found = []
    for runs in repeats:
        if runs[0].comparability not in keys:
            continue
        values = [run.value for run in runs]
        known = [answers[run.key] for run in runs if run.key in answers]
        items = None
        if len(known) == len(runs):
            table = lined_up(known, shared_documents(known))
            items = int((table.max(axis=1) != table.min(axis=1)).sum())
        found.append(Noise(runs[0].method, runs[0].suite, len(runs), max(values) - min(values), items))
    return tuple(sorted(found, key=lambda each: (each.method, each.suite)))


# ---------------------------------------------------------------- forgetting


@dataclass(frozen=True)
class _Lost:
    row: RowKey
    said: Forgotten
    difference: Differences | None


def forgotten(
    runs: Mapping[str, Mapping[RowKey, tuple[Entry, ...]]],
    elsewhere: Mapping[str, Sequence[Elsewhere]],
    student: RowKey | None,
    answers: Mapping[ItemKey, Answers],
) -> dict[RowKey, tuple[Forgotten, ...]]:
    """By row, what its students are worth on the tasks of other suites, against the untouched student; one family.

    `runs` are the runs of each square by suite and row.
    """
    if student is None or not elsewhere:
        return {}
    tasks = _headlines(runs)
    untouched = _by_comparability(
        (entry for by_row in runs.values() for entry in by_row.get(student, ())), elsewhere, tasks
    )
    lost = [
        found
        for suite, by_row in runs.items()
        for row, entries in by_row.items()
        if entries and entries[0].paradigm != "reference"
        for found in _lost(row, suite, _by_comparability(entries, elsewhere, tasks), untouched, answers)
    ]
    family = {
        number: {found.said.task: found.difference} for number, found in enumerate(lost) if found.difference is not None
    }
    tested = compare_all(family)
    by_row: dict[RowKey, list[Forgotten]] = defaultdict(list)
    for number, found in enumerate(lost):
        paired = tested.get(number)
        if paired is not None and not found.said.higher_is_better:
            paired = turned(paired)
        by_row[found.row].append(replace(found.said, paired=paired))
    return {row: tuple(each) for row, each in by_row.items()}


def _headlines(runs: Mapping[str, Mapping[RowKey, tuple[Entry, ...]]]) -> dict[str, tuple[str | None, str | None]]:
    """The metric and filter that a board ranks a task by."""
    return {
        entry.task: (entry.metric, entry.filter)
        for by_row in runs.values()
        for entries in by_row.values()
        for entry in entries
        if entry.done and entry.task is not None
    }


_Scored = dict[str, list[tuple[int, Elsewhere]]]


def _by_comparability(
    entries: Iterable[Entry],
    elsewhere: Mapping[str, Sequence[Elsewhere]],
    tasks: Mapping[str, tuple[str | None, str | None]],
) -> _Scored:
    """Figures on other suites' tasks with their seeds, by what they may be compared with."""
    found: _Scored = defaultdict(list)
    for entry in entries:
        if not entry.done:
            continue
        for figure in elsewhere.get(entry.run_id, ()):
            wanted = tasks.get(figure.task, (figure.metric, figure.filter)) == (figure.metric, figure.filter)
            if wanted and figure.value is not None and figure.comparability is not None:
                found[figure.comparability].append((entry.seed, figure))
        if entry.comparability is not None and entry.value is not None:
            own = Elsewhere(
                entry.run_id,
                entry.task or "",
                entry.metric or "",
                entry.filter or "",
                entry.value,
                entry.higher_is_better,
                None,
            )
            found[entry.comparability].append((entry.seed, own))
    return found


def _lost(
    row: RowKey, suite: str, scored: _Scored, untouched: _Scored, answers: Mapping[ItemKey, Answers]
) -> Iterable[_Lost]:
    for key, figures in scored.items():
        first = figures[0][1]
        # what has no comparability of its own here is the suite's own figure
        if first.comparability is None or key not in untouched:
            continue
        students = untouched[key]
        ours = {seed: answers[f.key] for seed, f in figures if f.key in answers}
        theirs = {number: answers[f.key] for number, (_, f) in enumerate(students) if f.key in answers}
        complete = len(ours) == len(figures) and len(theirs) == len(students)
        said = Forgotten(
            suite=suite,
            task=first.task,
            metric=first.metric,
            value=_mean(f.value for _, f in figures),
            student=_mean(f.value for _, f in students),
            higher_is_better=first.higher_is_better is not False,
        )
        yield _Lost(row, said, differences(ours, theirs, fixed=True) if complete else None)


def _mean(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known)


def _rows(table: pa.Table, names: Collection[str]) -> Iterable[tuple[Any, ...]]:
    return zip(*(table[name].to_pylist() for name in names), strict=True)

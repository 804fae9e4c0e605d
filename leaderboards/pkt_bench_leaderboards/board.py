"""The fold that ranks: a table of runs in, boards out. Pure; nothing here reads a file or prints a number.

One board per pair and set of conditions: a row is a method with its settings, a column a suite, a square the mean over
seeds of the suite's headline figure. The policies:

- Of several attempts at a cell, the newest `done` one counts, else the newest.
- A row shows one variant of a method, that of its newest run: a mean is never over two codes, and what older code could
  do never hides that the newest fails. Runs of older variants are counted, not shown.
- Rows that differ in `comparability` never share a column: they are split into several boards, and each says why.
- The untouched student and teacher are shown where they would stand, without a place.
- A method has a mean, and a place, only where every suite of the board has a score for it.
- A place is one more than the number of methods that are significantly ahead: what cannot be told apart shares it.
- Gap closed is null where teacher and student cannot be told apart, or the student is ahead.
"""

from __future__ import annotations

import contextlib
import gc
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from pkt_bench_leaderboards import statistics
from pkt_bench_leaderboards.comparable import Entry, Group, RowKey, groups, read_entries, sets_apart
from pkt_bench_leaderboards.contests import Contest
from pkt_bench_leaderboards.forgetting import Elsewhere, Repeat, forgotten, noise, read_elsewhere, read_repeats
from pkt_bench_leaderboards.items import ItemKey, read_answers
from pkt_bench_leaderboards.labels import OWN, is_called, labels_of
from pkt_bench_leaderboards.records import (
    NOT_RUN,
    Against,
    Board,
    Column,
    Costs,
    Forgotten,
    Noise,
    Reason,
    Row,
    Square,
)
from pkt_bench_leaderboards.squares import around, costs_of, right_or_wrong, square_of, table_of
from pkt_bench_leaderboards.statistics import SIGNIFICANT, Answers, Paired

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class _Beside:
    """What there is beside the headline rows: answers, figures on other suites' tasks, repeats of untouched models.

    `rows` are those of all boards: what two of them call alike is one method.
    """

    answers: Mapping[ItemKey, Answers]
    elsewhere: Mapping[str, Sequence[Elsewhere]]
    repeats: Sequence[Sequence[Repeat]]
    rows: Collection[RowKey]


def boards(
    runs: pa.Table, items: pa.Table | None = None, suites: Collection[str] = (), baseline: str = "student"
) -> tuple[Board, ...]:
    """Ranks a table of runs (`schema.RUNS`); with their items (`schema.ITEMS`), methods are tested against `baseline`.

    `baseline` is the label of a row, or the name of a method, plain or as `distribution/method`; of several rows of
    that method the newest. A board without it tests against nothing.

    With `suites`, only these are shown. Leave their runs in the table: which variant of a method is the newest is
    seen from all its runs. Boards come by pair; among those of a pair, whole ones before limited ones, then the newest
    first.
    """
    with _no_collection():
        return _boards(runs, items, suites, baseline)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """The fold makes many records and no cycles: a collector that goes through them again and again costs a third."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _boards(runs: pa.Table, items: pa.Table | None, suites: Collection[str], baseline: str) -> tuple[Board, ...]:
    found = groups(read_entries(runs))
    if suites:
        found = [group for group in (each.only(suites) for each in found) if group.entries or group.older]
    counted = [entry for group in found for entry in group.entries if entry.done]
    elsewhere = read_elsewhere(runs, counted)
    repeats = read_repeats(runs)
    answers: Mapping[ItemKey, Answers] = {}
    if items is not None and items.num_rows:
        wanted = {_key_of(entry) for entry in counted}
        wanted |= {figure.key for figures in elsewhere.values() for figure in figures}
        wanted |= {run.key for repeated in repeats for run in repeated}
        answers = read_answers(items, wanted)
    beside = _Beside(
        answers, elsewhere, repeats, {entry.row for each in found for entry in (*each.entries, *each.older)}
    )
    return tuple(_board(group, sets_apart(group, found), beside, baseline) for group in found)


# ---------------------------------------------------------------- one board

# the runs of each square, one per seed
_Column = dict[RowKey, tuple[Entry, ...]]
_Squares = dict[str, dict[RowKey, Square]]


def _board(group: Group, apart: tuple[str, ...], beside: _Beside, baseline: str) -> Board:
    # a row of which all is out of date is still a row: it says so
    kinds = {entry.row: entry for entry in (*sorted(group.older, key=_age), *sorted(group.entries, key=_age))}
    suites = sorted({entry.suite for entry in group.entries or group.older})
    runs = {suite: _runs_by_row(group, suite) for suite in suites}
    columns = [_column(suite, group.done.get(suite, ())) for suite in suites]
    answered = {
        (row, suite): found
        for suite in suites
        for row, entries in runs[suite].items()
        if beside.answers and (found := _answers_of(entries, beside.answers))
    }
    squares: _Squares = {
        column.suite: {
            row: square_of(runs[column.suite].get(row, ()), answered.get((row, column.suite)), fraction=column.fraction)
            for row in kinds
        }
        for column in columns
    }
    labels = labels_of(kinds.values(), beside.rows)
    contest = Contest(kinds, columns, answered)
    against = _baseline(kinds, labels, squares, baseline)
    columns, squares = _tested(contest, columns, squares, against)
    student = _reference(kinds, squares, "student")
    lost = forgotten(runs, beside.elsewhere, student, beside.answers)
    controls = contest.controls(labels)
    older = Counter(entry.row for entry in group.older)
    variants = {entry.row: entry.variant for entry in group.entries}
    rows = {
        row: Row(
            method=row.method,
            label=labels[row],
            version=row.version,
            distribution=row.distribution,
            settings=row.settings,
            paradigm=entry.paradigm or "",
            control_of=entry.control_of or "",
            oracle=any(e.selection == "oracle" for suite in suites for e in runs[suite].get(row, ())),
            variant=variants.get(row),
            older_runs=older[row],
            squares=tuple(squares[suite][row] for suite in suites),
            costs=costs_of([e for suite in suites for e in runs[suite].get(row, ()) if e.done]),
            forgotten=lost.get(row, ()),
            controls=controls.get(row, ()),
        )
        for row, entry in kinds.items()
    }
    ranked, notes = _with_means(contest, rows, columns, against)
    newest = group.newest
    return Board(
        pair=group.conditions.pair,
        teacher=_model(newest.teacher, newest.teacher_revision),
        student=_model(newest.student, newest.student_revision),
        teacher_hash=group.conditions.teacher_hash,
        student_hash=group.conditions.student_hash,
        device=group.conditions.device,
        dtype=group.conditions.dtype,
        threads=group.conditions.threads,
        batch_size=group.conditions.batch_size,
        scorer=group.conditions.scorer,
        limit=group.conditions.limit,
        columns=tuple(columns),
        rows=tuple(ranked),
        outcomes=Counter(e.outcome for by_row in runs.values() for found in by_row.values() for e in found),
        baseline="" if against is None else labels[against],
        noise=noise(beside.repeats, columns, beside.answers),
        apart=apart,
        mean_note=notes.mean,
        gap_note=notes.gap,
        place_note=notes.place,
        caveats=_caveats(group),
    )


def _caveats(group: Group) -> tuple[str, ...]:
    """Each sentence once, in the order of the runs."""
    texts = dict.fromkeys(entry.caveats for entry in sorted(group.entries, key=_age) if entry.caveats)
    return tuple(dict.fromkeys(str(sentence) for text in texts for sentence in json.loads(text)))


def _age(entry: Entry) -> tuple[int, str]:
    return entry.age


def _key_of(entry: Entry) -> ItemKey:
    return (entry.run_id, entry.task or "", entry.metric or "", entry.filter or "")


def _runs_by_row(group: Group, suite: str) -> _Column:
    """For each row the runs of its square on a suite, one per seed: the newest of several cells."""
    newest: dict[tuple[RowKey, int], Entry] = {}
    others = (entry for entry in group.others if entry.suite == suite)
    for entry in (*group.done.get(suite, ()), *others):
        key = (entry.row, entry.seed)
        if key not in newest or entry.age > newest[key].age:
            newest[key] = entry
    found: dict[RowKey, list[Entry]] = {}
    for (row, _), entry in sorted(newest.items(), key=lambda pair: (pair[0][1], pair[0][0])):
        found.setdefault(row, []).append(entry)
    return {row: tuple(entries) for row, entries in found.items()}


def _column(suite: str, done: Sequence[Entry]) -> Column:
    if not done:
        return Column(suite)
    first = done[0]
    higher = first.higher_is_better is not False
    return Column(
        suite=suite,
        task=first.task,
        metric=first.metric,
        filter=first.filter,
        shots=first.shots,
        n=first.n,
        chance=first.chance,
        comparability=first.comparability,
        higher_is_better=higher,
        fraction=higher and all(entry.value is None or 0 <= entry.value <= 1 for entry in done),
    )


def _answers_of(runs: Iterable[Entry], answers: Mapping[ItemKey, Answers]) -> dict[int, Answers]:
    """The answers by seed; none at all where those of one are missing."""
    found = {entry.seed: answers.get(_key_of(entry)) for entry in runs if entry.done}
    known = {seed: answer for seed, answer in found.items() if answer is not None}
    return known if len(known) == len(found) else {}


def _reference(kinds: Mapping[RowKey, Entry], squares: _Squares, name: str) -> RowKey | None:
    """The row of an untouched model; where there are several, the newest that has a score, the bench's own first."""
    rows = [row for row, entry in kinds.items() if _is_reference(entry, name)]
    # what a stranger calls the student may be anything
    own = _scored([row for row in rows if row.distribution == OWN], squares)
    return _newest(own or rows, squares)


def _is_reference(entry: Entry, name: str) -> bool:
    return entry.paradigm == "reference" and entry.method == name


def _newest(rows: Sequence[RowKey], squares: _Squares) -> RowKey | None:
    """The last of the rows, which come by age, that has a score; else the last."""
    scored = _scored(rows, squares)
    return scored[-1] if scored else rows[-1] if rows else None


def _scored(rows: Sequence[RowKey], squares: _Squares) -> list[RowKey]:
    return [row for row in rows if any(by_row[row].value is not None for by_row in squares.values())]


def _baseline(
    kinds: Mapping[RowKey, Entry], labels: Mapping[RowKey, str], squares: _Squares, name: str
) -> RowKey | None:
    if name == "student":
        return _reference(kinds, squares, name)
    labelled = [row for row in kinds if labels[row] == name]
    return _newest(labelled or [row for row in kinds if is_called(row, name)], squares)


# ---------------------------------------------------------------- the columns, tested


def _tested(
    contest: Contest, columns: Sequence[Column], squares: _Squares, baseline: RowKey | None
) -> tuple[list[Column], _Squares]:
    """The columns and squares with what can be said of them: tests, places, gaps."""
    paired = contest.against(baseline)
    noted: list[Column] = []
    filled: _Squares = {}
    for column in columns:
        by_row = squares[column.suite]
        ranked = {
            row: (square.value, square.stderr)
            for row, square in by_row.items()
            if square.value is not None and contest.kinds[row].ranked
        }
        standings = contest.standings(ranked, [column.suite], higher_is_better=column.higher_is_better)
        gaps = _Gaps.of(contest, {column.suite: by_row}, [column.suite], higher_is_better=column.higher_is_better)
        noted.append(replace(column, gap_note=gaps.note))
        filled[column.suite] = {
            row: replace(
                square,
                paired=paired.get((row, column.suite)),
                place=standings[row].place if row in standings else None,
                gap_closed=share.closed,
                gap_low=share.low,
                gap_high=share.high,
            )
            for row, square in by_row.items()
            for share in [gaps.closed(row, square.value)]
        }
    return noted, filled


class _Notes(NamedTuple):
    """Why there is no mean, no gap closed of it, or no place by paired tests; empty where there is."""

    mean: str = ""
    gap: str = ""
    place: str = ""


class _Share(NamedTuple):
    closed: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class _Gaps:
    """The gap between student and teacher over some suites; `note` says why none can be closed, or nothing."""

    contest: Contest
    suites: Sequence[str]
    student: RowKey | None
    teacher: RowKey | None
    values: Mapping[RowKey, float]
    note: str

    @classmethod
    def of(cls, contest: Contest, squares: _Squares, suites: Sequence[str], *, higher_is_better: bool) -> _Gaps:
        """The gap of the mean over `suites`."""
        student, teacher = (_reference(contest.kinds, squares, name) for name in ("student", "teacher"))
        means = {row: found for row in (student, teacher) if row and (found := _mean_of(row, squares, suites))}
        note = _gap_note(contest, suites, student, teacher, means, higher_is_better=higher_is_better)
        return cls(contest, suites, student, teacher, {row: mean for row, (mean, _) in means.items()}, note)

    def closed(self, row: RowKey, value: float | None) -> _Share:
        """The share that a row of this value closes, with its interval where answers are known."""
        if self.note or value is None or self.student is None or self.teacher is None:
            return _Share()
        share = statistics.gap_closed(value, self.values[self.student], self.values[self.teacher])
        if row in {self.student, self.teacher}:
            return _Share(share)
        found = self.contest.gap(row, self.student, self.teacher, self.suites)
        # of the documents that all three answered, which may be fewer than the score is of
        if found is None or abs(found.closed - share) > 1e-6:
            return _Share(share)
        return _Share(share, found.low, found.high)


def _mean_of(row: RowKey, squares: _Squares, suites: Sequence[str]) -> tuple[float, float | None] | None:
    """Mean and standard error over suites; None where one has no score."""
    found = [squares[suite][row] for suite in suites]
    values = [square.value for square in found if square.value is not None]
    if len(values) < len(found):
        return None
    return sum(values) / len(values), statistics.suites_stderr([square.stderr for square in found])


def _gap_note(
    contest: Contest,
    suites: Sequence[str],
    student: RowKey | None,
    teacher: RowKey | None,
    means: Mapping[RowKey, tuple[float, float | None]],
    *,
    higher_is_better: bool,
) -> str:
    """Why gap closed cannot be given, or nothing."""
    if student is None or student not in means:
        return "no score of the untouched student"
    if teacher is None or teacher not in means:
        return "no score of the teacher"
    low, high = means[student], means[teacher]
    if (high[0] > low[0]) is not higher_is_better and high[0] != low[0]:
        return "the student is ahead of the teacher"
    found = contest.over(teacher, student, suites)
    if len(found) == len(suites):
        p = statistics.paired_mean(list(found.values())).p
        return f"teacher and student cannot be told apart (p = {p:.2f})" if p >= SIGNIFICANT else ""
    settled = statistics.gap_is_settled(*low, *high)
    if settled is None:
        return "the standard error of student or teacher is unknown"
    return "" if settled else "teacher and student are within two standard errors"


# ---------------------------------------------------------------- over all columns


def _with_means(
    contest: Contest, rows: Mapping[RowKey, Row], columns: Sequence[Column], baseline: RowKey | None
) -> tuple[list[Row], _Notes]:
    """Rows with mean, test, gap closed and place, best first; what is not given, and why."""
    higher, suites = columns[0].higher_is_better, [column.suite for column in columns]
    if len(columns) > 1 and not all(column.fraction for column in columns):
        note = "the suites are not scored in the same unit"
        return sorted(rows.values(), key=lambda row: row.label), _Notes(note, note)
    squares: _Squares = {
        suite: {key: row.squares[index] for key, row in rows.items()} for index, suite in enumerate(suites)
    }
    means = {key: found for key in rows if (found := _mean_of(key, squares, suites)) is not None}
    paired = contest.mean_against(baseline, means)
    gaps = _Gaps.of(contest, squares, suites, higher_is_better=higher)
    ranked = {key: mean for key, mean in means.items() if contest.kinds[key].ranked}
    standings = contest.standings(ranked, suites, higher_is_better=higher)
    placed = []
    for key, row in rows.items():
        whole = _with_mean(contest, key, row, columns, means.get(key), paired.get(key), gaps)
        if key in standings:
            beaten = sorted(rows[each].label for each in standings[key].beats)
            whole = replace(whole, place=standings[key].place, beats=tuple(beaten))
        placed.append(whole)
    sign = -1 if higher else 1
    placed.sort(key=lambda row: (row.mean is None, sign * (row.mean or 0), row.label))
    return placed, _Notes(gap=gaps.note, place=contest.unpaired(list(ranked), suites))


def _with_mean(
    contest: Contest,
    key: RowKey,
    row: Row,
    columns: Sequence[Column],
    mean: tuple[float, float | None] | None,
    paired: Paired | None,
    gaps: _Gaps,
) -> Row:
    if mean is None:
        return row
    if len(columns) == 1:
        low, high = row.squares[0].low, row.squares[0].high
    else:
        low, high = _interval(contest, key, columns, mean)
    value, stderr = mean
    share = gaps.closed(key, value)
    return replace(
        row,
        mean=value,
        mean_stderr=stderr,
        mean_low=low,
        mean_high=high,
        paired=row.squares[0].paired if len(columns) == 1 else paired,
        gap_closed=share.closed,
        gap_low=share.low,
        gap_high=share.high,
    )


def _interval(
    contest: Contest, key: RowKey, columns: Sequence[Column], mean: tuple[float, float | None]
) -> tuple[float | None, float | None]:
    value, stderr = mean
    fraction = all(column.fraction for column in columns)
    answers = [contest.answered.get((key, column.suite)) for column in columns]
    known = [found for found in answers if found]
    tables = [table for found in known if (table := table_of(found)) is not None]
    if len(tables) < len(columns) or abs(sum(table.mean for table in tables) / len(tables) - value) > 1e-6:
        return around(value, stderr, fraction=fraction)
    proportion = fraction and all(right_or_wrong(found) for found in known)
    return statistics.interval(tables, proportion=proportion) or (None, None)


def _model(label: str | None, revision: str | None) -> str:
    return " ".join(part for part in (label, revision) if part)


__all__ = [
    "NOT_RUN",
    "Against",
    "Board",
    "Column",
    "Costs",
    "Forgotten",
    "Noise",
    "Reason",
    "Row",
    "Square",
    "boards",
]

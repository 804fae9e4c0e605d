"""The fold that ranks: a table of runs in, boards out. Pure; nothing here reads a file or prints a number.

One board per pair and set of conditions: a row is a method with its settings, a column a suite, a square the mean over
seeds of the suite's headline figure. The policies:

- Of several attempts at a cell, the newest `done` one counts, else the newest.
- A row shows one variant of a method, that of its newest run: a mean is never over two codes, and what older code could
  do never hides that the newest fails. Runs of older variants are counted, not shown.
- Rows that differ in `comparability` never share a column: they are split into several boards, and each says why.
- The untouched student and teacher are shown where they would stand, without a place.
- A method has a mean, and a place, only where every suite of the board has a score for it.
- Scores that are written alike share a place.
- Gap closed is null where the teacher is not ahead of the student by more than two standard errors.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pkt_bench_leaderboards import statistics, text
from pkt_bench_leaderboards.comparable import Entry, Group, RowKey, groups, read_entries, sets_apart
from pkt_bench_leaderboards.items import ItemKey, read_answers
from pkt_bench_leaderboards.statistics import Answers, Paired

if TYPE_CHECKING:
    import pyarrow as pa

NOT_RUN = "not run"


@dataclass(frozen=True)
class Reason:
    """Why some seeds of a square are not done."""

    outcome: str
    text: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Costs:
    """What a cell took: means over the done runs. Null means unknown."""

    seconds: float | None = None
    payload_bytes: float | None = None
    trainable_parameters: float | None = None
    peak_rss_bytes: float | None = None
    artifact_bytes: float | None = None


@dataclass(frozen=True)
class Column:
    """One suite as it was scored; `task` and what follows are null where no run of the suite is done.

    `fraction`: the figure is a share of 1 and written as a percentage. `gap_note`: why no gap closed is given.
    """

    suite: str
    task: str | None = None
    metric: str | None = None
    filter: str | None = None
    shots: int | None = None
    n: int | None = None
    chance: float | None = None
    comparability: str | None = None
    higher_is_better: bool = True
    fraction: bool = True
    gap_note: str = ""


@dataclass(frozen=True)
class Forgotten:
    """What a student lost on a task of another suite, against the untouched student on the same items.

    `suite` is the one it was made for, `task` the other's. `paired.difference` is negative where it got worse and
    higher is better.
    """

    suite: str
    task: str
    metric: str
    value: float
    student: float
    higher_is_better: bool
    paired: Paired | None = None


@dataclass(frozen=True)
class Against:
    """A method against one of its controls, over all suites that both have: positive is in favour of the method."""

    label: str
    method: str
    paired: Paired


@dataclass(frozen=True)
class Noise:
    """How far repeated runs of the same untouched model are apart: `runs` of them, none taken over from another.

    `spread` is the largest difference of their scores, `items` how many items were answered differently in any.
    """

    method: str
    suite: str
    runs: int
    spread: float
    items: int | None = None


@dataclass(frozen=True)
class Square:
    """One method on one suite. `outcome` is `done` where there is any score, else the word for why there is none.

    `value` is the mean over `seeds`, `values` the score of each, `low` and `high` its 95 % interval over items and
    seeds (over items alone where there is one seed); `paired` is the test against the board's baseline on the same
    items. `place` counts the methods that are significantly ahead, plus one.
    """

    outcome: str
    value: float | None = None
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    gap_closed: float | None = None
    gap_low: float | None = None
    gap_high: float | None = None
    paired: Paired | None = None
    place: int | None = None
    costs: Costs = Costs()
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class Row:
    """One method with its settings over all suites. `mean` is over suites; `costs` are means over all its done runs.

    `oracle` says that something was chosen by test scores, so it has no place. `variant` is the code and
    libraries that made it; `older_runs` is how many runs of other ones are not shown. `paired` tests the mean against
    the board's baseline; `beats` are the labels of the rows it is significantly ahead of (all pairs, Holm), and
    `place` is one more than the number of rows that are so ahead of it: methods that cannot be told apart share it.
    """

    method: str
    label: str
    version: str
    distribution: str
    settings: str
    paradigm: str
    control_of: str
    oracle: bool
    variant: str | None
    older_runs: int
    squares: tuple[Square, ...]
    costs: Costs
    mean: float | None = None
    mean_stderr: float | None = None
    mean_low: float | None = None
    mean_high: float | None = None
    gap_closed: float | None = None
    gap_low: float | None = None
    gap_high: float | None = None
    place: int | None = None
    paired: Paired | None = None
    beats: tuple[str, ...] = ()
    forgotten: tuple[Forgotten, ...] = ()
    controls: tuple[Against, ...] = ()

    @property
    def reference(self) -> bool:
        """Whether this is an untouched model, which has no place."""
        return self.paradigm == "reference"

    @property
    def seeds(self) -> tuple[int, ...]:
        """Every seed that any of its squares has a score for."""
        return tuple(sorted({seed for square in self.squares for seed in square.seeds}))

    @property
    def one_seed(self) -> bool:
        """Whether some score rests on a single seed, so that nothing is known of what another would give."""
        return not self.reference and any(len(square.seeds) == 1 for square in self.squares)


@dataclass(frozen=True)
class Board:
    """What is ranked together: one pair under one set of conditions. Rows come in the order of the mean, best first.

    `apart` says in what it differs from the other boards of the pair; empty where there is only one. `mean_note` and
    `gap_note` say why there is no mean, or no gap closed of the mean. `outcomes` counts cells.
    """

    pair: str
    teacher: str
    student: str
    teacher_hash: str | None
    student_hash: str | None
    device: str | None
    dtype: str | None
    threads: int | None
    batch_size: int | None
    scorer: str | None
    limit: int | None
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    outcomes: Mapping[str, int]
    baseline: str = "student"
    noise: tuple[Noise, ...] = ()
    apart: tuple[str, ...] = ()
    mean_note: str = ""
    gap_note: str = ""


def boards(
    runs: pa.Table, items: pa.Table | None = None, suites: Collection[str] = (), baseline: str = "student"
) -> tuple[Board, ...]:
    """Ranks a table of runs (`schema.RUNS`); with their items (`schema.ITEMS`), methods are tested against `baseline`.

    `baseline` is the label of a row, or the name of a method with one row. A board without it tests against nothing.

    With `suites`, only these are shown. Leave their runs in the table: which variant of a method is the newest is
    seen from all its runs. Boards come by pair; among those of a pair, whole ones before limited ones, then the newest
    first.
    """
    found = groups(read_entries(runs))
    if suites:
        found = [group for group in (each.only(suites) for each in found) if group.entries or group.older]
    counted = [entry for group in found for entry in group.entries if entry.done]
    answers = read_answers(items, counted) if items is not None else {}
    return tuple(_board(group, sets_apart(group, found), answers) for group in found)


# ---------------------------------------------------------------- one board

# the runs of each square, one per seed
_Column = dict[RowKey, tuple[Entry, ...]]


def _board(group: Group, apart: tuple[str, ...], answers: Mapping[ItemKey, Answers]) -> Board:
    # a row of which all is out of date is still a row: it says so
    kinds = {entry.row: entry for entry in (*sorted(group.older, key=_age), *sorted(group.entries, key=_age))}
    older = Counter(entry.row for entry in group.older)
    variants = {entry.row: entry.variant for entry in group.entries}
    suites = sorted({entry.suite for entry in group.entries or group.older})
    runs = {suite: _runs_by_row(group, suite) for suite in suites}
    columns: list[Column] = []
    squares: dict[RowKey, list[Square]] = {row: [] for row in kinds}
    for suite in suites:
        column, filled = _fill(_column(suite, group.done.get(suite, ())), kinds, runs[suite], answers)
        columns.append(column)
        for row, square in filled.items():
            squares[row].append(square)
    labels = _labels(kinds.values())
    rows = [
        Row(
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
            squares=tuple(squares[row]),
            costs=_costs([e for suite in suites for e in runs[suite].get(row, ()) if e.done]),
        )
        for row, entry in kinds.items()
    ]
    rows, mean_note, gap_note = _with_means(rows, columns)
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
        rows=tuple(rows),
        outcomes=Counter(e.outcome for by_row in runs.values() for found in by_row.values() for e in found),
        apart=apart,
        mean_note=mean_note,
        gap_note=gap_note,
    )


def _age(entry: Entry) -> tuple[int, str]:
    return entry.age


def _runs_by_row(group: Group, suite: str) -> _Column:
    """For each row the runs of its square on a suite, one per seed: the newest of several cells."""
    newest: dict[tuple[RowKey, int], Entry] = {}
    others = (entry for entry in group.others if entry.suite == suite)
    for entry in (*group.done.get(suite, ()), *others):
        key = (entry.row, entry.seed)
        if key not in newest or entry.age > newest[key].age:
            newest[key] = entry
    found: dict[RowKey, list[Entry]] = {}
    for (row, _), entry in sorted(newest.items(), key=lambda pair: pair[0][1]):
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


# ---------------------------------------------------------------- one column


def _fill(
    column: Column, kinds: Mapping[RowKey, Entry], runs: _Column, answers: Mapping[ItemKey, Answers]
) -> tuple[Column, dict[RowKey, Square]]:
    """The squares of a column, with gap closed, paired test and place."""
    squares = {row: _square(runs.get(row, ())) for row in kinds}
    student, teacher = (_reference(kinds, squares, name) for name in ("student", "teacher"))
    note = _gap_note(
        squares[student] if student else None,
        squares[teacher] if teacher else None,
        higher_is_better=column.higher_is_better,
    )
    ranked = {row: square.value for row, square in squares.items() if square.value is not None and kinds[row].ranked}
    places = _places(ranked, higher_is_better=column.higher_is_better, fraction=column.fraction)
    baseline = _answers_of(runs.get(student, ()), answers) if student else []
    for row, square in squares.items():
        own = _answers_of(runs.get(row, ()), answers) if row != student else []
        gap = None
        if not note and student and teacher:
            gap = _gap(square.value, squares[student].value, squares[teacher].value)
        squares[row] = replace(
            square,
            place=places.get(row),
            gap_closed=gap,
            paired=statistics.paired_test(own, baseline) if own and baseline else None,
        )
    return replace(column, gap_note=note), squares


def _square(runs: Sequence[Entry]) -> Square:
    if not runs:
        return Square(NOT_RUN)
    reasons: dict[tuple[str, str], list[int]] = {}
    for entry in runs:
        if not entry.done:
            reasons.setdefault((entry.outcome, entry.reason), []).append(entry.seed)
        elif entry.value is None:
            reasons.setdefault((entry.outcome, "the scorer gave no value"), []).append(entry.seed)
    said = tuple(Reason(outcome, why, tuple(seeds)) for (outcome, why), seeds in reasons.items())
    done = [entry for entry in runs if entry.done]
    if not done:
        return Square(runs[-1].outcome, reasons=said)
    valued = [entry for entry in done if entry.value is not None]
    values = [entry.value for entry in valued if entry.value is not None]
    return Square(
        outcome="done",
        value=sum(values) / len(values) if values else None,
        stderr=statistics.seeds_stderr(values, [entry.stderr for entry in valued]),
        seeds=tuple(entry.seed for entry in valued),
        costs=_costs(done),
        reasons=said,
    )


def _costs(done: Sequence[Entry]) -> Costs:
    def mean(values: Iterable[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        # a mean over some would pass for one over all
        return sum(known) / len(known) if known and len(known) == len(done) else None

    return Costs(
        seconds=mean(entry.seconds for entry in done),
        payload_bytes=mean(entry.payload_bytes for entry in done),
        trainable_parameters=mean(entry.trainable_parameters for entry in done),
        peak_rss_bytes=mean(entry.peak_rss_bytes for entry in done),
        artifact_bytes=mean(entry.artifact_bytes for entry in done),
    )


def _answers_of(runs: Iterable[Entry], answers: Mapping[ItemKey, Answers]) -> list[Answers]:
    """The answers of every seed; none at all where those of one are missing."""
    done = [entry for entry in runs if entry.done]
    found = [answers.get((e.run_id, e.task or "", e.metric or "", e.filter or "")) for e in done]
    return [answer for answer in found if answer is not None] if None not in found else []


def _reference(kinds: Mapping[RowKey, Entry], squares: Mapping[RowKey, Square], name: str) -> RowKey | None:
    """The row of an untouched model; where there are several, the newest that has a score."""
    found = [row for row, entry in kinds.items() if entry.paradigm == "reference" and entry.method == name]
    scored = [row for row in found if squares[row].value is not None]
    return scored[-1] if scored else found[-1] if found else None


def _gap(value: float | None, student: float | None, teacher: float | None) -> float | None:
    if value is None or student is None or teacher is None:
        return None
    return statistics.gap_closed(value, student, teacher)


def _gap_note(student: Square | None, teacher: Square | None, *, higher_is_better: bool) -> str:
    """Why gap closed cannot be given, or nothing."""
    if student is None or student.value is None:
        return "no score of the untouched student"
    if teacher is None or teacher.value is None:
        return "no score of the teacher"
    settled = statistics.gap_is_settled(student.value, student.stderr, teacher.value, teacher.stderr)
    if settled is None:
        return "the standard error of student or teacher is unknown"
    if not settled:
        return "teacher and student are within two standard errors"
    if (teacher.value > student.value) is not higher_is_better:
        return "the student is ahead of the teacher"
    return ""


def _places(values: Mapping[RowKey, float], *, higher_is_better: bool, fraction: bool) -> dict[RowKey, int]:
    """Places from 1; what is written alike shares one, and the next is counted on."""
    written = {row: float(text.number(value, fraction=fraction)) for row, value in values.items()}
    sign = 1 if higher_is_better else -1
    return {row: 1 + sum(sign * other > sign * mine for other in written.values()) for row, mine in written.items()}


# ---------------------------------------------------------------- over all columns


def _with_means(rows: Sequence[Row], columns: Sequence[Column]) -> tuple[list[Row], str, str]:
    """Rows with mean, gap closed and place, best first; why there is no mean, and why no gap closed."""
    higher, fraction = columns[0].higher_is_better, columns[0].fraction
    if len(columns) > 1 and not all(column.fraction for column in columns):
        note = "the suites are not scored in the same unit"
        return sorted(rows, key=lambda row: row.label), note, note
    rows = [_with_mean(row) for row in rows]
    student, teacher = (_mean_of_reference(rows, name) for name in ("student", "teacher"))
    gap_note = _gap_note(student, teacher, higher_is_better=higher)
    if not gap_note and student and teacher:
        rows = [replace(row, gap_closed=_gap(row.mean, student.value, teacher.value)) for row in rows]
    ranked = {_key(row): row.mean for row in rows if row.mean is not None and not (row.reference or row.oracle)}
    places = _places(ranked, higher_is_better=higher, fraction=fraction)
    sign = -1 if higher else 1
    placed = [replace(row, place=places.get(_key(row))) for row in rows]
    placed.sort(key=lambda row: (row.mean is None, sign * (row.mean or 0), row.label))
    return placed, "", gap_note


def _mean_of_reference(rows: Sequence[Row], name: str) -> Square | None:
    """An untouched model's mean; where there are several of its kind, that of the newest that has one."""
    found = [row for row in rows if row.reference and row.method == name and row.mean is not None]
    return Square("done", found[-1].mean, found[-1].mean_stderr) if found else None


def _with_mean(row: Row) -> Row:
    values = [square.value for square in row.squares if square.value is not None]
    if len(values) < len(row.squares):
        return row
    return replace(
        row,
        mean=sum(values) / len(values),
        mean_stderr=statistics.suites_stderr([square.stderr for square in row.squares]),
    )


def _key(row: Row) -> RowKey:
    return RowKey(row.method, row.version, row.distribution, row.settings)


def _labels(kinds: Iterable[Entry]) -> dict[RowKey, str]:
    """What each row is called: the method, and where that is not enough, what tells it from its namesakes."""
    by_method: dict[str, list[RowKey]] = {}
    for entry in kinds:
        by_method.setdefault(entry.method, []).append(entry.row)
    labels = {}
    for method, rows in by_method.items():
        settings = [json.loads(row.settings or "{}") for row in rows]
        named = sorted({key for chosen in settings for key in chosen})
        differing = [key for key in named if len({json.dumps(c.get(key), sort_keys=True) for c in settings}) > 1]
        for row, chosen in zip(rows, settings, strict=True):
            words = [method]
            if len({other.distribution for other in rows}) > 1:
                words.append(f"({row.distribution})")
            if len({other.version for other in rows}) > 1:
                words.append(f"v{row.version}")
            words += [f"{key}={_setting(chosen.get(key))}" for key in differing]
            labels[row] = " ".join(words)
    return labels


def _setting(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _model(label: str | None, revision: str | None) -> str:
    return " ".join(part for part in (label, revision) if part)

"""A board as words: headings, lines of written cells and notes, which the screen and Markdown show as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.board import NOT_RUN, Board, Column, Row, Square

Tone = Literal["plain", "better", "worse", "missing", "warning"]

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Heading:
    """A column's key (what `--sort` takes), its title, a second line under it, and which side it is set against."""

    key: str
    title: str
    detail: str = ""
    right: bool = True


@dataclass(frozen=True)
class Cell:
    """One written cell: its text, the marks behind it, its tone, and the share a bar may show."""

    text: str
    marks: str = ""
    tone: Tone = "plain"
    share: float | None = None

    @property
    def written(self) -> str:
        """Text and marks."""
        return f"{self.text} {self.marks}".rstrip()


@dataclass(frozen=True)
class Line:
    """One row: `reference` lines are untouched models, `winner` has the first place."""

    cells: tuple[Cell, ...]
    reference: bool = False
    winner: bool = False


@dataclass(frozen=True)
class Note:
    """A remark under a board: the mark or word it explains, and what it says of it."""

    mark: str
    words: str


@dataclass(frozen=True)
class Sheet:
    """A board, written."""

    title: str
    subtitle: str
    headings: tuple[Heading, ...]
    lines: tuple[Line, ...]
    notes: tuple[Note, ...]


def sort_keys(board: Board) -> tuple[str, ...]:
    """What the rows of a board can be sorted by."""
    fixed = ("place", "method", "mean", "gap", "seconds", "moved", "trained", "seeds")
    return (*fixed, *(column.suite for column in board.columns))


def write(board: Board, *, sort: str = "place", everything: bool = False) -> Sheet:
    """Writes a board, rows sorted by one of `sort_keys` (best, cheapest or first first; unknown last).

    `everything` adds each suite's gap closed and p, where each method comes from, and what else a cell took.
    """
    footnotes = _Footnotes(board)
    columns = _columns(board, footnotes, everything=everything)
    rows = _sorted(board, sort)
    lines = tuple(
        Line(
            cells=tuple(cell(row) for _, cell in columns),
            reference=row.reference,
            winner=row.place == 1,
        )
        for row in rows
    )
    return Sheet(
        title=board.pair,
        subtitle=_subtitle(board),
        headings=tuple(heading for heading, _ in columns),
        lines=lines,
        notes=tuple(_notes(board, lines, footnotes)),
    )


def _sorted(board: Board, key: str) -> list[Row]:
    suites = [column.suite for column in board.columns]

    def order(row: Row) -> tuple[bool, float, float, str]:
        value, sign = 0.0, 1
        if key in suites:
            index = suites.index(key)
            found = row.squares[index].value
            sign = -1 if board.columns[index].higher_is_better else 1
        elif key == "gap":
            found, sign = row.gap_closed, -1
        elif key == "seeds":
            found, sign = float(len(row.seeds)), -1
        else:
            costs = row.costs
            named = {"seconds": costs.seconds, "moved": costs.payload_bytes, "trained": costs.trainable_parameters}
            found = named.get(key)
        value = found or 0.0
        return (found is None, sign * value, -(row.mean or 0.0), row.label)

    if key in {"place", "mean"} or key not in sort_keys(board):
        return list(board.rows)
    return sorted(board.rows, key=(lambda row: row.label) if key == "method" else order)


# ---------------------------------------------------------------- columns


_Written = tuple[Heading, Callable[[Row], Cell]]


def _columns(board: Board, footnotes: _Footnotes, *, everything: bool) -> list[_Written]:
    several = len(board.columns) > 1
    columns: list[_Written] = [
        (Heading("place", "#"), _place),
        (Heading("method", "method", right=False), lambda row: Cell(row.label, footnotes.older_mark(row))),
    ]
    if several:
        columns.append((Heading("mean", "mean", f"{len(board.columns)} suites"), lambda row: _mean(board, row)))
    else:
        columns.append(_suite(board, 0, footnotes))
    for index, column in enumerate(board.columns):
        if several:
            columns.append(_suite(board, index, footnotes))
        if several and everything:
            columns.append((Heading(f"{column.suite} gap", "gap", column.suite), _gap_of(index)))
        if everything or not several:
            columns.append((Heading(f"{column.suite} p", "p", column.suite if several else ""), _p_of(index)))
    columns += [
        (Heading("gap", "gap", "closed"), lambda row: _share(row.gap_closed)),
        (Heading("seconds", "seconds"), lambda row: Cell(text.seconds(row.costs.seconds))),
        (Heading("moved", "moved"), lambda row: Cell(text.size(row.costs.payload_bytes))),
        (Heading("trained", "trained"), lambda row: Cell(text.quantity(row.costs.trainable_parameters))),
        (Heading("seeds", "seeds"), _seeds),
    ]
    if everything:
        columns += [
            (Heading("memory", "memory"), lambda row: Cell(text.size(row.costs.peak_rss_bytes))),
            (Heading("artifact", "artifact"), lambda row: Cell(text.size(row.costs.artifact_bytes))),
            (Heading("paradigm", "paradigm", right=False), lambda row: Cell(row.paradigm)),
            (Heading("version", "version", right=False), lambda row: Cell(row.version)),
            (Heading("offered by", "offered by", right=False), lambda row: Cell(row.distribution)),
        ]
    return columns


def _place(row: Row) -> Cell:
    return Cell("" if row.reference else text.UNKNOWN if row.place is None else str(row.place))


def _mean(board: Board, row: Row) -> Cell:
    written = text.score(row.mean, row.mean_stderr, fraction=board.columns[0].fraction)
    return Cell(written, tone="missing" if row.mean is None else "plain")


def _share(share: float | None) -> Cell:
    return Cell(text.percent(share), tone="missing" if share is None else "plain", share=share)


def _gap_of(index: int) -> Callable[[Row], Cell]:
    return lambda row: _share(row.squares[index].gap_closed)


def _p_of(index: int) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        paired = row.squares[index].paired
        return Cell(text.probability(paired.p if paired else None))

    return cell


def _suite(board: Board, index: int, footnotes: _Footnotes) -> _Written:
    column = board.columns[index]
    detail = "" if column.n is None else f"n {column.n}"

    def cell(row: Row) -> Cell:
        square = row.squares[index]
        notes = footnotes.marks(square)
        if square.outcome != "done":
            return Cell(square.outcome, notes, "missing" if square.outcome in {NOT_RUN, "skipped"} else "warning")
        mark, tone = _significance(square, column, reference=row.reference)
        written = text.score(square.value, square.stderr, fraction=column.fraction)
        return Cell(written, mark + notes, tone)

    return Heading(column.suite, column.suite, detail), cell


def _significance(square: Square, column: Column, *, reference: bool) -> tuple[str, Tone]:
    """The mark of a difference from the student; hollow with one seed, for that is no win yet."""
    paired = square.paired
    if reference or paired is None or paired.p >= SIGNIFICANT:
        return "", "plain"
    better = (paired.difference > 0) is column.higher_is_better
    hollow = len(square.seeds) < 2
    if better:
        return ("△" if hollow else "▲"), "better"
    return ("▽" if hollow else "▼"), "worse"


def _seeds(row: Row) -> Cell:
    counts = [len(square.seeds) for square in row.squares if square.seeds]
    if not counts:
        return Cell(text.UNKNOWN, tone="missing")
    fewest, most = min(counts), max(counts)
    words = str(most) if fewest == most else f"{fewest}-{most}"
    if row.reference:
        return Cell(words)
    return Cell("1 seed" if most == 1 else words, tone="warning" if row.one_seed else "plain")


# ---------------------------------------------------------------- notes


class _Footnotes:
    """Numbers the reasons of a board: one number for the same reason, however often it is given."""

    def __init__(self, board: Board) -> None:
        self._where: dict[tuple[str, str], list[str]] = {}
        for row in board.rows:
            for column, square in zip(board.columns, row.squares, strict=True):
                for reason in square.reasons:
                    seeds = f"seed{'s' if len(reason.seeds) > 1 else ''} {text.spans(reason.seeds)}"
                    place = f"{row.label} on {column.suite}, {seeds}"
                    self._where.setdefault((reason.outcome, reason.text), []).append(place)
        self._numbers = {reason: number for number, reason in enumerate(self._where, 1)}
        self._older = [
            f"{row.label}, {row.older_runs} run{'s' if row.older_runs > 1 else ''}"
            for row in board.rows
            if row.older_runs
        ]
        self._older_mark = text.superscript(len(self._numbers) + 1)

    def marks(self, square: Square) -> str:
        """The numbers of a square's reasons."""
        numbers = [self._numbers[reason.outcome, reason.text] for reason in square.reasons]
        return "⁻".join(text.superscript(number) for number in numbers)

    def older_mark(self, row: Row) -> str:
        """The number of the note on older variants, where the row has any."""
        return self._older_mark if row.older_runs else ""

    def notes(self) -> list[Note]:
        """One note per reason, and one on all that is not shown because it is out of date."""
        reasons = [
            Note(
                text.superscript(self._numbers[outcome, why]),
                f"{outcome}: {why or 'no reason given'} [{'; '.join(where)}]",
            )
            for (outcome, why), where in self._where.items()
        ]
        if not self._older:
            return reasons
        words = f"older variants not shown, made by other code or libraries [{'; '.join(self._older)}]"
        return [*reasons, Note(self._older_mark, words)]


def _subtitle(board: Board) -> str:
    models = [
        f"{role} {name or text.short_hash(digest)}"
        for role, name, digest in (
            ("teacher", board.teacher, board.teacher_hash),
            ("student", board.student, board.student_hash),
        )
    ]
    where = [part for part in (board.scorer, board.dtype) if part]
    limit = [] if board.limit is None else [f"first {board.limit} documents only"]
    return " · ".join([" → ".join(models), *where, *limit])


def _notes(board: Board, lines: Sequence[Line], footnotes: _Footnotes) -> list[Note]:
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(board.outcomes.items()))
    notes = [Note("cells", f"{sum(board.outcomes.values())}: {counts}")]
    if board.apart:
        notes.append(Note("apart", f"not ranked with the other boards of {board.pair}: {'; '.join(board.apart)}"))
    about = [_about(column) for column in board.columns if column.task]
    if about:
        notes.append(Note("tasks", " · ".join(about)))
    notes += _significance_notes(board, {mark for line in lines for cell in line.cells for mark in cell.marks})
    notes += _gap_notes(board)
    if board.mean_note:
        notes.append(Note("mean", f"none: {board.mean_note}"))
    elif len(board.columns) > 1 and any(row.mean is None for row in board.rows):
        notes.append(Note("mean", "and place only where every suite has a score"))
    notes += [Note("control", f"{row.label}: of {row.control_of}") for row in board.rows if row.control_of]
    notes += [
        Note("oracle", f"{row.label}: chosen by test scores, so an upper bound and no place")
        for row in board.rows
        if row.oracle
    ]
    if sum(row.place is not None for row in board.rows) > 1:
        notes.append(Note("#", "place by score; whether one method is ahead of the next is not tested here"))
    notes.append(Note("±", "standard error; seconds, bytes moved and parameters trained are those of a cell, averaged"))
    return notes + footnotes.notes()


def _about(column: Column) -> str:
    parts = [f"{column.suite}: {column.task} {column.metric}"]
    if column.shots:
        parts.append(f"{column.shots} shots")
    if column.chance is not None:
        parts.append(f"chance {text.number(column.chance, fraction=column.fraction)}")
    if not column.higher_is_better:
        parts.append("lower is better")
    return ", ".join(parts)


def _significance_notes(board: Board, marks: set[str]) -> list[Note]:
    how = "better, worse than the student on the same items: exact paired test, p < 0.05, uncorrected"
    notes = []
    if marks & {"▲", "▼"}:
        notes.append(Note("▲ ▼", how))
    if marks & {"△", "▽"}:
        notes.append(
            Note("△ ▽", "the same from one seed: not yet a win" if notes else f"{how}; one seed: not yet a win")
        )
    elif any(row.one_seed for row in board.rows):
        notes.append(Note("1 seed", "what another seed would give is unknown"))
    return notes


def _gap_notes(board: Board) -> list[Note]:
    notes = []
    if any(row.gap_closed is not None for row in board.rows):
        notes.append(Note("gap", "closed: (method - student) / (teacher - student)"))
    elif board.gap_note and not board.mean_note:
        notes.append(Note("gap", f"not given: {board.gap_note}"))
    if len(board.columns) > 1:
        noted = [column for column in board.columns if column.gap_note]
        notes += [Note("gap", f"not given on {column.suite}: {column.gap_note}") for column in noted]
    return notes

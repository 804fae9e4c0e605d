"""A board as words: headings, lines of written cells and notes, shown alike by every format that people read."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.board import NOT_RUN, Board, Row, Square
from pkt_bench_leaderboards.contests import better
from pkt_bench_leaderboards.figures import against_baseline, is_lost, probability
from pkt_bench_leaderboards.statistics import Paired

Tone = Literal["plain", "better", "worse", "missing", "warning"]


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
    """One row: `reference` lines are untouched models, `winner` is first, `group` is what it stands under."""

    cells: tuple[Cell, ...]
    reference: bool = False
    winner: bool = False
    group: str = ""


@dataclass(frozen=True)
class Note:
    """A remark under a board: the mark or word it explains, and what it says of it."""

    mark: str
    words: str


@dataclass(frozen=True)
class Sheet:
    """A board, written. The first `fixed` columns say what a line is: where a table is broken, every part has them."""

    title: str
    subtitle: str
    headings: tuple[Heading, ...]
    lines: tuple[Line, ...]
    notes: tuple[Note, ...]
    fixed: int = 2

    def sections(self) -> Iterator[tuple[str, tuple[Line, ...]]]:
        """The lines by what they stand under; one section without a name where they are not grouped."""
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(line.group, []).append(line)
        for group, lines in found.items():
            yield group, tuple(lines)


def sort_keys(board: Board) -> tuple[str, ...]:
    """What the rows of a board can be sorted by."""
    fixed = ("place", "method", "mean", "gap", "p", "seconds", "moved", "trained", "seeds", "memory", "artifact")
    return (*fixed, *(column.suite for column in board.columns))


def column_keys(board: Board) -> tuple[str, ...]:
    """The keys of all columns there are, shown or not."""
    return tuple(column.heading.key for column in _catalogue(board, _no_marks, _no_marks))


GROUPS = ("paradigm", "method", "version", "distribution", "control_of", "selection")


def group_keys(board: Board) -> tuple[str, ...]:
    """What the lines of a board can stand under: what a row says of its method, and its settings."""
    named = sorted({f"settings.{name}" for row in board.rows for name in _settings(row)})
    return (*GROUPS, *named)


def write(
    board: Board,
    *,
    sort: str = "place",
    everything: bool = False,
    columns: Sequence[str] = (),
    group: Sequence[str] = (),
    only: Collection[str] | None = None,
    remarks: Sequence[Note] = (),
) -> Sheet:
    """Writes a board, rows sorted by one of `sort_keys` (best, cheapest or first first; unknown last).

    `everything` adds intervals, each seed's score, what the tests could have found, what students forgot, where
    each method comes from, and what else a cell took. `columns` are the only ones shown, by key and in that order;
    keys the board does not have are left out. With `group` (of `group_keys`) the lines stand under a line for each
    value. `only` are the labels of the rows to show: every figure is still that of the whole board. `remarks` are
    notes that come first.
    """
    from pkt_bench_leaderboards.notes import Footnotes, notes

    rows = [row for row in _sorted(board, sort) if only is None or row.label in only]
    footnotes = Footnotes(board, rows)
    catalogue = _catalogue(board, footnotes.marks, footnotes.older_mark)
    if columns:
        by_key = {column.heading.key: column for column in catalogue}
        shown = [by_key[key] for key in columns if key in by_key]
        names = [column.heading.key in {"place", "method"} for column in shown]
        fixed = max(1, names.index(False) if False in names else len(names))
    else:
        shown = [column for column in catalogue if column.when == "always" or (everything and column.when == "all")]
        fixed = 2
    lines = tuple(
        Line(
            cells=tuple(column.cell(row) for column in shown),
            reference=row.reference,
            winner=row.place == 1,
            group=", ".join(f"{key} {_group_of(row, key)}" for key in group),
        )
        for row in rows
    )
    return Sheet(
        title=board.pair,
        subtitle=_subtitle(board),
        headings=tuple(column.heading for column in shown),
        lines=lines,
        notes=(*remarks, *notes(board, rows, lines, footnotes)),
        fixed=fixed,
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
        elif key == "p":
            found = probability(against_baseline(board, row))
        elif key == "seeds":
            found, sign = float(len(row.seeds)), -1
        else:
            costs = row.costs
            named = {
                "seconds": costs.seconds,
                "moved": costs.payload_bytes,
                "trained": costs.trainable_parameters,
                "memory": costs.peak_rss_bytes,
                "artifact": costs.artifact_bytes,
            }
            found = named.get(key)
        value = found or 0.0
        return (found is None, sign * value, -(row.mean or 0.0), row.label)

    if key in {"place", "mean"} or key not in sort_keys(board):
        return list(board.rows)
    return sorted(board.rows, key=(lambda row: row.label) if key == "method" else order)


def _settings(row: Row) -> dict[str, object]:
    found = json.loads(row.settings or "{}")
    return found if isinstance(found, dict) else {}


def _group_of(row: Row, key: str) -> str:
    if key.startswith("settings."):
        value = _settings(row).get(key.removeprefix("settings."))
        return text.UNKNOWN if value is None else value if isinstance(value, str) else json.dumps(value)
    if key == "selection":
        return "by test scores" if row.oracle else "not by test scores"
    return str(getattr(row, key)) or text.UNKNOWN


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


# ---------------------------------------------------------------- columns


class _Column(NamedTuple):
    """A heading, how a cell is written, and when it is shown: always, with everything, or if its key is asked for."""

    heading: Heading
    cell: Callable[[Row], Cell]
    when: Literal["always", "all", "asked"] = "always"


def _no_marks(_: Square | Row) -> str:
    return ""


def _catalogue(board: Board, marks: Callable[[Square], str], older_mark: Callable[[Row], str]) -> tuple[_Column, ...]:
    several = len(board.columns) > 1
    columns = [
        _Column(Heading("place", "#"), _place),
        _Column(Heading("method", "method", right=False), lambda row: Cell(row.label, older_mark(row))),
    ]
    if several:
        columns += _of_mean(board)
    for index in range(len(board.columns)):
        columns += _of_suite(board, index, marks)
    columns += [
        _Column(Heading("gap", "gap", "closed"), lambda row: _share(row.gap_closed)),
        _Column(
            Heading("gap 95 %", "gap", "95 %"),
            lambda row: _plain(text.percent_interval(row.gap_low, row.gap_high)),
            "all" if several else "always",
        ),
        _Column(Heading("seconds", "seconds"), lambda row: Cell(text.seconds(row.costs.seconds))),
        _Column(Heading("moved", "moved"), lambda row: Cell(text.size(row.costs.payload_bytes))),
        _Column(Heading("trained", "trained"), lambda row: Cell(text.quantity(row.costs.trainable_parameters))),
        _Column(Heading("seeds", "seeds"), _seeds),
        _Column(Heading("forgot", "forgot"), forgot, "all"),
        _Column(Heading("memory", "memory"), lambda row: Cell(text.size(row.costs.peak_rss_bytes)), "all"),
        _Column(Heading("artifact", "artifact"), lambda row: Cell(text.size(row.costs.artifact_bytes)), "all"),
        _Column(Heading("paradigm", "paradigm", right=False), lambda row: Cell(row.paradigm), "all"),
        _Column(Heading("version", "version", right=False), lambda row: Cell(row.version), "all"),
        _Column(Heading("offered by", "offered by", right=False), lambda row: Cell(row.distribution), "all"),
    ]
    # a suite may be called as one of our own columns is
    return tuple({column.heading.key: column for column in reversed(columns)}.values())[::-1]


def _of_mean(board: Board) -> list[_Column]:
    first = board.columns[0]

    def mean(row: Row) -> Cell:
        written = text.score(row.mean, row.mean_stderr, fraction=first.fraction)
        if row.mean is None:
            return Cell(written, tone="missing")
        mark, tone = significance(row.paired, higher_is_better=first.higher_is_better, reference=row.reference)
        return Cell(written, mark, tone)

    return [
        _Column(Heading("mean", "mean", f"{len(board.columns)} suites"), mean),
        _Column(
            Heading("mean 95 %", "mean", "95 %"),
            lambda row: _plain(text.interval(row.mean_low, row.mean_high, fraction=first.fraction)),
            "all",
        ),
        _Column(Heading("p", "p", "of the mean"), lambda row: _probability(row.paired)),
        *_of_test("", "mean", lambda row: row.paired, fraction=first.fraction, when="all"),
    ]


def _of_suite(board: Board, index: int, marks: Callable[[Square], str]) -> list[_Column]:
    column = board.columns[index]
    several = len(board.columns) > 1
    suite = column.suite
    below = suite if several else ""
    known = [value for row in board.rows for value in row.squares[index].values]
    low, high = min(known, default=0.0), max(known, default=0.0)

    def score(row: Row) -> Cell:
        square = row.squares[index]
        notes = marks(square)
        if square.outcome != "done":
            return Cell(square.outcome, notes, "missing" if square.outcome in {NOT_RUN, "skipped"} else "warning")
        mark, tone = significance(square.paired, higher_is_better=column.higher_is_better, reference=row.reference)
        return Cell(text.score(square.value, square.stderr, fraction=column.fraction), mark + notes, tone)

    def interval(row: Row) -> Cell:
        square = row.squares[index]
        return _plain(text.interval(square.low, square.high, fraction=column.fraction))

    def gap_interval(row: Row) -> Cell:
        square = row.squares[index]
        return _plain(text.percent_interval(square.gap_low, square.gap_high))

    def by_seed(row: Row) -> Cell:
        return _plain(text.blocks(row.squares[index].values, low, high) or text.UNKNOWN)

    detail = "" if column.n is None else f"n {column.n}"
    columns = [
        _Column(Heading(suite, suite, detail), score),
        _Column(Heading(f"{suite} 95 %", "95 %", below), interval, "all"),
        _Column(Heading(f"{suite} by seed", "by seed", below, right=False), by_seed, "all"),
        _Column(
            Heading(f"{suite} p", "p", below),
            lambda row: _probability(row.squares[index].paired),
            "all" if several else "always",
        ),
    ]
    if several:
        columns += [
            _Column(Heading(f"{suite} gap", "gap", suite), lambda row: _share(row.squares[index].gap_closed), "all"),
            _Column(Heading(f"{suite} gap 95 %", "gap 95 %", suite), gap_interval, "asked"),
        ]
    else:
        # what is asked of a board of several suites may be asked of one too
        columns += [
            _Column(Heading("mean", suite, detail), score, "asked"),
            _Column(Heading("p", "p"), lambda row: _probability(row.squares[index].paired), "asked"),
        ]
    when: Literal["all", "asked"] = "asked" if several else "all"
    key = f"{suite} " if several else ""
    return [
        *columns,
        *_of_test(key, below, lambda row: row.squares[index].paired, fraction=column.fraction, when=when),
    ]


def _of_test(
    key: str, below: str, paired_of: Callable[[Row], Paired | None], *, fraction: bool, when: Literal["all", "asked"]
) -> list[_Column]:
    """What else there is to a test: p before correction, the difference, and what could have been found."""

    def column(name: str, written: Callable[[Paired], str]) -> _Column:
        def cell(row: Row) -> Cell:
            paired = paired_of(row)
            return _plain(text.UNKNOWN if paired is None else written(paired))

        return _Column(Heading(f"{key}{name}", name, below), cell, when)

    return [
        column("p raw", lambda paired: text.probability(paired.p)),
        column("ahead", lambda paired: text.difference(paired.difference, fraction=fraction)),
        column("ahead 95 %", lambda paired: text.interval(paired.low, paired.high, fraction=fraction)),
        column("detectable", lambda paired: text.difference(paired.detectable, fraction=fraction).removeprefix("+")),
        column("items needed", lambda paired: text.count(paired.items_needed)),
        column("seeds needed", lambda paired: text.count(paired.seeds_needed)),
    ]


def _place(row: Row) -> Cell:
    return Cell("" if row.reference else text.UNKNOWN if row.place is None else str(row.place))


def _plain(written: str) -> Cell:
    return Cell(written, tone="missing" if written == text.UNKNOWN else "plain")


def _share(share: float | None) -> Cell:
    return Cell(text.percent(share), tone="missing" if share is None else "plain", share=share)


def _probability(paired: Paired | None) -> Cell:
    return Cell(text.probability(probability(paired)))


def significance(paired: Paired | None, *, higher_is_better: bool, reference: bool = False) -> tuple[str, Tone]:
    """The mark of a difference from the baseline; hollow with one seed, for that is no win yet."""
    ahead = None if reference or paired is None else better(paired, higher_is_better=higher_is_better)
    if paired is None or ahead is None:
        return "", "plain"
    hollow = paired.seeds < 2
    if ahead:
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


def forgot(row: Row) -> Cell:
    """On how many figures of other suites' tasks the student is significantly worse than before, of how many."""
    tested = [each for each in row.forgotten if each.paired is not None]
    if not tested:
        return Cell(text.UNKNOWN, tone="missing")
    lost = sum(map(is_lost, tested))
    return Cell(f"{lost} of {len(tested)}", tone="worse" if lost else "plain")

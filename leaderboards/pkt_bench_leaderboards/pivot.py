"""Runs folded over any columns: a table of groups by the values of one column, for questions a board does not ask.

    rank       4          8          16
    left    41.2 (6)   44.0 (6)   43.1 (6)
    sqrt    40.0 (6)   46.1 (6)       — ¹

Only headline figures of the runs that a board would count. A square is the mean over its runs: first over those of one
suite, then over suites, so that a suite with more seeds has no more weight. Means over what cannot be compared are not
made: a square whose runs were scored under different conditions, or on fewer suites than its neighbours, is unknown
and says why.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pkt_bench_leaderboards import schema, text
from pkt_bench_leaderboards.comparable import RowKey, groups, read_entries
from pkt_bench_leaderboards.labels import called, shared_methods
from pkt_bench_leaderboards.sheet import Cell, Heading, Line, Note, Sheet

if TYPE_CHECKING:
    import pyarrow as pa

JSON_COLUMNS = ("settings", "stage_seconds", "notes", "libraries", "scoring", "caveats", "budget")
"""Columns that hold JSON objects, whose fields are columns too: `settings.rank`."""

NUMBERS = tuple(each.name for each in schema.RUNS if each.kind in {"int", "float"})
"""What a square can show."""

# what a figure is a figure of; where none of these is a group, a square is a mean over several
_SCOPE = ("pair", "suite", "task")
Value = str | int | float | bool | None


@dataclass(frozen=True)
class PivotSquare:
    """The mean of `show` over `runs` runs, null where there is none; `reason` says why, where there are runs."""

    value: float | None
    runs: int
    reason: str = ""
    fraction: bool = False


@dataclass(frozen=True)
class Pivot:
    """Rows by their values of the `group` columns, columns by `values` of the `pivot` column; no square, no runs."""

    group: tuple[str, ...]
    pivot: str
    show: str
    rows: tuple[tuple[Value, ...], ...]
    values: tuple[Value, ...]
    squares: Mapping[tuple[tuple[Value, ...], Value], PivotSquare] = field(default_factory=dict)
    older_runs: int = 0


def fold(runs: pa.Table, group: Sequence[str], pivot: str, show: str = "value", suites: Collection[str] = ()) -> Pivot:
    """Folds a table of runs (`schema.RUNS`); `group` and `pivot` are columns of it, or `settings.FIELD`.

    Raises:
        KeyError: there is no such column.
    """
    found, older = _counted(runs, suites)
    wanted = [*group, pivot]
    columns = list(dict.fromkeys(name.partition(".")[0] for name in wanted if name not in found.column_names))
    names = list(dict.fromkeys([*(n for n in wanted if n in found.column_names), *columns, *_SCOPE, *_NEEDED, show]))
    members: dict[tuple[tuple[Value, ...], Value], list[dict[str, Any]]] = defaultdict(list)
    for row in _with_whose(found, names):
        key = tuple(_value(row, name) for name in group), _value(row, pivot)
        members[key].append(row)
    fixed = [name for name in _SCOPE if name in wanted]
    neighbours: dict[tuple[Any, ...], set[tuple[Any, ...]]] = defaultdict(set)
    scopes = {key: {tuple(row[name] for name in _SCOPE) for row in rows} for key, rows in members.items()}
    for found_scopes in scopes.values():
        for scope in found_scopes:
            neighbours[_named(scope, fixed)].add(scope)
    squares = {}
    for key, rows in members.items():
        missing = {other for scope in scopes[key] for other in neighbours[_named(scope, fixed)]} - scopes[key]
        squares[key] = _square(rows, show, missing)
    return Pivot(
        group=tuple(group),
        pivot=pivot,
        show=show,
        rows=tuple(sorted({key for key, _ in members}, key=lambda values: [_order(value) for value in values])),
        values=tuple(sorted({value for _, value in members}, key=_order)),
        squares=squares,
        older_runs=older,
    )


def _with_whose(runs: pa.Table, names: Sequence[str]) -> list[dict[str, Any]]:
    """Rows as mappings, methods of one name that several distributions offer called `distribution/method`."""
    rows = runs.select(names).to_pylist()
    if "method" not in names:
        return rows
    keys = [
        RowKey(method, "", whose or "", "")
        for method, whose in zip(runs["method"].to_pylist(), runs["distribution"].to_pylist(), strict=True)
    ]
    shared = shared_methods(keys)
    return [row | {"method": called(key, shared)} for row, key in zip(rows, keys, strict=True)]


_SCORES = ("value", "stderr", "chance")
_NEEDED = ("comparability", "higher_is_better", "value")


def _counted(runs: pa.Table, suites: Collection[str]) -> tuple[pa.Table, int]:
    """The headline rows of the done runs that a board would count, and how many it would not for their age."""
    import pyarrow as pa
    import pyarrow.compute as pc

    boards = groups(read_entries(runs))
    wanted = [entry for each in boards for entry in each.entries if entry.done]
    older = [entry for each in boards for entry in each.older if entry.done]
    if suites:
        wanted, older = ([entry for entry in each if entry.suite in suites] for each in (wanted, older))
    ids = pa.array(sorted({entry.run_id for entry in wanted}), pa.string())
    # an attempt is one run of one cell
    cells = pa.array(sorted({entry.cell_key for entry in wanted}), pa.string())
    kept = pc.and_(pc.is_in(runs["run_id"], value_set=ids), pc.is_in(runs["cell_key"], value_set=cells))
    return runs.filter(pc.and_kleene(kept, runs["headline"])), len(older)


def _square(rows: Sequence[Mapping[str, Any]], show: str, missing: Collection[tuple[Any, ...]]) -> PivotSquare:
    by_scope: dict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by_scope[tuple(row[name] for name in _SCOPE)].append(row)
    fraction = _is_share(rows)
    mixed = sorted({scope[1] for scope, found in by_scope.items() if len({r["comparability"] for r in found}) > 1})
    reason = ""
    if mixed:
        reason = f"scored under different conditions on {text.named(mixed)}, which are never averaged"
    elif missing:
        lacking = sorted({scope[1] for scope in missing})
        reason = f"no score on {text.named(lacking)}, so no mean that compares with its neighbours"
    elif show in _SCORES and len({_is_share(found) for found in by_scope.values()}) > 1:
        reason = "the suites are not scored in the same unit"
    elif any(row[show] is None for row in rows):
        reason = f"{sum(row[show] is None for row in rows)} of its runs do not say their {show}"
    if reason:
        return PivotSquare(None, len(rows), reason, fraction)
    means = [sum(row[show] for row in found) / len(found) for found in by_scope.values()]
    return PivotSquare(sum(means) / len(means), len(rows), "", fraction)


def _is_share(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether scores are shares of 1, as `Column.fraction` says of a board's."""
    return all(
        row["higher_is_better"] is not False and (row["value"] is None or 0 <= row["value"] <= 1) for row in rows
    )


def _named(scope: tuple[Any, ...], fixed: Collection[str]) -> tuple[Any, ...]:
    """The part of a scope that the table names, by which its neighbours are found."""
    return tuple(value for name, value in zip(_SCOPE, scope, strict=True) if name in fixed)


def _value(row: Mapping[str, Any], name: str) -> Value:
    if name in row:
        value = row[name]
    else:
        column, _, path = name.partition(".")
        value = row[column]
        value = json.loads(value) if value else None
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else str(value)


def _order(value: Value) -> tuple[int, float, str]:
    """Numbers by size, then words, then the unknown."""
    if value is None:
        return (2, 0.0, "")
    if isinstance(value, str):
        return (1, 0.0, value)
    return (0, float(value), "")


# ---------------------------------------------------------------- written


def write(pivot: Pivot, *, subtitle: str = "", remarks: Sequence[Note] = ()) -> Sheet:
    """A pivot as a sheet: the number of runs behind each figure, and a footnote for each that is not given."""
    reasons = list(dict.fromkeys(each.reason for each in _in_order(pivot) if each.reason))
    marks = {reason: text.superscript(number) for number, reason in enumerate(reasons, 1)}
    headings = [Heading(name, name, right=False) for name in pivot.group]
    headings += [Heading(_written(value), _written(value), pivot.pivot) for value in pivot.values]
    lines = []
    for row in pivot.rows:
        cells = [Cell(_written(value)) for value in row]
        cells += [_cell(pivot, row, value, marks) for value in pivot.values]
        lines.append(Line(tuple(cells)))
    notes = [Note(f"{pivot.show}", f"{_described(pivot.show)}; in brackets the number of runs it is the mean of")]
    notes.append(Note("mean", "over the runs of a suite first, then over suites"))
    if pivot.older_runs:
        left = f"{pivot.older_runs} run{'s' if pivot.older_runs > 1 else ''} of older variants"
        notes.append(Note("older", f"{left} left out, made by other code or libraries than the newest"))
    notes += [Note(mark, reason) for reason, mark in marks.items()]
    return Sheet(
        title=f"{pivot.show} by {', '.join(pivot.group)} and {pivot.pivot}",
        subtitle=subtitle,
        headings=tuple(headings),
        lines=tuple(lines),
        notes=(*remarks, *notes),
        fixed=len(pivot.group),
    )


def _in_order(pivot: Pivot) -> Iterable[PivotSquare]:
    empty = PivotSquare(None, 0)
    return (pivot.squares.get((row, value), empty) for row in pivot.rows for value in pivot.values)


def _cell(pivot: Pivot, row: tuple[Value, ...], value: Value, marks: Mapping[str, str]) -> Cell:
    square = pivot.squares.get((row, value))
    if square is None:
        return Cell("", tone="missing")
    if square.value is None:
        return Cell(text.UNKNOWN, marks.get(square.reason, ""), "missing")
    return Cell(f"{figure(pivot.show, square)} ({square.runs})")


def figure(show: str, square: PivotSquare) -> str:
    """A square's figure as it is written."""
    if square.value is None:
        return text.UNKNOWN
    if show in _SCORES:
        return text.number(square.value, fraction=square.fraction)
    if show.endswith("seconds"):
        return text.seconds(square.value)
    if show.endswith("_bytes"):
        return text.size(square.value)
    whole = {each.name for each in schema.RUNS if each.kind == "int"}
    return text.quantity(square.value) if show in whole else f"{square.value:.3g}"


def _described(name: str) -> str:
    said = next(each.description for each in schema.RUNS if each.name == name)
    return f"{said[0].lower()}{said[1:].rstrip('.')}"


def _written(value: Value) -> str:
    if value is None:
        return text.UNKNOWN
    return value if isinstance(value, str) else json.dumps(value)

"""`pkt-bench compare A B`: what changed between two sources of runs, or between two rows, and whether it is real."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from pkt_bench.cli import completion

if TYPE_CHECKING:
    import pyarrow as pa

    from pkt_bench.store import Contents
    from pkt_bench_leaderboards.comparable import RowKey
    from pkt_bench_leaderboards.compared import Comparison, Line, Side
    from pkt_bench_leaderboards.expressions import Expression

TRIPPED = 6
"""The exit code of a gate that tripped, or that nothing could be held against."""
_WHAT = "SOURCE, SOURCE::ROW, or with --in a ROW; SOURCE: a run folder, a published board, a board file, REV:PATH."


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=_WHAT, autocompletion=completion.comparands)],
    b: Annotated[
        str, typer.Argument(metavar="B", help="What is set against it.", autocompletion=completion.comparands)
    ],
    in_: Annotated[
        str | None,
        typer.Option(
            "--in",
            metavar="SOURCE",
            help="A and B are rows of this: a method, a label, or how a run id begins. (default: runs)",
            autocompletion=completion.run_sources,
        ),
    ] = None,
    fail_if: Annotated[
        str | None,
        typer.Option(
            "--fail-if",
            metavar="EXPRESSION",
            help="End with exit code 6 if it holds for any line, or against none: 'delta < -0.01 and p < 0.05'.",
        ),
    ] = None,
    items: Annotated[bool, typer.Option("--items", help="Also list the documents that were answered differently.")] = (
        False
    ),
    format: Annotated[  # noqa: A002 - the flag's name
        str, typer.Option("--format", help="table, json, csv or md.", autocompletion=completion.formats)
    ] = "table",
) -> None:
    """Show what changed from A to B, by how much, and whether it is more than chance.

    Every difference is B - A, as a fraction where the metric is one; `better` says whose figure is better. Only what is
    comparable is compared, on the same documents and seeds.
    """
    from pkt_bench.tui.listing import check_format
    from pkt_bench_leaderboards.compared import compare as set_against
    from pkt_bench_leaderboards.flips import flips

    check_format(format)
    gate = _gate(fail_if)
    one, other = _sides(a, b, in_, items=items)
    comparison = set_against(one, other)
    flipped = flips(comparison, one, other) if items else None
    verdict = None if gate is None else _judge(gate, comparison)
    _show(comparison, flipped, format, verdict)
    if verdict is not None and _report(verdict, comparison):
        raise typer.Exit(TRIPPED)


def _show(comparison: Comparison, flipped: Any, form: str, verdict: _Verdict | None) -> None:  # noqa: ANN401 - flips
    from pkt_bench.tui.compare import print_comparison
    from pkt_bench_leaderboards import compared_forms, formats

    if form == "table":
        print_comparison(comparison, flipped)
    elif form == "json":
        sys.stdout.write(compared_forms.as_json(comparison, flipped, verdict and verdict.content()))
    elif form == "csv":
        written = compared_forms.as_csv(comparison) if flipped is None else compared_forms.flips_as_csv(flipped)
        sys.stdout.write(written)
    else:
        sys.stdout.write(formats.as_markdown(compared_forms.write(comparison)))
        if flipped is not None:
            lines = compared_forms.flips_as_lines(flipped)
            sys.stdout.write("\n".join(["", *(f"    {line}" if line else "" for line in lines), ""]))


# ---------------------------------------------------------------- what A and B are


class _Chosen(NamedTuple):
    """A source, and what of it: nothing is all its rows."""

    source: str
    row: str | None


class _Sources:
    """Each source is read once, and what is said of it is said once."""

    def __init__(self, *, items: bool) -> None:
        self._items = items
        self.read = functools.cache(self._read)

    def _read(self, name: str) -> Contents:
        from pkt_bench import sources
        from pkt_bench_leaderboards.items import COLUMNS

        found = sources.read(name, item_columns=() if self._items else COLUMNS)
        for problem in found.problems:
            print(f"pkt-bench: {problem}", file=sys.stderr)  # noqa: T201 - this is the command line
        return found


def _sides(a: str, b: str, in_: str | None, *, items: bool) -> tuple[Side, Side]:
    opened = _Sources(items=items)
    one, other = (_choose(each, in_, opened) for each in (a, b))
    return _side(one, opened), _side(other, opened)


def _choose(given: str, in_: str | None, opened: _Sources) -> _Chosen:
    """What is there wins over what it could mean."""
    from pkt_bench import sources
    from pkt_bench.errors import RequestError

    if in_ is None and sources.exists(given):
        return _Chosen(given, None)
    source, several, row = given.rpartition("::")
    if several:
        return _Chosen(source or in_ or completion.RUNS, row)
    if in_ is not None:
        return _Chosen(in_, given)
    if not sources.exists(completion.RUNS):
        return _Chosen(given, None)
    try:
        _pick(opened.read(completion.RUNS).runs, given, completion.RUNS)
    except RequestError:
        if sources.names_a_revision(given) or "/" in given:
            return _Chosen(given, None)
        raise
    return _Chosen(completion.RUNS, given)


def _side(chosen: _Chosen, opened: _Sources) -> Side:
    from pkt_bench_leaderboards.compared import Side

    found = opened.read(chosen.source)
    if chosen.row is None:
        return Side(chosen.source, found.runs, found.items)
    runs, row = _pick(found.runs, chosen.row, chosen.source)
    return Side(f"{chosen.source}::{chosen.row}", runs, found.items, row)


def _pick(runs: pa.Table, wanted: str, source: str) -> tuple[pa.Table, RowKey]:
    """The runs to look at and the row meant: a label, a method with one row, or how a run id begins.

    Raises:
        RequestError: nothing is called so, or several are.
    """
    from pkt_bench.errors import RequestError
    from pkt_bench_leaderboards.compared import rows_of
    from pkt_bench_leaderboards.labels import is_called

    rows = rows_of(runs)
    found = [row for row, label in rows.items() if label == wanted] or [row for row in rows if is_called(row, wanted)]
    if len(found) > 1:
        listing = "\n  ".join(f"{source}::{rows[row]}" for row in found)
        raise RequestError(
            f"{source} has {len(found)} rows of '{wanted}'.\n  Name one of them, in quotes:\n  {listing}"
        )
    if found:
        return runs, found[0]
    ids = [each for each in dict.fromkeys(runs["run_id"].to_pylist()) if wanted and each.startswith(wanted)]
    if wanted in ids:
        ids = [wanted]
    if len(ids) > 1:
        listing = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
        raise RequestError(
            f"{source} has {len(ids)} runs whose id begins with '{wanted}'.\n  Write more of it: {listing}"
        )
    if not ids:
        raise RequestError(_unknown_row(wanted, source, list(rows.values())))
    alone = runs.filter([each == ids[0] for each in runs["run_id"].to_pylist()])
    return alone, next(iter(rows_of(alone)))


def _unknown_row(wanted: str, source: str, labels: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(wanted, labels, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return (
        f"{source} has no row and no run called '{wanted}'.{hint}\n  Its rows: {', '.join(labels)}"
        f"\n  Its runs: pkt-bench ls runs"
    )


# ---------------------------------------------------------------- the gate


class _Verdict(NamedTuple):
    """What a gate says: the lines for which it holds, and those of which it is unknown; of how many."""

    gate: str
    holds: list[Line]
    unknown: list[Line]
    lines: int

    @property
    def tripped(self) -> bool:
        """Whether it holds for a line, or could be held against none."""
        return bool(self.holds) or len(self.unknown) == self.lines

    def content(self) -> dict[str, Any]:
        """The same for JSON."""
        from pkt_bench_leaderboards.compared_forms import named

        return {
            "fail_if": self.gate,
            "tripped": self.tripped,
            "reason": self.reason,
            "holds": [named(line) for line in self.holds],
            "unknown": [named(line) for line in self.unknown],
        }

    @property
    def reason(self) -> str:
        """Why it tripped, or nothing."""
        if self.holds:
            return f"holds for {len(self.holds)} of {self.lines} lines"
        return "nothing to compare" if self.tripped else ""


def _gate(text: str | None) -> Expression | None:
    """The expression of a gate, read before anything else is.

    Raises:
        RequestError: it makes no sense.
    """
    if text is None:
        return None
    from pkt_bench.errors import RequestError
    from pkt_bench_leaderboards.compared_forms import FIGURES
    from pkt_bench_leaderboards.expressions import ExpressionError, parse

    try:
        return parse(text, FIGURES)
    except ExpressionError as error:
        raise RequestError(f"--fail-if: {error}") from None


def _judge(gate: Expression, comparison: Comparison) -> _Verdict:
    from pkt_bench_leaderboards.compared_forms import figures

    answers = [(line, gate.holds(figures(line))) for line in comparison.lines]
    return _Verdict(
        gate.text,
        [line for line, holds in answers if holds],
        [line for line, holds in answers if holds is None],
        len(answers),
    )


def _report(verdict: _Verdict, comparison: Comparison) -> bool:
    """Says what the gate says; gives whether it tripped."""
    from pkt_bench_leaderboards.compared_forms import named, written

    said = [written(line) for line in verdict.holds]
    missed = [f"unknown for {named(line)}" for line in verdict.unknown]
    missed += [f"not compared: {named(apart)}: {'; '.join(apart.differs)}" for apart in comparison.apart]
    if verdict.tripped or missed:
        head = f"--fail-if '{verdict.gate}' {verdict.reason or 'holds for no line that it is known of'}"
        if verdict.tripped and not verdict.holds:
            head = f"--fail-if '{verdict.gate}' could be held against no line: nothing to compare"
        print("\n  ".join([f"pkt-bench: {head}.", *said, *missed]), file=sys.stderr)  # noqa: T201 - this is the command line
    return verdict.tripped

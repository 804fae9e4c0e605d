"""A plan on the screen, or as JSON lines."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from json import dumps, loads
from typing import TYPE_CHECKING, Any

from rich.table import Table

from pkt_bench.overlap import WORDS
from pkt_bench.tui.console import remarks, results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pkt_bench.domain import Cell, Estimate
    from pkt_bench.estimating import Need
    from pkt_bench.planning import Plan

GLYPHS = {"to run": "•", "done": "✓", "failed before": "✗", "skipped": "–"}
STYLES = {"to run": "", "done": "green", "failed before": "red", "skipped": "dim"}


def print_plan(plan: Plan) -> None:
    """The plan as a table: a row for each method and pair, a column for each suite, then the reasons of the skips."""
    states = _states(plan)
    suites = list(dict.fromkeys(cell.suite for cell, _ in states))
    rows = list(dict.fromkeys((cell.pair, cell.title) for cell, _ in states))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("pair", "method", *suites):
        table.add_column(heading, no_wrap=True)
    for pair, method in rows:
        squares = []
        for suite in suites:
            counts = Counter(
                state for cell, state in states if (cell.pair, cell.title, cell.suite) == (pair, method, suite)
            )
            squares.append(
                "  ".join(
                    f"[{STYLES[state]}]{GLYPHS[state]} {count if count > 1 else ''}{' ' if count > 1 else ''}{state}[/]"
                    if STYLES[state]
                    else f"{GLYPHS[state]} {count if count > 1 else ''}{' ' if count > 1 else ''}{state}"
                    for state, count in counts.items()
                )
            )
        table.add_row(pair, method, *squares)
    console = results()
    console.print(table)
    console.print()
    console.print(_summary(plan))
    for line in (*_reasons(plan), *_notes(plan)):
        console.print(line, markup=False)
    print_warnings(plan)


def print_summary(plan: Plan) -> None:
    """The plan in a line or two, for the start of a run."""
    console = remarks()
    console.print(_summary(plan))
    for line in (*_reasons(plan), *_notes(plan)):
        console.print(line, markup=False)
    print_warnings(plan)


def print_warnings(plan: Plan) -> None:
    """What a reader of the numbers should know first."""
    for warning in plan.warnings:
        remarks().print(f"warning: {warning}", style="yellow", markup=False)


def print_json(plan: Plan) -> None:
    """One `plan` record for the whole and each cell."""
    cells = [
        {**cell_record(cell), "state": state, "reason": reason}
        for (cell, state), reason in zip(_states(plan), _all_reasons(plan), strict=True)
    ]
    record = {
        "record": "plan",
        "cells": cells,
        "warnings": list(plan.warnings),
        "notes": list(plan.notes),
        "overlap": {
            found.suite: {
                "tests": found.tests,
                "ngram": WORDS,
                "splits": {k: asdict(v) for k, v in found.splits.items()},
            }
            for found in plan.overlaps
        },
    }
    print(dumps(record))  # noqa: T201 - the output


def print_estimates(needs: Sequence[Need], *, json: bool) -> None:
    """What methods need: a line for each estimate, then why some would be skipped. As JSON, an object per line."""
    if json:
        for need in needs:
            print(dumps({"record": "estimate", **asdict(need)}))  # noqa: T201 - the output
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    several = len({need.suites for need in needs}) > 1
    for heading in ("pair", "method", *(["suites"] if several else []), "what", "at most"):
        table.add_column(heading, no_wrap=heading != "what", justify="right" if heading == "at most" else "left")
    table.add_column("by", overflow="fold")
    for need in needs:
        for number, line in enumerate(need.estimates):
            called = [need.pair, need.method, *([", ".join(need.suites)] if several else [])]
            table.add_row(*(called if number == 0 else [""] * len(called)), line.what, _amount(line), line.formula)
    console = results()
    if table.row_count:
        console.print(table)
    for need in needs:
        if not need.estimates:
            why = need.skipped or "the method offers no estimate"
            console.print(f"  – {need.method}, {need.pair}, {', '.join(need.suites)}: {why}", markup=False)


def _amount(line: Estimate) -> str:
    """In decimal units: 78.1 GB, 640 TFLOP."""
    unit = "B" if line.unit == "bytes" else line.unit
    amount = line.amount
    for prefix in ("", "k", "M", "G", "T", "P"):
        if amount < 1000 or prefix == "P":
            return f"{amount:.3g} {prefix}{unit}"
        amount /= 1000
    raise AssertionError("the last prefix takes any amount")


def cell_record(cell: Cell) -> dict[str, Any]:
    """What names a cell in JSON."""
    return {
        "key": cell.key,
        "method": cell.method,
        "distribution": cell.distribution,
        "pair": cell.pair,
        "suite": cell.suite,
        "seed": cell.seed,
        "settings": loads(cell.settings),
    }


def _states(plan: Plan) -> list[tuple[Cell, str]]:
    return [
        *((job.cell, "to run") for job in plan.jobs),
        *((cell, "done") for cell in plan.done),
        *((each.cell, "failed before") for each in plan.left),
        *((skip.cell, "skipped") for skip in plan.skips),
    ]


def _all_reasons(plan: Plan) -> list[str]:
    nothing = [""] * (len(plan.jobs) + len(plan.done))
    return [*nothing, *(each.reason for each in plan.left), *(skip.reason for skip in plan.skips)]


def _summary(plan: Plan) -> str:
    left = f", {len(plan.left)} failed before, not retried" if plan.left else ""
    before = f"{len(plan.done)} done before{left}"
    return f"{len(plan.cells)} cells: {len(plan.jobs)} to run, {before}, {len(plan.skips)} skipped"


def _reasons(plan: Plan) -> list[str]:
    lines = [
        *(f"  ✗ {each.cell.title}, {each.cell.pair}, {each.cell.suite}: {each.reason}" for each in plan.left),
        *(f"  – {skip.cell.title}, {skip.cell.pair}, {skip.cell.suite}: {skip.reason}" for skip in plan.skips),
    ]
    return list(dict.fromkeys(lines))


def _notes(plan: Plan) -> list[str]:
    return [f"  {note}" for note in plan.notes]

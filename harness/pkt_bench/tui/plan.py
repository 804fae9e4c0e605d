"""A plan on the screen, or as JSON lines."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.table import Table

from pkt_bench.tui.console import remarks, results

if TYPE_CHECKING:
    from pkt_bench.domain import Cell
    from pkt_bench.planning import Plan

GLYPHS = {"to run": "•", "done": "✓", "skipped": "–"}
STYLES = {"to run": "", "done": "green", "skipped": "dim"}


def print_plan(plan: Plan) -> None:
    """The plan as a table: a row for each method and pair, a column for each suite, then the reasons of the skips."""
    states = _states(plan)
    suites = list(dict.fromkeys(cell.suite for cell, _ in states))
    rows = list(dict.fromkeys((cell.pair, cell.method) for cell, _ in states))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("pair", "method", *suites):
        table.add_column(heading, no_wrap=True)
    for pair, method in rows:
        squares = []
        for suite in suites:
            counts = Counter(
                state for cell, state in states if (cell.pair, cell.method, cell.suite) == (pair, method, suite)
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
    for line in _reasons(plan):
        console.print(line, markup=False)
    print_warnings(plan)


def print_summary(plan: Plan) -> None:
    """The plan in a line or two, for the start of a run."""
    console = remarks()
    console.print(_summary(plan))
    for line in _reasons(plan):
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
    print(json.dumps({"record": "plan", "cells": cells, "warnings": list(plan.warnings)}))  # noqa: T201 - the output


def cell_record(cell: Cell) -> dict[str, Any]:
    """What names a cell in JSON."""
    return {
        "key": cell.key,
        "method": cell.method,
        "pair": cell.pair,
        "suite": cell.suite,
        "seed": cell.seed,
        "settings": json.loads(cell.settings),
    }


def _states(plan: Plan) -> list[tuple[Cell, str]]:
    return [
        *((job.cell, "to run") for job in plan.jobs),
        *((cell, "done") for cell in plan.done),
        *((skip.cell, "skipped") for skip in plan.skips),
    ]


def _all_reasons(plan: Plan) -> list[str]:
    return [""] * (len(plan.jobs) + len(plan.done)) + [skip.reason for skip in plan.skips]


def _summary(plan: Plan) -> str:
    return f"{len(plan.cells)} cells: {len(plan.jobs)} to run, {len(plan.done)} done before, {len(plan.skips)} skipped"


def _reasons(plan: Plan) -> list[str]:
    return [
        f"  – {line}"
        for line in dict.fromkeys(
            f"{skip.cell.method}, {skip.cell.pair}, {skip.cell.suite}: {skip.reason}" for skip in plan.skips
        )
    ]

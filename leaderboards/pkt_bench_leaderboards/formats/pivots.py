"""Pivots for programs: JSON, CSV and TSV, one line a square."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pkt_bench_leaderboards.formats import delimited
from pkt_bench_leaderboards.pivot import Pivot, figure


def pivot_as_json(pivot: Pivot, filters: Mapping[str, str] | None = None) -> str:
    """Every square with its figure as stored, and under `text` as it is on the screen; `filters` as for boards."""
    content = {
        "filters": dict(filters or {}),
        "group": list(pivot.group),
        "pivot": pivot.pivot,
        "show": pivot.show,
        "older_runs": pivot.older_runs,
        "squares": _squares(pivot),
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def pivot_as_csv(pivot: Pivot, *, tabs: bool = False) -> str:
    """A line for each square that has runs: groups, the pivot's value, the figure, of how many runs, why it is null."""
    heading = [*pivot.group, pivot.pivot, pivot.show, "runs", "text", "reason"]
    rows = (
        [*each["group"].values(), each["pivot"], each["value"], each["runs"], each["text"], each["reason"]]
        for each in _squares(pivot)
    )
    return delimited.lines(heading, rows, tabs=tabs)


def _squares(pivot: Pivot) -> list[dict[str, Any]]:
    return [
        {
            "group": dict(zip(pivot.group, row, strict=True)),
            "pivot": value,
            "value": square.value,
            "runs": square.runs,
            "reason": square.reason or None,
            "text": figure(pivot.show, square),
        }
        for row in pivot.rows
        for value in pivot.values
        if (square := pivot.squares.get((row, value))) is not None
    ]

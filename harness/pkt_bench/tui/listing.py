"""Plain listings: the same rows as a table, JSON, CSV or Markdown."""

from __future__ import annotations

import csv
import difflib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from pkt_bench.errors import RequestError
from pkt_bench.tui.console import results

FORMATS = ("table", "json", "csv", "md")
STATUS_STYLES = {"ok": "green", "clash": "yellow", "broken": "red", "disabled": "dim"}


def show(what: str, rows: Sequence[Mapping[str, Any]], form: str, *, nothing: str = "") -> None:
    """Prints `rows`, which all have the same keys; `nothing` is what is said where there are none.

    Raises:
        RequestError: `form` is none of `table`, `json`, `csv`, `md`.
    """
    check_format(form)
    if form == "json":
        print(json.dumps(list(rows), indent=1, ensure_ascii=False))  # noqa: T201 - this is the output
    elif not rows:
        results().print(nothing or f"no {what} are installed: pkt-bench plugins list says what was found")
    elif form == "csv":
        writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    elif form == "md":
        lines = [list(rows[0]), ["---"] * len(rows[0]), *([_text(v) for v in row.values()] for row in rows)]
        for line in lines:
            print("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |")  # noqa: T201 - the output
    else:
        results().print(_table(rows))


def check_format(form: str) -> None:
    """Refuses a format nobody writes, offering the nearest."""
    if form not in FORMATS:
        near = difflib.get_close_matches(form, FORMATS, n=1, cutoff=0.3)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise RequestError(f"--format '{form}' will not do.{hint}\n  Formats: {', '.join(FORMATS)}")


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    shown = [key for key in rows[0] if any(row[key] not in ("", None) for row in rows)]
    for key in shown:
        number = all(isinstance(row[key], int | float | None) for row in rows)
        # names are never broken; long texts are, where a terminal is too narrow for them
        table.add_column(key, justify="right" if number else "left", overflow="fold", no_wrap=key == shown[0] or number)
    for row in rows:
        style = STATUS_STYLES.get(str(row.get("status", "")), "")
        table.add_row(*(_text(row[key]) for key in shown), style=style)
    return table


def _text(value: object) -> str:
    """What is not known is left empty, as CSV does."""
    return "" if value is None else str(value)

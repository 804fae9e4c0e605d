"""Both tables as CSV, every column: null is nothing, numbers are read back as the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench_leaderboards.formats import delimited

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 10_000


def files(runs: pa.Table, items: pa.Table) -> Iterator[tuple[Path, bytes]]:
    """`runs.csv` and `items.csv`; text that a spreadsheet would run gets a ' in front, see `delimited.lines`."""
    yield Path("runs.csv"), _csv(runs)
    yield Path("items.csv"), _csv(items)


def _csv(table: pa.Table) -> bytes:
    names = table.column_names
    heading = delimited.lines(names, ())
    parts = [heading]
    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        rows = zip(*(map(_written, batch[name].to_pylist()) for name in names), strict=True)
        parts.append(delimited.lines(names, rows).removeprefix(heading))
    return "".join(parts).encode()


def _written(value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else value

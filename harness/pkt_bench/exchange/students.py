"""The students behind recorded scores: a done run each, with its rows and a name that a file can bear."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pkt_bench.domain import Outcome, digest_of

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]
# ids of runs that are names of files too
_PLAIN = re.compile(r"[0-9A-Za-z_-]{1,64}")


@dataclass(frozen=True)
class Student:
    """A done run: its rows with scores, of which `first` is one, for what they share."""

    rows: Sequence[Row]

    @property
    def first(self) -> Row:
        """Any of its rows."""
        return self.rows[0]

    @property
    def name(self) -> str:
        """Pair, suite, method, seed, and what tells it from others with the same ones; safe in a path."""
        row = self.first
        run_id = row["run_id"] if _PLAIN.fullmatch(row["run_id"]) else digest_of({"run_id": row["run_id"]})
        words = (row["pair"], row["suite"], row["method"], f"seed{row['seed']}", row["cell_key"][:8])
        return ".".join((*(re.sub(r"[^\w-]+", "-", word)[:40].strip("-") or "-" for word in words), run_id))


def students(runs: pa.Table) -> list[Student]:
    """Every done run with scores, in order of time."""
    found: dict[tuple[str, str], list[Row]] = {}
    ordered = runs.sort_by([(name, "ascending") for name in ("created_at", "run_id", "task", "metric", "filter")])
    for row in ordered.to_pylist():
        if row["outcome"] == Outcome.DONE and row["task"] is not None and row["value"] is not None:
            found.setdefault((row["cell_key"], row["run_id"]), []).append(row)
    return [Student(tuple(rows)) for rows in found.values()]

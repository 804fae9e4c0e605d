"""The rows of the runs table that a board rests on, so that what is said beside it is said of the same runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pkt_bench_leaderboards.comparable import Conditions
from pkt_bench_leaderboards.records import Board

if TYPE_CHECKING:
    import pyarrow as pa

FIELDS = (
    "run_id", "method", "method_version", "distribution", "distribution_version", "settings", "variant", "pair",
    "teacher_hash", "student_hash", "suite", "task", "metric", "filter", "limit", "seed", "notes", "selection",
    "pkt_bench_version", "git_revision", "python", "platform", "hardware", "libraries", "scorer", "device", "dtype",
    "threads", "batch_size", "pass_tokens", "budget", "comparability", "created_at",
)  # fmt: skip


class Counted(NamedTuple):
    """A run behind a square: the label of its row, its suite and seed, and its row by the names of the schema."""

    label: str
    suite: str
    seed: int
    row: Mapping[str, Any]

    def json(self, name: str) -> dict[str, Any]:
        """A column that holds a JSON object; empty where it is null or none."""
        try:
            found = json.loads(self.row[name] or "{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def counted(runs: pa.Table, board: Board) -> list[Counted]:
    """The done runs whose scores are on the board, one per method, suite and seed, in the order of the board."""
    import pyarrow.compute as pc

    wanted = pc.and_kleene(pc.match_substring_regex(runs["outcome"], "^done$"), runs["headline"])
    rows = runs.filter(wanted).select(FIELDS).to_pylist()
    newest: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row["created_at"], row["run_id"])):
        if all(row[name] == getattr(board, name) for name in Conditions._fields):
            newest[_key(row), row["variant"], row["suite"], row["seed"], row["comparability"]] = row
    found = []
    for line in board.rows:
        key = (line.method, line.version, line.distribution, line.settings)
        for column, square in zip(board.columns, line.squares, strict=True):
            for seed in square.seeds:
                row = newest.get((key, line.variant, column.suite, seed, column.comparability))
                if row is not None:
                    found.append(Counted(line.label, column.suite, seed, row))
    return found


def _key(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return (row["method"], row["method_version"] or "", row["distribution"] or "", row["settings"])

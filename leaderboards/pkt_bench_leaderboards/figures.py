"""The figures of a board's row by name, as filters ask for them: `--having 'mean > 0.5 and p < 0.05'`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pkt_bench_leaderboards.board import Board, Forgotten, Row
from pkt_bench_leaderboards.contests import better
from pkt_bench_leaderboards.statistics import Paired

KINDS = {
    "label": "string",
    "method": "string",
    "place": "int",
    "mean": "float",
    "gap_closed": "float",
    "p": "float",
    "seconds": "float",
    "payload_bytes": "float",
    "trainable_parameters": "float",
    "seeds": "int",
    "one_seed": "bool",
    "reference": "bool",
    "oracle": "bool",
    "paradigm": "string",
    "control_of": "string",
}
"""What may be asked of every row, and the kind of each as in `schema.Field`. Scores and gaps are shares of 1."""


def kinds(boards: Sequence[Board]) -> dict[str, str]:
    """What may be asked of the rows of these boards: `KINDS`, and the value on each suite by the suite's name."""
    return {column.suite: "float" for board in boards for column in board.columns} | KINDS


def figures(board: Board, row: Row) -> dict[str, Any]:
    """The figures of a row; what is unknown is null. `p` is corrected, of the mean against the baseline."""
    values = {column.suite: square.value for column, square in zip(board.columns, row.squares, strict=True)}
    return values | {
        "label": row.label,
        "method": row.method,
        "place": row.place,
        "mean": row.mean,
        "gap_closed": row.gap_closed,
        "p": probability(against_baseline(board, row)),
        "seconds": row.costs.seconds,
        "payload_bytes": row.costs.payload_bytes,
        "trainable_parameters": row.costs.trainable_parameters,
        "seeds": len(row.seeds),
        "one_seed": row.one_seed,
        "reference": row.reference,
        "oracle": row.oracle,
        "paradigm": row.paradigm or None,
        "control_of": row.control_of or None,
    }


def against_baseline(board: Board, row: Row) -> Paired | None:
    """The test of what a row is ranked by: of its mean, and on a board of one suite of that."""
    return row.squares[0].paired if len(board.columns) == 1 else row.paired


def probability(paired: Paired | None) -> float | None:
    """The p to go by: corrected for its family where that was done."""
    if paired is None:
        return None
    return paired.p if paired.p_holm is None else paired.p_holm


def is_lost(each: Forgotten) -> bool:
    """Whether a student is significantly worse on another suite's task than before."""
    return each.paired is not None and better(each.paired, higher_is_better=each.higher_is_better) is False


def is_share(each: Forgotten) -> bool:
    """Whether figures on another suite's task are shares of 1, as `Column.fraction` says of the board's own."""
    return each.higher_is_better and 0 <= each.value <= 1 and 0 <= each.student <= 1

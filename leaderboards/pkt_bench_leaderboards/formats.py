"""Boards as JSON, CSV and Markdown; figures are written by `text`, so they are those of the screen."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.board import Board, Column, Costs, Row, Square
from pkt_bench_leaderboards.schema import SCHEMA_VERSION
from pkt_bench_leaderboards.sheet import Sheet

CSV_COLUMNS = (
    "board",
    "pair",
    "apart",
    "suite",
    "task",
    "metric",
    "filter",
    "shots",
    "limit",
    "place",
    "method",
    "version",
    "distribution",
    "settings",
    "paradigm",
    "control_of",
    "oracle",
    "variant",
    "older_runs",
    "outcome",
    "score",
    "stderr",
    "gap_closed",
    "p",
    "n",
    "seeds",
    "seconds",
    "payload_bytes",
    "trainable_parameters",
    "value",
    "value_stderr",
    "reason",
)
"""`score`, `stderr`, `gap_closed` (percent) and `p` as on the screen, `value` and `value_stderr` as stored."""


def as_json(boards: Sequence[Board]) -> str:
    """All there is to a board. Every figure as stored, and under `text` as it is on the screen."""
    content = {"schema_version": SCHEMA_VERSION, "boards": [_board(board) for board in boards]}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(boards: Sequence[Board]) -> str:
    """One line per method and suite, and one per method for the mean of several suites (suite `mean`)."""
    sink = io.StringIO()
    writer = csv.DictWriter(sink, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for number, board in enumerate(boards, 1):
        for row in board.rows:
            common = {
                "board": number,
                "pair": board.pair,
                "apart": "; ".join(board.apart),
                "limit": "" if board.limit is None else board.limit,
                "method": row.method,
                "version": row.version,
                "distribution": row.distribution,
                "settings": row.settings,
                "paradigm": row.paradigm,
                "control_of": row.control_of,
                "oracle": row.oracle,
                "variant": row.variant,
                "older_runs": row.older_runs,
            }
            writer.writerows(common | line for line in _csv_lines(board, row))
    return sink.getvalue()


def as_markdown(sheets: Iterable[Sheet]) -> str:
    """The tables of the screen, with their notes."""
    return "\n".join(_markdown(sheet) for sheet in sheets)


def _board(board: Board) -> dict[str, Any]:
    return {
        "pair": board.pair,
        "teacher": {"name": board.teacher, "hash": board.teacher_hash},
        "student": {"name": board.student, "hash": board.student_hash},
        "scorer": board.scorer,
        "device": board.device,
        "dtype": board.dtype,
        "threads": board.threads,
        "batch_size": board.batch_size,
        "limit": board.limit,
        "apart": list(board.apart),
        "outcomes": dict(board.outcomes),
        "mean_note": board.mean_note or None,
        "gap_note": board.gap_note or None,
        "suites": [_column(column) for column in board.columns],
        "rows": [_row(board, row) for row in board.rows],
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        "suite": column.suite,
        "task": column.task,
        "metric": column.metric,
        "filter": column.filter,
        "shots": column.shots,
        "n": column.n,
        "chance": column.chance,
        "higher_is_better": column.higher_is_better,
        "unit": "fraction" if column.fraction else "raw",
        "comparability": column.comparability,
        "gap_note": column.gap_note or None,
    }


def _row(board: Board, row: Row) -> dict[str, Any]:
    return {
        "place": row.place,
        "method": row.method,
        "label": row.label,
        "version": row.version,
        "distribution": row.distribution,
        "settings": json.loads(row.settings or "{}"),
        "paradigm": row.paradigm,
        "control_of": row.control_of or None,
        "oracle": row.oracle,
        "variant": row.variant,
        "older_runs": row.older_runs,
        "reference": row.reference,
        "one_seed": row.one_seed,
        "seeds": list(row.seeds),
        "mean": row.mean,
        "mean_stderr": row.mean_stderr,
        "gap_closed": row.gap_closed,
        "costs": _costs(row.costs),
        "text": {
            "mean": text.score(row.mean, row.mean_stderr, fraction=board.columns[0].fraction),
            "gap_closed": text.percent(row.gap_closed),
            **_costs_text(row.costs),
        },
        "suites": {
            column.suite: _square(square, column) for column, square in zip(board.columns, row.squares, strict=True)
        },
    }


def _square(square: Square, column: Column) -> dict[str, Any]:
    paired = square.paired
    return {
        "outcome": square.outcome,
        "place": square.place,
        "value": square.value,
        "stderr": square.stderr,
        "seeds": list(square.seeds),
        "gap_closed": square.gap_closed,
        "against_student": None
        if paired is None
        else {
            "p": paired.p,
            "test": paired.test,
            "n": paired.n,
            "difference": paired.difference,
            "gained": paired.gained,
            "lost": paired.lost,
        },
        "costs": _costs(square.costs),
        "reasons": [
            {"outcome": reason.outcome, "reason": reason.text, "seeds": list(reason.seeds)} for reason in square.reasons
        ],
        "text": {
            "score": text.score(square.value, square.stderr, fraction=column.fraction),
            "gap_closed": text.percent(square.gap_closed),
            "p": text.probability(paired.p if paired else None),
            **_costs_text(square.costs),
        },
    }


def _costs(costs: Costs) -> dict[str, float | None]:
    return {
        "seconds": costs.seconds,
        "payload_bytes": costs.payload_bytes,
        "trainable_parameters": costs.trainable_parameters,
        "peak_rss_bytes": costs.peak_rss_bytes,
        "artifact_bytes": costs.artifact_bytes,
    }


def _costs_text(costs: Costs) -> dict[str, str]:
    return {
        "seconds": text.seconds(costs.seconds),
        "payload_bytes": text.size(costs.payload_bytes),
        "trainable_parameters": text.quantity(costs.trainable_parameters),
        "peak_rss_bytes": text.size(costs.peak_rss_bytes),
        "artifact_bytes": text.size(costs.artifact_bytes),
    }


def _csv_lines(board: Board, row: Row) -> Iterable[dict[str, Any]]:
    if len(board.columns) > 1:
        outcome = "done" if row.mean is not None else ""
        line = _csv_figures(row.mean, row.mean_stderr, row.gap_closed, row.costs, fraction=board.columns[0].fraction)
        yield {"suite": "mean", "place": row.place, "outcome": outcome, "seeds": text.spans(row.seeds)} | line
    for column, square in zip(board.columns, row.squares, strict=True):
        line = _csv_figures(square.value, square.stderr, square.gap_closed, square.costs, fraction=column.fraction)
        yield line | {
            "suite": column.suite,
            "task": column.task,
            "metric": column.metric,
            "filter": column.filter,
            "shots": column.shots,
            "n": column.n,
            "place": square.place,
            "outcome": square.outcome,
            "p": text.probability(square.paired.p) if square.paired else "",
            "seeds": text.spans(square.seeds),
            "reason": "; ".join(f"{reason.outcome}: {reason.text}" for reason in square.reasons),
        }


def _csv_figures(
    value: float | None, stderr: float | None, gap: float | None, costs: Costs, *, fraction: bool
) -> dict[str, Any]:
    return {
        "score": "" if value is None else text.number(value, fraction=fraction),
        "stderr": "" if stderr is None or value is None else text.number(stderr, fraction=fraction),
        "gap_closed": "" if gap is None else text.percent(gap).removesuffix(" %"),
        "seconds": "" if costs.seconds is None else text.seconds(costs.seconds),
        "payload_bytes": _whole(costs.payload_bytes),
        "trainable_parameters": _whole(costs.trainable_parameters),
        "value": value,
        "value_stderr": stderr,
    }


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _markdown(sheet: Sheet) -> str:
    titles = [f"{heading.title} ({heading.detail})" if heading.detail else heading.title for heading in sheet.headings]
    rules = ["---:" if heading.right else ":---" for heading in sheet.headings]
    lines = [
        [_emphasised(_escaped(cell.written), italic=line.reference, bold=line.winner) for cell in line.cells]
        for line in sheet.lines
    ]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in (map(_escaped, titles), rules, *lines))
    notes = "\n".join(f"- **{_escaped(note.mark)}** {_escaped(note.words)}" for note in sheet.notes)
    return f"### {_escaped(sheet.title)}\n\n{_escaped(sheet.subtitle)}\n\n{table}\n\n{notes}\n"


def _escaped(words: str) -> str:
    for letter in "\\|*_`<[":
        words = words.replace(letter, f"\\{letter}")
    return " ".join(words.split())


def _emphasised(words: str, *, italic: bool, bold: bool) -> str:
    if not words:
        return ""
    return f"*{words}*" if italic else f"**{words}**" if bold else words

"""Boards whole, for programs: JSON, CSV and TSV with every figure there is, as stored and as it is written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.board import Against, Board, Column, Costs, Forgotten, Noise, Row, Square
from pkt_bench_leaderboards.figures import against_baseline, is_lost, is_share, probability
from pkt_bench_leaderboards.formats import delimited
from pkt_bench_leaderboards.schema import SCHEMA_VERSION
from pkt_bench_leaderboards.statistics import Paired

_LAID_OUT = 1_000

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
    "baseline",
    "low",
    "high",
    "gap_low",
    "gap_high",
    "values",
    "p_raw",
    "difference",
    "difference_low",
    "difference_high",
    "test",
    "detectable",
    "items_needed",
    "seeds_needed",
    "beats",
    "forgot",
    "forgot_of",
    "peak_rss_bytes",
    "artifact_bytes",
)
"""`score`, `stderr`, `gap_closed` (percent), `p` (corrected) and `p_raw` as on the screen; from `value` on as stored.

Columns are only ever added, at the end.
"""


def as_json(boards: Sequence[Board], filters: Mapping[str, str] | None = None) -> str:
    """All there is to a board. Every figure as stored, and under `text` as it is on the screen.

    `filters` are those that something was left out by: what each asked.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        "filters": dict(filters or {}),
        "boards": [_board(board) for board in boards],
    }
    # laid out for the eye as long as an eye could follow: of many rows that takes most of a minute
    indent = 1 if sum(len(board.rows) for board in boards) <= _LAID_OUT else None
    return json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(boards: Sequence[Board], *, tabs: bool = False) -> str:
    """One line per method and suite, and one per method for the mean of several suites (suite `mean`).

    With `tabs` between the columns it is TSV. `delimited.lines` says what becomes of text that looks like a formula.
    """
    return delimited.lines(CSV_COLUMNS, _csv_rows(boards), tabs=tabs)


def _csv_rows(boards: Sequence[Board]) -> Iterator[list[Any]]:
    for number, board in enumerate(boards, 1):
        for row in board.rows:
            common = {
                "board": number,
                "pair": board.pair,
                "apart": "; ".join(board.apart),
                "limit": board.limit,
                "method": row.method,
                "version": row.version,
                "distribution": row.distribution,
                "settings": row.settings,
                "paradigm": row.paradigm,
                "control_of": row.control_of,
                "oracle": row.oracle,
                "variant": row.variant,
                "older_runs": row.older_runs,
                "baseline": board.baseline,
            }
            for line in _csv_lines(board, row):
                line.update(common)
                yield [line.get(name) for name in CSV_COLUMNS]


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
        "baseline": board.baseline or None,
        "noise": [_noise(noise) for noise in board.noise],
        "apart": list(board.apart),
        "outcomes": dict(board.outcomes),
        "mean_note": board.mean_note or None,
        "gap_note": board.gap_note or None,
        "place_note": board.place_note or None,
        "caveats": list(board.caveats),
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
    fraction = board.columns[0].fraction
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
        "mean_low": row.mean_low,
        "mean_high": row.mean_high,
        "gap_closed": row.gap_closed,
        "gap_low": row.gap_low,
        "gap_high": row.gap_high,
        "against_baseline": _paired(row.paired, fraction=fraction),
        "beats": list(row.beats),
        "forgotten": [_forgotten(forgotten) for forgotten in row.forgotten],
        "controls": [_against(against, fraction=fraction) for against in row.controls],
        "costs": _costs(row.costs),
        "text": {
            "mean": text.score(row.mean, row.mean_stderr, fraction=fraction),
            "mean_interval": text.interval(row.mean_low, row.mean_high, fraction=fraction),
            "gap_closed": text.percent(row.gap_closed),
            "gap_interval": text.percent_interval(row.gap_low, row.gap_high),
            "p": text.probability(probability(against_baseline(board, row))),
            **_costs_text(row.costs),
        },
        "suites": {
            column.suite: _square(square, column, board.baseline)
            for column, square in zip(board.columns, row.squares, strict=True)
        },
    }


def _square(square: Square, column: Column, baseline: str) -> dict[str, Any]:
    paired = _paired(square.paired, fraction=column.fraction)
    return {
        "outcome": square.outcome,
        "place": square.place,
        "value": square.value,
        "stderr": square.stderr,
        "low": square.low,
        "high": square.high,
        "seeds": list(square.seeds),
        "values": list(square.values),
        "gap_closed": square.gap_closed,
        "gap_low": square.gap_low,
        "gap_high": square.gap_high,
        "against_baseline": paired,
        # the same, where the baseline is the untouched student
        "against_student": paired if baseline == "student" else None,
        "costs": _costs(square.costs),
        "reasons": [
            {"outcome": reason.outcome, "reason": reason.text, "seeds": list(reason.seeds)} for reason in square.reasons
        ],
        "text": {
            "score": text.score(square.value, square.stderr, fraction=column.fraction),
            "interval": text.interval(square.low, square.high, fraction=column.fraction),
            "gap_closed": text.percent(square.gap_closed),
            "gap_interval": text.percent_interval(square.gap_low, square.gap_high),
            "p": text.probability(probability(square.paired)),
            **_costs_text(square.costs),
        },
    }


def _paired(paired: Paired | None, *, fraction: bool) -> dict[str, Any] | None:
    if paired is None:
        return None
    return {
        "p": paired.p,
        "p_holm": paired.p_holm,
        "test": paired.test,
        "n": paired.n,
        "seeds": paired.seeds,
        "difference": paired.difference,
        "stderr": paired.stderr,
        "low": paired.low,
        "high": paired.high,
        "gained": paired.gained,
        "lost": paired.lost,
        "detectable": paired.detectable,
        "items_needed": paired.items_needed,
        "seeds_needed": paired.seeds_needed,
        "text": {
            "p": text.probability(paired.p),
            "p_holm": text.probability(paired.p_holm),
            "difference": text.difference(paired.difference, fraction=fraction),
            "interval": text.interval(paired.low, paired.high, fraction=fraction),
            "detectable": text.difference(paired.detectable, fraction=fraction).removeprefix("+"),
            "items_needed": text.count(paired.items_needed),
            "seeds_needed": text.count(paired.seeds_needed),
        },
    }


def _forgotten(each: Forgotten) -> dict[str, Any]:
    return {
        "suite": each.suite,
        "task": each.task,
        "metric": each.metric,
        "value": each.value,
        "student": each.student,
        "higher_is_better": each.higher_is_better,
        "significant": is_lost(each),
        "paired": _paired(each.paired, fraction=is_share(each)),
    }


def _against(each: Against, *, fraction: bool) -> dict[str, Any]:
    return {"control": each.label, "method": each.method, "paired": _paired(each.paired, fraction=fraction)}


def _noise(each: Noise) -> dict[str, Any]:
    return {
        "method": each.method,
        "suite": each.suite,
        "runs": each.runs,
        "spread": each.spread,
        "items": each.items,
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
    tested = sum(each.paired is not None for each in row.forgotten)
    forgot = {
        "beats": "; ".join(row.beats),
        "forgot": sum(map(is_lost, row.forgotten)) if tested else None,
        "forgot_of": tested or None,
    }
    if len(board.columns) > 1:
        line = _csv_figures(
            Square("done", row.mean, row.mean_stderr, row.mean_low, row.mean_high, paired=row.paired, costs=row.costs),
            (row.gap_closed, row.gap_low, row.gap_high),
            fraction=board.columns[0].fraction,
        )
        outcome = "done" if row.mean is not None else ""
        yield line | {
            "suite": "mean",
            "place": row.place,
            "outcome": outcome,
            "seeds": text.spans(row.seeds),
            **forgot,
        }
    for column, square in zip(board.columns, row.squares, strict=True):
        gap = square.gap_closed, square.gap_low, square.gap_high
        line = _csv_figures(square, gap, fraction=column.fraction)
        yield line | {
            "suite": column.suite,
            "task": column.task,
            "metric": column.metric,
            "filter": column.filter,
            "shots": column.shots,
            "n": column.n,
            "place": square.place,
            "outcome": square.outcome,
            "seeds": text.spans(square.seeds),
            "reason": "; ".join(f"{reason.outcome}: {reason.text}" for reason in square.reasons),
            **(forgot if len(board.columns) == 1 else {}),
        }


def _csv_figures(
    square: Square, gap: tuple[float | None, float | None, float | None], *, fraction: bool
) -> dict[str, Any]:
    """What the mean and a suite have in common."""
    value, stderr, costs, paired = square.value, square.stderr, square.costs, square.paired
    line = {
        "score": None if value is None else text.number(value, fraction=fraction),
        "stderr": None if stderr is None or value is None else text.number(stderr, fraction=fraction),
        "gap_closed": None if gap[0] is None else text.percent(gap[0]).removesuffix(" %"),
        "seconds": None if costs.seconds is None else text.seconds(costs.seconds),
        "payload_bytes": _whole(costs.payload_bytes),
        "trainable_parameters": _whole(costs.trainable_parameters),
        "value": value,
        "value_stderr": stderr,
        "low": square.low,
        "high": square.high,
        "gap_low": gap[1],
        "gap_high": gap[2],
        "values": " ".join(map(repr, square.values)),
        "peak_rss_bytes": _whole(costs.peak_rss_bytes),
        "artifact_bytes": _whole(costs.artifact_bytes),
    }
    if paired is not None:
        line |= {
            "p": text.probability(probability(paired)),
            "p_raw": text.probability(paired.p),
            "difference": paired.difference,
            "difference_low": paired.low,
            "difference_high": paired.high,
            "test": paired.test,
            "detectable": paired.detectable,
            "items_needed": paired.items_needed,
            "seeds_needed": paired.seeds_needed,
        }
    return line


def _whole(value: float | None) -> str | None:
    return None if value is None else f"{value:.0f}"

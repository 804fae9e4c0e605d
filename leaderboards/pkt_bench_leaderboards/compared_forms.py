"""A comparison as a table, JSON, CSV and for a gate: the same figures everywhere, written by `text` where rounded."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.comparable import Conditions
from pkt_bench_leaderboards.compared import MEAN, Alone, Apart, Comparison, Line
from pkt_bench_leaderboards.contests import better
from pkt_bench_leaderboards.flips import Flip
from pkt_bench_leaderboards.schema import SCHEMA_VERSION
from pkt_bench_leaderboards.sheet import Cell, Heading, Note, Sheet, Tone
from pkt_bench_leaderboards.sheet import Line as Written

COSTS = ("seconds", "payload_bytes", "trainable_parameters", "peak_rss_bytes", "artifact_bytes")
FIGURES: Mapping[str, str] = {
    "pair": "string",
    "suite": "string",
    "method": "string",
    "label": "string",
    "method_a": "string",
    "label_a": "string",
    "a": "float",
    "b": "float",
    "delta": "float",
    "low": "float",
    "high": "float",
    "p": "float",
    "p_holm": "float",
    "n": "int",
    "seeds": "int",
    "gained": "int",
    "lost": "int",
    "better": "string",
    "higher_is_better": "bool",
    **{f"{cost}_{side}": "float" for cost in COSTS for side in "ab"},
}
"""What is known of a line, with the kind of each: what a gate may ask, and the columns of JSON and CSV.

`method` and `label` are B's. `delta`, `low` and `high` are B minus A as stored, a fraction where the metric is one.
`seeds` is how many were compared. `better` is A, B, or empty. What is unknown is null.
"""
_TEXT = ("a_text", "b_text", "delta_text", "p_text", "p_holm_text")
CSV_COLUMNS = ("comparison", *FIGURES, "metric", "seeds_compared", "test", "same_runs", "note", *_TEXT)
"""`comparison` is compared, not comparable, or only A or B; `*_text` is as on the screen."""
FLIP_COLUMNS = tuple(Flip.__dataclass_fields__)


def figures(line: Line) -> dict[str, Any]:
    """All that is known of a line, by the names of `FIGURES`."""
    paired = line.paired
    return {
        "pair": line.pair,
        "suite": line.suite,
        "method": line.b_row.method,
        "label": line.b_label,
        "method_a": line.a_row.method,
        "label_a": line.a_label,
        "a": line.a,
        "b": line.b,
        "delta": line.delta,
        "low": paired.low if paired else None,
        "high": paired.high if paired else None,
        "p": paired.p if paired else None,
        "p_holm": paired.p_holm if paired else None,
        "n": paired.n if paired else None,
        "seeds": len(line.seeds),
        "gained": paired.gained if paired else None,
        "lost": paired.lost if paired else None,
        "better": line.better,
        "higher_is_better": line.higher_is_better,
        **{
            f"{cost}_{side}": getattr(costs, cost)
            for cost in COSTS
            for side, costs in (("a", line.a_costs), ("b", line.b_costs))
        },
    }


def named(line: Line | Apart) -> str:
    """What a line is called: its rows, and the suite."""
    return f"{_rows(line.a_label, line.b_label)}, {line.suite}, {line.pair}"


def written(line: Line) -> str:
    """The difference of a line in a few words, as on the screen."""
    paired = line.paired
    p = f"p {text.probability(paired.p)}, after Holm {text.probability(paired.p_holm)}" if paired else "p unknown"
    return f"{named(line)}: {_delta(line)} ({_number(line, line.a)} to {_number(line, line.b)}; {p})"


# ---------------------------------------------------------------- the table


def write(comparison: Comparison) -> list[Sheet]:
    """The comparison as sheets, one for each pair and set of conditions; notes are under the last."""
    groups: dict[Conditions, list[Line]] = {}
    for line in comparison.lines:
        groups.setdefault(line.conditions, []).append(line)
    notes = _notes(comparison)
    if not groups:
        return [Sheet("nothing to compare", _sides(comparison), _HEADINGS, (), tuple(notes))]
    every = list(groups)
    sheets = []
    for number, (conditions, lines) in enumerate(groups.items(), 1):
        subtitle = " · ".join([_sides(comparison), *_telling(conditions, every)])
        said = notes if number == len(groups) else []
        sheets.append(Sheet(conditions.pair, subtitle, _HEADINGS, tuple(map(_written, lines)), tuple(said)))
    return sheets


_HEADINGS = (
    Heading("row", "row", right=False),
    Heading("suite", "suite", right=False),
    Heading("a", "A"),
    Heading("b", "B"),
    Heading("delta", "B - A"),
    Heading("interval", "95 %"),
    Heading("p", "p"),
    Heading("p_holm", "p", "Holm"),
    Heading("gained", "gained"),
    Heading("lost", "lost"),
    Heading("n", "of"),
    Heading("seeds", "seeds"),
    Heading("seconds", "seconds"),
    Heading("moved", "moved"),
    Heading("trained", "trained"),
)


def _sides(comparison: Comparison) -> str:
    return f"A: {comparison.a} · B: {comparison.b}"


def _telling(conditions: Conditions, every: Sequence[Conditions]) -> list[str]:
    """What tells one sheet from the others of its pair."""
    rivals = [other for other in every if other.pair == conditions.pair]
    found = []
    for name in Conditions._fields:
        mine = getattr(conditions, name)
        if any(getattr(rival, name) != mine for rival in rivals):
            shown = text.short_hash(mine) if name.endswith("_hash") else "none" if mine is None else mine
            found.append(f"{name.removesuffix('_hash').replace('_', ' ')} {shown}")
    return found


def _written(line: Line) -> Written:
    paired = line.paired
    verdict = better(paired, higher_is_better=line.higher_is_better) if paired else None
    tone: Tone = "plain" if verdict is None else "better" if verdict else "worse"
    cells = (
        Cell(_rows(line.a_label, line.b_label)),
        Cell(line.suite),
        Cell(_number(line, line.a)),
        Cell(_number(line, line.b)),
        Cell(_delta(line), _mark(line, tone), tone),
        Cell(_interval(line)),
        Cell(text.probability(paired.p if paired else None)),
        Cell(text.probability(paired.p_holm if paired else None)),
        *(Cell(text.UNKNOWN if paired is None else str(count(paired))) for count in _COUNTS),
        Cell(text.spans(line.seeds) or text.UNKNOWN),
        Cell(_change(text.seconds(line.a_costs.seconds), text.seconds(line.b_costs.seconds))),
        Cell(_change(text.size(line.a_costs.payload_bytes), text.size(line.b_costs.payload_bytes))),
        Cell(
            _change(text.quantity(line.a_costs.trainable_parameters), text.quantity(line.b_costs.trainable_parameters))
        ),
    )
    return Written(cells)


_COUNTS = (lambda paired: paired.gained, lambda paired: paired.lost, lambda paired: paired.n)


def _rows(a: str, b: str) -> str:
    return a if a == b else f"{a} → {b}"


def _number(line: Line, value: float) -> str:
    return text.number(value, fraction=line.fraction)


def _delta(line: Line) -> str:
    return text.difference(line.delta, fraction=line.fraction)


def _interval(line: Line) -> str:
    low, high = (line.paired.low, line.paired.high) if line.paired else (None, None)
    return text.interval(low, high, fraction=line.fraction)


def _mark(line: Line, tone: Tone) -> str:
    several = line.paired is not None and line.paired.seeds > 1
    return {"better": "▲" if several else "△", "worse": "▼" if several else "▽"}.get(tone, "")


def _change(a: str, b: str) -> str:
    return a if a == b else f"{a} → {b}"


def _notes(comparison: Comparison) -> list[Note]:
    notes = []
    marks = {_written(line).cells[4].marks for line in comparison.lines}
    for mark, words in (
        ("▲▼", "B is better or worse than A on the same items and seeds: p corrected after Holm below 0.05"),
        ("△▽", "the same from a single seed: what another seed would give is unknown"),
    ):
        notes += [Note(found, words) for found in ["".join(sign for sign in mark if sign in marks)] if found]
    if any(line.paired is None for line in comparison.lines):
        notes.append(Note(text.UNKNOWN, "unknown: not tested, for want of the answers of both sides to the same items"))
    if any(not line.higher_is_better for line in comparison.lines):
        lower = sorted({line.suite for line in comparison.lines if not line.higher_is_better})
        notes.append(Note("lower", f"is better on: {', '.join(lower)}"))
    noted: dict[tuple[str, str], list[Line]] = {}
    for line in comparison.lines:
        if line.note:
            noted.setdefault((_rows(line.a_label, line.b_label), line.note), []).append(line)
    notes += [Note(row, f"{', '.join(each.suite for each in lines)}: {note}") for (row, note), lines in noted.items()]
    rows: dict[str, list[Line]] = {}
    for line in comparison.lines:
        rows.setdefault(_rows(line.a_label, line.b_label), []).append(line)
    if same := [said for row, lines in rows.items() if (said := _same(row, lines))]:
        notes.append(Note("same runs", f"in A and B, so nothing to find: {', '.join(same)}"))
    missed: dict[tuple[str, tuple[str, ...]], list[Apart]] = {}
    for apart in comparison.apart:
        missed.setdefault((_rows(apart.a_label, apart.b_label), apart.differs), []).append(apart)
    notes += [
        Note(row, f"not compared on {', '.join(dict.fromkeys(each.suite for each in aparts))}: {'; '.join(differs)}")
        for (row, differs), aparts in missed.items()
    ]
    for side in ("A", "B"):
        found = [_alone(alone) for alone in comparison.alone if alone.side == side]
        notes += [Note(f"only {side}", "; ".join(found))] if found else []
    return notes


def _same(row: str, lines: Sequence[Line]) -> str:
    """A row of which both sides hold the same runs, on which suites where not on all; else nothing."""
    same = list(dict.fromkeys(line.suite for line in lines if line.same_runs))
    if len(same) == len({line.suite for line in lines}):
        return row
    return f"{row} ({', '.join(same)})" if same else ""


def _alone(alone: Alone) -> str:
    return f"{alone.label} ({alone.pair}: {', '.join(alone.suites)})"


# ---------------------------------------------------------------- JSON and CSV


def as_json(comparison: Comparison, flips: Sequence[Flip] | None = None, gate: Mapping[str, Any] | None = None) -> str:
    """All there is to a comparison; every figure as stored, and under `text` as it is on the screen."""
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "a": comparison.a,
        "b": comparison.b,
        "lines": [_json(line) for line in comparison.lines],
        "not_comparable": [
            {
                "pair": apart.pair,
                "suite": apart.suite,
                "label_a": apart.a_label,
                "label_b": apart.b_label,
                "differs": list(apart.differs),
            }
            for apart in comparison.apart
        ],
        "alone": [asdict(alone) | {"suites": list(alone.suites)} for alone in comparison.alone],
    }
    if flips is not None:
        content["items"] = [asdict(flip) for flip in flips]
    if gate is not None:
        content["gate"] = dict(gate)
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _json(line: Line) -> dict[str, Any]:
    return {
        **figures(line),
        "unit": "fraction" if line.fraction else "raw",
        "settings": json.loads(line.b_row.settings or "{}"),
        "settings_a": json.loads(line.a_row.settings or "{}"),
        "distribution": line.b_row.distribution,
        "task": line.task,
        "metric": line.metric,
        "limit": line.conditions.limit,
        "seeds_compared": list(line.seeds),
        "test": line.paired.test if line.paired else None,
        "stderr": line.paired.stderr if line.paired else None,
        "detectable": line.paired.detectable if line.paired else None,
        "same_runs": line.same_runs,
        "note": line.note or None,
        "text": _texts(line),
    }


def _texts(line: Line) -> dict[str, str]:
    return {heading.key: cell.text for heading, cell in zip(_HEADINGS[2:], _written(line).cells[2:], strict=True)}


def as_csv(comparison: Comparison) -> str:
    """A line for each row and suite that was compared, then those that were not, then what only one side has."""
    sink = io.StringIO()
    writer = csv.DictWriter(sink, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for line in comparison.lines:
        texts = _texts(line)
        writer.writerow(
            figures(line)
            | {
                "comparison": "compared",
                "metric": line.metric,
                "seeds_compared": text.spans(line.seeds),
                "test": line.paired.test if line.paired else "",
                "same_runs": line.same_runs,
                "note": line.note,
            }
            | {name: texts[name.removesuffix("_text")] for name in _TEXT}
        )
    for apart in comparison.apart:
        writer.writerow(
            {
                "comparison": "not comparable",
                "pair": apart.pair,
                "suite": apart.suite,
                "label_a": apart.a_label,
                "label": apart.b_label,
                "note": "; ".join(apart.differs),
            }
        )
    for alone in comparison.alone:
        for suite in alone.suites:
            label = {"label_a" if alone.side == "A" else "label": alone.label}
            writer.writerow({"comparison": f"only {alone.side}", "pair": alone.pair, "suite": suite} | label)
    return sink.getvalue()


def flips_as_csv(flips: Sequence[Flip]) -> str:
    """A line for each document and seed that A and B answered differently."""
    sink = io.StringIO()
    writer = csv.DictWriter(sink, FLIP_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(flip) for flip in flips)
    return sink.getvalue()


def flips_as_lines(flips: Sequence[Flip]) -> list[str]:
    """The same for people, a block of lines for each."""
    lines = []
    for flip in flips:
        rows = _rows(flip.a_label, flip.b_label)
        lines += [
            "",
            f"{flip.change}: {flip.suite}, {rows}, document {flip.doc_id}, seed {flip.seed}",
            *_indented("prompt", flip.prompt),
            *_indented("right answer", flip.target),
            *_indented(f"A ({flip.a_value:g})", flip.a_response),
            *_indented(f"B ({flip.b_value:g})", flip.b_response),
        ]
    return lines[1:]


def _indented(name: str, words: str) -> list[str]:
    first, *others = words.splitlines() or [""]
    return [f"  {name}: {first}", *(f"    {line}" for line in others)]


__all__ = [
    "CSV_COLUMNS",
    "FIGURES",
    "FLIP_COLUMNS",
    "MEAN",
    "as_csv",
    "as_json",
    "figures",
    "flips_as_csv",
    "flips_as_lines",
    "named",
    "write",
    "written",
]

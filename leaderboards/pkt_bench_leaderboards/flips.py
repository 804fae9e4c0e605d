"""The documents that A and B of a comparison answered differently, with what was asked and what either said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pkt_bench_leaderboards.comparable import Entry
from pkt_bench_leaderboards.compared import Comparison, Line, Side

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Flip:
    """A document that A and B answered differently under a seed. `change`: gained or lost, over all seeds compared."""

    pair: str
    suite: str
    a_label: str
    b_label: str
    seed: int
    doc_id: int
    change: str
    prompt: str
    target: str
    a_value: float
    b_value: float
    a_response: str
    b_response: str


def flips(comparison: Comparison, a: Side, b: Side) -> list[Flip]:
    """Every document that was answered better or worse, under each seed where the two differ; lost ones first.

    As many different documents of a suite are called gained and lost as its test counts. Needs items with prompts and
    responses.
    """
    found: list[Flip] = []
    for line in comparison.lines:
        if line.paired is None or line.task is None:  # not tested, or the mean over suites
            continue
        of_a = _documents(a.items, [entry for entry, _ in line.runs])
        of_b = _documents(b.items, [entry for _, entry in line.runs])
        found += _flipped(line, of_a, of_b)
    return found


_Documents = dict[tuple[int, str], dict[str, Any]]


def _flipped(line: Line, of_a: Mapping[str, _Documents], of_b: Mapping[str, _Documents]) -> Iterable[Flip]:
    change: dict[tuple[int, str], float] = {}
    shared = set.intersection(*(set(each) for each in (*of_a.values(), *of_b.values())))
    for document in sorted(shared):
        mean_a, mean_b = (sum(found[document]["value"] for found in each.values()) / len(each) for each in (of_a, of_b))
        change[document] = 0.0 if abs(mean_b - mean_a) < 1e-12 else mean_b - mean_a
    flipped = []
    for document, by_how_much in change.items():
        if by_how_much == 0:
            continue
        for run_a, run_b in line.runs:
            one, other = of_a[run_a.run_id][document], of_b[run_b.run_id][document]
            if one["value"] == other["value"]:
                continue
            flipped.append(
                Flip(
                    pair=line.pair,
                    suite=line.suite,
                    a_label=line.a_label,
                    b_label=line.b_label,
                    seed=run_b.seed if run_a.paradigm == "reference" else run_a.seed,
                    doc_id=document[0],
                    change="gained" if (by_how_much > 0) else "lost",
                    prompt=one["prompt"],
                    target=one["target"],
                    a_value=one["value"],
                    b_value=other["value"],
                    a_response=one["response"],
                    b_response=other["response"],
                )
            )
    return sorted(flipped, key=lambda flip: (flip.change != "lost", flip.doc_id, flip.seed))


def _documents(items: pa.Table | None, runs: Iterable[Entry]) -> dict[str, _Documents]:
    """By run and document, what was asked and answered behind the runs' headline figures."""
    import pyarrow as pa
    import pyarrow.compute as pc

    assert items is not None  # noqa: S101 - who has a paired test has items
    wanted = {entry.run_id: entry for entry in runs}
    table = items.filter(pc.is_in(items["run_id"], pa.array(sorted(wanted))))
    table = table.filter(pc.is_valid(table["value"]))
    found: dict[str, _Documents] = {run_id: {} for run_id in wanted}
    for row in table.to_pylist():
        entry = wanted[row["run_id"]]
        if (row["task"], row["metric"], row["filter"]) == (entry.task, entry.metric, entry.filter):
            found[entry.run_id][row["doc_id"], row["doc_hash"]] = row
    return found

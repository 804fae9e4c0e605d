"""One worked example per task: the exact prompt, the right answer, and what teacher, student and best method said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.records import Board, Row
from pkt_bench_leaderboards.report.counted import Counted
from pkt_bench_leaderboards.report.markup import Markup, join, scrolling, tag

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = ("doc_id", "doc_hash", "prompt", "target", "response", "value")
LONGEST = 20_000
"""Letters of a prompt or an answer that are shown; how many more there are is said."""


def examples(items: pa.Table, board: Board, runs: Sequence[Counted]) -> Markup:
    """An example per suite of the board, or why there is none."""
    parts = [_example(items, board, index, runs) for index in range(len(board.columns))]
    words = (
        "Of each task the first document that the teacher has right and the student wrong, or, where there is none, "
        "the first: an illustration, picked to show what there is to be transferred, and no evidence."
    )
    return join([tag("p", words, class_="note"), *parts])


def _example(items: pa.Table, board: Board, index: int, runs: Sequence[Counted]) -> Markup:
    column = board.columns[index]
    if column.task is None:
        return tag("p", f"{column.suite}: no run of it is done.")
    speakers: dict[str, Mapping[tuple[int, str], Mapping[str, Any]]] = {}
    for role, row in _speakers(board, index):
        if (found := _answers(items, row.label, column.suite, runs)) is not None:
            speakers[role] = found
    if not speakers:
        return tag("p", f"{column.suite}: its answers are not recorded here.")
    shared = sorted(set.intersection(*(set(answers) for answers in speakers.values())))
    if not shared:
        return tag("p", f"{column.suite}: no document was answered by all of {', '.join(speakers)}.")
    document = next((each for each in shared if _tells(speakers, each)), shared[0])
    first = next(iter(speakers.values()))[document]
    lines = [("prompt", first["prompt"]), ("right answer", first["target"])]
    for role, answers in speakers.items():
        worth = answers[document]["value"]
        said = text.UNKNOWN if worth is None else f"{worth:g}"
        lines.append((f"{role} (worth {said})", plain(answers[document]["response"])))
    listed = [
        tag("div", tag("dt", name), tag("dd", _block(content, f"{column.suite}: {name}"))) for name, content in lines
    ]
    heading = f"{column.suite}: {column.task}, document {document[0]}"
    return tag(
        "details", tag("summary", heading), tag("dl", *listed, class_="example"), open="open" if index == 0 else None
    )


def plain(response: str) -> str:
    """A response as it was said: a list of one string is that string."""
    try:
        found = json.loads(response)
    except ValueError:
        return response
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], str):
        return found[0]
    return response


def _speakers(board: Board, index: int) -> list[tuple[str, Row]]:
    """Teacher, student, and the method with the best score on the suite, controls and oracles aside."""
    column = board.columns[index]
    scored = [row for row in board.rows if row.squares[index].value is not None]
    found = [
        (row.label, row) for name in ("teacher", "student") for row in scored if row.reference and row.method == name
    ]
    sign = 1.0 if column.higher_is_better else -1.0
    methods = [row for row in scored if not (row.reference or row.oracle or row.control_of)]
    if methods:
        best = max(methods, key=lambda row: sign * (row.squares[index].value or 0.0))
        seed = min(best.squares[index].seeds)
        found.append((f"{best.label}, the highest mean here, seed {seed}", best))
    return found


def _answers(
    items: pa.Table, label: str, suite: str, runs: Sequence[Counted]
) -> dict[tuple[int, str], Mapping[str, Any]] | None:
    """The answers of the first seed's run by number and hash of the document; None where none are recorded."""
    import pyarrow as pa
    import pyarrow.compute as pc

    run = next((each.row for each in runs if each.label == label and each.suite == suite), None)
    if run is None:
        return None
    wanted = None
    for name in ("run_id", "task", "metric", "filter"):
        same = pc.equal(items[name], pa.scalar(run[name], pa.string()))
        wanted = same if wanted is None else pc.and_(wanted, same)
    rows = items.filter(wanted).select(SHOWN).to_pylist()
    return {(row["doc_id"], row["doc_hash"]): row for row in rows} or None


def _tells(speakers: Mapping[str, Mapping[tuple[int, str], Mapping[str, Any]]], document: tuple[int, str]) -> bool:
    if not {"teacher", "student"} <= speakers.keys():
        return False
    return bool(speakers["teacher"][document]["value"] == 1 and speakers["student"][document]["value"] == 0)


def _block(content: str, label: str) -> Markup:
    shown = content[:LONGEST]
    if len(content) > LONGEST:
        shown += f"\n[{len(content) - LONGEST} more letters]"
    # the line feed that a browser takes away after the opening tag
    return scrolling(tag("pre", "\n" + (shown or "(nothing)")), label)

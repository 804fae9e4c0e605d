"""The page: one file that needs nothing else, its sections in order, a part for every board."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pkt_bench_leaderboards.ranking import ranking
from pkt_bench_leaderboards.records import Board
from pkt_bench_leaderboards.report.counted import counted
from pkt_bench_leaderboards.report.examples import examples
from pkt_bench_leaderboards.report.frontier import frontier
from pkt_bench_leaderboards.report.grids import heat_maps
from pkt_bench_leaderboards.report.intervals import intervals, spread
from pkt_bench_leaderboards.report.markup import Markup, join, tag
from pkt_bench_leaderboards.report.measures import measures
from pkt_bench_leaderboards.report.provenance import environment, reproduce, sources
from pkt_bench_leaderboards.report.ranks import ranks
from pkt_bench_leaderboards.report.style import SCRIPT, STYLE
from pkt_bench_leaderboards.report.tables import (
    ahead_table,
    board_table,
    control_table,
    failures_table,
    forgetting_table,
)
from pkt_bench_leaderboards.report.verdict import sentences
from pkt_bench_leaderboards.statistics import SIGNIFICANT

if TYPE_CHECKING:
    import pyarrow as pa

GENERATOR = "pkt-bench report"
MARK = f'<meta name="generator" content="{GENERATOR}'
"""By this a file is known as a report of ours; it is within the first bytes."""


@dataclass(frozen=True)
class Beside:
    """What a page holds beside its boards.

    `files` are names and BLAKE2b-128 digests of what was read, `problems` what had to be stepped over, `defaults` the
    default settings by method, `version` that of the program that makes the page.
    """

    title: str = ""
    version: str = ""
    files: Sequence[tuple[str, str]] = ()
    problems: Sequence[str] = ()
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def page(boards: Sequence[Board], runs: pa.Table, items: pa.Table, beside: Beside | None = None) -> str:
    """The whole page as HTML. The same boards, tables and words give the same bytes: it holds no clock.

    `runs` and `items` (`schema.RUNS`, `schema.ITEMS`) are the tables that the boards were made of.
    """
    beside = beside or Beside()
    title = beside.title or f"Leaderboard: {', '.join(dict.fromkeys(board.pair for board in boards))}"
    parts = [_part(board, number, len(boards), runs, items, beside) for number, board in enumerate(boards, 1)]
    several = [
        tag("h2", "Ranks over pairs and suites", id="ranks"),
        ranks(ranking(boards), "ranks"),
        tag("h2", "What was read", id="sources"),
        sources(beside.files),
    ]
    if beside.problems:
        several.append(tag("p", "Left out while reading:"))
        several.append(tag("ul", *(tag("li", problem) for problem in beside.problems)))
    header = tag("header", tag("h1", title), tag("p", _lead(boards, runs), class_="lead"), _contents(boards))
    made_by = f"Made by pkt-bench {beside.version}".rstrip()
    footer = tag("footer", tag("p", f"{made_by} from recorded runs; dated by the newest of them."))
    body = tag("body", header, tag("main", *parts, *several), footer, tag("script", Markup(SCRIPT)))
    return f'<!DOCTYPE html>\n<html lang="en">\n{_head(title, beside.version)}\n{body}\n</html>\n'


def _head(title: str, version: str) -> Markup:
    policy = (
        f"default-src 'none'; style-src {_allowed(STYLE)}; script-src {_allowed(SCRIPT)}; base-uri 'none'; "
        "form-action 'none'"
    )
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name_="generator", content=f"{GENERATOR} {version}".rstrip()),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("meta", name_="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Markup(STYLE)),
    )


def _allowed(content: str) -> str:
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _lead(boards: Sequence[Board], runs: pa.Table) -> str:
    import pyarrow.compute as pc

    newest = pc.max(runs["created_at"]).as_py()
    cells = sum(sum(board.outcomes.values()) for board in boards)
    count = "1 board" if len(boards) == 1 else f"{len(boards)} boards"
    return f"{count}, {cells} cells, newest run {newest:%Y-%m-%d %H:%M} UTC"


def _contents(boards: Sequence[Board]) -> Markup:
    entries = [(f"board-{number}", _name(board, number, len(boards))) for number, board in enumerate(boards, 1)]
    entries += [("ranks", "Ranks"), ("sources", "What was read")]
    links = [tag("li", tag("a", words, href=f"#{name}")) for name, words in entries]
    return tag("nav", tag("ul", *links), aria_label="Contents")


def _name(board: Board, number: int, of: int) -> str:
    return f"Board {number}: {board.pair}" if of > 1 else f"The board of {board.pair}"


def _part(board: Board, number: int, of: int, runs: pa.Table, items: pa.Table, beside: Beside) -> Markup:
    behind = counted(runs, board)
    name = f"b{number}"
    sections = [
        ("Verdict", _verdict(board)),
        ("Board", join([board_table(board), ahead_table(board)])),
        *_pictures(board, name),
        ("Controls", control_table(board)),
        ("What was tried before choosing", heat_maps(behind)),
        ("Forgetting", forgetting_table(board)),
        ("Failures and skips", failures_table(board)),
        ("Prompts and answers", examples(items, board, behind)),
        ("Environment", environment(board, behind)),
        ("How to make it again", reproduce(board, behind, beside.defaults)),
    ]
    apart = (
        [tag("p", f"Not ranked with the other boards of {board.pair}, because it differs: {'; '.join(board.apart)}.")]
        if board.apart
        else []
    )
    shown: list[Markup] = [tag("h2", _name(board, number, of), id=f"board-{number}"), *apart]
    for heading, content in sections:
        if content:
            shown += [tag("h3", heading), content]
    return tag("section", *shown, aria_labelledby=f"board-{number}")


def _pictures(board: Board, name: str) -> list[tuple[str, Markup]]:
    measured = measures(board)
    if not measured:
        return []
    has_mean = any(row.mean is not None for row in board.rows)
    costs = measured[:1] if has_mean else measured
    suites = [measure for measure in measured if any(point.values for point in measure.points)]
    found = [
        ("Means and intervals", intervals(measured, f"{name}-intervals")),
        ("Score against cost", join([frontier(each, f"{name}-cost{n}") for n, each in enumerate(costs)])),
    ]
    if suites:
        found.append(("Seeds", spread(suites, f"{name}-seeds")))
    return found


def _verdict(board: Board) -> Markup:
    listed = tag("ul", *(tag("li", words) for words in sentences(board)), class_="verdict")
    of = board.columns[0].suite if len(board.columns) == 1 else f"the mean over {len(board.columns)} suites"
    how = (
        f"Ahead, behind, better, worse: on {of}, paired on the same documents, two-sided, p < {SIGNIFICANT:g} after "
        "correction for all comparisons of their kind (Holm). What is not told apart is not thereby equal."
    )
    return join([listed, tag("p", how, class_="note")])

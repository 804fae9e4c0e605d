"""The critical-difference diagram: methods on a line by mean rank, joined where Nemenyi's test tells none apart."""

from __future__ import annotations

from collections.abc import Callable

from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.ranking import Ranking
from pkt_bench_leaderboards.report.drawing import LETTER, figure, line, picture, words
from pkt_bench_leaderboards.report.markup import Markup, join, table, tag
from pkt_bench_leaderboards.statistics import SIGNIFICANT

AXIS_WIDTH = 340.0
ROW = 19.0


def cliques(ranking: Ranking) -> list[tuple[int, int]]:
    """First and last number of each longest run of methods whose mean ranks are within the critical difference."""
    if ranking.critical_difference is None:
        return []
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(ranking.mean_ranks):
        within = [n for n, other in enumerate(ranking.mean_ranks) if other - rank <= ranking.critical_difference]
        last = max(within)
        if last > first and not (found and found[-1][1] >= last):
            found.append((first, last))
    return found


def ranks(ranking: Ranking, name: str) -> Markup:
    """The diagram with what it says in words, or why there is none."""
    left_out = f" Left out for want of scores: {', '.join(ranking.left_out)}." if ranking.left_out else ""
    if not ranking.methods or ranking.critical_difference is None:
        return tag("p", f"{ranking.note[:1].upper()}{ranking.note[1:]}.{left_out}")
    same = ranking.p is not None and ranking.p >= SIGNIFICANT
    p = text.probability(ranking.p)
    verdict = (
        f"Friedman's test finds no difference between the methods (p {_equals(p)}), so none may be read from the ranks."
        if same
        else f"Friedman's test: the methods are not all alike (p {_equals(p)}). "
        "Which ones differ: those that no bar joins."
    )
    caption = (
        f"Mean ranks over {ranking.blocks} blocks of pair and suite, 1 the best. A bar joins methods whose mean ranks "
        f"are within the critical difference {_written(ranking.critical_difference)} (Nemenyi, 5 %)."
    )
    about = (
        "After Demšar (2006): each block counts once, whatever its items. Untouched models and rows chosen by test "
        "scores are left out, and so are methods without a score in more than half of the blocks; then blocks where "
        "one of the rest has no score."
    )
    note = f" {ranking.note[:1].upper()}{ranking.note[1:]}." if ranking.note else ""
    rows = [[method, _written(rank)] for method, rank in zip(ranking.methods, ranking.mean_ranks, strict=True)]
    return join(
        [
            tag("p", verdict + note),
            figure([_diagram(ranking, name)], caption, "Critical differences"),
            tag("p", about + left_out, class_="note"),
            tag(
                "details",
                tag("summary", "The mean ranks as a table"),
                table([("method", False), ("mean rank", True)], rows, f"Mean rank over {ranking.blocks} blocks"),
            ),
        ]
    )


def _diagram(ranking: Ranking, name: str) -> Markup:
    count = len(ranking.methods)
    half = (count + 1) // 2
    side = max(len(method) for method in ranking.methods) * LETTER + 50
    left, right = side, side + AXIS_WIDTH
    bars = cliques(ranking)
    axis_y = 64.0
    first_row = axis_y + 16 + 9 * len(bars) + 12
    height = first_row + half * ROW + 4

    def at(rank: float) -> float:
        return left + (rank - 1) / (count - 1) * (right - left)

    parts = [line(left, axis_y, right, axis_y, "axis-line")]
    step = max(1, round(count / 10))
    for rank in range(1, count + 1):
        parts.append(line(at(rank), axis_y - (6 if (rank - 1) % step == 0 else 3), at(rank), axis_y, "axis-line"))
        if (rank - 1) % step == 0:
            parts.append(words(at(rank), axis_y - 10, str(rank), "tick", "middle"))
    parts += _scale(ranking.critical_difference or 0.0, at)
    for number, (first, last) in enumerate(bars):
        y = axis_y + 10 + 9 * number
        start, end = at(ranking.mean_ranks[first]) - 3, at(ranking.mean_ranks[last]) + 3
        parts.append(line(start, y, end, y, "clique"))
    for number, (method, mean_rank) in enumerate(zip(ranking.methods, ranking.mean_ranks, strict=True)):
        better = number < half
        # the outermost are the highest, so that no two leaders cross
        y = first_row + (number if better else count - 1 - number) * ROW
        edge = left - 10 if better else right + 10
        parts.append(tag("path", d=f"M{at(mean_rank):.2f} {axis_y:g} V{y:g} H{edge:g}", class_="leader"))
        label = f"{method} {_written(mean_rank)}"
        parts.append(words(edge + (-5 if better else 5), y + 4, label, "label", "end" if better else "start"))
    joined = "; ".join(", ".join(ranking.methods[first : last + 1]) for first, last in bars) or "none"
    listed = ", ".join(
        f"{method} {_written(rank)}" for method, rank in zip(ranking.methods, ranking.mean_ranks, strict=True)
    )
    description = f"Mean ranks: {listed}. Joined, so not told apart: {joined}."
    return picture(name, "Critical-difference diagram", description, (right + side, height), parts)


def _scale(critical: float, at: Callable[[float], float]) -> list[Markup]:
    start = at(1.0)
    end = start + (at(2.0) - start) * critical
    label = f"critical difference {_written(critical)}"
    return [
        line(start, 16, end, 16, "axis-line"),
        line(start, 12, start, 20, "axis-line"),
        line(end, 12, end, 20, "axis-line"),
        words(start, 34, label, "tick"),
    ]


def _equals(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def _written(rank: float) -> str:
    return text.number(rank, fraction=False)

"""Score against cost: which rows no other beats in both, on a plot of plain letters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import Resize
from textual.widget import Widget
from textual.widgets import Static

from pkt_bench.tui.browse.page import Page
from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.board import Board, Costs

_COSTS = (
    ("seconds", "seconds", text.seconds),
    ("payload_bytes", "bytes moved", text.size),
    ("trainable_parameters", "parameters trained", text.quantity),
    ("artifact_bytes", "bytes of the artifact", text.size),
    ("peak_rss_bytes", "bytes of memory", text.size),
)
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True)
class Point:
    """A row: what it costs, what it scores."""

    label: str
    cost: float
    score: float


def frontier(points: Sequence[Point], *, higher_is_better: bool) -> list[Point]:
    """The points no other beats: none is as cheap or cheaper and as good or better, and in one of both truly so."""
    sign = 1 if higher_is_better else -1

    def beaten(point: Point) -> bool:
        return any(
            other.cost <= point.cost
            and sign * other.score >= sign * point.score
            and (other.cost, other.score) != (point.cost, point.score)
            for other in points
        )

    return sorted((point for point in points if not beaten(point)), key=lambda point: (point.cost, point.label))


def plot(points: Sequence[Point], best: Sequence[Point], width: int, height: int) -> tuple[list[str], str]:
    """Lines of a plot, costs to the right and scores upwards, and the kind of its cost axis.

    A row is a letter, the best ones upper case. Where several share a place, a `+` stands for them. Costs that span
    more than a hundredfold are on a logarithmic axis, what costs nothing at its left end.
    """
    costs = [point.cost for point in points]
    positive = [cost for cost in costs if cost > 0]
    logarithmic = bool(positive) and max(positive) > 100 * min(positive)

    def along(cost: float) -> float:
        if not logarithmic:
            return cost
        # what costs nothing stands a tenth of the axis below the cheapest
        low, high = math.log10(min(positive)), math.log10(max(positive))
        return math.log10(cost) if cost > 0 else low - (high - low) / 10

    xs, ys = [along(cost) for cost in costs], [point.score for point in points]
    grid = [[" "] * width for _ in range(height)]
    for number, point in enumerate(points):
        column = _scaled(along(point.cost), min(xs), max(xs), width)
        line = height - 1 - _scaled(point.score, min(ys), max(ys), height)
        letter = _LETTERS[number % len(_LETTERS)]
        shown = letter.upper() if point in best else letter
        grid[line][column] = shown if grid[line][column] == " " else "+"
    return ["".join(row) for row in grid], "logarithmic" if logarithmic else "linear"


def _scaled(value: float, low: float, high: float, size: int) -> int:
    return (size - 1) // 2 if high == low else round((value - low) / (high - low) * (size - 1))


class Frontier(Page):
    """The plot and its legend; `w` switches what the cost is."""

    DEFAULT_CSS = """
    Frontier VerticalScroll { height: 1fr; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "cost(1)", "Other cost"),
        Binding("W", "cost(-1)", show=False),
    ]

    def __init__(self, board: Board) -> None:
        super().__init__([board.pair, "score against cost"])
        self._board, self._cost = board, 0

    def body(self) -> Sequence[Widget]:
        """One text."""
        return [VerticalScroll(Static(id="plot", markup=False))]

    def action_cost(self, by: int) -> None:
        """Another cost."""
        self._cost = (self._cost + by) % len(_COSTS)
        self.fill()

    def on_resize(self, event: Resize) -> None:  # noqa: ARG002 - Textual's signature
        """Draws as large as the screen is."""
        self.fill()

    def fill(self) -> None:
        """Draws the plot."""
        name, words, written = _COSTS[self._cost]
        board = self._board
        higher, fraction = board.columns[0].higher_is_better, board.columns[0].fraction
        # untouched models are no methods: they cost nothing but the scoring
        points = [
            Point(row.label, cost, row.mean)
            for row in board.rows
            if row.mean is not None and (cost := _cost(row.costs, name)) is not None and not row.reference
        ]
        unknown = [row.label for row in board.rows if not row.reference and row.label not in {p.label for p in points}]
        if not points:
            self.say(f"no row has both a mean and a known number of {words}")
            self.query_one("#plot", Static).update("")
            return
        best = frontier(points, higher_is_better=higher)
        width = max(20, self.app.size.width - 16)
        height = max(6, min(24, self.app.size.height - 8 - min(8, len(points))))
        lines, axis = plot(points, best, width, height)
        low, high = (min(p.score for p in points), max(p.score for p in points))
        drawn = Text()
        for number, line in enumerate(lines):
            edge = high if number == 0 else low if number == len(lines) - 1 else None
            label = text.number(edge, fraction=fraction) if edge is not None else ""
            drawn.append(f"{label:>8} | ", "dim").append(f"{line}\n")
        costs = [point.cost for point in points]
        left, right = written(min(costs)), written(max(costs))
        drawn.append(f"{'':8} +{'-' * (width + 1)}\n{'':10}{left}{right:>{max(1, width - len(left))}}\n\n", "dim")
        for number, point in enumerate(points):
            mark = _LETTERS[number % len(_LETTERS)]
            star = point in best
            shown = mark.upper() if star else mark
            said = f"{shown} {point.label}: {text.number(point.score, fraction=fraction)}, {written(point.cost)}"
            remark = "  * none is cheaper and as good" if star else ""
            drawn.append(self.plain(f"{said}{remark}\n"), "bold" if star else "")
        if unknown:
            drawn.append(self.plain(f"\nnot shown, no mean or unknown cost: {', '.join(unknown)}\n"), "dim")
        self.query_one("#plot", Static).update(drawn)
        self.say(f"mean score against {words} ({axis} axis), capitals on the frontier; w: another cost")


def _cost(costs: Costs, name: str) -> float | None:
    found: float | None = getattr(costs, name)
    return found

"""What is plotted of a board: the mean over its suites, where it has one, and each suite."""

from __future__ import annotations

from dataclasses import dataclass

from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.records import Board, Costs, Row


@dataclass(frozen=True)
class Point:
    """One row under a measure: its figure, 95 % interval and seeds; `missing` says why there is none."""

    row: Row
    value: float | None
    low: float | None
    high: float | None
    costs: Costs
    one_seed: bool
    seeds: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Measure:
    """A mean or a suite with a point for every row of the board."""

    name: str
    fraction: bool
    higher_is_better: bool
    chance: float | None
    points: tuple[Point, ...]

    @property
    def known(self) -> list[Point]:
        """The points that have a value."""
        return [point for point in self.points if point.value is not None]

    @property
    def unit(self) -> str:
        """What an axis says of the figure."""
        return self.name + (" (%)" if self.fraction else "") + ("" if self.higher_is_better else ", lower is better")

    def written(self, value: float | None) -> str:
        """A figure as it is written everywhere."""
        return text.UNKNOWN if value is None else text.number(value, fraction=self.fraction)

    def tick(self, value: float) -> str:
        """A value on an axis, no more digits than it needs."""
        return f"{100 * value if self.fraction else value:g}"


def measures(board: Board) -> list[Measure]:
    """The mean first, where there are several suites and a row with a mean; then each suite that has a score."""
    found = [] if len(board.columns) < 2 else [_mean(board)]
    found += [_suite(board, index) for index in range(len(board.columns))]
    return [measure for measure in found if measure.known]


def _mean(board: Board) -> Measure:
    points = [
        Point(row, row.mean, row.mean_low, row.mean_high, row.costs, row.one_seed, missing="no mean")
        for row in board.rows
    ]
    name = f"mean of {len(board.columns)} suites"
    return Measure(name, board.columns[0].fraction, board.columns[0].higher_is_better, None, tuple(points))


def _suite(board: Board, index: int) -> Measure:
    column = board.columns[index]
    points = []
    for row in board.rows:
        square = row.squares[index]
        one = not row.reference and len(square.seeds) == 1
        missing = square.outcome if square.outcome != "done" else "no value"
        points.append(
            Point(row, square.value, square.low, square.high, square.costs, one, square.seeds, square.values, missing)
        )
    return Measure(column.suite, column.fraction, column.higher_is_better, column.chance, tuple(points))

"""The plots with a line per method: the mean with its 95 % interval, and the score of each seed."""

from __future__ import annotations

from collections.abc import Sequence

from pkt_bench_leaderboards.report.axes import Axis, linear, without_collisions
from pkt_bench_leaderboards.report.drawing import (
    figure,
    kind,
    label_width,
    line,
    mark,
    picture,
    row_heights,
    row_label,
    words,
)
from pkt_bench_leaderboards.report.markup import Markup
from pkt_bench_leaderboards.report.measures import Measure, Point

PLOT_WIDTH = 190.0
FIGURE_ROOM = 44.0
TOP = 58.0
BOTTOM = 26.0
DOT = 3.2


def intervals(measures: Sequence[Measure], name: str) -> Markup:
    """Every method's mean with its 95 % interval, a panel per measure; student and teacher are lines across."""
    panels = [_intervals(measure, f"{name}-{number}") for number, measure in enumerate(measures)]
    caption = (
        "Mean and 95 % interval. Circle: method; diamond: control of a method; triangle: chosen by test scores. "
        "Hollow mark and dashed interval: one seed, so the interval is over items alone. The figure is at the right. "
        "Vertical lines: the untouched student (dashed), the teacher (solid), guessing (dotted)."
    )
    return figure(panels, caption, "Means and intervals")


def spread(measures: Sequence[Measure], name: str) -> Markup:
    """The score of every seed, a panel per suite; an upright stroke is the mean."""
    panels = [
        _spread(measure, f"{name}-{number}")
        for number, measure in enumerate(measures)
        if any(point.values for point in measure.points)
    ]
    caption = (
        "A dot is the score of one seed, those that are alike above one another; the upright stroke is their mean."
    )
    return figure(panels, caption, "Scores of each seed")


def _intervals(measure: Measure, name: str) -> Markup:
    drawn = [point for point in measure.points if not point.row.reference]
    frame = _Frame(measure, drawn, _reach(measure))
    parts = frame.parts()
    for point, y in zip(drawn, frame.rows, strict=True):
        if point.value is None:
            parts.append(words(frame.axis.start + 4, y + 4, point.missing, "muted"))
            continue
        x = frame.axis.at(point.value)
        if point.low is not None and point.high is not None:
            style = "interval thin" if point.one_seed else "interval"
            parts.append(line(frame.axis.at(point.low), y, frame.axis.at(point.high), y, style))
        parts.append(mark(x, y, kind(point.row), said(measure, point), hollow=point.one_seed))
        parts.append(words(frame.axis.end + FIGURE_ROOM, y + 4, measure.written(point.value), "figure", "end"))
    listed = "; ".join(said(measure, point) for point in measure.points)
    return picture(name, f"{measure.name}: mean with 95 % interval", listed, frame.size, parts)


def _spread(measure: Measure, name: str) -> Markup:
    drawn = [point for point in measure.points if not point.row.reference]
    values = [value for point in measure.points for value in point.values]
    frame = _Frame(measure, drawn, values)
    parts = frame.parts()
    for point, y in zip(drawn, frame.rows, strict=True):
        if point.value is None:
            parts.append(words(frame.axis.start + 4, y + 4, point.missing, "muted"))
            continue
        x = frame.axis.at(point.value)
        parts.append(line(x, y - 7, x, y + 7, "mean"))
        at: dict[float, int] = {}
        for seed, value in zip(point.seeds, point.values, strict=False):
            above = at.get(value, 0)
            at[value] = above + 1
            # of one seed more than there is room for, the dots lie closer
            step = min(DOT * 1.6, 14 / max(1, point.values.count(value) - 1))
            y_dot = y + step * ((point.values.count(value) - 1) / 2 - above)
            title = f"{point.row.label}, seed {seed}: {measure.written(value)}"
            parts.append(mark(frame.axis.at(value), y_dot, kind(point.row), title, size=DOT))
        parts.append(words(frame.axis.end + FIGURE_ROOM, y + 4, measure.written(point.value), "figure", "end"))
    listed = "; ".join(
        f"{point.row.label}: {', '.join(map(measure.written, point.values)) or point.missing}" for point in drawn
    )
    return picture(name, f"{measure.name}: the score of each seed", listed, frame.size, parts)


def said(measure: Measure, point: Point) -> str:
    """A point in words: `lora: 53.3, 46.4 to 60.1`."""
    if point.value is None:
        return f"{point.row.label}: {point.missing}"
    words_ = f"{point.row.label}: {measure.written(point.value)}"
    if point.low is not None and point.high is not None:
        words_ += f", {measure.written(point.low)} to {measure.written(point.high)}"
    return words_ + (", one seed" if point.one_seed else "")


def _reach(measure: Measure) -> list[float]:
    ends = [end for point in measure.known for end in (point.value, point.low, point.high)]
    return [end for end in ends if end is not None]


class _Frame:
    """Where the rows of a panel are, its axis, and the lines that are the same in every row."""

    def __init__(self, measure: Measure, drawn: Sequence[Point], values: Sequence[float]) -> None:
        self.measure = measure
        self.drawn = drawn
        labels = [point.row.label for point in drawn]
        left = label_width(labels) + 6
        self.axis: Axis = linear(values, left, left + PLOT_WIDTH, floor=0.0 if measure.fraction else None)
        heights = row_heights(labels)
        self.rows = [TOP + sum(heights[:number]) + height / 2 for number, height in enumerate(heights)]
        self.bottom = TOP + sum(heights)
        self.size = (left + PLOT_WIDTH + FIGURE_ROOM + 6, self.bottom + BOTTOM)

    def parts(self) -> list[Markup]:
        """Title, grid, reference lines and labels."""
        axis, measure = self.axis, self.measure
        parts = [words(axis.start, 14, measure.unit, "title")]
        for value, label in without_collisions(axis, measure.tick):
            parts.append(line(axis.at(value), TOP, axis.at(value), self.bottom, "grid"))
            parts.append(words(axis.at(value), self.bottom + 16, label, "tick", "middle"))
        if measure.chance and axis.low <= measure.chance <= axis.high:
            parts.append(line(axis.at(measure.chance), TOP, axis.at(measure.chance), self.bottom, "chance"))
        # one below the other, so that they cannot run into each other however close they are
        references = [point for point in measure.known if point.row.reference]
        for number, point in enumerate(references):
            x = axis.at(point.value or 0.0)
            y = TOP - 6 - 14 * (number % 2)
            style = "student" if point.row.method == "student" else "teacher"
            parts.append(line(x, y + 3, x, self.bottom, f"reference {style}"))
            label = f"{point.row.label} {measure.written(point.value)}"
            before = x > (axis.start + axis.end) / 2
            parts.append(words(x + (4 if before else -4), y, label, "reference-label", "end" if before else "start"))
        parts += [row_label(axis.start - 8, y, point.row.label) for point, y in zip(self.drawn, self.rows, strict=True)]
        return parts

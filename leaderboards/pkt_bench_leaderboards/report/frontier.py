"""Score against what it cost: seconds, bytes moved, parameters trained, with those that nothing cheaper beats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.records import Costs
from pkt_bench_leaderboards.report.axes import Axis, linear, of_amounts, without_collisions
from pkt_bench_leaderboards.report.drawing import figure, kind, line, mark, picture, words
from pkt_bench_leaderboards.report.markup import Markup, join, table, tag
from pkt_bench_leaderboards.report.measures import Measure, Point

WIDTH, HEIGHT = 340.0, 300.0
LEFT, TOP, RIGHT, BOTTOM = 44.0, 34.0, 12.0, 40.0
LETTER, LINE = 6.9, 13.0


@dataclass(frozen=True)
class Cost:
    """One of the costs that are plotted: its name, where it is found, and how it is written."""

    name: str
    of: Callable[[Costs], float | None]
    written: Callable[[float | None], str]


COSTS = (
    Cost("seconds a cell", lambda costs: costs.seconds, text.seconds),
    Cost("bytes moved", lambda costs: costs.payload_bytes, text.size),
    Cost("parameters trained", lambda costs: costs.trainable_parameters, text.quantity),
)


def pareto(amounts: Sequence[tuple[float, float]]) -> list[int]:
    """Of (cost, score) pairs, less cost and more score being better, the numbers of those that no other dominates."""
    return [
        number
        for number, (cost, score) in enumerate(amounts)
        if not any(
            other_cost <= cost and other >= score and (other_cost, other) != (cost, score)
            for other_cost, other in amounts
        )
    ]


def frontier(measure: Measure, name: str) -> Markup:
    """A panel per cost, and the figures as a table."""
    panels = [
        panel for number, cost in enumerate(COSTS) if (panel := _panel(measure, cost, f"{name}-{number}")) is not None
    ]
    if not panels:
        return tag("p", "No cost is known of any method that has a score.")
    caption = (
        "Upper left is better. Ringed and joined: no other method has at least as much for at most as much, by the "
        "means alone: whether neighbours differ is in the verdict. Circle: method; diamond: control; hollow: one seed. "
        "The dashed line is the untouched student. Where amounts span decades the axis is logarithmic, and zero, "
        "which it does not have, stands apart at its left. Methods of which a cost is unknown are not in its panel."
    )
    return join([figure(panels, caption, "Score against cost"), _figures(measure)])


def on_front(measure: Measure, cost: Cost) -> list[Point]:
    """The points that no other dominates, the cheapest first; neither untouched models nor oracles take part."""
    points = [point for point in _plotted(measure, cost) if not point.row.oracle]
    sign = 1.0 if measure.higher_is_better else -1.0
    found = pareto([(cost.of(point.costs) or 0.0, sign * (point.value or 0.0)) for point in points])
    return sorted(
        (points[number] for number in found), key=lambda point: (cost.of(point.costs) or 0.0, point.row.label)
    )


def _plotted(measure: Measure, cost: Cost) -> list[Point]:
    return [point for point in measure.known if not point.row.reference and cost.of(point.costs) is not None]


def _panel(measure: Measure, cost: Cost, name: str) -> Markup | None:
    points = _plotted(measure, cost)
    if not points:
        return None
    amounts = [cost.of(point.costs) or 0.0 for point in points]
    x_axis = of_amounts(amounts, LEFT + 8, WIDTH - RIGHT - 8)
    student = next((p for p in measure.known if p.row.reference and p.row.method == "student"), None)
    values = [point.value or 0.0 for point in (*points, *([student] if student else []))]
    # a pixel grows downwards
    y_axis = linear(values, HEIGHT - BOTTOM, TOP)
    if not measure.higher_is_better:
        y_axis = Axis(y_axis.low, y_axis.high, y_axis.start, y_axis.end)
    front = on_front(measure, cost)
    parts = _frame(measure, cost, x_axis, y_axis)
    if student is not None:
        y = y_axis.at(student.value or 0.0)
        parts.append(line(LEFT, y, WIDTH - RIGHT, y, "reference student"))
    at = {id(point): (x_axis.at(cost.of(point.costs) or 0.0), y_axis.at(point.value or 0.0)) for point in points}
    corners = [at[id(point)] for point in front]
    if len(corners) > 1:
        path = " L".join(f"{x:.2f} {y:.2f}" for x, y in corners)
        parts.append(tag("path", d=f"M{path}", class_="front"))
    for point in points:
        x, y = at[id(point)]
        title = f"{point.row.label}: {measure.written(point.value)}, {cost.written(cost.of(point.costs))}"
        if point in front:
            parts.append(tag("circle", cx=x, cy=y, r=9, class_="ring"))
        parts.append(mark(x, y, kind(point.row), title, hollow=point.one_seed))
    placed = placed_labels(
        [(point.row.label, at[id(point)]) for point in (*front, *(p for p in points if p not in front))]
    )
    parts += [words(x, y, label, "label", anchor) for label, x, y, anchor in placed]
    unnamed = len(points) - len(placed)
    if unnamed:
        parts.append(words(WIDTH - RIGHT, TOP - 4, f"{unnamed} not labelled, see below", "muted", "end"))
    listed = "; ".join(
        f"{point.row.label}: {measure.written(point.value)} for {cost.written(cost.of(point.costs))}"
        + (", on the front" if point in front else "")
        for point in points
    )
    return picture(name, f"{measure.name} against {cost.name}", listed, (WIDTH, HEIGHT), parts)


def _frame(measure: Measure, cost: Cost, x_axis: Axis, y_axis: Axis) -> list[Markup]:
    parts = [words(LEFT, 14, measure.unit, "title")]
    for value, label in without_collisions(x_axis, lambda value: cost.written(value).replace(".0", "")):
        x = x_axis.at(value)
        parts.append(line(x, TOP, x, HEIGHT - BOTTOM, "grid"))
        parts.append(words(x, HEIGHT - BOTTOM + 16, label, "tick", "middle"))
    for value in y_axis.ticks:
        y = y_axis.at(value)
        parts.append(line(LEFT, y, WIDTH - RIGHT, y, "grid"))
        parts.append(words(LEFT - 6, y + 4, measure.tick(value), "tick", "end"))
    scale = f"{cost.name}, logarithmic" if x_axis.log else cost.name
    parts.append(words((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, scale, "axis", "middle"))
    return parts


def placed_labels(points: Sequence[tuple[str, tuple[float, float]]]) -> list[tuple[str, float, float, str]]:
    """Where labels go so that none runs into a mark, another label or the edge: label, x, y, anchor.

    A label that fits nowhere is left out; those that come first have the choice.
    """
    taken = [(x - 6, y - 6, x + 6, y + 6) for _, (x, y) in points]
    placed: list[tuple[str, float, float, str]] = []
    for label, (x, y) in points:
        width = len(label) * LETTER
        for dx, dy, anchor in (
            (11, 4, "start"),
            (-11, 4, "end"),
            (0, -12, "middle"),
            (0, 20, "middle"),
            (9, -8, "start"),
            (9, 16, "start"),
            (-9, -8, "end"),
            (-9, 16, "end"),
        ):
            left = x + dx - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
            box = (left, y + dy - LINE + 3, left + width, y + dy + 3)
            if box[0] < LEFT or box[2] > WIDTH - 2 or box[1] < TOP - 8 or box[3] > HEIGHT - BOTTOM:
                continue
            if not any(_overlap(box, other) for other in taken):
                taken.append(box)
                placed.append((label, x + dx, y + dy, anchor))
                break
    return placed


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _figures(measure: Measure) -> Markup:
    fronts = [on_front(measure, cost) for cost in COSTS]
    rows = [
        [
            point.row.label,
            measure.written(point.value),
            *(
                cost.written(cost.of(point.costs)) + (" ◎" if point in front else "")
                for cost, front in zip(COSTS, fronts, strict=True)
            ),
        ]
        for point in measure.known
        if not point.row.reference
    ]
    headings = [("method", False), (measure.unit, True), *((cost.name, True) for cost in COSTS)]
    made = table(headings, rows, "Score and cost of every method; ◎ marks the front of that cost")
    return tag("details", tag("summary", "These figures as a table"), made)

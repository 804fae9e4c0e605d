"""The geometry of the plots: where values stand, which ticks there are, that labels run into nothing."""

import itertools
import math

import pytest

from pkt_bench_leaderboards.ranking import Ranking
from pkt_bench_leaderboards.records import Costs
from pkt_bench_leaderboards.report.axes import linear, of_amounts, without_collisions
from pkt_bench_leaderboards.report.frontier import COSTS, frontier, on_front, pareto, placed_labels
from pkt_bench_leaderboards.report.grids import Grid, grids_of
from pkt_bench_leaderboards.report.intervals import intervals, spread
from pkt_bench_leaderboards.report.measures import measures
from pkt_bench_leaderboards.report.ranks import ranks


def test_a_linear_axis_is_linear_and_marks_round_values():
    axis = linear([0.2, 0.8], 100, 300)

    assert axis.at(0.5) == pytest.approx(200)
    assert axis.ticks == [0.2, 0.4, 0.6, 0.8]
    assert 100 < axis.at(0.2) < axis.at(0.8) < 300


@pytest.mark.parametrize("value", [0.0, 0.5, 3.0, -1.0])
def test_values_that_are_all_the_same_have_an_axis(value):
    axis = linear([value, value], 0, 100)

    assert 0 < axis.at(value) < 100


def test_amounts_that_span_decades_are_logarithmic_and_zero_stands_apart():
    axis = of_amounts([0, 1e3, 1e5], 0, 300)

    assert axis.log
    assert axis.at(1e4) == pytest.approx((axis.at(1e3) + axis.at(1e5)) / 2)
    assert axis.at(0) == 0
    assert axis.at(1e3) - axis.at(0) >= 34
    assert axis.ticks[0] == 0
    assert 1e4 in axis.ticks


@pytest.mark.parametrize("amounts", [[10, 30], [0, 30], [0, 0], [5]])
def test_amounts_that_do_not_are_linear_from_zero(amounts):
    axis = of_amounts(amounts, 0, 300)

    assert not axis.log
    assert axis.at(0) == 0
    assert all(0 <= axis.at(amount) <= 300 for amount in amounts)


def test_labels_of_ticks_do_not_run_into_one_another():
    axis = linear([0, 1e6], 0, 60)
    shown = [(axis.at(value), label) for value, label in without_collisions(axis, str, letter=6) if label]

    assert all(b - a >= 6 * (len(x) + len(y)) / 2 for (a, x), (b, y) in itertools.pairwise(shown))


def test_on_the_front_is_what_no_other_dominates():
    amounts = [(1, 0.5), (2, 0.7), (3, 0.6), (2, 0.7), (4, 0.9), (1, 0.4)]

    dominated = [
        any(c <= cost and s >= score and (c < cost or s > score) for c, s in amounts) for cost, score in amounts
    ]
    assert pareto(amounts) == [number for number, beaten in enumerate(dominated) if not beaten] == [0, 1, 3, 4]


def test_untouched_models_oracles_and_unknown_costs_are_not_on_a_front(board):
    costs = {label: Costs(seconds=1.0) for label in ("student", "a", "oracle")}
    made = board(
        {"student": (0.9,), "a": (0.5,), "b": (0.6,), "oracle": (0.8,)}, costs=costs, rows={"oracle": {"oracle": True}}
    )

    assert [point.row.label for point in on_front(measures(made)[0], COSTS[0])] == ["a"]


def test_labels_keep_off_marks_one_another_and_the_edge():
    points = [(f"method {number}", (60 + 7.0 * number, 60 + 50 * abs(math.sin(number)))) for number in range(30)]
    placed = placed_labels(points)

    def box(label, x, y, anchor):
        width = 6.9 * len(label)
        left = x - {"start": 0, "middle": width / 2, "end": width}[anchor]
        return left, y - 10, left + width, y + 3

    boxes = [box(*each) for each in placed]
    assert len(placed) > 3
    for (a, b, c, d), (e, f, g, h) in itertools.combinations(boxes, 2):
        assert c <= e or g <= a or d <= f or h <= b
    assert all(left >= 44 and right <= 340 for left, _, right, _ in boxes)


def numbers(attributes, *names):
    return [float(attributes[name]) for name in names]


def size_of(svg):
    return [float(part) for part in svg["viewbox" if "viewbox" in svg else "viewBox"].split()[2:]]


@pytest.mark.parametrize("count", [1, 40])
def test_every_mark_of_every_plot_is_inside_its_picture(board, parsed, count):
    suites = tuple("abcdef") if count > 1 else ("a",)
    labels = ["student", "teacher", *(f"method-{n} rank={n} learning_rate=[0.001,0.002]" for n in range(count))]
    scores = {label: tuple((7 * n + 3 * s) % 97 / 100 for s in range(len(suites))) for n, label in enumerate(labels)}
    costs = {label: Costs(10.0 ** (n % 5), float(n % 3) * 10 ** (n % 7), 1e5) for n, label in enumerate(labels)}
    measured = measures(board(scores, suites, costs=costs))

    drawn = (intervals(measured, "i"), spread(measured, "s"), frontier(measured[0], "f"))
    read = parsed("".join(drawn))

    assert read.problems == []
    width = height = 0.0
    for name, attributes in read.elements:
        if name == "svg":
            width, height = size_of(attributes)
        elif name == "circle":
            x, y = numbers(attributes, "cx", "cy")
            assert 0 <= x <= width
            assert 0 <= y <= height
        elif name == "line":
            x1, y1, x2, y2 = numbers(attributes, "x1", "y1", "x2", "y2")
            assert min(x1, x2) >= 0
            assert max(x1, x2) <= width
            assert min(y1, y2) >= 0
            assert max(y1, y2) <= height


def test_an_interval_reaches_from_its_low_to_its_high_end(board, parsed):
    measure = measures(board({"a": (0.4,), "b": (0.6,)}))[0]
    read = parsed(intervals([measure], "i"))
    (low_a, high_a), _ = [numbers(line, "x1", "x2") for line in read.all("line", "interval")]
    (mark_a,), (mark_b,) = [numbers(mark, "cx") for mark in read.all("circle", "mark")]

    # 0.2 apart, and 0.02 to either side
    assert mark_a == pytest.approx((low_a + high_a) / 2, abs=0.02)
    assert (mark_b - mark_a) / (high_a - low_a) == pytest.approx(0.2 / 0.04, abs=0.02)


def test_there_is_a_dot_for_every_seed_and_equal_ones_do_not_hide_one_another(board, parsed):
    read = parsed(spread(measures(board({"a": (0.4,), "b": (0.6,)})), "s"))
    dots = [tuple(numbers(mark, "cx", "cy")) for mark in read.all("circle", "mark")]

    assert len(dots) == len(set(dots)) == 4


def test_the_diagram_names_every_method_with_its_rank_and_joins_the_cliques(parsed):
    ranking = Ranking(("a", "b", "c", "d"), (1.2, 1.8, 3.0, 4.0), 1.25, 10, 0.001, ("e",), "")
    read = parsed(ranks(ranking, "r"))

    for words in ("a 1.20", "b 1.80", "c 3.00", "d 4.00", "critical difference 1.25", "scores: e."):
        assert words in read.text
    # a-b within 0.6, b-c within 1.2, c-d within 1.0; no three together
    assert "not told apart: a, b; b, c; c, d." in read.text
    assert len(read.all("line", "clique")) == 3
    width, _ = size_of(read.all("svg")[0])
    starts = [numbers(line, "x1")[0] for line in read.all("line", "clique")]
    assert starts == sorted(starts)
    assert starts[0] > 0
    assert starts[-1] < width


def test_where_friedman_finds_nothing_no_difference_is_read_from_the_ranks(parsed):
    shown = parsed(ranks(Ranking(("a", "b", "c"), (1.0, 2.0, 3.0), 0.5, 4, 0.2, (), ""), "r")).text

    assert "Friedman's test finds no difference between the methods (p = 0.200)" in shown


@pytest.mark.parametrize(
    ("notes", "grid"),
    [
        (
            {"validation_losses": [[4, 0.1, 2.5], [8, 0.1, 2.0]], "step": 8, "rate": 0.1},
            Grid("validation_losses", {(4.0, 0.1): 2.5, (8.0, 0.1): 2.0}, (8.0, 0.1)),
        ),
        (
            {"grid": [{"steps": 1, "rate": 0.1, "loss": 1.4}, {"steps": 2, "rate": 0.1, "loss": 1.3}]},
            Grid("grid", {(1.0, 0.1): 1.4, (2.0, 0.1): 1.3}),
        ),
        (
            {"validation_loss_by_rate": {"0.002": 0.3, "0.004": 0.2}, "learning_rate": 0.004},
            Grid("validation_loss_by_rate", {(None, 0.002): 0.3, (None, 0.004): 0.2}, (None, 0.004)),
        ),
    ],
)
def test_grids_are_found_in_notes(notes, grid):
    assert grids_of(notes) == [grid]


@pytest.mark.parametrize(
    "value",
    [[], {}, [1, 2, 3], {"up_proj": 3, "v_proj": 4}, "text", None, [[1, 2]], [[1, 0.1, None]], {"0.1": float("nan")}],
)
def test_other_notes_are_no_grid(value):
    assert grids_of({"x": value}) == []

"""The time left, from what cells took: in this run, in earlier ones, or on the whole."""

from dataclasses import replace
from pathlib import Path

import pytest

from pkt_bench.domain import Cell, Job, Knobs, ModelRef, Pair
from pkt_bench.tui.forecast import Forecast, spoken


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def job(method, seed, expected=None):
    cell = Cell(method, "d", "{}", "p", "s", seed, Knobs(), {"method": method, "seed": seed})
    pair = Pair("p", "", ModelRef(Path()), ModelRef(Path()))
    return Job(cell, f"d/{method}", pair, "d/s", (), Path(), expected_seconds=expected)


@pytest.fixture
def clock():
    return Clock()


def test_nothing_is_said_before_anything_is_known(clock):
    forecast = Forecast([job("a", 0), job("a", 1)], clock)

    forecast.started(job("a", 0).cell)

    assert forecast.left() is None
    assert forecast.per_minute() is None


def test_cells_are_expected_to_take_what_earlier_ones_of_their_method_took(clock):
    """Two methods, 10 s and 100 s before; of the first cell 4 s are over: 6 + 10 + 100 + 100 on one lane."""
    jobs = [job(method, seed, seconds) for method, seconds in (("quick", 10.0), ("slow", 100.0)) for seed in (0, 1)]
    forecast = Forecast(jobs, clock)

    forecast.started(jobs[0].cell)
    clock.now = 4.0

    assert forecast.left() == 6 + 10 + 100 + 100


def test_what_this_run_took_outweighs_earlier_ones_and_lanes_share_the_rest(clock):
    """Quick cells turn out to take 20 s. Two lanes: 20 and 100 and 100 to come are 110 s side by side."""
    jobs = [job(method, seed, seconds) for method, seconds in (("quick", 10.0), ("slow", 100.0)) for seed in (0, 1)]
    forecast = Forecast(jobs, clock)

    forecast.started(jobs[0].cell)
    forecast.started(jobs[2].cell)
    clock.now = 20.0
    forecast.finished(jobs[0].cell)

    assert forecast.left() == (20 + 80 + 100) / 2
    assert forecast.per_minute() == 3.0


def test_a_single_long_cell_is_not_shared_between_lanes(clock):
    jobs = [job("quick", 0, 1.0), job("slow", 0, 100.0)]
    forecast = Forecast(jobs, clock)

    forecast.started(jobs[0].cell)
    forecast.started(jobs[1].cell)
    clock.now = 1.0
    forecast.finished(jobs[0].cell)

    assert forecast.left() == 99.0


def test_an_unknown_cell_is_expected_to_take_what_all_took_on_average(clock):
    jobs = [job("known", 0), replace(job("unknown", 0))]
    forecast = Forecast(jobs, clock)

    forecast.started(jobs[0].cell)
    clock.now = 30.0
    forecast.finished(jobs[0].cell)

    assert forecast.left() == 30.0


@pytest.mark.parametrize(("seconds", "words"), [(45, "45 s"), (600, "10 min"), (12_000, "3 h 20 min")])
def test_a_time_span_is_said_as_people_say_it(seconds, words):
    assert spoken(seconds) == words

"""What a run shows as it happens: stages, memory, speed and the time left; and that it was asked to stop."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from pkt_bench.domain import Cell, Job, Knobs, ModelRef, Outcome, Pair, Run
from pkt_bench.tui.progress import LiveTable, PlainLines


def job(seed, expected=60.0):
    cell = Cell("lora", "d", "{}", "p", "s", seed, Knobs(), {"seed": seed})
    pair = Pair("p", "", ModelRef(Path()), ModelRef(Path()))
    return Job(cell, "d/lora", pair, "d/s", (), Path(), expected_seconds=expected)


def ended(cell, outcome, reason=""):
    return Run("id", cell, outcome, reason, "2026-01-01T00:00:00+00:00", seconds=3.0)


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=110, highlight=False, color_system=None)


def said(console):
    return console.file.getvalue()


def test_the_live_table_shows_stage_share_memory_and_time_left(console):
    jobs = [job(0), job(1), job(2)]
    view = LiveTable(console, jobs)

    view.started(jobs[0].cell)
    view.stage(jobs[0].cell, "tune", 0.25)
    view.measured(jobs[0].cell, 1_500_000_000)
    console.print(view.render())

    shown = said(console)
    assert "lora, p, s, seed 0" in shown
    assert "tune" in shown
    assert "25%" in shown
    assert "1.5 GB" in shown
    # a minute each on one lane
    assert "about 3 min left" in shown
    assert "0/3" in shown


def test_a_failed_cell_is_said_at_once_with_its_reason_whatever_the_view(console):
    for view in (LiveTable(console, [job(0)]), PlainLines(console, [job(0)])):
        view.started(job(0).cell)
        view.finished(job(0).cell, ended(job(0).cell, Outcome.TIMEOUT, "it took too long"))

    assert said(console).count("✗ lora, p, s, seed 0") == 2
    assert said(console).count("timeout: it took too long") == 2


def test_whoever_asked_a_run_to_stop_is_told_how_to_hurry_it(console):
    live, plain = LiveTable(console, [job(0)]), PlainLines(console, [job(0)])

    live.stopping()
    plain.stopping()
    console.print(live.render())

    assert said(console).count("Ctrl-C again stops them at once.") == 2


def test_plain_lines_count_and_say_the_time_left_while_there_is_something_left(console):
    jobs = [job(0), job(1)]
    view = PlainLines(console, jobs)

    for each in jobs:
        view.started(each.cell)
        view.finished(each.cell, ended(each.cell, Outcome.DONE))

    assert "[1/2" in said(console)
    assert "[2/2] ✓ lora, p, s, seed 1" in said(console)

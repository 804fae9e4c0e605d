"""`--track`: trackers hear every moment, and nothing they do costs a cell or holds up the end of a run."""

import contextlib
import json
import sqlite3
import time

import pytest

from pkt_bench.domain import Cell, Knobs, Outcome, Run, Score, Tracker
from pkt_bench.errors import RequestError, UnavailableError
from pkt_bench.plugins import load
from pkt_bench.settings import Settings
from pkt_bench.tracking import choose, facts_of, tracked

CELL = Cell("lora", "d", "{}", "pico", "knowledge", 3, Knobs(), {"a": 1}, variation="rank=8")
RUN = Run("r", CELL, Outcome.DONE, "", "2026-01-01T00:00:00+00:00", seconds=2.5)

PLUGIN = """
import json
import threading
import time

from pkt_bench import Settings, Tracker, facts_of, hookimpl


class Notes:
    def __init__(self, settings, out):
        print("a word on stdout")
        self.file = (out / "heard.txt").open("a")

    def note(self, *words):
        print(*words, file=self.file, flush=True)

    @hookimpl
    def pkt_bench_cell_started(self, cell):
        self.note("started", cell.method)

    @hookimpl
    def pkt_bench_cell_finished(self, cell, run):
        self.note("finished", json.dumps(facts_of(cell, run)))

    @hookimpl
    def pkt_bench_run_finished(self, runs):
        self.note("ended", len(runs))
        self.file.close()


def refuses(settings, out):
    raise RuntimeError("the service is closed")


class Raises:
    def __init__(self, settings, out):
        pass

    @hookimpl
    def pkt_bench_cell_started(self, cell):
        raise ValueError("no ink")

    @hookimpl
    def pkt_bench_cell_finished(self, cell):
        raise ValueError("no paper")


class Sleeps:
    def __init__(self, settings, out):
        pass

    @hookimpl
    def pkt_bench_cell_started(self):
        time.sleep(10_000)


@hookimpl
def pkt_bench_trackers():
    yield Tracker("notes", "a text file", Notes, Settings)
    yield Tracker("refuses", "raises in its start", refuses, Settings)
    yield Tracker("raises", "raises in its moments", Raises, Settings)
    yield Tracker("sleeps", "for ever", Sleeps, Settings)
    yield Tracker("absent", "needs an extra", Raises, Settings, lambda: "pip install 'pkt-bench[absent]'")
"""


@pytest.fixture
def plugin(tmp_path):
    file = tmp_path / "trackers.py"
    file.write_text(PLUGIN, encoding="utf-8")
    return file


@pytest.fixture
def out(tmp_path):
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def tell(registry, moment, **arguments):
    """As the Announcer does."""
    for implementation in getattr(registry.manager.hook, moment).get_hookimpls():
        implementation.function(*(arguments[name] for name in implementation.argnames))


def test_a_tracker_hears_the_moments_in_their_order_and_of_an_end_nobody_told(plugin, out):
    registry = load([plugin])

    with contextlib.suppress(ZeroDivisionError), tracked(choose(["notes"], {}, registry), out, registry, pytest.fail):
        tell(registry, "pkt_bench_cell_started", cell=CELL)
        tell(registry, "pkt_bench_cell_finished", cell=CELL, run=RUN)
        raise ZeroDivisionError

    words = [line.partition(" ") for line in (out / "heard.txt").read_text().splitlines()]
    assert [word for word, _, _ in words] == ["started", "finished", "ended"]
    assert words[2][2] == "1"
    assert not registry.manager.hook.pkt_bench_cell_started.get_hookimpls()


def test_the_facts_of_an_attempt_are_flat_and_unknown_ones_are_null():
    score = Score("t", "acc", "none", 0.5, None, 4, True, True, "1", "h", 0)

    assert facts_of(CELL, RUN) == {
        "method": "lora rank=8",
        "pair": "pico",
        "suite": "knowledge",
        "seed": 3,
        "outcome": "done",
        "metric": None,
        "value": None,
        "seconds": 2.5,
        "tokens": None,
    }
    scored = facts_of(CELL, Run("r", CELL, Outcome.DONE, "", "", scores=(score,)))
    assert (scored["metric"], scored["value"]) == ("acc", 0.5)


def test_what_a_tracker_raises_is_said_once(plugin, out):
    registry, said = load([plugin]), []

    with tracked(choose(["raises", "refuses"], {}, registry), out, registry, said.append):
        for _ in range(3):
            tell(registry, "pkt_bench_cell_started", cell=CELL)
            tell(registry, "pkt_bench_cell_finished", cell=CELL, run=RUN)

    assert sorted(said) == [
        "tracker 'raises': pkt_bench_cell_started raised ValueError: no ink. The run goes on.",
        "tracker 'refuses': its start raised RuntimeError: the service is closed. The run goes on.",
    ]


def test_a_tracker_that_hangs_is_left_behind(plugin, out, monkeypatch):
    monkeypatch.setattr("pkt_bench.tracking.FLUSH_SECONDS", 0.3)
    registry, said, began = load([plugin]), [], time.monotonic()

    with tracked(choose(["sleeps"], {}, registry), out, registry, said.append):
        tell(registry, "pkt_bench_cell_started", cell=CELL)

    assert time.monotonic() - began < 3
    assert said == ["tracker 'sleeps' did not end within 0 s and is left behind"]


def test_an_object_with_a_hook_nobody_knows_is_told_of_in_time(out):
    from pkt_bench import hookimpl

    class Strange:
        @hookimpl
        def pkt_bench_cell_begun(self):
            pass

    registry, said = load(), []

    with tracked([(Tracker("strange", "", lambda *_: Strange(), Settings), Settings())], out, registry, said.append):
        pass

    assert len(said) == 1
    assert "pkt_bench_cell_begun" in said[0]


def test_names_that_nobody_offers_and_extras_that_are_missing_are_said_before_the_run(plugin):
    registry = load([plugin])

    with pytest.raises(RequestError, match=r"no tracker is called 'note'. Did you mean 'notes'\?"):
        choose(["note"], {}, registry)
    with pytest.raises(UnavailableError, match=r"--track absent: pip install 'pkt-bench\[absent\]'"):
        choose(["absent"], {}, registry)
    with pytest.raises(RequestError, match="notes has no setting 'colour'"):
        choose(["notes"], {"notes": {"colour": "red"}}, registry)


def asked(pico, out, methods, *more):
    cells = ("run", "--plugin", pico.plugin, "--pair", "pico", "--suite", "pico", "--methods", methods)
    return (*cells, "--slots", "1", "--out", out, *more)


def test_an_unknown_tracker_ends_with_2(warm, pico, tmp_path):
    answer = warm(*asked(pico, tmp_path / "runs", "scale", "--track", "wandbb"))

    assert answer.code == 2
    assert "no tracker is called 'wandbb'. Did you mean 'wandb'?" in answer.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.long
def test_broken_trackers_cost_no_cell(pkt_bench, pico, plugin, tmp_path):
    trackers = ("--plugin", plugin, "--track", "refuses,raises", "--track", "sleeps,notes", "--json")

    answer = pkt_bench(*asked(pico, tmp_path / "runs", "pico-student,scale", *trackers))

    assert answer.code == 0, answer.err
    assert answer.lines()[-1]["outcomes"] == {"done": 2}
    assert "a word on stdout" in answer.err
    assert [answer.err.count(f"tracker '{name}'") for name in ("refuses", "raises", "sleeps", "notes")] == [1, 1, 1, 0]
    heard = (tmp_path / "runs" / "heard.txt").read_text().splitlines()
    finished = [json.loads(line.partition(" ")[2]) for line in heard if line.startswith("finished")]
    assert [(row["method"], row["outcome"], row["metric"]) for row in finished] == [
        ("pico-student", "done", "acc"),
        ("scale", "done", "acc"),
    ]
    assert heard[-1] == "ended 2"


@pytest.mark.slow
def test_wandb_writes_its_offline_run_into_the_run_folder_and_goes_on_with_it(warm, pico, tmp_path):
    pytest.importorskip("wandb")
    out = tmp_path / "runs"

    first = warm(*asked(pico, out, "scale", "--track", "wandb", "--json"), WANDB_MODE="offline")
    second = warm(*asked(pico, out, "noise", "--track", "wandb", "--set", "wandb.mode=offline", "--json"))

    files = sorted((out / "logs" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert [(a.code, a.lines()[-1]["outcomes"]) for a in (first, second)] == [(0, {"done": 1})] * 2
    assert "tracker" not in first.err + second.err
    assert len(files) == 2
    assert len({file.name for file in files}) == 1
    assert b"scale" in files[0].read_bytes()
    assert b"noise" in files[1].read_bytes()


@pytest.mark.slow
def test_trackio_writes_a_row_for_each_cell_into_its_own_file(warm, pico, tmp_path):
    pytest.importorskip("trackio")
    out = tmp_path / "runs"
    more = ("--track", "trackio", "--set", "trackio.project=pico", "--json")

    answer = warm(*asked(pico, out, "scale,raises", *more), TRACKIO_DIR=str(tmp_path / "trackio"))

    with sqlite3.connect(tmp_path / "trackio" / "pico.db") as database:
        rows = [(name, json.loads(told)) for name, told in database.execute("select run_name, metrics from metrics")]
    database.close()
    assert answer.lines()[-1]["outcomes"] == {"done": 1, "failed": 1}
    assert "tracker" not in answer.err.replace("--track", "")
    assert [(name, row["method"], row["outcome"]) for name, row in rows] == [
        ("runs", "scale", "done"),
        ("runs", "raises", "failed"),
    ]

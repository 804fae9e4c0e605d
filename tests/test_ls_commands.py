"""`pkt-bench ls runs`, `executors` and `trackers`: one row each, and the same in every format."""

import csv
import io
import json

import pytest

from pkt_bench.compaction import compact
from pkt_bench.domain import Outcome
from pkt_bench.store import Store
from recorded import make_cell, make_run, make_score

SERVICES = """
from pkt_bench import Settings, hookimpl
from pkt_bench.domain import Executor, Tracker


def broken():
    raise OSError("no such device")


@hookimpl
def pkt_bench_executors():
    yield Executor("cloud", "cells in the sky", print, Settings, lambda: "it needs pip install pkt-bench[cloud]")
    yield Executor("odd", "cells anywhere", lambda *a: None, Settings, broken)


@hookimpl
def pkt_bench_trackers():
    yield Tracker("diary", "a line a cell", lambda *a: None, Settings)
"""


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "runs")
    scores = (make_score(0.1, metric="f1", headline=False), make_score(0.61803))
    done = make_cell({"name": "lora:noise", "version": "2", "paradigm": "control", "distribution_version": "0.1"})
    store.record(make_run(done, minute=0, scores=scores, seconds=12.345, environment={"host": "here"}))
    reason = f"it ran into its limit\nand {'on ' * 100}"
    store.record(make_run(make_cell("slow"), minute=1, outcome=Outcome.TIMEOUT, reason=reason))
    store.record(make_run(make_cell("bad"), minute=2, outcome=Outcome.FAILED, reason="x" * 200))
    return store


@pytest.fixture
def services(tmp_path):
    file = tmp_path / "services.py"
    file.write_text(SERVICES)
    return file


@pytest.mark.parametrize("compacted", [False, True], ids=["files of one run", "compacted"])
def test_every_attempt_is_a_row_and_the_newest_is_first(store, warm, compacted):
    if compacted:
        compact(store)

    bad, slow, done = json.loads(warm("ls", "runs", store.root, "--format", "json").out)

    cell = make_cell({"name": "lora:noise", "version": "2", "paradigm": "control", "distribution_version": "0.1"})
    assert done == {
        "when": "2026-01-01T00:00:00+00:00",
        "outcome": "done",
        "method": "lora:noise",
        "pair": "tiny",
        "suite": "code",
        "seed": 0,
        "metric": "acc",
        "value": 0.618,
        "seconds": 12.3,
        "host": "here",
        "reason": "",
        "cell": cell.key[:12],
    }
    assert [(row["outcome"], row["value"], row["metric"]) for row in (bad, slow)] == [
        ("failed", None, None),
        ("timeout", None, None),
    ]
    assert slow["reason"] == "it ran into its limit"
    assert bad["reason"] == "x" * 97 + "..."


def test_the_formats_of_ls_runs_agree(store, warm):
    rows = json.loads(warm("ls", "runs", store.root, "--format", "json").out)

    as_csv = list(csv.DictReader(io.StringIO(warm("ls", "runs", store.root, "--format", "csv").out)))
    markdown = warm("ls", "runs", store.root, "--format", "md").out.splitlines()
    table = warm("ls", "runs", store.root).out

    texts = [["" if value is None else str(value) for value in row.values()] for row in rows]
    assert [list(row.values()) for row in as_csv] == texts
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown[2:]] == texts
    assert all(text in table for row in texts for text in row)
    assert "None" not in table


def test_only_the_outcomes_asked_for_are_listed(store, warm):
    answer = warm("ls", "runs", store.root, "--outcome", "failed,timeout", "--format", "json")
    none = warm("ls", "runs", store.root, "--outcome", "killed")

    assert [row["method"] for row in json.loads(answer.out)] == ["bad", "slow"]
    assert (none.code, none.out) == (0, f"{store.root} holds no run that ended as killed\n")


def test_an_outcome_that_is_none_offers_the_nearest(store, warm):
    answer = warm("ls", "runs", store.root, "--outcome", "timout")

    assert answer.code == 2
    assert "--outcome 'timout' will not do. Did you mean 'timeout'?" in answer.err
    assert "  Outcomes: done, skipped, failed" in answer.err


def test_damaged_runs_are_said_on_the_side(store, warm):
    path = next((store.root / "cells").glob("*/*.arrow"))
    path.write_bytes(path.read_bytes()[:-1])

    answer = warm("ls", "runs", store.root, "--format", "json")

    assert len(json.loads(answer.out)) == 2
    assert f"pkt-bench: {path} is damaged" in answer.err


def test_executors_are_listed_with_whether_they_can_be_used(services, warm):
    answer = warm("ls", "executors", "--plugin", services, "--format", "json")

    rows = {row["executor"]: row for row in json.loads(answer.out)}
    assert (rows["process"]["usable"], rows["process"]["reason"]) == ("yes", "")
    assert rows["process"]["distribution"].startswith("pkt-bench ")
    assert "inline" in rows
    assert (rows["cloud"]["usable"], rows["cloud"]["reason"]) == ("no", "it needs pip install pkt-bench[cloud]")
    assert rows["odd"]["reason"] == "its `missing` raised OSError: no such device; tell its author"


def test_trackers_are_listed(services, warm):
    (row,) = [
        row
        for row in json.loads(warm("ls", "trackers", "--plugin", services, "--format", "json").out)
        if row["tracker"] == "diary"
    ]

    assert (row["usable"], row["summary"], row["distribution"]) == ("yes", "a line a cell", "services.py 0")
    for form in ("table", "csv", "md"):
        assert "a line a cell" in warm("ls", "trackers", "--plugin", services, "--format", form).out

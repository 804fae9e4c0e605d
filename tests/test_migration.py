"""Runs of an older pkt-bench open, resume and rank next to new ones; those of a newer one do not."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from pkt_bench import durable, tables
from pkt_bench.compaction import compact
from pkt_bench.domain import Outcome
from pkt_bench.errors import RequestError
from pkt_bench.rows import run_rows
from pkt_bench.store import Store
from pkt_bench_leaderboards import schema
from pkt_bench_leaderboards.board import boards
from pkt_bench_leaderboards.items import COLUMNS
from recorded import cell_files, make_cell, make_item, make_run

VERSION_1 = Path(__file__).parent / "data" / "runs-v1"
DONE = {"02696b5e8ac29958955e4ddc0bcb3eb7", "d3f1eeb04d005b0a8e271a932a615866"}
FAILED = "32fa84ea382697b42947b0ad38353d32"


@pytest.fixture
def store(tmp_path):
    """A copy of a run folder that version 1 made: student and lora done, nuggets failed."""
    shutil.copytree(VERSION_1, tmp_path / "runs")
    return Store(tmp_path / "runs")


def marked(store):
    return json.loads((store.root / "pkt-bench.json").read_text())["schema_version"]


def test_the_files_are_those_of_version_1(store):
    for path in cell_files(store):
        found = pa.ipc.open_file(path).schema
        assert found.metadata[b"schema_version"] == b"1"
        assert {"pass_tokens", "budget", "host"}.isdisjoint(found.names)
    assert marked(store) == 1
    assert schema.SCHEMA_VERSION > 1


def test_version_1_opens_with_nulls_for_what_it_did_not_know(store):
    contents = store.read()

    assert contents.problems == ()
    assert contents.runs.schema.equals(schema.runs_schema(), check_metadata=True)
    assert sorted(contents.runs["run_id"].to_pylist()) == ["v1 lora", "v1 nuggets", "v1 student"]
    assert {value for name in ("host", "budget", "pass_tokens") for value in contents.runs[name].to_pylist()} == {None}
    assert contents.items.num_rows == 8


def test_version_1_is_gone_on_with(store):
    attempts = store.attempts()

    assert attempts.problems == ()
    assert attempts.outcomes == {**dict.fromkeys(DONE, Outcome.DONE), FAILED: Outcome.FAILED}
    assert attempts.expected_seconds == {("student", "tiny", "code"): 2.0, ("lora", "tiny", "code"): 8.0}
    assert [store.is_done(key) for key in (*DONE, FAILED)] == [True, True, False]
    assert marked(store) == 1


@pytest.mark.parametrize("compacted", [False, True], ids=["files of one run", "compacted"])
def test_runs_of_both_versions_share_a_board_and_its_paired_test(store, compacted):
    run = make_run(make_cell("nuggets"), 0.75, 5, run_id="v2", environment={"host": "here", "pass_tokens": 64})
    store.record(run, [make_item(number, float(number < 3)) for number in range(4)])
    if compacted:
        compact(store)

    found = store.read(item_columns=COLUMNS)

    assert found.problems == ()
    (board,) = boards(found.runs, found.items, [])
    values = {row.method: row.squares[0].value for row in board.rows}
    assert values == {"student": 0.25, "lora": 0.5, "nuggets": 0.75}
    paired = {row.method: row.squares[0].paired for row in board.rows}
    # 1, 2 and 3 of 4 right: the new run is paired with the old student on the same documents
    assert paired["nuggets"].difference == pytest.approx(0.5)
    assert dict(zip(found.runs["run_id"].to_pylist(), found.runs["host"].to_pylist(), strict=True))["v2"] == "here"
    assert pa.ipc.open_file(store.write_board()).read_all().num_rows == 4


def test_recording_in_a_folder_of_version_1_raises_its_mark_once(store):
    store.record(make_run(make_cell("nuggets"), minute=5))
    written = (store.root / "pkt-bench.json").stat().st_mtime_ns
    store.record(make_run(make_cell("nuggets"), minute=6))

    assert marked(store) == schema.SCHEMA_VERSION
    assert (store.root / "pkt-bench.json").stat().st_mtime_ns == written


def test_compacting_version_1_raises_its_mark_for_it_would_not_see_the_rows(store):
    before = store.read()

    done = compact(store)

    assert (done.folded, done.problems, cell_files(store)) == (3, (), [])
    assert marked(store) == schema.SCHEMA_VERSION
    after = store.read()
    assert after.runs.sort_by("run_id").equals(before.runs.sort_by("run_id"))
    assert after.items.num_rows == 8


def publish(store, table, metadata):
    """A cell file whose digest is right, whatever is in it."""
    key = make_cell("strange").key
    data = tables.serialise(
        table, {"cell_key": key, "run_id": "r", "created_at": "2026-01-01T00:00:00+00:00"} | metadata
    )
    path = store.root / "cells" / key[:2] / f"{key}.{durable.digest(data)}.arrow"
    durable.publish(path, data)
    return path


@pytest.mark.parametrize("where", ["one", "compacted"])
def test_an_outcome_nobody_knows_is_reported_and_stepped_over(store, where):
    row = run_rows(make_run(make_cell("strange"), run_id="r"))[0] | {"outcome": "abducted"}
    if where == "one":
        table = pa.Table.from_pylist([row], schema=schema.runs_schema())
        path = publish(store, table, {"outcome": "abducted"})
    else:
        data = tables.serialise(pa.Table.from_pylist([row], schema=tables.compacted_schema()), {})
        path = store.root / "compacted" / f"runs-000001.{durable.digest(data)}.arrow"
        durable.publish(path, data)

    attempts, contents = store.attempts(), store.read()

    assert set(attempts.outcomes) == {*DONE, FAILED}
    assert contents.runs.num_rows == 3
    for problems in (attempts.problems, contents.problems, compact(store).problems):
        assert [str(path) in problem and "abducted" in problem for problem in problems] == [True]
    assert not store.is_done(make_cell("strange").key)
    assert path.exists()
    store.write_board()


def test_rows_of_a_future_schema_are_stepped_over_and_never_folded(store):
    table = pa.Table.from_pylist(run_rows(make_run(make_cell("strange"), run_id="r")), schema=schema.runs_schema())
    path = publish(store, table, {"outcome": "done", "schema_version": "99"})

    assert set(store.outcomes()) == {*DONE, FAILED}
    assert ["made by a newer pkt-bench" in problem for problem in compact(store).problems] == [True]
    assert path.exists()


def test_a_folder_marked_by_a_future_version_is_refused_with_exit_code_2(store, warm):
    marker = json.loads((store.root / "pkt-bench.json").read_text())
    (store.root / "pkt-bench.json").write_text(json.dumps(marker | {"schema_version": 99}))

    with pytest.raises(RequestError, match="made by a newer pkt-bench: its rows have schema 99"):
        compact(store)
    for command in (["board"], ["ls", "runs"], ["compact"]):
        answer = warm(*command, store.root)
        assert (answer.code, "Upgrade pkt-bench" in answer.err) == (2, True)

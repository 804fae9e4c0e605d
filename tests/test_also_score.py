"""Students scored on the suites they were not made for."""

import pyarrow as pa
import pytest


def rows(out):
    files = sorted((out / "cells").rglob("*.arrow"))
    return [row for file in files for row in pa.ipc.open_file(file).read_all().to_pylist()]


@pytest.mark.slow
def test_a_student_is_scored_on_the_other_suites_too_and_compares_with_what_their_own_cells_say(pkt_bench, tmp_path):
    flags = ("--methods", "student,pissa", "--suite", "knowledge,arithmetic", "--limit", "6", "--set", "pissa.epochs=1")
    ran = pkt_bench(
        "run", *flags, "--set", "pissa.learning_rate=0.001", "--also-score", "all", "--out", tmp_path / "runs"
    )

    assert ran.code == 0, ran.err
    found = rows(tmp_path / "runs")
    # two methods on two suites, each scored by the three suites' tasks
    assert len(found) == 12
    assert {(r["suite"], r["task"]) for r in found if r["headline"]} == {
        ("knowledge", "tiny_knowledge"),
        ("arithmetic", "tiny_arithmetic"),
    }
    keys = {task: {r["comparability"] for r in found if r["task"] == task} for task in {r["task"] for r in found}}
    assert {task: len(those) for task, those in keys.items()} == {
        "tiny_knowledge": 1,
        "tiny_arithmetic": 1,
        "tiny_code": 1,
    }
    untouched = {(r["task"], r["value"]) for r in found if r["method"] == "student"}
    assert len(untouched) == 3


def test_a_suite_to_score_that_nobody_offers_is_named(pkt_bench, tmp_path):
    ran = pkt_bench("run", "--also-score", "knowlege", "--out", tmp_path / "runs")

    assert ran.code == 2
    assert "knowlege" in ran.err
    assert "knowledge" in ran.err
    assert not (tmp_path / "runs").exists()

"""Students scored on the suites they were not made for."""

import pyarrow as pa
import pytest


def rows(out):
    files = sorted((out / "cells").rglob("*.arrow"))
    return [row for file in files for row in pa.ipc.open_file(file).read_all().to_pylist()]


@pytest.mark.slow
def test_a_student_is_scored_on_the_other_suites_too_and_compares_with_what_their_own_cells_say(warm, tmp_path):
    flags = ("--methods", "student", "--suite", "knowledge,arithmetic", "--limit", "4", "--executor", "inline")
    ran = warm("run", *flags, "--also-score", "all", "--out", tmp_path / "runs")

    assert ran.code == 0, ran.err
    found = rows(tmp_path / "runs")
    tasks = {"tiny_knowledge", "tiny_arithmetic", "tiny_code"}
    # two suites, each scored by the tasks of all three
    assert sorted((r["suite"], r["task"]) for r in found) == sorted(
        (suite, task) for suite in ("arithmetic", "knowledge") for task in tasks
    )
    assert {(r["suite"], r["task"]) for r in found if r["headline"]} == {
        ("knowledge", "tiny_knowledge"),
        ("arithmetic", "tiny_arithmetic"),
    }
    # a task's figure may be compared with that of its own suite's cell, and is the same here
    assert {task: len({r["comparability"] for r in found if r["task"] == task}) for task in tasks} == dict.fromkeys(
        tasks, 1
    )
    assert len({(r["task"], r["value"]) for r in found}) == 3


def test_a_suite_to_score_that_nobody_offers_is_named(warm, tmp_path):
    ran = warm("run", "--also-score", "knowlege", "--out", tmp_path / "runs")

    assert ran.code == 2
    assert "knowlege" in ran.err
    assert "knowledge" in ran.err
    assert not (tmp_path / "runs").exists()

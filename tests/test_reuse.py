"""What was computed is not computed again: counted in model loads and forward passes, never in time."""

import json
import subprocess
import sys

import pyarrow as pa
import pytest

from pkt_bench.testing import pico_pair

COUNTING = """
import collections
import json
import sys

import torch
import transformers

from pkt_bench.cli import main

loads, forwards = collections.Counter(), collections.Counter()
plain = transformers.AutoModelForCausalLM.from_pretrained


def counted(path, **options):
    role = path.name
    loads[role] += 1
    result = plain(path, **options)
    model = result[0] if isinstance(result, tuple) else result
    # the decoder: whoever needs no logits calls it alone
    model.model.register_forward_pre_hook(lambda module, args: forwards.update([role]))
    return result


transformers.AutoModelForCausalLM.from_pretrained = counted
code = 0
try:
    main()
except SystemExit as ended:
    code = ended.code or 0
print(json.dumps({"code": code, "loads": loads, "forwards": forwards}))
"""


@pytest.fixture(scope="module")
def counted(tmp_path_factory, pico):
    """Runs cells in one process and says how often each model was loaded and how often it did a forward."""
    folder = tmp_path_factory.mktemp("reuse")
    pair = pico_pair(folder)

    def run(method, *more):
        done = subprocess.run(
            [
                *(sys.executable, "-c", COUNTING, "run", "--executor", "inline", "--json", "--suite", "pico"),
                *("--plugin", pico.plugin, "--pair", f"{pair.teacher.path}:{pair.student.path}"),
                *("--methods", method, "--out", folder / method, *more),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        counts = json.loads(done.stdout.splitlines()[-1])
        assert counts["code"] == 0, done.stderr
        return counts

    return run


QUICK = {
    "nuggets": ["--set", "nuggets.epochs=1", "--set", "nuggets.rank=4"],
    "postpkt": ["--set", "postpkt.epochs=1", "--set", "postpkt.rank=4"],
    "laten": ["--set", "laten.steps=3", "--set", "laten.inject_steps=2,3"],
}


@pytest.mark.slow
@pytest.mark.parametrize("method", QUICK)
def test_a_second_identical_run_loads_no_model_and_does_no_forward(counted, method):
    first = counted(method, *QUICK[method])
    second = counted(method, *QUICK[method])

    assert first["forwards"]["teacher"] > 0
    assert (second["loads"], second["forwards"]) == ({}, {})


@pytest.mark.slow
@pytest.mark.parametrize("method", QUICK)
def test_a_cell_that_is_run_again_asks_the_teacher_nothing(counted, method):
    counted(method, *QUICK[method])

    again = counted(method, *QUICK[method], "--fresh")

    assert "teacher" not in again["loads"]
    assert again["forwards"].get("teacher", 0) == 0
    assert again["forwards"]["student"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("nuggets", "nuggets.rank=8"),
        ("nuggets", "nuggets.split=sqrt"),
        ("nuggets", "nuggets.learning_rate=1e-3"),
        ("laten", "laten.rate=0.2"),
        ("laten", "laten.learning_rate=1e-3"),
    ],
)
def test_another_rank_split_or_rate_does_no_forward_of_the_teacher(counted, method, change):
    counted(method, *QUICK[method])

    changed = counted(method, *QUICK[method], "--set", change)

    assert changed["forwards"].get("teacher", 0) == 0
    assert changed["forwards"]["student"] > 0


@pytest.mark.slow
def test_an_untouched_model_is_scored_once_for_all_seeds(pico, pkt_bench, tmp_path):
    chosen = ("--plugin", pico.plugin, "--pair", "pico", "--suite", "pico", "--methods", "pico-student")
    flags = ("run", *chosen, "--seeds", "3", "--slots", "1", "--out", tmp_path / "runs", "--json")

    answer = pkt_bench(*flags)

    files = sorted((tmp_path / "runs" / "cells").rglob("*.arrow"))
    rows = [pa.ipc.open_file(file).read_all().to_pylist()[0] for file in files]
    reused = ["score (reused)" in json.loads(row["stage_seconds"]) for row in rows]
    assert answer.code == 0
    assert sorted(reused) == [False, True, True]
    assert len({(row["value"], row["documents_hash"], row["reload_difference"]) for row in rows}) == 1

"""A run that was cut short goes on where it was: nothing that was finished is done twice."""

import json
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pytest

METHODS = '''
"""Methods that count what they do, in files beside this one."""
import os
import time
from pathlib import Path

from pkt_bench import FinetuneSettings, Method, Settings, Transferred, cross_entropy, finetune, hookimpl

COUNTS = Path(__file__).parent / "counts"


def count(what):
    with (COUNTS / what).open("a") as file:
        file.write("x")


def scaled(context):
    import torch

    with torch.no_grad():
        context.pair.student.lm_head.weight *= 1.5
    return Transferred(context.pair.student)


def counted(context):
    count("transfer")
    return scaled(context)


def staged(context):
    import torch

    def compute():
        count("first begun")
        time.sleep(3)
        count("first")
        return {"x": torch.ones(3)}

    with context.stage("first"):
        context.cached("first", {"nothing": 0}, compute)
    with context.stage("second"):
        count("second")
        time.sleep(0.5)
    return scaled(context)


def tuned(context):
    def objective(model, records):
        count("pass")
        time.sleep(0.05)
        return cross_entropy(model, records)

    student = context.pair.student.requires_grad_(True)
    trained = finetune(context, student, context.settings, objective=objective)
    return Transferred(student, selection=trained.selection, notes=trained.notes)


@hookimpl
def pkt_bench_methods():
    yield Method("counted", "counts", "post-align", counted, Settings)
    yield Method("staged", "counts", "post-align", staged, Settings)
    yield Method("tuned", "counts", "post-align", tuned, FinetuneSettings)
'''


@pytest.fixture
def counting(tmp_path):
    folder = tmp_path / "plugin"
    (folder / "counts").mkdir(parents=True)
    (folder / "counting.py").write_text(METHODS, encoding="utf-8")

    class Counting:
        plugin = folder / "counting.py"

        @staticmethod
        def of(what):
            file = folder / "counts" / what
            return len(file.read_text()) if file.exists() else 0

    return Counting


@pytest.fixture
def flags(pico, counting, tmp_path):
    def build(methods, *more, out="runs"):
        chosen = ("--plugin", pico.plugin, "--plugin", counting.plugin, "--pair", "pico", "--suite", "pico")
        return ("run", *chosen, "--methods", methods, "--out", tmp_path / out, "--json", *more)

    return build


def start(arguments):
    command = [sys.executable, "-m", "pkt_bench", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for(condition, run, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert run.poll() is None, run.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def events(out):
    files = (out / "logs").glob("*.jsonl")
    return [json.loads(line) for file in files for line in file.read_text().splitlines() if line.endswith("}")]


def rows(out):
    files = sorted((out / "cells").rglob("*.arrow"))
    return [row for file in files for row in pa.ipc.open_file(file).read_all().to_pylist()]


@pytest.mark.slow
def test_a_run_killed_while_it_scores_does_not_transfer_again(flags, counting, warm, tmp_path):
    run = start(flags("counted"))
    wait_for(lambda: any(e["event"] == "phase" and e["phase"] == "score" for e in events(tmp_path / "runs")), run)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()

    again = warm(*flags("counted"))

    assert again.code == 0
    assert counting.of("transfer") == 1
    assert [row["outcome"] for row in rows(tmp_path / "runs")] == ["done"]


@pytest.mark.slow
def test_ctrl_c_once_finishes_the_stage_keeps_its_result_and_the_next_run_goes_on_there(
    flags, counting, warm, tmp_path
):
    run = start(flags("staged"))
    wait_for(lambda: counting.of("first begun"), run)
    os.kill(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=60)
    first, second = counting.of("first"), counting.of("second")

    again = warm(*flags("staged"))

    assert run.returncode == 130
    assert (first, second) == (1, 0)
    assert "Run the same command again to go on" in said
    assert again.code == 0
    assert (counting.of("first"), counting.of("first begun"), counting.of("second")) == (1, 1, 1)
    assert sorted(row["outcome"] for row in rows(tmp_path / "runs")) == ["done", "interrupted"]


@pytest.mark.slow
def test_of_a_grid_of_rates_those_that_were_trained_are_not_trained_again_and_the_student_is_the_same(
    flags, counting, warm, tmp_path
):
    rates = ("--set", "tuned.learning_rate=0.001,0.002,0.004", "--set", "tuned.epochs=6", "--set", "tuned.batch_size=4")
    warm(*flags("tuned", *rates, out="calm"))
    whole = counting.of("pass")

    run = start(flags("tuned", *rates))
    wait_for(lambda: len(list((tmp_path / "runs" / "work" / "partial").glob("*/*/[!.]*/MANIFEST.json"))) == 2, run)
    before = counting.of("pass") - whole
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    again = warm(*flags("tuned", *rates))

    calm, cut = (next((tmp_path / out / "artifacts").glob("*/changed.safetensors")) for out in ("calm", "runs"))
    (row,) = [row for row in rows(tmp_path / "runs") if row["outcome"] == "done"]
    assert again.code == 0
    # two thirds had been trained, and what of the third was under way is all that is done twice
    assert 2 / 3 * whole <= before < whole
    # (a few passes went on between the count and the kill)
    assert counting.of("pass") - whole - before <= whole / 3 + 4
    assert cut.read_bytes() == calm.read_bytes()
    assert row["tokens_trained"] == rows(tmp_path / "calm")[0]["tokens_trained"]
    assert not list((tmp_path / "runs" / "work" / "partial").iterdir())


@pytest.mark.slow
@pytest.mark.long
def test_a_saved_student_that_rotted_is_made_again(flags, counting, warm, tmp_path):
    run = start(flags("counted"))
    wait_for(lambda: any(e["event"] == "phase" and e["phase"] == "score" for e in events(tmp_path / "runs")), run)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    file = next((tmp_path / "runs" / "artifacts").glob("*/changed.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))

    again = warm(*flags("counted"))

    assert again.code == 0
    assert counting.of("transfer") == 2

"""What a cell may take of the machine, and a method may spend: each limit has its own word, and ends its cell alone."""

import json

import pyarrow as pa
import pytest

METHODS = '''
"""Methods that take too much of one thing each."""
import os
import signal
import time
from pathlib import Path

from pkt_bench import Method, Settings, Transferred, hookimpl


def scaled(context):
    import torch

    with torch.no_grad():
        context.pair.student.lm_head.weight *= 1.5
    return Transferred(context.pair.student)


def wide(context):
    """Holds 2 MB for each token of a pass: 512 of them are a gigabyte."""
    import torch

    with context.stage("tune"):
        torch.ones(context.pass_tokens, 1 << 19)
    return scaled(context)


def bottomless(context):
    import torch

    with context.stage("tune"):
        torch.ones(context.pass_tokens + (1 << 10), 1 << 20)
    return scaled(context)


def one_file(context):
    Path("large").write_bytes(b"x" * (60 << 20))
    return scaled(context)


def many_files(context):
    for number in range(60):
        Path(f"part {number}").write_bytes(b"x" * (1 << 20))
    time.sleep(60)
    return scaled(context)


def kills_itself(context):
    os.kill(os.getpid(), signal.SIGKILL)


def sleeps(context):
    with context.stage("sleep"):
        time.sleep(60)
    return scaled(context)


def talks(context):
    with context.stage("talk") as progress:
        for step in range(600):
            time.sleep(0.1)
            progress(step / 600)
    return scaled(context)


@hookimpl
def pkt_bench_methods():
    for transfer in (wide, bottomless, one_file, many_files, kills_itself, sleeps, talks):
        yield Method(transfer.__name__.replace("_", "-"), "takes too much", "post-align", transfer, Settings)
'''

HUNGRY_SCORER = '''
"""Makes the scorer's model hungry: 256 MB for each context of a batch, as a wide vocabulary would."""
import multiprocessing

from pkt_bench import hookimpl


@hookimpl
def pkt_bench_pairs():
    return []



# in a cell's own process: whoever only asks what plugins there are loads no lm-eval
if multiprocessing.parent_process() is not None:
    from lm_eval.models.huggingface import HFLM

    plain = HFLM._model_call

    def hungry(self, inps, *rest, **more):
        import torch

        torch.ones(inps.shape[0], 1 << 26)
        return plain(self, inps, *rest, **more)

    HFLM._model_call = hungry
'''


@pytest.fixture(scope="module")
def greedy(tmp_path_factory):
    file = tmp_path_factory.mktemp("greedy") / "greedy.py"
    file.write_text(METHODS, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def ask(warm, pico, greedy):
    def call(out, methods, *more):
        chosen = ("--plugin", pico.plugin, "--plugin", greedy, "--pair", "pico", "--suite", "pico")
        return warm("run", *chosen, "--methods", methods, "--out", out, "--json", *more)

    return call


def rows_of(out):
    files = sorted((out / "cells").rglob("*.arrow"))
    rows = [pa.ipc.open_file(file).read_all().to_pylist()[0] for file in files]
    return {(row["method"], row["seed"]): row for row in rows}


def journals(out):
    for file in (out / "logs").glob("*.jsonl"):
        yield [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def tight(ask, tmp_path_factory):
    """Methods that ask for a gigabyte, less with smaller passes, or for more than there is whatever they do."""
    out = tmp_path_factory.mktemp("tight") / "runs"
    return ask(out, "wide,bottomless,scale", "--seeds", "2", "--slots", "1", "--cell-memory", "1200MB"), out


@pytest.mark.slow
def test_memory_that_does_not_suffice_halves_the_training_pass_and_the_next_cell_starts_there(tight):
    _, out = tight

    rows = [row for (method, _), row in rows_of(out).items() if method == "wide"]
    wide = [lines for lines in journals(out) if lines[0]["cell"].startswith("wide,")]
    halved = [sum(line["event"] == "halved" for line in lines) for lines in wide]
    assert [row["outcome"] for row in rows] == ["done", "done"]
    assert {row["pass_tokens"] for row in rows} <= {256, 128}
    assert min(halved) == 0
    assert max(halved) >= 1


@pytest.mark.slow
def test_memory_that_never_suffices_ends_the_cell_once_there_is_nothing_left_to_halve(tight):
    answer, out = tight

    row = rows_of(out)["bottomless", 0]
    assert answer.code == 1
    assert row["outcome"] == "out-of-memory"
    assert row["reason"].startswith("out of memory in transfer (")
    assert row["reason"].endswith("Batches were halved down to 32 before.")
    assert {rows_of(out)["scale", seed]["outcome"] for seed in (0, 1)} == {"done"}


@pytest.mark.slow
def test_memory_that_does_not_suffice_halves_the_scoring_batch_and_the_row_says_so(warm, pico, tmp_path):
    hungry = tmp_path / "hungry.py"
    hungry.write_text(HUNGRY_SCORER, encoding="utf-8")
    chosen = ("--plugin", pico.plugin, "--plugin", hungry, "--pair", "pico", "--suite", "pico", "--methods", "scale")

    # what is made hungry is stock lm-eval's own call
    answer = warm("run", *chosen, "--scorer", "stock", "--out", tmp_path / "runs", "--cell-memory", "1300MB", "--json")

    assert answer.code == 0
    assert rows_of(tmp_path / "runs")["scale", 0]["batch_size"] in {2, 1}


@pytest.fixture(scope="module")
def limited(ask, tmp_path_factory):
    """One run with a limit on the disk and a budget of seconds."""
    out = tmp_path_factory.mktemp("limited") / "runs"
    methods = "one-file,many-files,kills-itself,sleeps,talks,scale"
    return ask(out, methods, "--cell-disk", "20MB", "--budget", "seconds=6"), out


@pytest.mark.slow
@pytest.mark.parametrize("method", ["one-file", "many-files"])
def test_a_cell_that_writes_more_than_it_may_is_out_of_disk(limited, method):
    answer, out = limited

    assert answer.code == 1
    assert rows_of(out)[method, 0]["outcome"] == "out-of-disk"
    assert rows_of(out)["scale", 0]["outcome"] == "done"


@pytest.mark.slow
def test_a_process_that_somebody_kills_is_tried_twice_more_and_then_the_cell_is_killed(limited):
    _, out = limited

    row = rows_of(out)["kills-itself", 0]
    (lines,) = [lines for lines in journals(out) if lines[0]["cell"].startswith("kills-itself")]
    assert row["outcome"] == "killed"
    assert row["reason"].startswith("the transfer process was ended by SIGKILL.")
    assert row["reason"].endswith("That was its 3rd time.")
    assert sum(line["event"] == "phase" for line in lines) == 3


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sleeps", "talks"])
def test_a_method_that_takes_longer_than_the_budget_is_over_budget_whether_it_says_anything_or_not(limited, method):
    _, out = limited

    row = rows_of(out)[method, 0]
    assert row["outcome"] == "over-budget"
    assert "the budget of the sweep is 6 s." in row["reason"]
    assert row["seconds"] < 30


@pytest.mark.slow
def test_a_budget_is_the_same_for_all_and_nothing_is_clamped_to_it(ask, tmp_path):
    """LoRA at rank 1 on the pico student: 16 train records in batches of 16 for 3 epochs at 2 rates are 6 steps."""
    tuning = ("--set", "lora.rank=1", "--set", "lora.learning_rate=0.001,0.002")
    all_weights = ("--set", "full.learning_rate=0.001")

    within = ask(tmp_path / "runs", "lora", *tuning, "--budget", "steps=6")
    beyond = ask(
        *(tmp_path / "runs", "lora,full,pico-student", *tuning, *all_weights),
        *("--budget", "steps=5,trainable=4000"),
    )

    outcomes = [
        {line["method"]: (line["outcome"], line["reason"]) for line in answer.lines() if line["record"] == "cell"}
        for answer in (within, beyond)
    ]
    assert outcomes[0] == {"lora": ("done", "")}
    assert outcomes[1]["lora"] == (
        "over-budget",
        (
            "6 optimiser steps are needed, the budget of the sweep is 5.\n"
            "  Lower the method's own settings, or raise --budget steps=... for all methods."
        ),
    )
    assert outcomes[1]["full"][0] == "over-budget"
    assert "trainable parameters are needed, the budget of the sweep is 4,000." in outcomes[1]["full"][1]
    assert outcomes[1]["pico-student"] == ("done", "")
    assert (within.code, beyond.code) == (0, 1)


@pytest.mark.slow
def test_earlier_failures_are_run_again_as_retry_says(ask, tmp_path):
    out = tmp_path / "runs"
    first = ask(out, "scale,raises,idle")
    none = ask(out, "scale,raises,idle", "--retry", "none")
    failed = ask(out, "scale,raises,idle", "--retry", "failed")

    ran = [[line["method"] for line in answer.lines() if line["record"] == "cell"] for answer in (first, none, failed)]
    assert [sorted(each) for each in ran] == [["idle", "raises", "scale"], [], ["raises"]]
    assert (first.code, none.code, failed.code) == (1, 1, 1)

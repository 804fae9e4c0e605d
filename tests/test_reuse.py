"""What was computed is not computed again: counted in model loads and forward passes, never in time."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass

import pyarrow as pa
import pytest

from once import once
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
counts = []
for arguments in json.loads(sys.argv[1]):
    loads.clear()
    forwards.clear()
    sys.argv = ["pkt-bench", *arguments]
    code = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code or 0
    counts.append({"code": code, "loads": dict(loads), "forwards": dict(forwards)})
print(json.dumps(counts))
"""

QUICK = {
    "nuggets": ("nuggets.epochs=1", "nuggets.rank=4"),
    "postpkt": ("postpkt.epochs=1", "postpkt.rank=4"),
    "laten": ("laten.steps=3", "laten.inject_steps=2,3"),
}
CHANGES = (
    ("nuggets", "nuggets.rank=8"),
    ("nuggets", "nuggets.split=sqrt"),
    ("nuggets", "nuggets.learning_rate=1e-3"),
    ("laten", "laten.rate=0.2"),
    ("laten", "laten.learning_rate=1e-3"),
)


@dataclass(frozen=True)
class Asked:
    """A command: a method, what is set beyond what makes it quick, and whether it is to run again."""

    method: str
    change: str = ""
    fresh: bool = False


@pytest.fixture(scope="module")
def counts(tmp_path_factory, pico):
    """How often each model was loaded and did a forward, in the first commands and in those that followed.

    The first run in one process, all others in another, which finds what was computed on the disk or nowhere.
    """
    folder = once(tmp_path_factory, "reuse", lambda folder: fill(folder, pico))
    return [
        {Asked(**asked): counted for asked, counted in each} for each in json.loads((folder / "counts").read_text())
    ]


def fill(folder, pico):
    """Runs the commands, and writes what they counted."""
    pair = pico_pair(folder)

    def flags(asked):
        settings = filter(None, (*QUICK[asked.method], asked.change))
        return [
            *("run", "--executor", "inline", "--json", "--suite", "pico", "--plugin", str(pico.plugin)),
            *("--pair", f"{pair.teacher.path}:{pair.student.path}", "--methods", asked.method),
            *("--out", str(folder / asked.method), *(word for each in settings for word in ("--set", each))),
            *(["--fresh"] if asked.fresh else []),
        ]

    def count(commands):
        told = json.dumps([flags(asked) for asked in commands])
        done = subprocess.run([sys.executable, "-c", COUNTING, told], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        assert [each["code"] for each in found] == [0] * len(commands), done.stderr
        return [(asdict(asked), counted) for asked, counted in zip(commands, found, strict=True)]

    plain = [Asked(method) for method in QUICK]
    first = count(plain)
    later = count([*plain, *(Asked(*change) for change in CHANGES), *(Asked(method, fresh=True) for method in QUICK)])
    (folder / "counts").write_text(json.dumps([first, later]))


@pytest.mark.slow
@pytest.mark.parametrize("method", QUICK)
def test_a_second_identical_run_loads_no_model_and_does_no_forward(counts, method):
    first, later = counts

    asked = Asked(method)

    assert first[asked]["forwards"]["teacher"] > 0
    assert (later[asked]["loads"], later[asked]["forwards"]) == ({}, {})


@pytest.mark.slow
@pytest.mark.parametrize("method", QUICK)
def test_a_cell_that_is_run_again_asks_the_teacher_nothing(counts, method):
    _, later = counts

    again = later[Asked(method, fresh=True)]

    assert "teacher" not in again["loads"]
    assert again["forwards"].get("teacher", 0) == 0
    assert again["forwards"]["student"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(("method", "change"), CHANGES)
def test_another_rank_split_or_rate_does_no_forward_of_the_teacher(counts, method, change):
    _, later = counts

    changed = later[Asked(method, change)]

    assert changed["forwards"].get("teacher", 0) == 0
    assert changed["forwards"]["student"] > 0


@pytest.mark.slow
def test_an_untouched_model_is_scored_once_for_all_seeds(pico, warm, tmp_path):
    chosen = ("--plugin", pico.plugin, "--pair", "pico", "--suite", "pico", "--methods", "pico-student")
    flags = ("run", *chosen, "--seeds", "3", "--slots", "1", "--out", tmp_path / "runs", "--json")

    answer = warm(*flags)

    files = sorted((tmp_path / "runs" / "cells").rglob("*.arrow"))
    rows = [pa.ipc.open_file(file).read_all().to_pylist()[0] for file in files]
    reused = ["score (reused)" in json.loads(row["stage_seconds"]) for row in rows]
    assert answer.code == 0
    assert sorted(reused) == [False, True, True]
    assert len({(row["value"], row["documents_hash"], row["reload_difference"]) for row in rows}) == 1

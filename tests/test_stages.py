"""A stage result is computed once, whoever asks, and never believed when it is torn."""

import subprocess
import sys

import pytest
import torch

from pkt_bench.stages import StageCache


@pytest.fixture
def cache(tmp_path):
    return StageCache(tmp_path / "stages")


def counting(value=1.0):
    calls = []

    def compute():
        calls.append(1)
        return {"x": torch.full((3,), value)}

    return compute, calls


def test_the_same_inputs_compute_once_and_others_again(cache):
    compute, calls = counting()

    first, computed = cache.tensors("svd", {"a": 1, "b": [2, 3]}, compute)
    same, reused = cache.tensors("svd", {"b": [2, 3], "a": 1}, compute)
    cache.tensors("svd", {"a": 2, "b": [2, 3]}, compute)
    cache.tensors("other", {"a": 1, "b": [2, 3]}, compute)

    assert torch.equal(first["x"], same["x"])
    assert computed is None
    assert reused > 0
    assert len(calls) == 3


def test_a_rotten_entry_is_computed_again(cache):
    compute, calls = counting()
    cache.tensors("svd", {}, compute)
    file = next(cache.root.rglob("data.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))

    again, _ = cache.tensors("svd", {}, compute)

    assert torch.equal(again["x"], torch.ones(3))
    assert len(calls) == 2


def test_a_computation_that_fails_leaves_nothing(cache):
    def fail():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        cache.tensors("svd", {}, fail)

    assert not list(cache.root.rglob("MANIFEST.json"))
    assert cache.tensors("svd", {}, counting()[0])[0]["x"].sum() == 3


SLOWLY = """
import pathlib, sys, time
import torch
from pkt_bench.stages import StageCache

root, log = map(pathlib.Path, sys.argv[1:])

def compute():
    with log.open("a") as file:
        file.write("computed\\n")
    time.sleep(0.5)
    return {"x": torch.ones(1)}

StageCache(root).tensors("scores", {}, compute)
"""


def test_processes_that_want_the_same_at_once_compute_it_once(tmp_path):
    log = tmp_path / "log"
    command = [sys.executable, "-c", SLOWLY, str(tmp_path / "stages"), str(log)]

    workers = [subprocess.Popen(command) for _ in range(3)]

    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert log.read_text() == "computed\n"

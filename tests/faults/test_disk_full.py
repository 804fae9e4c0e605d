"""A disk that fills up while cells are running: a clear word, nothing recorded is lost, and the rest runs later."""

import os
import subprocess
import sys
import time

import pyarrow as pa
import pytest


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 96 MB in memory, taken away afterwards."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96M", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system cannot be mounted here (needs root)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder):
    """Leaves no block free."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return ballast


def done(out):
    files = sorted((out / "cells").rglob("*.arrow"))
    rows = [row for file in files for row in pa.ipc.open_file(file).read_all().to_pylist()]
    return sorted(row["cell_key"] for row in rows if row["outcome"] == "done")


@pytest.mark.slow
def test_a_disk_that_fills_up_loses_nothing_and_the_run_goes_on_when_there_is_room(pico, warm, small_disk):
    out = small_disk / "runs"
    chosen = ("run", "--plugin", pico.plugin, "--pair", "pico", "--suite", "pico", "--methods", "scale,noise")
    flags = (*chosen, "--seeds", "4", "--out", out, "--json")
    command = [sys.executable, "-m", "pkt_bench", *map(str, flags)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    deadline = time.monotonic() + 120
    while len(list(out.glob("cells/*/*.arrow"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    ballast = fill(small_disk)
    _, said = run.communicate(timeout=120)
    before = done(out)
    board = warm("board", out)
    ballast.unlink()

    again = warm(*flags)

    assert run.returncode == 4, said
    assert "the disk is full" in said
    assert "Free some space and give the same command again: what is recorded is kept, the rest is run." in said
    assert "Traceback" not in said
    assert 2 <= len(before) < 8
    assert board.code == 0
    assert again.code == 0
    assert len(done(out)) == len(set(done(out))) == 8
    assert set(before) <= set(done(out))


@pytest.mark.slow
def test_a_disk_with_too_little_room_is_refused_before_anything_runs(pico, warm, small_disk):
    fill(small_disk).rename(small_disk / "full")
    chosen = ("run", "--plugin", pico.plugin, "--pair", "pico", "--suite", "pico", "--methods", "scale")

    answer = warm(*chosen, "--out", small_disk / "runs")

    assert answer.code == 4
    assert "Traceback" not in answer.err
    assert answer.out == ""

"""A command that is killed outright leaves nobody behind who goes on writing where the next one writes."""

import subprocess
import sys
import time

import psutil
import pytest

PLUGIN = """
import os
import time
from pathlib import Path

from pkt_bench import Method, Settings, hookimpl


def sleeps(context):
    (Path(__file__).parent / "process").write_text(str(os.getpid()))
    time.sleep(600)


@hookimpl
def pkt_bench_methods():
    yield Method("sleeps", "for a test", "post-align", sleeps, Settings)
"""


@pytest.mark.slow
def test_a_phase_ends_with_the_command_that_is_killed(pico, tmp_path):
    plugin = tmp_path / "plugin" / "sleeps.py"
    plugin.parent.mkdir()
    plugin.write_text(PLUGIN, encoding="utf-8")
    asked = ("--plugin", pico.plugin, "--plugin", plugin, "--pair", "pico", "--suite", "pico", "--methods", "sleeps")
    command = [sys.executable, "-m", "pkt_bench", "run", *map(str, asked), "--out", str(tmp_path / "runs")]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    said = plugin.parent / "process"
    deadline = time.monotonic() + 120
    while not (said.exists() and said.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    phase = psutil.Process(int(said.read_text()))
    server = phase.parent()

    run.kill()
    run.wait()

    _, alive = psutil.wait_procs([phase, server], timeout=10)
    for process in alive:
        process.kill()
    assert alive == []

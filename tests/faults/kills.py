"""Kills processes of running sweeps at random moments, and shows that nothing of it can be seen in the end.

    python tests/faults/kills.py --kills 200

Each round runs one sweep into one folder: a random process of the run (the command itself, the server its cells fork
from, a cell's own) gets SIGKILL again and again; whenever the command is dead it is given again. When the sweep is
complete, its board, its rows and its students are compared with those of an undisturbed one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

METHODS = "pico-student,scale,noise"
# what a second run of the same cells takes otherwise, or names otherwise
TIMES = re.compile(r"seconds|rss|device_bytes|created|run_id|^host$|^runs$|^out$")


def arguments(plugin: Path, out: Path, seeds: int) -> list[str]:
    """The sweep, as a user gives it."""
    flags = ["--plugin", str(plugin), "--pair", "pico", "--suite", "pico", "--methods", METHODS, "--seeds", str(seeds)]
    return ["run", *flags, "--out", str(out), "--json"]


def command(plugin: Path, out: Path, seeds: int) -> list[str]:
    """The sweep in a process of its own."""
    return [sys.executable, "-m", "pkt_bench", *arguments(plugin, out, seeds)]


def environment() -> dict[str, str]:
    """Offline, one thread."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


class Sweep:
    """One command, given again whenever it is dead, until it says that every cell is done."""

    def __init__(self, plugin: Path, out: Path, seeds: int) -> None:
        self._command = command(plugin, out, seeds)
        self.out = out
        self.starts = 0
        self.said_done: Counter[str] = Counter()
        self._start()

    def _start(self) -> None:
        self.starts += 1
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - read when the command has ended
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - see above
        self._run = subprocess.Popen(
            self._command, stdout=self._log, stderr=self._errors, env=environment(), start_new_session=True
        )

    def family(self) -> list[psutil.Process]:
        """The command and everything below it."""
        try:
            main = psutil.Process(self._run.pid)
            return [main, *main.children(recursive=True)]
        except psutil.Error:
            return []

    def over(self) -> bool:
        """Whether every cell is done; starts the command again where it died or left cells undone."""
        code = self._run.poll()
        if code is None:
            return False
        self._log.seek(0)
        for line in self._log.read().decode().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue  # the last line of a command that was killed
            if record["record"] == "cell" and record["outcome"] == "done" and not record["reason"]:
                self.said_done[record["key"]] += 1
        self._errors.seek(0)
        said = self._errors.read().decode()
        self._log.close()
        self._errors.close()
        if code not in {0, 1, -9}:
            raise AssertionError(f"the command ended with {code}:\n{said[-3000:]}")
        if code == 0:
            return True
        self._start()
        return False


def disturb(sweep: Sweep, kills: int, luck: random.Random) -> Counter[str]:
    """Kills up to `kills` processes of a sweep; gives whom, by kind, when the sweep is complete."""
    hit: Counter[str] = Counter()
    while not sweep.over():
        if sum(hit.values()) >= kills:
            time.sleep(0.2)
            continue
        time.sleep(luck.uniform(0.05, 2.5))
        family = sweep.family()
        # the parent one time in five: otherwise the sweep would do little but start
        candidates = family[:1] if luck.random() < 0.2 else family[1:]
        if candidates:
            victim = luck.choice(candidates)
            try:
                kind = _kind(victim, family[0])
                victim.kill()
                hit[kind] += 1
            except psutil.Error:
                continue
    return hit


def _kind(process: psutil.Process, command: psutil.Process) -> str:
    if process.pid == command.pid:
        return "command"
    if "resource_tracker" in " ".join(process.cmdline()):
        return "tracker"
    return "server" if process.ppid() == command.pid else "cell"


def picture(out: Path) -> dict[str, object]:
    """What a run folder says, times and run ids left out: the board, the rows, the answers, the students."""
    import pyarrow as pa

    board = subprocess.run(
        [sys.executable, "-m", "pkt_bench", "board", str(out), "--format", "json"],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    assert not board.stderr.strip(), board.stderr
    done = []
    for file in sorted((out / "cells").rglob("*.arrow")):
        content = file.read_bytes()
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        assert file.name.split(".")[1] == digest, f"{file} is damaged"
        done += [row for row in pa.ipc.open_file(content).read_all().to_pylist() if row["outcome"] == "done"]
    rows = sorted(json.dumps(_timeless(row), sort_keys=True, default=str) for row in done)
    students = {
        str(file.relative_to(out / "artifacts")): hashlib.blake2b(file.read_bytes()).hexdigest()
        for file in sorted((out / "artifacts").glob("*/*.safetensors"))
    }
    return {"board": _timeless(json.loads(board.stdout)), "rows": rows, "students": students}


def _timeless(value: object) -> object:
    if isinstance(value, dict):
        return {key: _timeless(each) for key, each in value.items() if not TIMES.search(key)}
    if isinstance(value, list):
        return [_timeless(each) for each in value]
    return value


def check(sweep: Sweep, calm: dict[str, object], cells: int) -> None:
    """The disturbed sweep against the calm one.

    Raises:
        AssertionError: a cell is lost, recorded twice or different, a file is damaged, or something was left behind.
    """
    found = picture(sweep.out)
    keys = [json.loads(row)["cell_key"] for row in found["rows"]]
    assert len(keys) == len(set(keys)) == cells, f"{len(keys)} done rows of {len(set(keys))} cells, expected {cells}"
    assert set(sweep.said_done) <= set(keys), "a cell that was said to be done is not recorded"
    assert not [key for key, count in sweep.said_done.items() if count > 1], "a cell was said to be done twice"
    assert found["board"] == calm["board"]
    assert found["rows"] == calm["rows"]
    assert found["students"] == calm["students"]
    left = list(sweep.out.rglob(".tmp-*"))
    assert not left, left


def main() -> None:
    """Rounds of sweeps until enough processes were killed; prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from conftest import PLUGIN
    from pkt_bench.testing import pico_pair

    luck = random.Random(asked.seed)
    print(f"seed {asked.seed}")
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        pico_pair(folder)
        plugin = folder / "pico_plugin.py"
        plugin.write_text(PLUGIN, encoding="utf-8")
        started = time.monotonic()
        subprocess.run(
            command(plugin, folder / "calm", asked.seeds), env=environment(), check=True, capture_output=True
        )
        print(f"undisturbed: {3 * asked.seeds} cells in {time.monotonic() - started:.0f} s", flush=True)
        calm = picture(folder / "calm")
        total: Counter[str] = Counter()
        number = 0
        while sum(total.values()) < asked.kills:
            number += 1
            started = time.monotonic()
            sweep = Sweep(plugin, folder / f"round-{number}", asked.seeds)
            hit = disturb(sweep, asked.kills - sum(total.values()), luck)
            check(sweep, calm, 3 * asked.seeds)
            total += hit
            took = time.monotonic() - started
            print(f"round {number}: {dict(hit)}, {sweep.starts} starts, {took:.0f} s: equal", flush=True)
        print(f"{sum(total.values())} kills {dict(total)}: nothing lost, nothing twice, nothing damaged, boards equal")


if __name__ == "__main__":
    main()

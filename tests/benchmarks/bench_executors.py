"""One sweep by one slot, by two, and on a Ray cluster of this machine: wall time of whole commands, in turn.

    python tests/benchmarks/bench_executors.py

Cells are single-threaded and of the embedded pair. A command's wall time includes what it costs to start: the server
that cells fork from, or the cluster with its workers, which pays off in longer sweeps; so the time between the first
cell's beginning and the last one's end is given too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

VARIANTS = {
    "process, 1 slot": ("--executor", "process", "--slots", "1"),
    "process, 2 slots": ("--executor", "process", "--slots", "2"),
    "ray, 2 slots": ("--executor", "ray", "--slots", "2"),
}


def main() -> None:
    """Prints a table: medians, and how each compares with two slots of this machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--methods", default="lora,pissa")
    parser.add_argument("--suites", default="arithmetic,code,knowledge")
    asked = parser.parse_args()
    flags = ["--pair", "tiny", "--suite", asked.suites, "--methods", asked.methods, "--seeds", str(asked.seeds)]
    for method in asked.methods.split(","):
        flags += ["--set", f"{method}.learning_rate=0.004"]
    walls: dict[str, list[float]] = {name: [] for name in VARIANTS}
    cells: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for number in range(asked.rounds):
        for name, how in VARIANTS.items():
            with tempfile.TemporaryDirectory() as home:
                out = Path(home) / "runs"
                started = time.monotonic()
                run(*flags, *how, "--out", str(out))
                walls[name].append(time.monotonic() - started)
                cells[name].append(span(out))
            print(f"round {number + 1}, {name}: {walls[name][-1]:.1f} s", file=sys.stderr, flush=True)
    report(walls, cells)


def report(walls: dict[str, list[float]], cells: dict[str, list[float]]) -> None:
    """The table."""
    table = Table(title=f"medians in seconds, load {os.getloadavg()[0]:.1f}")
    for heading in ("", "command", "over 2 slots", "cells alone", "over 2 slots"):
        table.add_column(heading, justify="left" if not heading else "right")
    base = [statistics.median(each["process, 2 slots"]) for each in (walls, cells)]
    for name in VARIANTS:
        wall, alone = statistics.median(walls[name]), statistics.median(cells[name])
        table.add_row(name, f"{wall:.1f}", f"{wall / base[0]:.2f}", f"{alone:.1f}", f"{alone / base[1]:.2f}")
    Console().print(table)


def run(*flags: str) -> None:
    """One command, which has to end well."""
    command = [sys.executable, "-m", "pkt_bench", "run", *flags, "--json"]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})


def span(out: Path) -> float:
    """Seconds from the beginning of the first cell to the end of the last."""
    lines = [json.loads(line) for file in (out / "logs").glob("*.jsonl") for line in file.read_text().splitlines()]
    at = [datetime.fromisoformat(line["at"]) for line in lines]
    return (max(at) - min(at)).total_seconds()


if __name__ == "__main__":
    main()

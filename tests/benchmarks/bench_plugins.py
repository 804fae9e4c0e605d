"""What installed plugins cost the light commands: none beside our own, and twenty of which three are broken.

    python tests/benchmarks/bench_plugins.py [--rounds 9] [--quick]

Each round runs every command with and without the twenty, in turn; CPU seconds are those of the child process. Prints
the medians and the median of the ratios, round by round. The goal: `--help` within 1.3 times of none.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from third_party import many

COMMANDS = (("--help",), ("plugins", "list"), ("ls", "methods"))
GOALS = {("--help",): 1.3}


@dataclass(frozen=True)
class Spent:
    """Seconds of one run of a command."""

    cpu: float
    wall: float


def spent(words: tuple[str, ...], site: Path) -> Spent:
    """What one run of `pkt-bench WORDS` takes with the plugins in `site`; their byte code is written by the first."""
    started, before = time.perf_counter(), os.times()
    subprocess.run(
        [sys.executable, "-m", "pkt_bench", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    after = os.times()
    cpu = (after.children_user - before.children_user) + (after.children_system - before.children_system)
    return Spent(cpu, time.perf_counter() - started)


def main() -> None:
    """Runs the rounds and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="two rounds, to try it out")
    given = parser.parse_args()
    rounds = 2 if given.quick else given.rounds
    with tempfile.TemporaryDirectory() as folder:
        sites = {}
        for name, make in (("none", False), ("twenty", True)):
            sites[name] = Path(folder) / name
            sites[name].mkdir()
            if make:
                many(sites[name])
        for words in COMMANDS:
            for site in sites.values():
                spent(words, site)
        seen = [
            {(words, name): spent(words, site) for words in COMMANDS for name, site in sites.items()}
            for _ in range(rounds)
        ]
    print(
        f"{'pkt-bench':16}{'plugins':>9}{'CPU s':>8}{'wall s':>8}{'x none':>8}{'wall':>7}   median of {rounds} rounds"
    )
    for words in COMMANDS:
        for name in sites:
            cpu = statistics.median(one[words, name].cpu for one in seen)
            wall = statistics.median(one[words, name].wall for one in seen)
            ratio = statistics.median(one[words, name].cpu / one[words, "none"].cpu for one in seen)
            of_wall = statistics.median(one[words, name].wall / one[words, "none"].wall for one in seen)
            goal = GOALS.get(words) if name == "twenty" else None
            said = "" if goal is None else f"   goal {goal}x{' MISSED' if ratio > goal else ''}"
            print(f"{' '.join(words):16}{name:>9}{cpu:8.2f}{wall:8.2f}{ratio:8.2f}{of_wall:7.2f}{said}")


if __name__ == "__main__":
    main()

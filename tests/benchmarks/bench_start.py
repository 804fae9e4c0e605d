"""How long the light commands take, against a bare Typer program and against importing everything first.

    python tests/benchmarks/bench_start.py [--rounds 7]

Each round runs every command once, in turn; CPU seconds are those of the child process. Prints the median of each and
the median of the ratios to the bare program, round by round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

BARE = "import typer\napp = typer.Typer()\n@app.command()\ndef main(name: str = 'x') -> None:\n    '''Say.'''\napp()"
EVERYTHING = "import torch, transformers, peft, lm_eval.evaluator, lm_eval.models.huggingface"
COMMANDS = {
    "bare typer --help": ["-c", BARE, "--help"],
    "pkt-bench --help": ["-m", "pkt_bench", "--help"],
    "pkt-bench ls methods": ["-m", "pkt_bench", "ls", "methods"],
    "pkt-bench plugins list": ["-m", "pkt_bench", "plugins", "list"],
    "pkt-bench plan": ["-m", "pkt_bench", "plan"],
    "importing everything": ["-c", EVERYTHING],
}


def cpu_seconds(arguments: list[str]) -> float:
    """User and system seconds of one run of the interpreter with `arguments`."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = os.times()
    return (after.children_user - before.children_user) + (after.children_system - before.children_system)


def main() -> None:
    """Runs the rounds and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    for arguments in COMMANDS.values():
        cpu_seconds(arguments)
    seen = [{name: cpu_seconds(arguments) for name, arguments in COMMANDS.items()} for _ in range(rounds)]
    print(f"{'command':26}{'CPU s':>8}{'x bare':>8}   median of {rounds} rounds")
    for name in COMMANDS:
        seconds = statistics.median(one[name] for one in seen)
        ratio = statistics.median(one[name] / one["bare typer --help"] for one in seen)
        print(f"{name:26}{seconds:8.2f}{ratio:8.2f}")


if __name__ == "__main__":
    main()

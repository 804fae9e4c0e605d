"""What the harness adds to a cell: its wall time without the method's own work and without lm-eval's.

    python tests/benchmarks/bench_overhead.py

Runs cells of a method that computes for ten seconds, one at a time, through the command line; reads each cell's journal
and row. What is left of a cell's wall time are the starts of two processes, loading, saving, loading again, recording.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.table import Table

PLUGIN = """
import time
from pathlib import Path

from pkt_bench import Method, Settings, Transferred, hookimpl


def busy(context):
    import torch

    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        sum(range(10_000))
    with torch.no_grad():
        context.pair.student.lm_head.weight *= 1.5
    return Transferred(context.pair.student)


@hookimpl
def pkt_bench_methods():
    yield Method("busy", "computes for a while", "post-align", busy, Settings)
"""


def main() -> None:
    """Prints a table: the median over cells of each part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--cells", type=int, default=5)
    parser.add_argument("--pair", default="tiny")
    parser.add_argument("--suite", default="arithmetic")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        plugin = Path(home) / "busy.py"
        plugin.write_text(PLUGIN.replace("SECONDS", str(asked.seconds)), encoding="utf-8")
        out = Path(home) / "runs"
        flags = ["--pair", asked.pair, "--suite", asked.suite, "--methods", "busy", "--seeds", str(asked.cells)]
        command = [sys.executable, "-m", "pkt_bench", "run", "--plugin", str(plugin), *flags, "--out", str(out)]
        environ = {**os.environ, "HF_HUB_OFFLINE": "1"}
        subprocess.run([*command, "--slots", "1", "--json"], check=True, capture_output=True, env=environ)
        cells = [parts(file, out) for file in sorted((out / "logs").glob("*.jsonl"))]
    table = Table(
        title=f"{asked.pair}, {asked.suite}, {len(cells)} cells, load {os.getloadavg()[0]:.1f}, median seconds"
    )
    for name in cells[0]:
        table.add_column(name, justify="right")
    table.add_row(*(f"{statistics.median(cell[name] for cell in cells):.2f}" for name in cells[0]))
    Console().print(table)


def parts(journal: Path, out: Path) -> dict[str, float]:
    """A cell's wall time and what it is made of, in seconds."""
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    at = {(line["event"], line.get("phase"), line.get("stage")): datetime.fromisoformat(line["at"]) for line in lines}
    rows = next((out / "cells").rglob(f"{journal.stem}.*.arrow"))
    method = pa.ipc.open_file(rows).read_all()["transfer_seconds"][0].as_py()
    wall = (at["recorded", None, None] - at["started", None, None]).total_seconds()
    scoring = (at["ended", "score", None] - at["stage", "score", "score"]).total_seconds()
    overhead = wall - method - scoring
    return {"wall": wall, "method": method, "lm-eval": scoring, "harness": overhead, "% of wall": 100 * overhead / wall}


if __name__ == "__main__":
    main()

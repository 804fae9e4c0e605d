"""How long a run folder of very many cells takes to open: attempts, rows, one cell, the board.

    python tests/benchmarks/bench_store.py [--cells 100000] [--ones 5000] [--folder PLACE]

Makes a folder with that many synthetic compacted cells (three methods, two suites, many seeds; no items), and another
with as many files of one run as `--ones` says, which it then compacts. Each figure is taken in a process of its own, so
that nothing is found in memory; the files are in the page cache. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from pkt_bench import durable, tables
from pkt_bench.compaction import RUNS_PER_FILE, compact
from pkt_bench.domain import Cell, Cost, Knobs, Outcome, Run, Score
from pkt_bench.rows import run_rows
from pkt_bench.store import Store

METHODS, SUITES = ("student", "lora", "nuggets"), ("code", "knowledge")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--ones", type=int, default=5_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)  # WHAT FOLDER: the process that is measured
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure[0], Path(options.measure[1]))))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        report(Path(place), options.cells, options.ones)


def report(place, cells, ones):
    shown = Table("folder", "what", "wall s", "CPU s", "peak RSS MB", box=None)
    many, few = Store(place / "many"), Store(place / "few")
    write_compacted(many, cells)
    size = sum(path.stat().st_size for path in (many.root / "compacted").iterdir())
    for what in ("attempts", "read", "is_done", "board"):
        add(shown, f"{cells:,} compacted", what, alone(what, many.root))
    started = time.perf_counter()
    for number in range(ones):
        few.record(run_of(number))
    record = (time.perf_counter() - started) / ones
    for what in ("attempts", "read", "is_done"):
        add(shown, f"{ones:,} files", what, alone(what, few.root))
    add(shown, f"{ones:,} files", "compact", alone("compact", few.root))
    Console(width=100).print(shown)
    print(f"record: {1000 * record:.1f} ms a run; {cells:,} compacted cells are {size / 1e6:.1f} MB")


def add(shown, folder, what, figures):
    shown.add_row(folder, what, f"{figures['wall']:.2f}", f"{figures['cpu']:.2f}", f"{figures['rss'] / 1e6:.0f}")


def alone(what, root):
    command = [sys.executable, __file__, "--measure", what, str(root)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def measure(what, root):
    store = Store(root)
    wall, cpu = time.perf_counter(), time.process_time()
    if what == "is_done":
        # the first call pays for all; then once for each of many cells
        for number in range(1000):
            store.is_done(run_of(number).cell.key)
    else:
        {
            "attempts": store.attempts,
            "read": lambda: store.read(items=False),
            "compact": lambda: compact(store),
            "board": lambda: board(root),
        }[what]()
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "rss": peak(),
    }


def peak():
    """The most memory this process had resident, in bytes; what its parent had before is not in it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def board(root):
    from pkt_bench.cli.board import Options, show_board

    show_board(Options(str(root), format="json"))


# ---------------------------------------------------------------- synthetic runs


def run_of(number):
    """A done run like those of the embedded pair; its number is in its seed."""
    method, suite = METHODS[number % 3], SUITES[number // 3 % 2]
    seed = number // 6
    identity = {
        "method": {"name": method, "version": "1", "paradigm": "post-align", "distribution_version": "0.1.0"},
        "teacher": {"revision": "", "digest": "a" * 32},
        "student": {"revision": "", "digest": "b" * 32},
        "suite": {"name": suite, "code": "c" * 32, "task_files": "d" * 32},
        "data_hash": suite[0] * 32,
        "prompt_hash": "f" * 32,
        "tasks": [{"name": f"tiny_{suite}"}],
        "seed": seed,
        "scorer": {"lm_eval": "0.4.13"},
    }
    cell = Cell(method, "pkt-bench", '{"rank":8}', "tiny", suite, seed, Knobs(), identity, "tiny 1M", "tiny 0.2M")
    score = Score(f"tiny_{suite}", "acc", "none", 0.5 + seed % 7 / 100, 0.02, 200, True, True, "1", "e" * 32, 0, 0.25)
    return Run(
        run_id=durable.digest(b"%d" % number),
        cell=cell,
        outcome=Outcome.DONE,
        reason="",
        created_at=f"2026-01-01T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}+00:00",
        scores=(score,),
        cost=Cost(transfer_seconds=1.5 + seed % 11, score_seconds=2.5, peak_rss_bytes=10**9 + number),
        environment={"python": "3.11.7", "torch": "2.13", "hardware": "a CPU", "host": "a machine"},
        seconds=4.0 + seed % 11,
    )


def write_compacted(store, cells):
    """Writes what a compaction of so many cells leaves, without their own files before."""
    store.create()
    ours = tables.compacted_schema()
    for number, first in enumerate(range(0, cells, RUNS_PER_FILE), 1):
        rows = [row for each in range(first, min(first + RUNS_PER_FILE, cells)) for row in run_rows(run_of(each))]
        data = tables.serialise(pa.Table.from_pylist(rows, schema=ours), {}, compress=True)
        durable.publish(store.root / "compacted" / f"runs-{number:06d}.{durable.digest(data)}.arrow", data)


if __name__ == "__main__":
    main()

"""How long the fold takes: 10,000 runs of 6 tasks, and 100,000 rows; CPU seconds, libraries imported before.

python tests/benchmarks/bench_board.py [--items 20]
"""

import argparse
import datetime as dt
import json
import statistics
import time

import numpy as np
import pyarrow as pa

from pkt_bench_leaderboards import schema
from pkt_bench_leaderboards.board import boards


def table(methods, suites, seeds, tasks):
    """`methods` x `suites` x `seeds` runs, each of `tasks` figures of which one is the headline."""
    random = np.random.default_rng(0)
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    rows = []
    for method in range(methods):
        kind = ("student", "teacher")[method] if method < 2 else f"method-{method // 10}"
        settings = json.dumps({} if method < 2 else {"rank": method % 10})
        for suite in range(suites):
            for seed in range(seeds):
                name = f"{method}-{suite}-{seed}"
                for task in range(tasks):
                    rows.append(
                        {
                            "run_id": name,
                            "cell_key": name,
                            "method": kind,
                            "method_version": "1",
                            "distribution": "pkt-bench",
                            "settings": settings,
                            "variant": f"{method:032x}",
                            "paradigm": "reference" if method < 2 else "language",
                            "pair": "tiny",
                            "teacher_hash": "a" * 32,
                            "student_hash": "b" * 32,
                            "suite": f"suite-{suite}",
                            "task": f"task-{suite}-{task}",
                            "metric": "acc",
                            "filter": "none",
                            "seed": seed,
                            "headline": task == 0,
                            "value": float(random.random()),
                            "stderr": 0.03,
                            "n": 200,
                            "higher_is_better": True,
                            "seconds": 30.0,
                            "stage_seconds": '{"tune": 20.0}',
                            "outcome": "done",
                            "reason": "",
                            "device": "cpu",
                            "dtype": "float32",
                            "threads": 1,
                            "batch_size": 16,
                            "scorer": "lm-eval 0.4.13",
                            "created_at": start + dt.timedelta(seconds=len(rows)),
                            "comparability": f"{suite:016x}{task:016x}",
                        }
                    )
    return pa.Table.from_pylist(rows, schema=schema.runs_schema())


def answers(runs, items):
    """`items` answers to every figure."""
    random = np.random.default_rng(1)
    count = runs.num_rows * items
    columns = {
        name: runs[name].combine_chunks().take(pa.array(np.repeat(np.arange(runs.num_rows), items)))
        for name in ("run_id", "cell_key", "task", "metric", "filter")
    }
    number = np.tile(np.arange(items), runs.num_rows)
    words = pa.array([f"document {n}" for n in range(items)]).take(pa.array(number))
    same = pa.array([""]).take(pa.array(np.zeros(count, dtype=np.int64)))
    columns |= {
        "doc_id": pa.array(number),
        "doc_hash": words,
        "value": pa.array(random.integers(0, 2, count).astype(float)),
    }
    columns |= dict.fromkeys(("prompt_hash", "prompt", "target", "response"), same)
    return pa.table(columns).select(schema.items_schema().names).cast(schema.items_schema())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=0, help="answers to each figure")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    boards(table(3, 1, 1, 1))
    import scipy.special  # noqa: F401 - not what is measured

    for what, shape in (("10,000 runs x 6 tasks", (100, 10, 10, 6)), ("100,000 rows", (1000, 10, 10, 1))):
        runs = table(*shape)
        items = answers(runs, asked.items) if asked.items else None
        took = []
        for _ in range(asked.rounds):
            started = time.process_time()
            found = boards(runs, items)
            took.append(time.process_time() - started)
        rows = sum(len(board.rows) for board in found)
        print(
            f"{what:24} {statistics.median(took):6.2f} s (least {min(took):.2f})  {rows} rows on {len(found)} board(s)"
        )


if __name__ == "__main__":
    main()

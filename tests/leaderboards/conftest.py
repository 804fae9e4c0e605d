"""Runs and items as people would have them: rows of the two tables with everything that does not matter filled in."""

import datetime as dt

import pyarrow as pa
import pytest

from pkt_bench_leaderboards import schema

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def row():
    """One row of the runs table; `at` is its age in minutes after the first."""

    def make(method, suite, value=None, stderr=None, *, seed=0, at=0, outcome="done", **given):
        paradigm = "reference" if method in {"student", "teacher"} else "language"
        scored = outcome == "done"
        defaults = {
            "run_id": f"{method}-{given.get('settings', '')}-{suite}-{seed}-{at}",
            "cell_key": f"{method}-{given.get('settings', '')}-{suite}-{seed}",
            "method": method,
            "method_version": "1",
            "paradigm": paradigm,
            "distribution": "pkt-bench",
            "settings": "{}",
            "pair": "tiny",
            "teacher_hash": "a" * 32,
            "student_hash": "b" * 32,
            "suite": suite,
            "task": f"tiny_{suite}" if scored else None,
            "metric": "acc" if scored else None,
            "filter": "none" if scored else None,
            "shots": 0 if scored else None,
            "seed": seed,
            "headline": True if scored else None,
            "value": value,
            "stderr": stderr,
            "n": 100 if scored else None,
            "higher_is_better": True if scored else None,
            "outcome": outcome,
            "reason": "" if scored else "it could not be",
            "scorer": "lm-eval 0.4",
            "dtype": "float32",
            "created_at": START + dt.timedelta(minutes=at),
            "comparability": suite if scored else None,
        }
        return defaults | given

    return make


@pytest.fixture
def runs():
    """Rows as a runs table."""
    return lambda *rows: pa.Table.from_pylist(list(rows), schema=schema.runs_schema())


@pytest.fixture
def items():
    """The items of a row of the runs table: what each document in turn was worth."""

    def make(*answered):
        rows = [
            {
                "run_id": row["run_id"],
                "cell_key": row["cell_key"],
                "task": row["task"],
                "metric": row["metric"],
                "filter": row["filter"],
                "doc_id": number,
                "doc_hash": f"document {number}",
                "prompt_hash": f"prompt {number}",
                "prompt": "?",
                "target": "!",
                "response": "!",
                "value": value,
            }
            for row, values in answered
            for number, value in enumerate(values)
        ]
        return pa.Table.from_pylist(rows, schema=schema.items_schema())

    return make

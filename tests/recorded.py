"""Runs to record: every field of a cell, a score, an item and a run has a value, and tests name those that matter."""

from dataclasses import asdict

from pkt_bench.domain import Cell, Item, Knobs, Outcome, Run, Score
from pkt_bench.store import Store

__all__ = ["Store", "cell_files", "make_cell", "make_item", "make_run", "make_score"]


def make_cell(method="lora", suite="code", seed=0, limit=None, knobs=None, **identity):
    """A cell; `method` and `suite` are names, or what the identity says of them."""
    knobs = knobs or Knobs(limit=limit)
    if isinstance(method, str):
        method = {"name": method, "version": "2", "paradigm": "language", "distribution_version": "0.1"}
    if isinstance(suite, str):
        suite = {"name": suite, "code": "1" * 32, "task_files": "2" * 32}
    asked = {
        "method": method,
        "teacher": {"revision": "t1", "digest": "a" * 32},
        "student": {"revision": "s1", "digest": "b" * 32},
        "data_hash": "d" * 32,
        "prompt_hash": "e" * 32,
        "suite": suite,
        "tasks": [{"name": f"tiny_{suite['name']}"}],
        "seed": seed,
        "knobs": asdict(knobs),
        "libraries": {"torch": "2.13"},
        "scorer": {"lm_eval": "0.4.13"},
    }
    names = method["name"], "pkt-bench", '{"rank":8}', "tiny", suite["name"]
    return Cell(*names, seed, knobs, asked | identity)


def make_score(value=0.5, task="tiny_code", **given):
    fields = {
        "metric": "acc",
        "filter": "none",
        "stderr": 0.05,
        "n": 100,
        "higher_is_better": True,
        "headline": True,
        "task_version": "1.0",
        "task_hash": "f" * 32,
        "shots": 0,
        "chance": 0.25,
    }
    return Score(task=task, value=value, **(fields | given))


def make_run(cell=None, value=0.5, minute=0, outcome=Outcome.DONE, **given):
    fields = {
        "run_id": f"run {minute}",
        "cell": cell or make_cell(),
        "outcome": outcome,
        "reason": "" if outcome == Outcome.DONE else "it could not be",
        "created_at": f"2026-01-01T00:{minute:02d}:00+00:00",
        "scores": (make_score(value),) if outcome == Outcome.DONE else (),
    }
    return Run(**(fields | given))


def make_item(number=0, value=1.0, doc_hash=None, metric="acc"):
    doc_hash = doc_hash or f"doc {number}"
    return Item("tiny_code", metric, "none", number, doc_hash, f"prompt {number}", "2 + 2 =", "4", "four", value)


def cell_files(store):
    return sorted((store.root / "cells").glob("*/*.arrow"))

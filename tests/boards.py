"""A run folder as a sweep leaves it, with answers to every document, recorded in a second: the board tests look at.

Three suites of 60 documents, three seeds, every student scored on the other suites too; a method with one seed, one
that failed on a suite, one that was skipped, a control, a sweep over a rate, prompts with markup in them.
"""

from __future__ import annotations

import json
import zlib

import numpy as np

from pkt_bench.domain import Cost, Health, Outcome
from pkt_bench.store import Store
from recorded import make_cell, make_item, make_run, make_score

SUITES = {"arithmetic": "exact_match", "code": "pass_at_1", "knowledge": "acc"}
DOCUMENTS = 60
SEEDS = (0, 1, 2)
# method: kind, control of, how far from student (0) to teacher (1) it comes, seconds, bytes moved, parameters trained
METHODS = {
    "student": ("reference", "", 0.0, 2.0, 0, 0),
    "teacher": ("reference", "", 1.0, 3.0, 0, 0),
    "lora": ("language", "", 0.45, 21.0, 0, 156_200),
    "nuggets": ("post-align", "", 0.6, 34.0, 624_800, 156_200),
    "nuggets:noise-spectrum": ("control", "nuggets", 0.55, 35.0, 624_800, 156_200),
    "laten": ("pre-align", "", -0.15, 55.0, 2_400_000, 1_900_000),
    "pissa": ("language", "", 0.5, 20.0, 0, 156_200),
    "full": ("language", "", 0.8, 30.0, 0, 923_000),
}


def record_board(root, methods=tuple(METHODS), documents=DOCUMENTS):
    """Records the board in `root`; gives its store. The same answers every time."""
    store = Store(root)
    minute = 0
    for method in methods:
        seeds = (0,) if method == "pissa" else SEEDS
        for suite in SUITES:
            for seed in seeds:
                minute += 1
                store.record(*_run(method, suite, seed, minute, documents))
    for seed in SEEDS:
        cell = _cell("kd", "language", "", "code", seed, {})
        outcome, reason = (
            (Outcome.FAILED, "RuntimeError in transfer: <loss> is | not finite")
            if seed
            else (Outcome.TIMEOUT, "took 600 s")
        )
        store.record(make_run(cell, minute=59, run_id=f"kd-code-{seed}", outcome=outcome, reason=reason))
    skipped = _cell("gkd", "language", "", "knowledge", 0, {})
    store.record(
        make_run(
            skipped, minute=59, run_id="gkd", outcome=Outcome.SKIPPED, reason="another tokenizer than the student's"
        )
    )
    store.write_board()
    return store


def _cell(method, paradigm, control_of, suite, seed, settings):
    cell = make_cell(
        {
            "name": method,
            "version": "1",
            "paradigm": paradigm,
            "control_of": control_of,
            "distribution_version": "0.1",
            "settings": settings,
        },
        suite,
        seed,
        also_score=[
            {
                "suite": {"name": other, "code": "1" * 32, "task_files": "2" * 32},
                "data_hash": "d" * 32,
                "prompt_hash": "e" * 32,
                "tasks": [{"name": f"tiny_{other}"}],
            }
            for other in SUITES
            if other != suite
        ],
    )
    return cell.__class__(
        **{
            name: getattr(cell, name)
            for name in ("method", "distribution", "pair", "suite", "seed", "knobs", "identity")
        },
        settings=json.dumps(settings, sort_keys=True),
        teacher="tiny-teacher (1.71 M)",
        student="tiny-student (0.923 M)",
    )


def _run(method, suite, seed, minute, documents):
    paradigm, control_of, share, seconds, moved, trained = METHODS[method]
    settings = {} if paradigm == "reference" else {"rank": 8, "learning_rate": 0.001}
    cell = _cell(method, paradigm, control_of, suite, seed, settings)
    scores, items = [], []
    for task in (suite, *(other for other in SUITES if other != suite)):
        values = answers(
            method, share if task == suite else min(0.0, share) - 0.1 * (paradigm != "reference"), task, seed, documents
        )
        mean = sum(values) / documents
        scores.append(
            make_score(
                mean,
                task=f"tiny_{task}",
                metric=SUITES[task],
                stderr=(mean * (1 - mean) / (documents - 1)) ** 0.5,
                n=documents,
                chance=0.25 if task == "knowledge" else 0.0,
            )
        )
        items += [_item(task, number, value, method, seed) for number, value in enumerate(values)]
    return (
        make_run(
            cell,
            run_id=f"{method.replace(':', '-')}-{suite}-{seed}",
            minute=minute % 60,
            scores=tuple(scores),
            seconds=seconds + seed,
            cost=Cost(
                load_seconds=0.5,
                transfer_seconds=seconds - 2,
                score_seconds=1.5,
                peak_rss_bytes=900_000_000,
                trainable_parameters=trained,
                payload_bytes=moved,
                artifact_bytes=trained * 4,
                stage_seconds={"locate": 1.0, "tune": seconds - 3},
            ),
            health=Health(selection="validation" if trained else "fixed", notes=_notes(method, seed)),
            environment={
                "hardware": "a processor",
                "python": "3.11.7",
                "platform": "Linux",
                "torch": "2.13.0",
                "host": "here",
            },
        ),
        tuple(items),
    )


def answers(method, share, task, seed, documents):
    """0 or 1 for each document: harder documents are wrong for all, seeds differ in a few."""
    difficulty = np.random.default_rng(zlib.crc32(task.encode())).random(documents)
    ability = 0.35 + 0.4 * share
    seeded = 0 if method in {"student", "teacher"} else seed
    own = np.random.default_rng(zlib.crc32(f"{method} {task} {seeded}".encode())).normal(0, 0.12, documents)
    return [float(value) for value in (difficulty + own < ability)]


def _item(task, number, value, method, seed):
    item = make_item(number, value, metric=SUITES[task])
    right = str(number + 4)
    return item.__class__(
        **{name: getattr(item, name) for name in ("metric", "filter", "doc_id", "value")},
        task=f"tiny_{task}",
        doc_hash=f"{task} {number}",
        prompt_hash=f"prompt {task} {number}",
        prompt=f"[{task}] What is <b>{number}</b> + 4 | 'and' why?\nAnswer:",
        target=right,
        response=json.dumps([right if value else f"{number} ({method}, {seed})"]),
    )


def _notes(method, seed):
    if method != "laten":
        return {}
    return {
        "grid": [{"steps": s, "rate": r, "loss": 1.5 - 0.1 * s * r + seed / 100} for s in (1, 2) for r in (0.1, 0.5)]
    }

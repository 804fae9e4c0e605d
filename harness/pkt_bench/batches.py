"""How much a phase computes at once: what fitted before, halved when the memory does not suffice.

    work/batches/<digest>.json   the largest size that may be tried, by models, device and phase

Another size moves the last bits of a number, so a row says which it was made with.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pkt_bench import durable
from pkt_bench.domain import BatchSizes, Job, digest_of
from pkt_bench.environment import pass_tokens

Phase = Literal["transfer", "score"]
SMALLEST = {"transfer": 32, "score": 1}
"""Below this a phase gives up: a pass of 32 tokens holds next to nothing beside the model."""


def sizes_for(job: Job) -> BatchSizes:
    """The sizes to use for a cell: those asked for, or what earlier cells found to fit."""
    knobs = job.cell.knobs
    asked = job.pass_tokens or pass_tokens(knobs.device)
    found = {phase: _read(_file(job, phase)) for phase in ("transfer", "score")}
    return BatchSizes(
        pass_tokens=min(found["transfer"] or asked, asked),
        score_batch=min(found["score"] or knobs.batch_size, knobs.batch_size),
    )


def halve(job: Job, phase: Phase, tried: int) -> int | None:
    """Remembers that `tried` did not fit; gives the size to try next, or None where there is no smaller one."""
    smaller = tried // 2
    if smaller < SMALLEST[phase]:
        # less at once did not help, so it was not that: the next cell begins with what was asked for
        _file(job, phase).unlink(missing_ok=True)
        return None
    smaller = min(smaller, _read(_file(job, phase)) or smaller)
    learnt = {"size": smaller, "phase": phase, "cell": job.cell.label}
    durable.publish(_file(job, phase), json.dumps(learnt).encode())
    return smaller


def _file(job: Job, phase: str) -> Path:
    identity, knobs = job.cell.identity, job.cell.knobs
    models = {role: (identity.get(role) or {}).get("digest") for role in ("teacher", "student")}
    # what a method trains decides what it needs; what is scored is a student, whoever made it
    method = job.method if phase == "transfer" else ""
    where = {**models, "device": knobs.device, "dtype": knobs.dtype, "phase": phase, "method": method}
    where |= {"suite": job.suite, "memory": job.limits.memory_bytes}
    return job.out / "work" / "batches" / f"{digest_of(where)}.json"


def _read(file: Path) -> int | None:
    try:
        size = json.loads(file.read_text(encoding="utf-8"))["size"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return size if isinstance(size, int) and size > 0 else None

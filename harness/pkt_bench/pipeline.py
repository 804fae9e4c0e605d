"""One cell, from load to record: the file to read.

    load      the models are what the plan saw                      LoadedPair
    transfer  the plugin does its work; what it returns is saved    phases, artifacts
    score     another process loads what was saved, and scores it   phases, scoring
    record    scores, items, costs and health become rows           store

`transfer` and `score` are phases: an executor runs each in a process of its own, so that nothing a plugin left behind
(a patched forward, a hook, a thread, random state) can touch a score. What they give are files, and no plugin's code
runs where rows are recorded. An attempt that was cut short is gone on with: a whole student is not made again, and
figures that were found are recorded without scoring again.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pkt_bench import batches, handover, journal
from pkt_bench.batches import Phase
from pkt_bench.domain import BatchSizes, Job, Outcome, Run, Skip
from pkt_bench.errors import StorageError
from pkt_bench.handover import Handover, Scored, folder_of
from pkt_bench.phases import Ended
from pkt_bench.store import Store

if TYPE_CHECKING:
    from filelock import FileLock

KILLS_FORGIVEN = 2
ROOM_BYTES = 16 << 20


@dataclass(frozen=True)
class Errand:
    """One phase of a job, with how much it computes at once and when it has to be over (a monotonic time, or None)."""

    phase: Phase
    job: Job
    sizes: BatchSizes
    deadline: float | None = None


Call = Callable[[Errand], Ended]


def claim(job: Job) -> FileLock:
    """The lock on a cell: who holds it runs the cell, so that two runs on one folder share the work.

    A dead holder's lock is free at once. Locks save work; that a row is whole is the store's affair.
    """
    from filelock import FileLock

    folder_of(job).parent.mkdir(parents=True, exist_ok=True)
    return FileLock(folder_of(job).with_name(f".{job.cell.key}.lock"))


def run_cell(job: Job, call: Call) -> Run:
    """Runs one cell, under its lock; `call` runs a phase, here or in another process, and says how it ended.

    Every cell ends as a row: a phase that fails, or a process that dies, gives a `Run` with its reason. A cell that
    another run finished in the meantime is not run again.

    Raises:
        StorageError: the disk is full, or the row cannot be written; what was found is kept for the next run.
    """
    store = Store(job.out)
    if job.fresh:
        handover.forget(job)
    elif store.is_done(job.cell.key):
        return Run(new_run_id(), job.cell, Outcome.DONE, "done by another run in the meantime", now())
    started = time.monotonic()
    deadline = None if job.limits.seconds is None else started + job.limits.seconds
    journal.note(job, "started", key=job.cell.key, identity=job.cell.identity)
    saved = handover.read_handover(job)
    ended = Ended()
    if saved is None:
        ended = _persevere("transfer", job, call, deadline)
        saved = handover.read_handover(job)
    elif saved.outcome is not None:
        ended = Ended(saved.outcome, saved.reason)
    scored = None
    if ended.outcome is None:
        scored = handover.read_scored(folder_of(job))
        if scored is None:
            ended = _persevere("score", job, call, deadline)
            scored = handover.read_scored(folder_of(job))
    if ended.disk_full and not _has_room(store):
        raise StorageError(
            f"{job.cell.label}: {ended.reason}\n  Free some space and give the same command again: what is recorded is"
            " kept, the rest is run."
        )
    run = _run(job, saved or Handover(), ended, scored, time.monotonic() - started)
    store.record(run, scored.items if scored is not None and run.outcome is Outcome.DONE else ())
    journal.note(job, "recorded", run_id=run.run_id, outcome=run.outcome, reason=run.reason)
    if run.outcome is not Outcome.INTERRUPTED:
        handover.recorded(job)
    return run


def _has_room(store: Store) -> bool:
    """Whether the run folder's own disk has room: a plugin may have filled another."""
    try:
        store.check_writable()
    except StorageError:
        return False
    return shutil.disk_usage(store.root).free >= ROOM_BYTES


def record_skips(skips: Sequence[Skip], store: Store) -> None:
    """Records the cells that will not run, each with its reason, where the store does not say so already."""
    known = store.outcomes()
    for skip in skips:
        if known.get(skip.cell.key) != Outcome.SKIPPED:
            run = Run(new_run_id(), skip.cell, Outcome.SKIPPED, skip.reason, now())
            store.record(run, ())


def _persevere(phase: Phase, job: Job, call: Call, deadline: float | None) -> Ended:
    """Runs a phase; again with half the batch where memory ran out, and again where somebody else killed it."""
    kills = 0
    while True:
        sizes = batches.sizes_for(job)
        journal.note(job, "phase", phase=phase, pass_tokens=sizes.pass_tokens, score_batch=sizes.score_batch)
        ended = call(Errand(phase, job, sizes, deadline))
        journal.note(job, "ended", phase=phase, outcome=ended.outcome, reason=ended.reason, promise=ended.promise)
        if ended.outcome is Outcome.OUT_OF_MEMORY and ended.batch is not None:
            smaller = batches.halve(job, phase, ended.batch)
            if smaller is not None:
                journal.note(job, "halved", phase=phase, tried=ended.batch, next=smaller)
                continue
            ended = replace(ended, reason=f"{ended.reason} Batches were halved down to {ended.batch} before.")
        if ended.again:
            kills += 1
            if kills <= KILLS_FORGIVEN:
                continue
            ended = replace(ended, reason=f"{ended.reason} That was its {kills}rd time.")
        return ended


def _run(job: Job, saved: Handover, ended: Ended, scored: Scored | None, seconds: float) -> Run:
    run = Run(
        run_id=new_run_id(),
        cell=job.cell,
        outcome=ended.outcome or Outcome.FAILED,
        reason=ended.reason,
        created_at=now(),
        cost=saved.cost,
        health=saved.health,
        environment=saved.environment,
        seconds=seconds,
    )
    if ended.outcome is not None:
        return run
    if scored is None:
        return replace(run, reason="the score phase ended and left no figures")
    stages = dict(saved.cost.stage_seconds)
    if scored.reused_seconds is not None:
        stages["score (reused)"] = scored.reused_seconds
    cost = replace(
        saved.cost,
        stage_seconds=stages,
        score_seconds=scored.seconds,
        score_cpu_seconds=scored.cpu_seconds,
        peak_rss_bytes=max(saved.cost.peak_rss_bytes or 0, scored.peak_rss_bytes),
    )
    return replace(
        run,
        outcome=Outcome.DONE,
        scores=scored.scores,
        cost=cost,
        health=replace(saved.health, reload_difference=scored.reload_difference),
        environment={**saved.environment, "batch_size": scored.batch_size, "scoring": dict(scored.scoring)},
        # an attempt that found the student made did not take this long itself
        seconds=saved.seconds + scored.seconds,
    )


def new_run_id() -> str:
    """A name for an attempt that no other has."""
    return uuid.uuid4().hex


def now() -> str:
    """The time, UTC, as ISO 8601 text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")

"""Cells whose processes are gone with the machine they were on: for executors that run cells elsewhere."""

from __future__ import annotations

from pkt_bench.domain import Job, Outcome, Run
from pkt_bench.pipeline import new_run_id, now
from pkt_bench.store import Store


def record_lost(job: Job, reason: str) -> Run:
    """Ends a cell as `killed` with a sentence that says what was lost; a row that made it into the store stands.

    Raises:
        StorageError: the store could not be written.
    """
    store = Store(job.out)
    if not job.fresh and store.is_done(job.cell.key):
        return Run(new_run_id(), job.cell, Outcome.DONE, "done before its worker was lost", now())
    run = Run(new_run_id(), job.cell, Outcome.KILLED, reason, now())
    store.record(run)
    return run

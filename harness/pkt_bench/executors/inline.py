"""Runs cells one after another in this very process: for debuggers, where a breakpoint has to be reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pkt_bench.domain import Job, Outcome
from pkt_bench.errors import Interrupted
from pkt_bench.executors.base import Moments
from pkt_bench.pipeline import Ended, Phase, attempt, claim, run_cell


def execute_inline(jobs: Sequence[Job], slots: int | None, moments: Moments, settings: Any) -> None:  # noqa: ANN401, ARG001 - one at a time, always
    """See `Execute`. A cell that kills the process kills the run: that is what the other executor is for."""
    for job in jobs:
        interrupted = None

        def call(phase: Phase, job: Job) -> Ended:
            nonlocal interrupted
            try:
                return attempt(phase, job, lambda stage, done: moments.stage(job.cell, stage, done))
            except (KeyboardInterrupt, Interrupted) as error:
                interrupted = error if isinstance(error, Interrupted) else Interrupted()
                return Ended(Outcome.INTERRUPTED, "the run was interrupted")

        with claim(job):
            moments.started(job.cell)
            run = run_cell(job, call)
        moments.finished(job.cell, run)
        if interrupted is not None:
            raise interrupted

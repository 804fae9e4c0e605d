"""Runs cells one after another in this very process: for debuggers, where a breakpoint has to be reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pkt_bench import environment
from pkt_bench.domain import Job, Outcome
from pkt_bench.errors import Interrupted
from pkt_bench.executors.base import Moments
from pkt_bench.phases import Ended, Means, attempt
from pkt_bench.pipeline import Errand, claim, run_cell


def execute_inline(jobs: Sequence[Job], slots: int | None, moments: Moments, settings: Any) -> None:  # noqa: ANN401, ARG001 - one at a time, always
    """See `Execute`. A cell that kills the process kills the run, and no limit holds: use another executor for that."""
    for job in jobs:
        interrupted = None

        def call(errand: Errand) -> Ended:
            nonlocal interrupted
            cell = errand.job.cell
            try:
                with environment.restored():
                    means = Means(errand.sizes, lambda stage, done: moments.stage(cell, stage, done))
                    return attempt(errand.phase, errand.job, means)
            except (KeyboardInterrupt, Interrupted) as error:
                interrupted = error if isinstance(error, Interrupted) else Interrupted()
                return Ended(Outcome.INTERRUPTED, "the run was interrupted")

        _use(job)
        with claim(job):
            moments.started(job.cell)
            run = run_cell(job, call)
        moments.finished(job.cell, run)
        if interrupted is not None:
            raise interrupted


def _use(job: Job) -> None:
    """Makes the device that was asked for the one that its kind means."""
    kind, _, index = job.device.partition(":")
    if kind == "cuda" and index:
        import torch

        torch.cuda.set_device(int(index))

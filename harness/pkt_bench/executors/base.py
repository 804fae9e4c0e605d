"""What an executor is: it runs jobs and tells the moments; results travel through the store alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pkt_bench.domain import Cell, Job, Run


class Moments(Protocol):
    """Whom an executor tells what happens. Called in the process and thread that called the executor."""

    def started(self, cell: Cell) -> None:
        """A cell begins."""

    def stage(self, cell: Cell, stage: str, fraction: float | None) -> None:
        """A cell reached a stage, or a part of it."""

    def finished(self, cell: Cell, run: Run) -> None:
        """A cell ended and is in the store."""


class Execute(Protocol):
    """Runs every job, each ending as a row in the store, `slots` at a time.

    Raises:
        Interrupted: the user or the system asked to stop; cells under way ended as `interrupted`.
        StorageError: the store could not be written.
    """

    def __call__(self, jobs: Sequence[Job], slots: int, moments: Moments) -> None:
        """Runs the jobs."""

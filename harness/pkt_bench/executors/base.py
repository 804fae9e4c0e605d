"""What an executor is: it runs jobs and tells the moments; results travel through the store alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from pkt_bench.domain import Cell, Job, Run


class Moments(Protocol):
    """Whom an executor tells what happens. Called in the process and thread that called the executor."""

    def started(self, cell: Cell) -> None:
        """A cell begins."""

    def stage(self, cell: Cell, stage: str, fraction: float | None) -> None:
        """A cell reached a stage, or a part of it."""

    def stopping(self) -> None:
        """Nothing new begins; cells under way end after the stage they are in."""

    def measured(self, cell: Cell, resident_bytes: int) -> None:
        """What the cell's processes hold in memory now."""

    def finished(self, cell: Cell, run: Run) -> None:
        """A cell ended and is in the store."""


class Execute(Protocol):
    """Runs every job, each ending as a row in the store, `slots` at a time.

    `slots` may be None: as many as the executor finds room for. Ctrl-C raises `Interrupted` wherever the caller's
    thread is, and so in here: the first time nothing new begins and cells under way end after the stage they are in;
    the second time, or with an exit code other than 130, at once.

    Raises:
        Interrupted: the user or the system asked to stop; cells under way ended as `interrupted`.
        StorageError: the store could not be written.
    """

    def __call__(self, jobs: Sequence[Job], slots: int | None, moments: Moments, settings: Any) -> None:  # noqa: ANN401
        """Runs the jobs. `settings` is an instance of the executor's own settings class."""

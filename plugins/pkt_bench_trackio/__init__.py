"""`--track trackio`: a Trackio run for each run folder, and in it a row for each cell that ends.

The rows go into a SQLite file on this machine, in TRACKIO_DIR (by default Hugging Face's cache); `trackio show`
shows them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from pkt_bench import Cell, Run, Settings, Tracker, facts_of, hookimpl


class TrackioSettings(Settings):
    """Where the rows go."""

    project: str = Field(default="pkt-bench", min_length=1)
    """The project they are in."""
    name: str | None = None
    """What the run is called; unset means as the run folder. The run of this name is gone on with."""
    space: str | None = None
    """A Hugging Face Space to send them to; unset keeps them on this machine."""


class TrackioRun:
    """What is told the moments, all in one thread: Trackio knows its run by the thread."""

    def __init__(self, settings: TrackioSettings, out: Path) -> None:
        import trackio

        self._trackio = trackio
        trackio.init(
            project=settings.project,
            name=settings.name or out.resolve().name,
            space_id=settings.space,
            resume="allow",
            embed=False,
            # the machine's load does not belong into it
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    @hookimpl
    def pkt_bench_cell_finished(self, cell: Cell, run: Run) -> None:
        """Logs the cell."""
        self._trackio.log(facts_of(cell, run))

    @hookimpl
    def pkt_bench_run_finished(self) -> None:
        """Writes what is left."""
        self._trackio.finish()


@hookimpl
def pkt_bench_trackers() -> Iterable[Tracker]:
    """Offers `trackio`."""
    yield Tracker("trackio", "Trackio, a file on this machine or a Space", TrackioRun, TrackioSettings, missing)


def missing() -> str | None:
    """What to install where trackio is not, found out without importing it."""
    return None if importlib.util.find_spec("trackio") else "trackio is not installed: pip install 'pkt-bench[trackio]'"

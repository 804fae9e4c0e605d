"""`--track wandb`: a Weights & Biases run for each run folder, and in it a row for each cell that ends.

`--set wandb.mode=offline` writes everything below the run folder's `logs/` and sends nothing; `wandb sync` sends it
later.
"""

from __future__ import annotations

import importlib.util
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from pkt_bench import Cell, Run, Settings, Tracker, facts_of, hookimpl


class WandbSettings(Settings):
    """Where the rows go."""

    project: str = Field(default="pkt-bench", min_length=1)
    """The project they are in."""
    name: str | None = None
    """What the run is called; unset means as the run folder."""
    mode: Literal["online", "offline", "disabled"] | None = None
    """offline keeps them on this machine; unset means as WANDB_MODE says, or online."""


class WandbRun:
    """What is told the moments."""

    def __init__(self, settings: WandbSettings, out: Path) -> None:
        import wandb

        logs = out / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=settings.project,
            name=settings.name or out.resolve().name,
            id=_own_id(logs / "wandb-run-id"),
            resume="allow",
            mode=settings.mode,
            dir=logs,
            # neither what the command prints nor the machine's load belongs into it
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
        )

    @hookimpl
    def pkt_bench_cell_finished(self, cell: Cell, run: Run) -> None:
        """Logs the cell."""
        self._run.log(facts_of(cell, run))

    @hookimpl
    def pkt_bench_run_finished(self) -> None:
        """Sends what is left."""
        self._run.finish()


def _own_id(file: Path) -> str:
    """The run's id, the same whenever this run folder is gone on with."""
    if not file.exists():
        file.write_text(uuid.uuid4().hex, encoding="ascii")
    return file.read_text(encoding="ascii").strip()


@hookimpl
def pkt_bench_trackers() -> Iterable[Tracker]:
    """Offers `wandb`."""
    yield Tracker("wandb", "Weights & Biases, online or offline", WandbRun, WandbSettings, missing)


def missing() -> str | None:
    """What to install where wandb is not, found out without importing it."""
    return None if importlib.util.find_spec("wandb") else "wandb is not installed: pip install 'pkt-bench[wandb]'"

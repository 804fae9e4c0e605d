"""A run as it happens: every moment goes to the plugins' hooks and to one view, and the outcomes are kept."""

from __future__ import annotations

import json
import time
import traceback
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

from pkt_bench.domain import Cell, Outcome, Run
from pkt_bench.planning import Plan
from pkt_bench.plugins import Registry
from pkt_bench.tui.console import remarks
from pkt_bench.tui.progress import JsonLines, LiveTable, PlainLines, View, ending


class Announcer:
    """Hands every moment to the plugins' hooks and to one view; keeps the outcomes.

    A plugin's hook that raises is reported once and never stops the run.
    """

    def __init__(self, registry: Registry, plan: Plan, *, json: bool) -> None:
        self._registry, self._plan = registry, plan
        self._console = remarks()
        self._view: View
        if json:
            self._view = JsonLines()
        elif self._console.is_terminal and not self._console.is_dumb_terminal:
            self._view = LiveTable(self._console, plan.jobs)
        else:
            self._view = PlainLines(self._console, plan.jobs)
        self._json = json
        self._runs: list[Run] = []
        self._blamed: set[str] = set()
        self._started = time.monotonic()

    def __enter__(self) -> Announcer:
        cells = [job.cell for job in self._plan.jobs]
        self._tell("pkt_bench_run_started", out=self._plan.request.out, cells=cells)
        self._view.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._view.__exit__(kind, error, trace)
        self._tell("pkt_bench_run_finished", out=self._plan.request.out, runs=list(self._runs))

    @property
    def outcomes(self) -> list[Outcome]:
        """How the cells of this run ended, in the order they did."""
        return [run.outcome for run in self._runs]

    def started(self, cell: Cell) -> None:
        """A cell begins."""
        self._tell("pkt_bench_cell_started", cell=cell)
        self._view.started(cell)

    def stage(self, cell: Cell, stage: str, fraction: float | None) -> None:
        """A cell reached a stage, or a part of it."""
        self._tell("pkt_bench_stage_reached", cell=cell, stage=stage, fraction=fraction)
        self._view.stage(cell, stage, fraction)

    def measured(self, cell: Cell, resident_bytes: int) -> None:
        """What the cell's processes hold in memory now."""
        self._view.measured(cell, resident_bytes)

    def stopping(self) -> None:
        """Nothing new begins; cells under way end after the stage they are in."""
        self._view.stopping()

    def finished(self, cell: Cell, run: Run) -> None:
        """A cell ended and is in the store."""
        if any(run.run_id == known.run_id for known in self._runs[-64:]):
            return  # told before, and interrupted while it was
        self._runs.append(run)
        self._tell("pkt_bench_cell_finished", cell=cell, run=run)
        self._view.finished(cell, run)

    def summarise(self, out: Path) -> None:
        """Says how the run went; failures are printed again, so that they cannot scroll away."""
        counts = Counter(self.outcomes)
        seconds = time.monotonic() - self._started
        if self._json:
            record = {"record": "done", "seconds": seconds, "outcomes": dict(counts), "out": str(out)}
            print(json.dumps(record), flush=True)  # noqa: T201 - this is the output
            return
        said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "nothing to do"
        self._console.print(f"{said} in {seconds:.0f} s; rows in {out}", markup=False)
        for run in self._runs:
            if run.outcome not in {Outcome.DONE, Outcome.SKIPPED}:
                self._console.print(ending(run))

    def _tell(self, hook: str, **arguments: Any) -> None:  # noqa: ANN401 - a hook's own arguments
        for implementation in getattr(self._registry.manager.hook, hook).get_hookimpls():
            name = implementation.plugin_name
            try:
                implementation.function(*(arguments[a] for a in implementation.argnames))
            except Exception as error:  # noqa: BLE001 - a stranger's hook never fails a cell
                if name not in self._blamed:
                    self._blamed.add(name)
                    self._console.print(
                        f"warning: {hook} of plugin '{name}' raised {type(error).__name__}: {error}",
                        style="yellow",
                        markup=False,
                    )
                    traceback.clear_frames(error.__traceback__)

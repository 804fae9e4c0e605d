"""A run as it happens: told to the plugins, shown live on a terminal, in plain lines off one, or as JSON lines."""

from __future__ import annotations

import json
import time
import traceback
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from pkt_bench.domain import Cell, Outcome, Run
from pkt_bench.planning import Plan
from pkt_bench.plugins import Registry
from pkt_bench.tui.console import remarks
from pkt_bench.tui.plan import cell_record

GLYPHS = {
    Outcome.DONE: ("✓", "green"),
    Outcome.SKIPPED: ("–", "dim"),
    Outcome.FAILED: ("✗", "red"),
    Outcome.INTERRUPTED: ("⏸", "yellow"),
    Outcome.NO_EFFECT: ("○", "yellow"),
}


class _View(Protocol):
    def __enter__(self) -> object: ...
    def __exit__(self, *exit_: object) -> object: ...
    def started(self, cell: Cell) -> None: ...
    def stage(self, cell: Cell, stage: str, fraction: float | None) -> None: ...
    def finished(self, cell: Cell, run: Run) -> None: ...


class Announcer:
    """Hands every moment to the plugins' hooks and to one view; keeps the outcomes.

    A plugin's hook that raises is reported once and never stops the run.
    """

    def __init__(self, registry: Registry, plan: Plan, *, json: bool) -> None:
        self._registry = registry
        self._console = remarks()
        self._view: _View
        if json:
            self._view = _JsonLines()
        elif self._console.is_terminal and not self._console.is_dumb_terminal:
            self._view = _LiveTable(self._console, len(plan.jobs))
        else:
            self._view = _PlainLines(self._console, len(plan.jobs))
        self._json = json
        self._runs: list[Run] = []
        self._blamed: set[str] = set()
        self._started = time.monotonic()

    def __enter__(self) -> Announcer:
        self._view.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._view.__exit__(kind, error, trace)

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

    def finished(self, cell: Cell, run: Run) -> None:
        """A cell ended and is in the store."""
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
                self._console.print(_ending(run))

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


def _ending(run: Run) -> Text:
    glyph, style = GLYPHS[run.outcome]
    text = Text.assemble((f"{glyph} {run.cell.label}", style))
    headline = next((s for s in run.scores if s.headline), None)
    if headline is not None and headline.value is not None:
        text.append(f"  {headline.metric} {headline.value:.3f}")
    if run.seconds is not None:
        text.append(f"  {run.seconds:.0f} s", style="dim")
    if run.reason:
        text.append(f"\n  {run.outcome}: {run.reason}")
    return text


class _PlainLines:
    """A line as each cell begins and ends."""

    def __init__(self, console: Any, total: int) -> None:  # noqa: ANN401 - a rich Console
        self._console, self._total, self._ended = console, total, 0

    def __enter__(self) -> _PlainLines:
        return self

    def __exit__(self, *exit_: object) -> None:
        pass

    def started(self, cell: Cell) -> None:
        self._console.print(f"  started {cell.label}", markup=False)

    def stage(self, cell: Cell, stage: str, fraction: float | None) -> None:
        pass

    def finished(self, cell: Cell, run: Run) -> None:  # noqa: ARG002 - the run has its cell
        self._ended += 1
        self._console.print(Text(f"[{self._ended}/{self._total}] ").append_text(_ending(run)))


class _JsonLines:
    """A `cell` record as each cell ends; nothing else on stdout."""

    def __enter__(self) -> _JsonLines:
        return self

    def __exit__(self, *exit_: object) -> None:
        pass

    def started(self, cell: Cell) -> None:
        pass

    def stage(self, cell: Cell, stage: str, fraction: float | None) -> None:
        pass

    def finished(self, cell: Cell, run: Run) -> None:
        scores = [
            {name: getattr(s, name) for name in ("task", "metric", "filter", "value", "stderr", "n", "headline")}
            for s in run.scores
        ]
        record = {
            "record": "cell",
            **cell_record(cell),
            "run_id": run.run_id,
            "outcome": run.outcome,
            "reason": run.reason,
            "seconds": run.seconds,
            "scores": scores,
        }
        print(json.dumps(record), flush=True)  # noqa: T201 - this is the output


class _LiveTable:
    """The cells under way with their stage, below the ones that ended, above an overall bar with the time left."""

    def __init__(self, console: Any, total: int) -> None:  # noqa: ANN401 - a rich Console
        self._console, self._total = console, total
        self._running: dict[str, tuple[Cell, str, float | None, float]] = {}
        self._seconds: list[float] = []
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", style="cyan"),
            console=console,
        )
        self._task = self._bar.add_task("cells", total=total, left="")
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=5, transient=True)

    def __enter__(self) -> _LiveTable:
        self._live.__enter__()
        return self

    def __exit__(self, *exit_: object) -> None:
        self._live.__exit__(None, None, None)

    def started(self, cell: Cell) -> None:
        self._running[cell.key] = (cell, "starting", None, time.monotonic())

    def stage(self, cell: Cell, stage: str, fraction: float | None) -> None:
        since = self._running[cell.key][3] if cell.key in self._running else time.monotonic()
        self._running[cell.key] = (cell, stage, fraction, since)

    def finished(self, cell: Cell, run: Run) -> None:
        since = self._running.pop(cell.key, (cell, "", None, time.monotonic()))[3]
        self._seconds.append(time.monotonic() - since)
        self._bar.update(self._task, advance=1, left=self._left())
        self._console.print(_ending(run))

    def _left(self) -> str:
        """The time left if the cells to come take as long as those that ended; nothing before one has."""
        waiting = self._total - len(self._seconds)
        if not self._seconds or not waiting:
            return ""
        lanes = max(1, len(self._running) + 1)
        seconds = sum(self._seconds) / len(self._seconds) * waiting / min(lanes, waiting)
        return f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"

    def _render(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, show_header=False)
        for cell, stage, fraction, since in list(self._running.values()):
            share = f"{fraction:4.0%}" if fraction is not None else ""
            table.add_row(
                "[cyan]▸[/]", Text(cell.label), Text(stage, style="bold"), share, f"{time.monotonic() - since:.0f} s"
            )
        return Group(table, self._bar)

"""The three ways a run is shown as it happens: a live table on a terminal, plain lines off one, JSON lines."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Protocol

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from pkt_bench.domain import Cell, Job, Outcome, Run
from pkt_bench.tui.forecast import Forecast, spoken
from pkt_bench.tui.plan import cell_record

GLYPHS = {
    Outcome.DONE: ("✓", "green"),
    Outcome.SKIPPED: ("–", "dim"),
    Outcome.INTERRUPTED: ("⏸", "yellow"),
    Outcome.NO_EFFECT: ("○", "yellow"),
    Outcome.OVER_BUDGET: ("○", "yellow"),
}
FAILURE = ("✗", "red")


class View(Protocol):
    """Whom an announcer shows a run through."""

    def __enter__(self) -> object: ...
    def __exit__(self, *exit_: object) -> object: ...
    def started(self, cell: Cell) -> None:
        """A cell begins."""

    def stage(self, cell: Cell, stage: str, fraction: float | None) -> None:
        """A cell reached a stage, or a part of it."""

    def measured(self, cell: Cell, resident_bytes: int) -> None:
        """What the cell holds in memory now."""

    def stopping(self) -> None:
        """The run was asked to stop."""

    def finished(self, cell: Cell, run: Run) -> None:
        """A cell ended."""


def ending(run: Run) -> Text:
    """How a cell ended, in a line; and why, in another."""
    glyph, style = GLYPHS.get(run.outcome, FAILURE)
    text = Text.assemble((f"{glyph} {run.cell.label}", style))
    headline = next((s for s in run.scores if s.headline), None)
    if headline is not None and headline.value is not None:
        text.append(f"  {headline.metric} {headline.value:.3f}")
    if run.seconds is not None:
        text.append(f"  {run.seconds:.0f} s", style="dim")
    if run.reason:
        text.append(f"\n  {run.outcome}: {run.reason}")
    return text


class PlainLines:
    """A line as each cell begins and ends."""

    def __init__(self, console: Any, jobs: Sequence[Job]) -> None:  # noqa: ANN401 - a rich Console
        self._console, self._total, self._ended = console, len(jobs), 0
        self._forecast = Forecast(jobs, time.monotonic)

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *exit_: object) -> None:
        pass

    def started(self, cell: Cell) -> None:
        """See `View`."""
        self._forecast.started(cell)
        self._console.print(f"  started {cell.label}", markup=False)

    def stage(self, cell: Cell, stage: str, fraction: float | None) -> None:
        """See `View`."""

    def measured(self, cell: Cell, resident_bytes: int) -> None:
        """See `View`."""

    def stopping(self) -> None:
        """See `View`."""
        self._console.print(STOPPING, markup=False)

    def finished(self, cell: Cell, run: Run) -> None:
        """See `View`."""
        self._ended += 1
        self._forecast.finished(cell, counts=run.outcome is Outcome.DONE and not run.reason)
        left = self._forecast.left()
        share = f"[{self._ended}/{self._total}] "
        line = Text(share).append_text(ending(run))
        if left and self._ended < self._total:
            line = Text(f"[{self._ended}/{self._total}, about {spoken(left)} left] ").append_text(ending(run))
        self._console.print(line)


class JsonLines:
    """A `cell` record as each cell ends; nothing else on stdout."""

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *exit_: object) -> None:
        pass

    def started(self, cell: Cell) -> None:
        """See `View`."""

    def stage(self, cell: Cell, stage: str, fraction: float | None) -> None:
        """See `View`."""

    def measured(self, cell: Cell, resident_bytes: int) -> None:
        """See `View`."""

    def stopping(self) -> None:
        """See `View`."""

    def finished(self, cell: Cell, run: Run) -> None:
        """See `View`."""
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


class LiveTable:
    """The cells under way with their stage and memory, below the ones that ended, above a bar with the time left."""

    def __init__(self, console: Any, jobs: Sequence[Job]) -> None:  # noqa: ANN401 - a rich Console
        self._console, self._total = console, len(jobs)
        self._forecast = Forecast(jobs, time.monotonic)
        self._running: dict[str, _UnderWay] = {}
        self._stopping = False
        self._looked = -1.0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", style="cyan"),
            console=console,
        )
        self._task = self._bar.add_task("cells", total=len(jobs), left="")
        self._live = Live(console=console, get_renderable=self.render, refresh_per_second=5, transient=True)

    def __enter__(self) -> LiveTable:
        self._live.__enter__()
        return self

    def __exit__(self, *exit_: object) -> None:
        self._live.__exit__(None, None, None)

    def started(self, cell: Cell) -> None:
        """See `View`."""
        self._forecast.started(cell)
        self._running[cell.key] = _UnderWay(cell)

    def stage(self, cell: Cell, stage: str, fraction: float | None) -> None:
        """See `View`."""
        row = self._running.setdefault(cell.key, _UnderWay(cell))
        row.stage, row.fraction = stage, fraction

    def measured(self, cell: Cell, resident_bytes: int) -> None:
        """See `View`."""
        if cell.key in self._running:
            self._running[cell.key].resident = resident_bytes

    def stopping(self) -> None:
        """See `View`."""
        self._stopping = True

    def finished(self, cell: Cell, run: Run) -> None:
        """See `View`."""
        self._running.pop(cell.key, None)
        self._forecast.finished(cell, counts=run.outcome is Outcome.DONE and not run.reason)
        self._bar.update(self._task, advance=1)
        self._console.print(ending(run))

    def render(self) -> RenderableType:
        """What stands at the foot of the screen now."""
        table = Table(box=None, pad_edge=False, show_header=False)
        for row in list(self._running.values()):
            share = f"{row.fraction:4.0%}" if row.fraction is not None else ""
            memory = f"{row.resident / 1e9:.1f} GB" if row.resident else ""
            took = f"{time.monotonic() - row.since:.0f} s"
            table.add_row("[cyan]▸[/]", Text(row.cell.label), Text(row.stage, style="bold"), share, took, memory)
        if time.monotonic() - self._looked > 1:
            self._looked = time.monotonic()
            self._bar.update(self._task, left=self._left())
        lines: list[RenderableType] = [table, self._bar]
        return Group(*lines, Text(STOPPING, style="yellow")) if self._stopping else Group(*lines)

    def _left(self) -> str:
        left, speed = self._forecast.left(), self._forecast.per_minute()
        memory = sum(row.resident for row in self._running.values())
        said = [
            f"about {spoken(left)} left" if left else "",
            f"{speed:.1f} cells a minute" if speed else "",
            f"{memory / 1e9:.1f} GB" if memory else "",
        ]
        return ", ".join(part for part in said if part)


STOPPING = "stopping: cells under way end after the stage they are in. Ctrl-C again stops them at once."


class _UnderWay:
    """A cell that is being run, as the table shows it."""

    def __init__(self, cell: Cell) -> None:
        self.cell, self.stage, self.since = cell, "starting", time.monotonic()
        self.fraction: float | None = None
        self.resident = 0

"""The hooks, one page. A plugin implements any of them with `@pkt_bench.hookimpl`; see plugins/README.md for examples.

Offers (plural noun) are asked once, when a command needs names: import nothing heavy in them. Moments (past participle)
are told in the process that runs the command, in the order things happen, whatever executor does the work; an
exception in one is reported and never fails a cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pluggy

from pkt_bench.domain import Cell, Control, Executor, Method, Pair, Run, Suite, Tracker

PROJECT = "pkt_bench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def pkt_bench_methods() -> Iterable[Method]:  # type: ignore[empty-body]
    """Offer transfer methods. Names are unique over all plugins; a taken name is an error that names both."""


@hookspec
def pkt_bench_pairs() -> Iterable[Pair]:  # type: ignore[empty-body]
    """Offer (teacher, student) pairs, by reference: nothing is read until a run needs them."""


@hookspec
def pkt_bench_suites() -> Iterable[Suite]:  # type: ignore[empty-body]
    """Offer suites. `records` and `test_prompts` are called when a plan needs their digests, and must be quick."""


@hookspec
def pkt_bench_controls() -> Iterable[Control]:  # type: ignore[empty-body]
    """Offer controls of methods, of this plugin's or of others'. Names are unique over all plugins."""


@hookspec
def pkt_bench_executors() -> Iterable[Executor]:  # type: ignore[empty-body]
    """Offer ways to run cells: `--executor NAME`. An executor tells the moments of the cells it runs."""


@hookspec
def pkt_bench_trackers() -> Iterable[Tracker]:  # type: ignore[empty-body]
    """Offer services that are told how a run goes: `--track NAME` opens one, and it is told every moment below."""


@hookspec
def pkt_bench_run_started(out: Path, cells: Sequence[Cell]) -> None:
    """A run begins that will run `cells` into the run folder `out`."""


@hookspec
def pkt_bench_cell_started(cell: Cell) -> None:
    """A cell begins. Told once per attempt."""


@hookspec
def pkt_bench_stage_reached(cell: Cell, stage: str, fraction: float | None) -> None:
    """A cell entered `stage`, or is `fraction` (0 to 1) of the way through it; None where the length is unknown."""


@hookspec
def pkt_bench_cell_finished(cell: Cell, run: Run) -> None:
    """A cell ended, whatever its outcome, and its rows are in the store."""


@hookspec
def pkt_bench_run_finished(out: Path, runs: Sequence[Run]) -> None:
    """A run ended, on its own or interrupted: `runs` are the attempts it made. The place to flush and close."""

"""The hooks, one page. A plugin implements any of them with `@pkt_bench.hookimpl`; plugins/README.md has examples.

Offers (plural noun) are asked once by each command that needs names, and once in each process that runs a cell: import
nothing heavy in them, and offer the same every time. Whatever one raises makes its plugin unusable, with the reason in
`pkt-bench plugins list`, and no other. Moments (past participle) are told in the process that runs the command, in the
order things happen, whatever executor does the work; an exception in one is said once and never fails a cell.

Each docstring says when a hook fires, what it may cost, what is promised to whoever implements it, and what breaks it.
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
    """Offer transfer methods.

    When: a command needs names (`run`, `plan`, `ls`, `doctor`), and in each process that runs a cell.
    Cost: milliseconds. torch is imported inside `transfer`; `skip` and `estimate` read configurations, no weight.
    Promise: `transfer` gets a student of its own, a teacher that nobody else touches, and settings that were checked.
    Broken by: a record that is no Method, which makes the plugin unusable. A name that is taken has to be written
    `distribution/name`.
    """


@hookspec
def pkt_bench_pairs() -> Iterable[Pair]:  # type: ignore[empty-body]
    """Offer (teacher, student) pairs, by reference.

    When: as methods.
    Cost: milliseconds. Nothing is read, fetched or converted before a plan, `doctor` or `prefetch` names the pair.
    Promise: when a method gets them, both checkpoints are whole, finite and, by their digests, what the plan saw.
    Broken by: a folder that is not there, found before anything starts; a name that is taken.
    """


@hookspec
def pkt_bench_suites() -> Iterable[Suite]:  # type: ignore[empty-body]
    """Offer suites: records to learn from and lm-eval tasks that score.

    When: as methods. `records` and `test_prompts` are called when a plan takes their digests, and where a cell runs.
    Cost: milliseconds for the offer, a second for all records. What is read from files is read in `records`.
    Promise: every stage renders records by the suite's one PromptSpec. Each plan says how far they give the test away.
    Broken by: records that differ from call to call, for their digest is in every key: all cells are new, each time.
    """


@hookspec
def pkt_bench_controls() -> Iterable[Control]:  # type: ignore[empty-body]
    """Offer controls: methods of this plugin or of others without one ingredient, as `METHOD:CONTROL`.

    When: as methods.
    Cost: milliseconds. `teacher` is called where a cell runs, with the loaded teacher and a seeded generator.
    Promise: what `teacher` puts in is there when `transfer` begins; the row says which method it is a control of.
    Broken by: settings that the method does not have; a name that another control of the same method has.
    """


@hookspec
def pkt_bench_executors() -> Iterable[Executor]:  # type: ignore[empty-body]
    """Offer ways to run cells: `--executor NAME`.

    When: as methods. `execute` is called once by a run, in the thread of the command, after all checks have passed.
    Cost: as long as the cells take. `missing` is asked before and imports nothing.
    Promise: jobs are plain data that pickles; whoever runs one with `CellRunner` leaves a row, whatever happens in it.
    Broken by: a cell that ends without a row or without being told to `moments`; moments told in another thread.
    """


@hookspec
def pkt_bench_trackers() -> Iterable[Tracker]:  # type: ignore[empty-body]
    """Offer services that are told how a run goes: `--track NAME`.

    When: as methods. `start` is called once by a run that names it; what it gives is told every moment below.
    Cost: what it likes, for it has a thread of its own; after the run ten seconds are left to say the rest.
    Promise: moments come in order, and `pkt_bench_run_finished` comes last even of a run that broke off.
    Broken by: an exception, which is said once; a wait without end, after which the run ends without it.
    """


@hookspec
def pkt_bench_run_started(out: Path, cells: Sequence[Cell]) -> None:
    """A run begins that will run `cells` into the run folder `out`.

    When: once, after all checks and before the first cell; not by `--dry-run`. `cells` are those that are to run.
    Cost: nothing starts before it returns; below a tenth of a second.
    Promise: the request is sound, and every cell of `cells` is told of again, unless the run is interrupted.
    Broken by: an exception is said once; the run goes on.
    """


@hookspec
def pkt_bench_cell_started(cell: Cell) -> None:
    """An attempt at a cell begins.

    When: once for each attempt, when a slot takes the cell.
    Cost: no other moment is told meanwhile, and inline the cell waits; below a tenth of a second.
    Promise: `cell.key` names the cell in every run; `pkt_bench_cell_finished` follows with the same cell.
    Broken by: an exception is said once; the cell goes on.
    """


@hookspec
def pkt_bench_stage_reached(cell: Cell, stage: str, fraction: float | None) -> None:
    """A cell entered `stage`, or is `fraction` (0 to 1) of the way through it; None where the length is unknown.

    When: the harness loads, saves or scores, a method enters `context.stage(name)`, or either says how far it is.
    Cost: as a cell that begins; this one comes many times a second, so let it keep little and write nothing.
    Promise: stages come in the order they happen. Of fractions some may be left out.
    Broken by: an exception is said once; the cell goes on.
    """


@hookspec
def pkt_bench_cell_finished(cell: Cell, run: Run) -> None:
    """An attempt at a cell ended, whatever its outcome.

    When: once for each attempt, after its rows are in the store.
    Cost: as a cell that begins.
    Promise: `run` is what the store holds: outcome, reason, scores, costs; null is unknown.
    Broken by: an exception is said once; the row stays.
    """


@hookspec
def pkt_bench_run_finished(out: Path, runs: Sequence[Run]) -> None:
    """A run ended, on its own or interrupted: `runs` are the attempts it made. The place to flush and close.

    When: once, after the last cell, before the board is written and shown.
    Cost: the board waits for it; a second.
    Promise: it is told after Ctrl-C, too, with what had ended by then.
    Broken by: an exception is said once. A process that is killed tells nothing.
    """

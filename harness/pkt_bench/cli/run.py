"""`pkt-bench run`: runs what is not done, records every cell as it ends, and shows the board."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, TextIO, cast

import typer

from pkt_bench.cli import options
from pkt_bench.cli.board import Options, show_board
from pkt_bench.cli.signals import ending_in_order
from pkt_bench.errors import Interrupted

if TYPE_CHECKING:
    from pkt_bench.domain import Executor
    from pkt_bench.executors import Moments
    from pkt_bench.planning import Plan


@options.with_request
def run(
    flags: dict[str, Any],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and leave.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print plan, cell and done records, one JSON object per line.")
    ] = False,
) -> None:
    """Run every cell that is not done, score the students, record them, and show the board."""
    from pkt_bench import tracking
    from pkt_bench.executors import checking
    from pkt_bench.pipeline import record_skips
    from pkt_bench.tui import plan as plan_view
    from pkt_bench.tui.run import Announcer

    with ending_in_order():
        request, registry, store = options.read(flags)
        plan, engine, engine_settings = options.prepare(request, registry, store, writes=not dry_run)
        if dry_run:
            plan_view.print_json(plan) if json else plan_view.print_plan(plan)
            return
        plan_view.print_json(plan) if json else plan_view.print_summary(plan)
        if plan.jobs:
            checking.check(plan.jobs)
        record_skips(plan.skips, store)
        trackers = tracking.choose(request.track, request.settings, registry)
        if trackers:
            # what they put into the folder must not make it look like somebody else's
            store.create()
        with (
            _results_only(),
            tracking.tracked(trackers, request.out, registry, _warn),
            Announcer(registry, plan, json=json) as announcer,
        ):
            interrupted = _execute(plan, engine, engine_settings, announcer)
        if plan.done or plan.skips or announcer.outcomes:
            store.write_board()
        announcer.summarise(request.out)
        if interrupted is not None:
            said = "interrupted; every cell that ended is kept. Run the same command again to go on."
            print(f"pkt-bench: {said}", file=sys.stderr)  # noqa: T201 - this is the command line
            raise typer.Exit(interrupted.exit_code)
        if not json:
            show_board(Options(str(request.out)))
        if plan.left or any(outcome not in {"done", "skipped"} for outcome in announcer.outcomes):
            raise typer.Exit(1)


def _execute(
    plan: Plan,
    executor: Executor,
    settings: Any,  # noqa: ANN401 - the executor's own
    moments: Moments,
) -> Interrupted | None:
    """Runs the plan's jobs; gives the interruption, if one came."""
    try:
        executor.execute(plan.jobs, plan.request.slots, moments, settings)
    except Interrupted as interrupted:
        return interrupted
    return None


def _warn(text: str) -> None:
    print(f"pkt-bench: {text}", file=sys.stderr)  # noqa: T201 - this is the command line


class _ByThread:
    """A stdout for one thread; to every other, stderr."""

    def __init__(self, stdout: TextIO) -> None:
        self._stdout, self._owner = stdout, threading.current_thread()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a stream's attributes have any type
        return getattr(self._stdout if threading.current_thread() is self._owner else sys.stderr, name)


@contextlib.contextmanager
def _results_only() -> Iterator[None]:
    """Results are printed by this thread: what a library prints in one of its own is said of them, on stderr."""
    before = sys.stdout
    sys.stdout = cast("TextIO", _ByThread(before))
    try:
        yield
    finally:
        sys.stdout = before

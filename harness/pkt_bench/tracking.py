"""Trackers: opened for a run, told every moment by a thread of their own, and closed however the run ends.

A tracker is a stranger that speaks to a service far away: it may raise, or wait for ever. Neither may cost a cell or
hold up the end of a run. So what the moments' hooks get is a stand-in that puts each moment into a queue.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from pkt_bench import hookspecs
from pkt_bench.domain import Cell, Run, Tracker
from pkt_bench.errors import UnavailableError
from pkt_bench.hookspecs import hookimpl
from pkt_bench.settings import parse_settings

if TYPE_CHECKING:
    from pkt_bench.plugins import Registry

FLUSH_SECONDS = 10.0
Warn = Callable[[str], None]
Chosen = Sequence[tuple[Tracker, Any]]


def choose(names: Sequence[str], given: Mapping[str, Mapping[str, Any]], registry: Registry) -> Chosen:
    """The trackers called `names`, each with its settings, `given` by tracker and field.

    Raises:
        RequestError: nobody offers one, or a setting is wrong.
        UnavailableError: one cannot be used here.
    """
    chosen = []
    for name in dict.fromkeys(names):
        offer = registry.trackers.get(name)
        tracker = offer.item
        settings = parse_settings(name, tracker.settings, offer.given(given))
        if missing := tracker.missing():
            raise UnavailableError(f"--track {name}: {missing}")
        chosen.append((replace(tracker, name=registry.trackers.name_of(offer)), settings))
    return chosen


def facts_of(cell: Cell, run: Run) -> dict[str, Any]:
    """An attempt in one flat row, for trackers: what it was, how it ended, what it scored and took. Null is unknown."""
    headline = next((score for score in run.scores if score.headline), None)
    return {
        "method": cell.title,
        "pair": cell.pair,
        "suite": cell.suite,
        "seed": cell.seed,
        "outcome": str(run.outcome),
        "metric": headline.metric if headline else None,
        "value": headline.value if headline else None,
        "seconds": run.seconds,
        "tokens": run.cost.tokens_trained,
    }


@contextlib.contextmanager
def tracked(chosen: Chosen, out: Path, registry: Registry, warn: Warn) -> Iterator[None]:
    """Registers the trackers among the plugins, so that they are told what happens; `warn` says once what goes wrong.

    In the end they have `FLUSH_SECONDS` together to say what they have not said; who has not ended then is left behind.
    """
    if not chosen:
        yield
        return
    feeds = [_Feed(tracker, settings, out, warn) for tracker, settings in chosen]
    for feed in feeds:
        feed.thread.start()
        registry.manager.register(_StandIn(feed), name=f"tracker {feed.name}")
    try:
        yield
    finally:
        for feed in feeds:
            registry.manager.unregister(name=f"tracker {feed.name}")
            feed.close()
        deadline = time.monotonic() + FLUSH_SECONDS
        for feed in feeds:
            feed.thread.join(max(0.0, deadline - time.monotonic()))
            if feed.thread.is_alive():
                warn(f"tracker '{feed.name}' did not end within {FLUSH_SECONDS:.0f} s and is left behind")


class _Feed:
    """One tracker's thread, and the moments it has yet to be told."""

    def __init__(self, tracker: Tracker, settings: Any, out: Path, warn: Warn) -> None:  # noqa: ANN401 - its own class
        self.name = tracker.name
        self.thread = threading.Thread(target=self._work, name=f"tracker {tracker.name}", daemon=True)
        self._tracker, self._settings, self._out, self._warn = tracker, settings, out, warn
        self._moments: queue.SimpleQueue[tuple[str, dict[str, Any]] | None] = queue.SimpleQueue()
        self._runs: list[Run] = []
        self._finished = False
        self._blamed = False

    def put(self, moment: str, **arguments: Any) -> None:  # noqa: ANN401 - a hook's own arguments
        """Takes a moment to tell; never waits."""
        if moment == "pkt_bench_cell_finished":
            self._runs.append(arguments["run"])
        self._finished |= moment == "pkt_bench_run_finished"
        self._moments.put((moment, arguments))

    def close(self) -> None:
        """Nothing more will come. A run that broke off before it could say that it ended has ended all the same."""
        if not self._finished:
            self.put("pkt_bench_run_finished", out=self._out, runs=tuple(self._runs))
        self._moments.put(None)

    def _work(self) -> None:
        own = pluggy.PluginManager(hookspecs.PROJECT)
        own.add_hookspecs(hookspecs)
        try:
            own.register(self._tracker.start(self._settings, self._out))
            own.check_pending()
        except Exception as error:  # noqa: BLE001 - a stranger's tracker may raise anything
            self._blame("its start", error)
            return
        while (told := self._moments.get()) is not None:
            moment, arguments = told
            for implementation in getattr(own.hook, moment).get_hookimpls():
                try:
                    implementation.function(*(arguments[name] for name in implementation.argnames))
                except Exception as error:  # noqa: BLE001 - same
                    self._blame(moment, error)

    def _blame(self, where: str, error: Exception) -> None:
        if not self._blamed:
            self._blamed = True
            self._warn(f"tracker '{self.name}': {where} raised {type(error).__name__}: {error}. The run goes on.")


class _StandIn:
    """What the moments' hooks get in a tracker's place."""

    def __init__(self, feed: _Feed) -> None:
        self._feed = feed

    @hookimpl
    def pkt_bench_run_started(self, out: Path, cells: Sequence[Cell]) -> None:
        self._feed.put("pkt_bench_run_started", out=out, cells=cells)

    @hookimpl
    def pkt_bench_cell_started(self, cell: Cell) -> None:
        self._feed.put("pkt_bench_cell_started", cell=cell)

    @hookimpl
    def pkt_bench_stage_reached(self, cell: Cell, stage: str, fraction: float | None) -> None:
        self._feed.put("pkt_bench_stage_reached", cell=cell, stage=stage, fraction=fraction)

    @hookimpl
    def pkt_bench_cell_finished(self, cell: Cell, run: Run) -> None:
        self._feed.put("pkt_bench_cell_finished", cell=cell, run=run)

    @hookimpl
    def pkt_bench_run_finished(self, out: Path, runs: Sequence[Run]) -> None:
        self._feed.put("pkt_bench_run_finished", out=out, runs=runs)

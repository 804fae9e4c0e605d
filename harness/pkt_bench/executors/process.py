"""Runs cells side by side on this machine, each phase in a process of its own.

Each slot is a thread here that follows one cell from phase to phase; what they see is told in the caller's thread.
"""

from __future__ import annotations

import contextlib
import math
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pkt_bench.domain import Job
from pkt_bench.errors import Interrupted
from pkt_bench.executors.base import Moments
from pkt_bench.executors.phases import GRACE_SECONDS, CellRunner
from pkt_bench.executors.places import memory_share, places
from pkt_bench.request import default_slots

RETRY_SECONDS = 0.5


def execute_in_processes(jobs: Sequence[Job], slots: int | None, moments: Moments, settings: Any) -> None:  # noqa: ANN401, ARG001 - it has no settings
    """See `Execute`."""
    if not jobs:
        return
    slots = slots or default_slots(jobs[0].cell.knobs.threads)
    environs = places(jobs[0].device, slots, len(jobs))
    share = memory_share(len(environs))
    crew = _Crew([_within(job, share) for job in jobs], moments)
    stopped: Interrupted | None = None
    broken: BaseException | None = None
    while True:
        # whatever comes, comes inside the `try`: nothing may leave while cells are under way
        try:
            if not crew.started:
                crew.start(environs)
            if stopped is None and broken is None:
                crew.tell()
            elif broken is None and not crew.at_once:
                crew.stop(now=False)
                crew.tell()
            else:
                crew.stop(now=True)
                # a slot whose first process is still being made cannot be hurried; nothing of it is recorded
                crew.tell(patience=GRACE_SECONDS)
            break
        except (KeyboardInterrupt, Interrupted) as error:
            asked = error if isinstance(error, Interrupted) else Interrupted()
            # a second request, or one that is no Ctrl-C, does not wait for stages to end
            crew.at_once = stopped is not None or asked.exit_code != Interrupted().exit_code
            stopped = stopped or asked
        except BaseException as error:  # noqa: BLE001 - a defect in a view
            broken = broken or error
    if failure := broken or crew.failure or stopped:
        raise failure


def _within(job: Job, share: int) -> Job:
    """The job, its memory held to its share of the machine's where no other limit was asked for."""
    if job.limits.memory_bytes is not None:
        return job
    return replace(job, limits=replace(job.limits, memory_bytes=share))


class _Event:
    """Something a slot saw, to be told in the caller's thread."""

    def __init__(self, moment: str, *arguments: object) -> None:
        self.moment, self.arguments = moment, arguments


class _Crew:
    """The slots' shared state: what is left to do, what was seen, who runs a cell."""

    def __init__(self, jobs: Sequence[Job], moments: Moments) -> None:
        self.failure: BaseException | None = None
        self.at_once = False
        self._moments = moments
        self._waiting = deque(jobs)
        self._seen: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._runners: list[CellRunner] = []
        self._threads: list[threading.Thread] = []
        self._untold: deque[_Event] = deque()
        self._ending = False
        self.started = False

    # called in the caller's thread

    def start(self, environs: Sequence[Mapping[str, str]]) -> None:
        """A slot for each of `environs`, in which its cells see the device that is theirs."""
        self.started = True
        for number, environ in enumerate(environs):
            runner = CellRunner(self._tell, environ)
            # they end with the jobs; as daemons they cannot keep a broken run alive
            thread = threading.Thread(target=self._work, args=(runner,), name=f"slot {number}", daemon=True)
            self._runners.append(runner)
            self._threads.append(thread)
        for thread in self._threads:
            thread.start()

    def tell(self, patience: float = math.inf) -> None:
        """Tells what the slots see until the last of them has ended, or `patience` seconds are over."""
        deadline = time.monotonic() + patience
        while any(thread.is_alive() for thread in self._threads) or not self._seen.empty() or self._untold:
            # an event is gone once it was told: whatever interrupts the telling, the rest of them come after it
            self._untold.extend(self._events())
            while self._untold:
                event = self._untold[0]
                getattr(self._moments, event.moment)(*event.arguments)
                self._untold.popleft()
            if self.failure is not None and not self._ending:
                self._ending = True
                self.stop(now=True)
                deadline = time.monotonic() + GRACE_SECONDS
            if time.monotonic() > deadline:
                return

    def _events(self) -> list[_Event]:
        """What was seen since the last call; waits a moment for the first."""
        seen = []
        with contextlib.suppress(queue.Empty):
            seen.append(self._seen.get(timeout=0.1))
            while True:
                seen.append(self._seen.get_nowait())
        return seen

    def stop(self, *, now: bool) -> None:
        """Starts nothing more; cells under way end after the stage they are in or, `now`, at once."""
        first = not self._stopping.is_set()
        self._stopping.set()
        for runner in self._runners:
            runner.stop(now)
        if not now:
            if first:
                self._moments.stopping()
            return
        deadline = time.monotonic() + GRACE_SECONDS
        while any(thread.is_alive() for thread in self._threads) and time.monotonic() < deadline:
            time.sleep(0.05)
        for runner in self._runners:
            runner.kill()

    # called in the slots' threads

    def _work(self, runner: CellRunner) -> None:
        # signals are the main thread's affair, and the server, made by one of these threads, inherits the mask: a
        # Ctrl-C while it imports must not reach it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        while not self._stopping.is_set():
            try:
                job = self._waiting.popleft()
            except IndexError:
                return
            try:
                run = runner.run(job)
            except BaseException as error:  # noqa: BLE001 - told to the caller, who raises it
                self.failure = self.failure or error
                self._stopping.set()
                for other in self._runners:
                    other.stop(now=True)
                return
            if run is None:
                # another run has this cell under way: see about the others first
                self._waiting.append(job)
                time.sleep(RETRY_SECONDS)

    def _tell(self, moment: str, *arguments: object) -> None:
        self._seen.put(_Event(moment, *arguments))

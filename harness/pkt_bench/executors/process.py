"""Runs each phase of each cell in a process of its own, forked from a server that has the heavy imports done.

A process that dies, however it dies, costs its own cell and nothing else. Each slot is a thread here that follows one
cell from phase to phase; what they see is told in the caller's thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from filelock import Timeout

from pkt_bench.domain import Cell, Job, Outcome
from pkt_bench.errors import Interrupted
from pkt_bench.executors.base import Moments
from pkt_bench.pipeline import Ended, Phase, attempt, claim, run_cell
from pkt_bench.request import default_slots

GRACE_SECONDS = 3.0
REPORT_EVERY_SECONDS = 0.2
RETRY_SECONDS = 0.5
PR_SET_PDEATHSIG = 1


def execute_in_processes(jobs: Sequence[Job], slots: int | None, moments: Moments, settings: Any) -> None:  # noqa: ANN401, ARG001 - it has no settings
    """See `Execute`."""
    if not jobs:
        return
    crew = _Crew(jobs)
    crew.start(min(slots or default_slots(jobs[0].cell.knobs.threads, jobs[0].cell.knobs.device), len(jobs)))
    stopped: BaseException | None = None
    while True:
        # whatever comes, comes inside the `try`: nothing may leave while cells are under way
        try:
            if stopped is None:
                crew.tell(moments)
            else:
                crew.stop()
                # a slot whose first process is still being made cannot be hurried; nothing of it is recorded
                crew.tell(moments, patience=GRACE_SECONDS)
            break
        except KeyboardInterrupt:
            stopped = stopped or Interrupted()
        except BaseException as error:  # noqa: BLE001 - a defect in a view, or the signal handler's Interrupted
            stopped = stopped or error
    if stopped := stopped or crew.failure:
        raise stopped


class _Event:
    """Something a slot saw, to be told in the caller's thread."""

    def __init__(self, moment: str, *arguments: object) -> None:
        self.moment, self.arguments = moment, arguments

    def tell(self, moments: Moments) -> None:
        getattr(moments, self.moment)(*self.arguments)


class _Crew:
    """The slots' shared state: what is left to do, what was seen, which processes live."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.failure: BaseException | None = None
        self._waiting = deque(jobs)
        self._seen: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._processes: set[ForkServerProcess] = set()
        self._threads: list[threading.Thread] = []
        self._context = _server(jobs[0].cell.knobs.threads)

    # called in the caller's thread

    def start(self, slots: int) -> None:
        # they end with the jobs; as daemons they cannot keep a broken run alive
        self._threads = [threading.Thread(target=self.work, name=f"slot {n}", daemon=True) for n in range(slots)]
        for thread in self._threads:
            thread.start()

    def tell(self, moments: Moments, patience: float = math.inf) -> None:
        """Tells what the slots see until the last of them has ended, or `patience` seconds are over."""
        deadline = time.monotonic() + patience
        while any(thread.is_alive() for thread in self._threads) or not self._seen.empty():
            for event in self._events():
                event.tell(moments)
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

    def stop(self) -> None:
        """Starts nothing more and ends what is under way; asked a second time, at once."""
        if not self._stopping.is_set():
            self._stopping.set()
            for process in list(self._processes):
                _signal_group(process, signal.SIGTERM)
            deadline = time.monotonic() + GRACE_SECONDS
            while self._processes and time.monotonic() < deadline:
                time.sleep(0.05)
        for process in list(self._processes):
            _signal_group(process, signal.SIGKILL)

    # called in the slots' threads

    def work(self) -> None:
        # signals are the main thread's affair, and the server, made by one of these threads, inherits the mask: a
        # Ctrl-C while it imports must not reach it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        while not self._stopping.is_set():
            try:
                job = self._waiting.popleft()
            except IndexError:
                return
            lock = claim(job)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                # another run has this cell under way: see about the others first
                self._waiting.append(job)
                time.sleep(RETRY_SECONDS)
                continue
            try:
                self._tell("started", job.cell)
                run = run_cell(job, self._call)
            except BaseException as error:  # noqa: BLE001 - told to the caller, who raises it
                self.failure = self.failure or error
                self._stopping.set()
                return
            finally:
                lock.release()
            self._tell("finished", job.cell, run)

    def _tell(self, moment: str, *arguments: object) -> None:
        self._seen.put(_Event(moment, *arguments))

    def _call(self, phase: Phase, job: Job) -> Ended:
        if self._stopping.is_set():
            return Ended(Outcome.INTERRUPTED, "the run was interrupted")
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_phase_process, args=(phase, job, theirs), daemon=False)
        try:
            process.start()
        except (EOFError, OSError) as error:
            # the server was killed; the next cell starts another
            ours.close()
            return Ended(Outcome.FAILED, f"no process could be made for {phase} ({error!r}). Run the cell again.")
        finally:
            theirs.close()
        self._processes.add(process)
        if self._stopping.is_set():
            # the order to stop came while the process was being made, and did not reach it
            _signal_group(process, signal.SIGKILL)
        try:
            ended = self._follow(process, ours, job.cell)
        finally:
            # a plugin's own children live in the same group and end with the phase
            _signal_group(process, signal.SIGKILL)
            process.join()
            self._processes.discard(process)
            ours.close()
        if ended is not None:
            return ended
        if self._stopping.is_set():
            return Ended(Outcome.INTERRUPTED, "the run was interrupted")
        return Ended(Outcome.FAILED, _death(process.exitcode, phase, job))

    def _follow(self, process: ForkServerProcess, pipe: Connection, cell: Cell) -> Ended | None:
        """Passes on what the process reports until it says how it ended, or dies without saying so."""
        while True:
            ready = wait([pipe, process.sentinel])
            if pipe in ready:
                try:
                    message = pipe.recv()
                except (EOFError, OSError):
                    process.join()
                    return None
                if isinstance(message, Ended):
                    return message
                self._tell("stage", cell, *message)
            elif process.sentinel in ready:
                return None


def _server(threads: int) -> ForkServerContext:
    # the server is started with the first process and keeps the environment it finds then
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pkt_bench.executors.preload"])
    return context


def _phase_process(phase: Phase, job: Job, pipe: Connection) -> None:
    os.setsid()
    _die_with_parent()
    # asked to end, it unwinds: temporary folders and half-written entries are put away
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    _redirect(log_file(job))
    last = 0.0
    seen = ""

    def report(stage: str, fraction: float | None) -> None:
        nonlocal last, seen
        moment = time.monotonic()
        if stage != seen or moment - last > REPORT_EVERY_SECONDS:
            last, seen = moment, stage
            pipe.send((stage, fraction))

    ended = attempt(phase, job, report)
    sys.stdout.flush()
    sys.stderr.flush()
    pipe.send(ended)
    pipe.close()
    # a plugin's threads or exit handlers must not keep a finished phase from ending
    os._exit(0)


def log_file(job: Job) -> Path:
    """Where everything a cell's processes print goes."""
    return job.out / "logs" / f"{job.cell.key}.log"


def _redirect(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(sink, 1)
    os.dup2(sink, 2)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _signal_group(process: ForkServerProcess, number: int) -> None:
    if process.pid is None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
    if process.is_alive():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)


def _death(exit_code: int | None, phase: Phase, job: Job) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = " (out of memory, if nobody killed it)" if name == "SIGKILL" else ""
        how = f"was ended by {name}{hint}"
    else:
        how = f"ended with exit code {exit_code} and without a result"
    return f"the {phase} process {how}. What it printed: {log_file(job)}"

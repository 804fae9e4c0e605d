"""Runs the phases of one cell, each in a process forked from a server that has the heavy imports done.

The server belongs to the process that asks first, and its later cells fork from it too. A phase ends with the process
that asked for it, however that one ends: it watches the pipe to it, for a server between them would outlive it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess

from filelock import Timeout

from pkt_bench.domain import Cell, Job, Outcome, Run
from pkt_bench.executors.orphans import end_with_reader
from pkt_bench.executors.process import GRACE_SECONDS, _death, _phase_process, _server, _signal_group
from pkt_bench.pipeline import Ended, Phase, claim, run_cell

Tell = Callable[..., None]


class CellRunner:
    """Runs cells one after another, and tells `tell(moment, *arguments)` what happens, from the thread that runs."""

    def __init__(self, tell: Tell, environ: Mapping[str, str] | None = None) -> None:
        self._tell, self._environ = tell, dict(environ or {})
        self._stopping = threading.Event()
        self._processes: set[ForkServerProcess] = set()

    def run(self, job: Job) -> Run | None:
        """Runs a cell and records how it ended; None: another process has it under way right now."""
        lock = claim(job)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        try:
            self._tell("started", job.cell)
            run = run_cell(job, self._call)
        finally:
            lock.release()
        self._tell("finished", job.cell, run)
        return run

    def stop(self, now: bool) -> None:  # noqa: FBT001 - one of two ways
        """Ends the cell under way, after the stage it is in or at once. From any thread."""
        self._stopping.set()
        if not now:
            for process in list(self._processes):
                _signal_group(process, signal.SIGTERM)
            deadline = time.monotonic() + GRACE_SECONDS
            while self._processes and time.monotonic() < deadline:
                time.sleep(0.05)
        for process in list(self._processes):
            _signal_group(process, signal.SIGKILL)

    def _call(self, phase: Phase, job: Job) -> Ended:
        if self._stopping.is_set():
            return Ended(Outcome.INTERRUPTED, "the run was interrupted")
        context = _server(job.cell.knobs.threads)
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_watched_phase, args=(phase, job, theirs, self._environ), daemon=False)
        try:
            process.start()
        except (EOFError, OSError) as error:
            ours.close()
            return Ended(Outcome.FAILED, f"no process could be made for {phase} ({error!r}). Run the cell again.")
        finally:
            theirs.close()
        self._processes.add(process)
        try:
            ended = self._follow(process, ours, job.cell)
        finally:
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


def _watched_phase(phase: Phase, job: Job, pipe: Connection, environ: Mapping[str, str]) -> None:
    end_with_reader(pipe)
    os.environ.update(environ)
    _phase_process(phase, job, pipe)

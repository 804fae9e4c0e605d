"""What a phase's process does from its fork to its end: shut itself off, run the phase, say how it ended."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from types import FrameType

import psutil

from pkt_bench import stopping
from pkt_bench.domain import Job, Outcome
from pkt_bench.executors.guard import guard_rows
from pkt_bench.executors.orphans import end_with_reader
from pkt_bench.handover import work_of
from pkt_bench.journal import log_file
from pkt_bench.phases import Ended, Means, attempt
from pkt_bench.pipeline import Errand

REPORT_EVERY_SECONDS = 0.2
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main(errand: Errand, pipe: Connection, environ: Mapping[str, str]) -> None:
    """Runs a phase and sends `Ended` through `pipe`; before that `("stage", name, fraction)` and `("batch", size)`."""
    job = errand.job
    os.setsid()
    _die_with_server()
    # asked to end, it unwinds: temporary folders and half-written entries are put away
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGUSR1, lambda *_: stopping.ask())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGUSR1})
    os.environ.update(environ)
    _redirect(job)
    _own_folder(job)
    _limit(job)
    guard_rows(job, errand.phase)
    end_with_reader(pipe)
    speaking = threading.Lock()
    last, seen = 0.0, ""

    def send(message: object) -> None:
        with speaking:
            pipe.send(message)

    def report(stage: str, fraction: float | None) -> None:
        nonlocal last, seen
        moment = time.monotonic()
        if stage != seen or moment - last > REPORT_EVERY_SECONDS:
            last, seen = moment, stage
            # plain values: what a plugin passes may be of a type that nobody knows on the other side
            send(("stage", str.__str__(stage), None if fraction is None else float(fraction)))

    def over(reason: str) -> None:
        send(Ended(Outcome.OVER_BUDGET, reason))
        os._exit(0)

    ended = attempt(errand.phase, job, Means(errand.sizes, report, lambda size: send(("batch", size)), over))
    sys.stdout.flush()
    sys.stderr.flush()
    _end_children()
    send(ended)
    pipe.close()
    # a plugin's threads or exit handlers must not keep a finished phase from ending
    os._exit(0)


def _end_children() -> None:
    """What a plugin started ends with the phase, in whatever session it is: whom others left comes back to us."""
    try:
        # most have none, and to look for them among all processes takes longer than this
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                process.kill()


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's signature
    sys.exit(128 + number)


def _die_with_server() -> None:
    """Ends with the server it was forked from, which ends with the run; takes in what its own children leave behind."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1)


def _redirect(job: Job) -> None:
    log = log_file(job)
    log.parent.mkdir(parents=True, exist_ok=True)
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    faulthandler.enable()


def _own_folder(job: Job) -> None:
    """Works in a folder of its own, so that whatever it drops lies in nobody's way."""
    folder = work_of(job, "scratch")
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None


def _limit(job: Job) -> None:
    """What the kernel holds a process to: memory where no device maps it, the size of a file, no core dump."""
    limits = job.limits
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.memory_bytes is not None and job.cell.knobs.device == "cpu" and sys.platform == "linux":
        # Private memory alone: mapped files of checkpoints are not in it. Memory that is refused raises, and a batch
        # can be halved. What was set aside before and never touched does not count.
        now = psutil.Process().memory_info()
        _lower(resource.RLIMIT_DATA, now.data + max(0, limits.memory_bytes - now.rss))
    if limits.disk_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write that is too long then raises EFBIG
        _lower(resource.RLIMIT_FSIZE, limits.disk_bytes)


def _lower(which: int, bound: int) -> None:
    _, hard = resource.getrlimit(which)
    resource.setrlimit(which, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))

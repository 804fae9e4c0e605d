"""Runs a cell's phases in processes forked from a server that has the heavy imports done, and watches over them.

A process that dies, however it dies, costs its own cell and nothing else; one that takes more time, memory or disk than
its cell may is ended, with everything it started.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import psutil
from filelock import Timeout

from pkt_bench.domain import Job, Outcome, Run
from pkt_bench.executors import child
from pkt_bench.handover import aside_of, folder_of, work_of
from pkt_bench.journal import log_file, note
from pkt_bench.phases import Ended
from pkt_bench.pipeline import Errand, claim, run_cell

GRACE_SECONDS = 3.0
WATCH_EVERY_SECONDS = 0.25
MEASURE_DISK_EVERY_SECONDS = 1.0
LOG_BYTES = 10 << 20
# of a signal that a process gets by its own fault
FAULTS = frozenset({"SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE", "SIGSYS", "SIGTRAP"})
# what multiprocessing says of a child whose server died: nobody was left to hear how it ended
SERVER_GONE = 255

Tell = Callable[..., None]


class CellRunner:
    """Runs cells one after another in the calling thread; `stop` may be called from any other.

    `tell(moment, *arguments)` is called in the thread that runs, with the names and arguments of `Moments`. `environ`
    is set in the cells' processes: the device they may see.
    """

    def __init__(self, tell: Tell, environ: Mapping[str, str] | None = None) -> None:
        self._tell, self._environ = tell, dict(environ or {})
        self._process: ForkServerProcess | None = None
        self._changing = threading.Lock()
        self._stopping = False
        self._at_once = False

    def run(self, job: Job) -> Run | None:
        """Runs one cell to its row; None where another process has it under way right now.

        Raises:
            StorageError: the row cannot be written.
        """
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

    def stop(self, now: bool) -> None:  # noqa: FBT001 - the two ways of stopping
        """Lets the cell under way end after the stage it is in; or, `now`, at once."""
        with self._changing:
            self._stopping = True
            self._at_once = self._at_once or now
            process = self._process
        if process is not None:
            _signal_group(process, signal.SIGTERM if now else signal.SIGUSR1)

    def kill(self) -> None:
        """Ends what `stop(now=True)` did not."""
        process = self._process
        if process is not None:
            _signal_group(process, signal.SIGKILL)

    def _call(self, errand: Errand) -> Ended:
        if self._stopping:
            return Ended(Outcome.INTERRUPTED, "the run was interrupted; what finished stages gave is kept")
        job, context = errand.job, server(errand.job.cell.knobs.threads)
        work_of(job, "scratch").mkdir(parents=True, exist_ok=True)
        kills_before = _kernel_kills()
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=child.main, args=(errand, theirs, self._environ), daemon=False)
        try:
            process.start()
        except (EOFError, OSError) as error:
            # the server was killed; the next process starts another
            ours.close()
            return Ended(Outcome.KILLED, f"no process could be made for {errand.phase} ({error!r}).", again=True)
        finally:
            theirs.close()
        with self._changing:
            self._process = process
            stopping, at_once = self._stopping, self._at_once
        if stopping:
            # the order came while the process was being made, and did not reach it
            _signal_group(process, signal.SIGKILL if at_once else signal.SIGUSR1)
        watch = _Watch(errand, process, self._tell)
        try:
            ended = watch.follow(ours)
        finally:
            # a plugin's own children end with the phase, wherever they went
            family = watch.family
            _signal_group(process, signal.SIGKILL)
            process.join()
            _end(family)
            with self._changing:
                self._process = None
            ours.close()
            shutil.rmtree(work_of(job, "scratch"), ignore_errors=True)
        if ended is None:
            ended = watch.verdict
        if ended is None and self._stopping:
            ended = Ended(Outcome.INTERRUPTED, "the run was interrupted; what finished stages gave is kept")
        return ended or _death(process.exitcode, errand, kernel=_kernel_kills() > kills_before, batch=watch.batch)


class _Watch:
    """Follows one phase's process: passes on what it says, and ends it when it takes more than its cell may."""

    def __init__(self, errand: Errand, process: ForkServerProcess, tell: Tell) -> None:
        self._errand, self._process, self._tell = errand, process, tell
        self._disk_next = time.monotonic() + MEASURE_DISK_EVERY_SECONDS
        self.verdict: Ended | None = None
        self.batch: int | None = None
        self._stage = ""
        self.family: list[psutil.Process] = []

    def follow(self, pipe: Connection) -> Ended | None:
        """Until the process says how it ended, or dies without saying so."""
        next_look = time.monotonic()
        heard: list[Connection | int] = [pipe, self._process.sentinel]
        while True:
            ready = wait(heard, timeout=WATCH_EVERY_SECONDS)
            if pipe in ready:
                try:
                    message = pipe.recv()
                except Exception:  # noqa: BLE001 - what comes may be anything; the process is watched on to its end
                    heard = [self._process.sentinel]
                    continue
                if isinstance(message, Ended):
                    return message
                self._hear(*message)
            elif self._process.sentinel in ready:
                return None
            if time.monotonic() >= next_look and self.verdict is None:
                next_look = time.monotonic() + WATCH_EVERY_SECONDS
                self.verdict = self._look()
                if self.verdict is not None:
                    _signal_group(self._process, signal.SIGKILL)

    def _hear(self, kind: str, *arguments: object) -> None:
        if kind == "batch":
            self.batch = arguments[0]  # type: ignore[assignment]
            return
        stage = str(arguments[0])
        if stage != self._stage:
            self._stage = stage
            note(self._errand.job, "stage", phase=self._errand.phase, stage=stage)
        self._tell("stage", self._errand.job.cell, *arguments)

    def _look(self) -> Ended | None:
        job, phase, limits = self._errand.job, self._errand.phase, self._errand.job.limits
        resident = self._resident()
        if limits.memory_bytes is not None and resident > limits.memory_bytes:
            # shared and mapped pages were counted once for each process: look closer, which takes longer
            resident = self._unshared()
        self._tell("measured", job.cell, resident)
        _cap_log(log_file(job))
        if self._errand.deadline is not None and time.monotonic() > self._errand.deadline:
            return Ended(
                Outcome.TIMEOUT,
                f"the cell took more than {limits.seconds:g} s and was ended in {phase}."
                " Raise --cell-seconds, or leave it be.",
            )
        if limits.memory_bytes is not None and resident > limits.memory_bytes:
            return Ended(
                Outcome.OUT_OF_MEMORY,
                f"the {phase} process held {_mib(resident)}, the cell may hold {_mib(limits.memory_bytes)}."
                " Raise --cell-memory, or lower --slots.",
                batch=self.batch,
            )
        if limits.disk_bytes is not None and time.monotonic() > self._disk_next:
            started = time.monotonic()
            written = sum(_bytes_in(path) for path in (aside_of(job), work_of(job, "scratch"), work_of(job, "partial")))
            written += _bytes_in(folder_of(job))
            # a folder of many files takes long to measure: that must not become all this thread does
            self._disk_next = time.monotonic() + max(MEASURE_DISK_EVERY_SECONDS, 10 * (time.monotonic() - started))
            if written > limits.disk_bytes:
                return Ended(
                    Outcome.OUT_OF_DISK,
                    f"the cell wrote {_mib(written)} in {phase}, it may write {_mib(limits.disk_bytes)}."
                    " Raise --cell-disk.",
                )
        return None

    def _unshared(self) -> int:
        """The same without what processes share and what the kernel can take back."""
        total = 0
        with contextlib.suppress(psutil.Error):
            main = psutil.Process(self._process.pid)
            for process in (main, *main.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    total += process.memory_full_info().uss
        return total

    def _resident(self) -> int:
        """What the phase's process and all it started hold in memory, in bytes."""
        with contextlib.suppress(psutil.Error):
            main = psutil.Process(self._process.pid)
            self.family = main.children(recursive=True)
            total = 0
            for process in (main, *self.family):
                with contextlib.suppress(psutil.Error):
                    total += process.memory_info().rss
            return total
        return 0


def server(threads: int) -> ForkServerContext:
    """Where processes are forked from that find the heavy imports done."""
    # the server is started with the first process and keeps the environment it finds then
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pkt_bench.executors.preload"])
    return context


def _signal_group(process: ForkServerProcess, number: int) -> None:
    if process.pid is None:
        return
    if number != signal.SIGUSR1:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
    if process.is_alive():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)


def _end(family: list[psutil.Process]) -> None:
    """Kills what a phase started and put into a session of its own; psutil knows a reused number from the old one."""
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _death(exit_code: int | None, errand: Errand, *, kernel: bool, batch: int | None) -> Ended:
    """What is said of a process that ended without a word."""
    told = f"What it printed: {log_file(errand.job).relative_to(errand.job.out)}"
    if exit_code == SERVER_GONE:
        return Ended(
            Outcome.KILLED, f"the {errand.phase} process, or the server it came from, was killed. {told}", again=True
        )
    if exit_code is None or exit_code >= 0:
        said = f"the {errand.phase} process ended with exit code {exit_code} and without a result. {told}"
        return Ended(Outcome.FAILED, said)
    name = signal.Signals(-exit_code).name
    if name == "SIGKILL" and kernel:
        said = f"the kernel killed the {errand.phase} process: the machine was out of memory. {told}"
        return Ended(Outcome.OUT_OF_MEMORY, said, batch=batch)
    if name == "SIGXFSZ":
        return Ended(Outcome.OUT_OF_DISK, f"the {errand.phase} process wrote a file larger than it may. {told}")
    said = f"the {errand.phase} process was ended by {name}. {told}"
    if name in FAULTS:
        return Ended(Outcome.CRASHED, said)
    return Ended(Outcome.KILLED, said, again=True)


def _kernel_kills() -> int:
    """How often the kernel has killed a process for want of memory, here or in our control group."""
    for path, name in (("/sys/fs/cgroup/memory.events", "oom_kill"), ("/proc/vmstat", "oom_kill")):
        with contextlib.suppress(OSError, ValueError):
            for line in Path(path).read_text(encoding="ascii").splitlines():
                key, _, count = line.partition(" ")
                if key == name:
                    return int(count)
    return 0


def _bytes_in(folder: Path) -> int:
    total = 0
    for file in _walk(folder):
        with contextlib.suppress(OSError):
            total += file.stat(follow_symlinks=False).st_blocks * 512
    return total


def _walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))
            else:
                yield entry


def _cap_log(log: Path) -> None:
    """Keeps the first and the last of a log that grows without end."""
    with contextlib.suppress(OSError):
        size = log.stat().st_size
        if size <= 2 * LOG_BYTES:
            return
        with log.open("r+b") as file:
            head = file.read(LOG_BYTES // 2)
            file.seek(size - LOG_BYTES // 2)
            tail = file.read()
            left_out = size - len(head) - len(tail)
            file.seek(0)
            file.write(head + f"\n... {left_out:,} bytes left out ...\n".encode() + tail)
            file.truncate()


def _mib(count: int) -> str:
    return f"{count / (1 << 20):,.0f} MiB"

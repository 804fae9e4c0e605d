"""Hands cells to the cluster and follows them until each has ended.

Everything that speaks to Ray does so in one thread of its own, because Ray swallows what a signal handler raises inside
it: the caller's thread waits for moments to tell and for nothing else, and Ctrl-C always finds it there.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pkt_bench import Interrupted, Job, Moments, PktBenchError, Run, UnavailableError, record_lost
from pkt_bench_ray.cluster import Share, check_device, connected, room
from pkt_bench_ray.worker import Event, Mailbox, Order, Said, run_cell, versions

if TYPE_CHECKING:
    from pkt_bench_ray import RaySettings

POLL_SECONDS = 0.2
BUSY_SECONDS = 0.5
# how long cells have to write down that they were ended at once; then their workers are
GRACE_SECONDS = 5.0
LEAVE_SECONDS = 20.0
# how long a cluster that lost its last fitting node may take to find another
ROOMLESS_SECONDS = 120.0
# of the caller's environment, what makes a cell here and a cell there the same
CARRIED = ("PKT_BENCH_", "HF_", "TRANSFORMERS_", "TOKENIZERS_")


def follow(jobs: Sequence[Job], slots: int | None, moments: Moments, settings: RaySettings) -> None:
    """See `Execute`: called in the caller's thread, and tells the moments in it."""
    check_device(jobs[0])
    driver = _Driver(jobs, slots, settings)
    driver.start()
    stopped: BaseException | None = None
    while True:
        # whatever comes, comes inside the `try`: nothing may leave while cells are under way
        try:
            driver.tell(moments)
            break
        except (KeyboardInterrupt, Interrupted) as error:
            interrupted = error if isinstance(error, Interrupted) else Interrupted()
            at_once = stopped is not None or interrupted.exit_code != 130
            driver.stop(Order.NOW if at_once else Order.STOP)
            if not at_once:
                moments.stopping()
            stopped = stopped or interrupted
        except BaseException as error:  # noqa: BLE001 - a defect in a view
            driver.stop(Order.NOW)
            stopped = stopped or error
    if stopped := stopped or driver.failure:
        raise stopped


class _Driver(threading.Thread):
    """The thread that speaks to Ray."""

    def __init__(self, jobs: Sequence[Job], slots: int | None, settings: RaySettings) -> None:
        super().__init__(name="ray driver", daemon=True)
        self.failure: BaseException | None = None
        self._slots, self._settings = slots, settings
        self._share = Share.of(jobs[0], settings)
        self._waiting = deque(jobs)
        self._flying: dict[Any, Job] = {}
        self._lost: Counter[str] = Counter()
        self._begun: set[str] = set()
        self._ended: set[str] = set()
        self._seen: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._order = Order.GO
        self._deadline = math.inf
        self._look_again = 0.0

    # called in the caller's thread

    def tell(self, moments: Moments) -> None:
        """Tells what is seen until all cells have ended, or should long have."""
        while (self.is_alive() or not self._seen.empty()) and time.monotonic() < self._deadline + LEAVE_SECONDS:
            with contextlib.suppress(queue.Empty):
                moment, arguments = self._seen.get(timeout=0.1)
                getattr(moments, moment)(*arguments)

    def stop(self, order: Order) -> None:
        """Starts nothing more; what is under way ends after its stage, or at once."""
        self._order = max(self._order, order)
        if self._order is Order.NOW:
            self._deadline = min(self._deadline, time.monotonic() + GRACE_SECONDS)

    # called in this thread

    def run(self) -> None:
        """Runs the cells; what goes wrong is for the caller to raise."""
        try:
            with connected(self._settings, self._share, self._slots) as ray:
                self._follow(ray)
        except BaseException as error:  # noqa: BLE001 - told to the caller, who raises it
            self.failure = self.failure or error

    def _follow(self, ray: Any) -> None:  # noqa: ANN401 - the module
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=True
        )
        mailbox = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here)(
            Mailbox
        ).remote()
        # tries are counted here; and a worker that ran a cell on a GPU keeps its fork server for the next one
        task = ray.remote(num_cpus=self._share.cpus, num_gpus=self._share.gpus, max_retries=0, max_calls=0)(run_cell)
        environment = {name: value for name, value in os.environ.items() if name.startswith(CARRIED)}
        libraries = versions()
        roomless_since: float | None = None
        seats = self._seats(ray)
        while self._waiting or self._flying:
            if self._order is not Order.GO:
                self._waiting.clear()
            while self._waiting and len(self._flying) < seats:
                job = self._waiting.popleft()
                self._flying[task.remote(job, mailbox, environment, libraries)] = job
            ready = ray.wait(list(self._flying), timeout=POLL_SECONDS)[0] if self._flying else []
            self._hear(ray, mailbox)
            for reference in ready:
                self._land(ray, reference)
            if time.monotonic() > self._deadline:
                for reference in self._flying:
                    ray.cancel(reference, force=True)
                return
            if time.monotonic() > self._look_again:
                self._look_again = time.monotonic() + 5
                seats = self._seats(ray)
                roomless_since = None if seats else roomless_since or time.monotonic()
                if roomless_since is not None and time.monotonic() - roomless_since > ROOMLESS_SECONDS:
                    raise UnavailableError(
                        f"the Ray cluster has lost every node that can run a cell, which takes {self._share}."
                        " Run the same command again to go on where it stopped."
                    )

    def _seats(self, ray: Any) -> int:  # noqa: ANN401 - the module
        """How many cells to hand out: one more than there is room for, so that no worker waits for the driver."""
        places = room(ray, self._share)
        return min(self._slots, places) if self._slots is not None else places + bool(places)

    def _hear(self, ray: Any, mailbox: Any) -> None:  # noqa: ANN401 - Ray's own
        with contextlib.suppress(ray.exceptions.RayError):
            for moment, arguments in ray.get(mailbox.collect.remote(self._order), timeout=GRACE_SECONDS):
                key = arguments[0].key
                if moment == "started":
                    self._begun.add(key)
                # what comes late says nothing new
                if key not in self._ended:
                    self._seen.put((moment, arguments))

    def _land(self, ray: Any, reference: Any) -> None:  # noqa: ANN401 - Ray's own
        job = self._flying.pop(reference)
        try:
            said: Said = ray.get(reference)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(error, ray.exceptions.RayTaskError) and not isinstance(cause, ray.exceptions.RayError):
                self._fail(UnavailableError(f"a worker of the Ray cluster cannot run cells: {_line(cause or error)}"))
            else:
                self._lose(job, error)
            return
        if said.error is not None:
            self._fail(said.error)
        elif said.run is not None:
            self._finish(job, said.run)
        elif self._order is Order.GO:
            # another run has this cell under way: see about the others first
            time.sleep(BUSY_SECONDS)
            self._waiting.append(job)

    def _lose(self, job: Job, error: Exception) -> None:
        self._lost[job.cell.key] += 1
        times = self._lost[job.cell.key]
        if self._order is Order.GO and times <= self._settings.retries:
            self._waiting.appendleft(job)
            return
        how_often = "once" if times == 1 else f"{times} times"
        reason = f"the cell's Ray worker, or the node it was on, was lost {how_often}: {_line(error)}"
        try:
            self._finish(job, record_lost(job, reason))
        except PktBenchError as problem:
            self._fail(problem)

    def _finish(self, job: Job, run: Run) -> None:
        key = job.cell.key
        if key not in self._begun:
            self._seen.put(("started", (job.cell,)))
        self._ended.add(key)
        self._seen.put(("finished", (job.cell, run)))

    def _fail(self, error: BaseException) -> None:
        """What is under way ends in order, and then the caller raises it."""
        self.failure = self.failure or error
        self.stop(Order.STOP)


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"

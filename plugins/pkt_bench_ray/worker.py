"""One cell on a node of the cluster, and the mailbox by which its worker and the driver hear of each other."""

from __future__ import annotations

import importlib.metadata
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from pkt_bench import PktBenchError, UnavailableError

if TYPE_CHECKING:
    from pkt_bench import CellRunner, Job, Run

LIBRARIES = ("pkt-bench", "torch", "transformers", "peft", "tokenizers", "numpy", "lm-eval")
POST_SECONDS = 0.2
# a driver that does not answer for so long is gone, and so is the reason for the work
SILENCE_SECONDS = 60.0

Event = tuple[str, tuple[Any, ...]]


class Order(IntEnum):
    """What the driver wants: go on, end after the stage under way, end at once."""

    GO = 0
    STOP = 1
    NOW = 2


@dataclass(frozen=True)
class Said:
    """How a task ended: a run that is recorded; nothing, where another process has the cell; or an error to raise."""

    run: Run | None = None
    error: PktBenchError | None = None


class Mailbox:
    """An actor beside the driver: it keeps what the workers see until the driver asks, and what the driver wants."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._order = Order.GO

    def post(self, events: Sequence[Event]) -> Order:
        """A worker says what it saw and hears what is wanted."""
        self._events.extend(events)
        return self._order

    def collect(self, order: Order) -> list[Event]:
        """The driver says what it wants and hears what was seen."""
        self._order = order
        events, self._events = self._events, []
        return events


def versions() -> dict[str, str]:
    """What is installed of what can move a number."""
    return {
        dist.name: dist.version for name in LIBRARIES for dist in importlib.metadata.Distribution.discover(name=name)
    }


def run_cell(job: Job, mailbox: Any, environment: Mapping[str, str], libraries: Mapping[str, str]) -> Said:  # noqa: ANN401 - an actor's handle
    """The task: runs a cell in processes forked from this worker's server, which its later cells fork from too."""
    from pkt_bench import CellRunner

    if (here := versions()) != libraries:
        differ = [
            f"{name} {here.get(name)} (here: {version})"
            for name, version in libraries.items()
            if here.get(name) != version
        ]
        return Said(
            error=UnavailableError(f"{socket.gethostname()} has {', '.join(differ)}: nodes of a run are alike.")
        )
    os.environ.update(environment)
    courier = _Courier(mailbox)
    if courier.post() is not Order.GO:
        return Said()
    # the fork server keeps the environment of the worker's first cell, and another one may be given other GPUs
    devices = {name: os.environ[name] for name in ("CUDA_VISIBLE_DEVICES",) if name in os.environ}
    runner = CellRunner(courier.tell, devices)
    courier.start(runner)
    try:
        return Said(run=runner.run(job))
    except PktBenchError as error:
        return Said(error=error)
    finally:
        courier.end()


class _Courier:
    """Carries moments to the mailbox and orders back, a few times a second, in a thread of its own."""

    def __init__(self, mailbox: Any) -> None:  # noqa: ANN401 - an actor's handle
        self._mailbox = mailbox
        self._seen: list[Event] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def tell(self, moment: str, *arguments: object) -> None:
        # how the cell ended is what the task returns: told once, whoever else dies
        if moment != "finished":
            with self._lock:
                self._seen.append((moment, arguments))

    def start(self, runner: CellRunner) -> None:
        self._thread = threading.Thread(target=self._carry, args=(runner,), name="courier", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(POST_SECONDS * 5)

    def post(self) -> Order:
        import ray

        with self._lock:
            seen, self._seen = self._seen, []
        return Order(ray.get(self._mailbox.post.remote(seen), timeout=SILENCE_SECONDS))

    def _carry(self, runner: CellRunner) -> None:
        import ray

        obeyed = Order.GO
        while not self._ended.wait(POST_SECONDS):
            try:
                order = self.post()
            except ray.exceptions.RayError:
                order = Order.NOW
            if order > obeyed:
                obeyed = order
                runner.stop(now=order is Order.NOW)
        if obeyed is not Order.NOW:
            self._last_post()

    def _last_post(self) -> None:
        with self._lock:
            seen, self._seen = self._seen, []
        if seen:
            self._mailbox.post.remote(seen)

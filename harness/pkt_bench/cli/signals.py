"""Ctrl-C and SIGTERM end a command in order, each with its own exit code."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from pkt_bench.errors import Interrupted


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """Turns both signals into `Interrupted`.

    SIGINT is taken even where the shell had it ignored, as it does for what it starts in the background: whoever sends
    one to a run wants it to stop.
    """

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's signature
        raise Interrupted(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

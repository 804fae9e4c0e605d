"""One child process from start to removal: frames out, frames in, every wait bounded, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from .backends import Backend
from .folders import MOST_FILES, remove_flat_folder, weigh_flat_folder
from .inside import frames, values
from .limits import Limits
from .nurseries import LAUNCH_SECONDS, bear

_TICK_SECONDS = 0.02
_DYING_SECONDS = 5.0
_OWN_FRAME_BYTES = 8192  # the largest frame our own code in the child sends, answers aside


class EndedError(Exception):
    """The child is of no more use: `reason` of the verdict, and one line."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Child:
    """A confined interpreter in a temporary folder of its own. A context manager: leaving it kills and removes all.

    Raises OSError when it cannot be started.
    """

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self._limits = limits
        self._backend = backend
        self._born = bear(backend)
        self.folder = self._born.folder
        self.pid = self._born.pid
        self._requests, self._answers = self._born.requests, self._born.answers
        for pipe in (self._requests, self._answers):
            os.set_blocking(pipe, False)
        self._deadline = time.monotonic() + LAUNCH_SECONDS
        self._next_patrol = time.monotonic() + _TICK_SECONDS
        self._confined = False
        self._watched: tuple[Child, ...] = (self,)
        self._nonce = b""
        self._outgoing = memoryview(b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill()
        self._born.close()
        remove_flat_folder(self.folder)

    def confine(self) -> str:
        """Have the child lock itself in; its report of how. Starts the candidate's clock. Raises EndedError."""
        self.begin_confining()
        return self.end_confining()

    def begin_confining(self) -> None:
        """The first half of `confine`, so that two children can come up side by side."""
        self.send(frames.CONFINE, values.encode(self._backend.charter(self.folder, self._limits)))

    def end_confining(self) -> str:
        """The second half of `confine`."""
        kind, payload = self.receive()
        report = str(values.decode(payload))
        if kind != frames.READY:
            raise EndedError("sandbox-error", report)
        self._confined = True
        self._deadline = time.monotonic() + self._limits.wall_seconds
        return report

    def watch(self, other: Child) -> None:
        """While waiting for this child, keep an eye on another one as well, which may go on by threads of its own."""
        self._watched = (self, other)

    def ask(self, kind: bytes, request: object) -> tuple[bytes, bytes]:
        """Send one request and wait for (kind, payload) of its answer; raises EndedError for anything but an answer."""
        self.send(kind, values.encode(request))
        return self.receive()

    def send(self, kind: bytes, payload: bytes) -> None:
        """Begin to send one request, encoded already; what the pipe does not take goes out in `receive`."""
        self._nonce = secrets.token_bytes(frames.NONCE_BYTES)
        self._outgoing = memoryview(frames.pack(self._nonce, kind, payload))
        if _readable_now(self._answers):
            self._unasked_for()
        self._write()

    def receive(self) -> tuple[bytes, bytes]:
        """Wait for (kind, payload) of the answer to what was sent; raises EndedError for anything but an answer."""
        incoming = bytearray()
        while True:
            self._exchange(incoming)
            if len(incoming) < frames.HEAD_BYTES:
                continue
            length, answered, answer_kind = frames.unpack_head(bytes(incoming[: frames.HEAD_BYTES]))
            if answered != self._nonce:
                raise EndedError("forged", "bytes on the result channel that answer no question")
            if length > max(self._limits.output_bytes, _OWN_FRAME_BYTES):
                raise EndedError("forged", f"an answer that claims {length} bytes, over the output limit")
            if len(incoming) > frames.HEAD_BYTES + length:
                raise EndedError("forged", "more bytes on the result channel than the answer")
            if len(incoming) == frames.HEAD_BYTES + length:
                return answer_kind, bytes(incoming[frames.HEAD_BYTES :])

    def _exchange(self, incoming: bytearray) -> None:
        """Wait for at most one tick, move what can be moved, check the limits that the kernel does not keep."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            if not self._confined:
                raise EndedError("sandbox-error", f"the child was not up within {LAUNCH_SECONDS:g} s")
            raise EndedError("timeout", f"no answer within {self._limits.wall_seconds:g} s")
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        if self._outgoing:
            poll.register(self._requests, select.POLLOUT)
        events = dict(poll.poll(1000 * min(left, _TICK_SECONDS)))
        if time.monotonic() >= self._next_patrol:  # by the clock: a trickle of bytes must not put it off
            for each in self._watched:
                each._patrol()  # noqa: SLF001 of the same class
            self._next_patrol = time.monotonic() + _TICK_SECONDS
        if self._requests in events:
            self._write()
        if self._answers in events:
            chunk = os.read(self._answers, 1 << 16)
            if not chunk:
                self._gone()
            incoming += chunk

    def _write(self) -> None:
        try:
            self._outgoing = self._outgoing[os.write(self._requests, self._outgoing) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._outgoing = memoryview(b"")  # what that means shows where the answers are read

    def _unasked_for(self) -> None:
        if os.read(self._answers, 1):
            raise EndedError("forged", "bytes on the result channel before the question")
        self._gone()

    def _patrol(self) -> None:
        if self._confined and _count_threads(self.pid) > self._limits.processes:
            raise EndedError("killed", f"over {self._limits.processes} threads")
        held, files = weigh_flat_folder(self.folder)
        if held > self._limits.file_bytes or files > MOST_FILES:
            raise EndedError("killed", f"over {self._limits.file_bytes} bytes or {MOST_FILES} files in its folder")

    def _gone(self) -> None:
        """The result channel is closed: say how the process ended."""
        try:
            code = self._born.wait(min(1.0, max(0.0, self._deadline - time.monotonic())))
        except TimeoutError:
            raise EndedError("killed", "closed the result channel and went on") from None
        if not self._confined:
            raise EndedError("sandbox-error", f"the child ended with {code} before it was locked in")
        if -code == signal.SIGXCPU:
            raise EndedError("timeout", f"over {self._limits.cpu_seconds:g} s of processor time")
        if -code in signal.valid_signals():
            raise EndedError("killed", f"ended by {signal.Signals(-code).name} before answering")
        raise EndedError("killed", f"exited with code {code} before answering")

    def _kill(self) -> None:
        """Until the kernel has it no more; its folder is nobody's then."""
        self._born.kill()
        with contextlib.suppress(OSError):
            self._born.wait(_DYING_SECONDS)


def _readable_now(pipe: int) -> bool:
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return bool(poll.poll(0))


def _count_threads(pid: int) -> int:
    """Threads of a process; 0 where /proc does not tell."""
    try:
        return Path("/proc", str(pid), "task").stat().st_nlink - 2
    except OSError:
        return 0

"""One child process from start to removal: frames out, frames in, every wait bounded, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .inside import frames, values
from .interpreter import ENVIRONMENT
from .limits import Limits

# Starting is not charged to the candidate; on a machine this slow something else is wrong.
LAUNCH_SECONDS = 30.0
_TICK_SECONDS = 0.02
_DYING_SECONDS = 5.0
_REMOVALS = 50
_MOST_FILES = 256
_OWN_FRAME_BYTES = 8192  # the largest frame our own code in the child sends, answers aside
_SHOWN_ERROR_BYTES = 2000


class EndedError(Exception):
    """The child is of no more use: `reason` of the verdict, and one line."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Child:
    """A confined interpreter in a temporary folder of its own. A context manager: leaving it kills and removes all.

    `command(folder)` is what to start. Raises OSError when it cannot be started.
    """

    def __init__(self, command: Callable[[str], Sequence[str]], limits: Limits) -> None:
        self._limits = limits
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="pkt-bench-candidate-"))
        try:
            self._process = subprocess.Popen(
                list(command(self.folder)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                env=ENVIRONMENT | {"HOME": self.folder, "TMPDIR": self.folder},
                start_new_session=True,
                bufsize=0,
            )
        except BaseException:
            _remove_flat_folder(self.folder)
            raise
        self._pipes = [each for each in (self._process.stdin, self._process.stdout, self._process.stderr) if each]
        self._requests, self._answers, self._errors = (each.fileno() for each in self._pipes)
        for pipe in self._pipes:
            os.set_blocking(pipe.fileno(), False)
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
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.close()
        _remove_flat_folder(self.folder)

    def confine(self, charter: dict[str, Any]) -> str:
        """Have the child lock itself in; its report of how. Starts the candidate's clock. Raises EndedError."""
        self.begin_confining(charter)
        return self.end_confining()

    def begin_confining(self, charter: dict[str, Any]) -> None:
        """The first half of `confine`, so that two children can come up side by side."""
        self.send(frames.CONFINE, values.encode(charter))

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
        tasks = _count_tasks(self._process.pid)
        # bwrap keeps two processes of its own beside the candidate's.
        if self._confined and tasks > self._limits.processes + 2:
            raise EndedError("killed", f"over {self._limits.processes} threads")
        held, files = _weigh_flat_folder(self.folder)
        if held > self._limits.file_bytes or files > _MOST_FILES:
            raise EndedError("killed", f"over {self._limits.file_bytes} bytes or {_MOST_FILES} files in its folder")

    def _gone(self) -> None:
        """The result channel is closed: say how the process ended."""
        try:
            code = self._process.wait(min(1.0, max(0.0, self._deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            raise EndedError("killed", "closed the result channel and went on") from None
        if not self._confined:
            with contextlib.suppress(BlockingIOError):
                said = os.read(self._errors, _SHOWN_ERROR_BYTES).decode(errors="replace").strip()
                raise EndedError("sandbox-error", f"the child ended with {code} before it was locked in: {said}")
            raise EndedError("sandbox-error", f"the child ended with {code} before it was locked in")
        number = -code if code < 0 else code - 128  # bwrap turns signal n into exit code 128 + n
        if number == signal.SIGXCPU:
            raise EndedError("timeout", f"over {self._limits.cpu_seconds:g} s of processor time")
        if number in signal.valid_signals():
            raise EndedError("killed", f"ended by {signal.Signals(number).name} before answering")
        raise EndedError("killed", f"exited with code {code} before answering")

    def _kill(self) -> None:
        if self._process.returncode is None:
            # Not yet waited for, so neither the group's nor the process's number can belong to someone else.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
        self._wait_until_closed()

    def _wait_until_closed(self) -> None:
        """Until nobody holds the result channel: under bwrap the candidate dies a moment after what we waited for."""
        deadline = time.monotonic() + _DYING_SECONDS
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        with contextlib.suppress(OSError):
            while (left := deadline - time.monotonic()) > 0 and poll.poll(1000 * left):
                if not os.read(self._answers, 1 << 16):
                    return


def _readable_now(pipe: int) -> bool:
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return bool(poll.poll(0))


def _count_tasks(pid: int) -> int:
    """Threads of a process and of its descendants; 0 where /proc does not tell."""
    total, waiting = 0, [str(pid)]
    while waiting and len(waiting) < 1000:
        each = waiting.pop()
        try:
            tasks = Path("/proc", each, "task")
            total += tasks.stat().st_nlink - 2
            waiting += (tasks / each / "children").read_text().split()
        except (OSError, ValueError):
            continue
    return total


def _weigh_flat_folder(folder: str) -> tuple[int, int]:
    """(bytes, files) directly in a folder, at most a little beyond `_MOST_FILES` looked at."""
    held = files = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            files += 1
            if files > _MOST_FILES:
                break
            with contextlib.suppress(OSError):
                held += entry.stat(follow_symlinks=False).st_size
    return held, files


def _remove_flat_folder(folder: str) -> None:
    """Remove a folder in which no folder can be: a candidate's tree cannot make this deep, slow or surprising."""
    for _ in range(_REMOVALS):
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    Path(entry.path).unlink(missing_ok=True)
            Path(folder).rmdir()
        except OSError:  # written to by a candidate that closed its result channel and is about to die
            time.sleep(_TICK_SECONDS)
        else:
            return

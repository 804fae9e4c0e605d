"""The processes that children are forked from: one a backend, started when first needed, ended with the judge."""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import socket
import struct
import subprocess
import threading
from pathlib import Path

from .backends import Backend
from .folders import Base, remove_flat_folder
from .inside import values
from .interpreter import ENVIRONMENT

# Starting is not charged to the candidate; on a machine this slow something else is wrong.
LAUNCH_SECONDS = 30.0
_SHOWN_ERROR_BYTES = 2000
_CREDENTIALS = struct.Struct("3i")


class NurseryError(OSError):
    """It could not be started, or locked in; one line."""


class Born:
    """A child on the judge's side: its folder, its two pipes, its number, and the socket that its end comes by."""

    def __init__(self, folder: str, requests: int, answers: int, line: socket.socket) -> None:
        self.folder = folder
        self.requests = requests
        self.answers = answers
        self._line = line
        self._status: int | None = None
        line.settimeout(LAUNCH_SECONDS)
        said, ancillary, _, _ = line.recvmsg(1, socket.CMSG_SPACE(_CREDENTIALS.size))
        if said != b"B" or not ancillary:
            raise NurseryError("no process could be forked: the machine may be out of processes or memory")
        self.pid = _CREDENTIALS.unpack(ancillary[0][2][: _CREDENTIALS.size])[0]

    def wait(self, seconds: float) -> int:
        """Its exit code, negative for a signal.

        Raises TimeoutError when it is still there after that long, NurseryError when nobody can tell any more.
        """
        if self._status is None:
            self._line.settimeout(max(seconds, 0.001))
            said = self._line.recv(4)
            if not said:
                raise NurseryError("the process that children are forked from is gone, and its children with it")
            self._status = os.waitstatus_to_exitcode(int.from_bytes(said, "big"))
        return self._status

    def kill(self) -> None:
        """Have it killed; returns at once."""
        if self._status is None:
            with contextlib.suppress(OSError):
                self._line.send(b"K")

    def close(self) -> None:
        """Close what this side holds open."""
        self._line.close()
        for each in (self.requests, self.answers):
            with contextlib.suppress(OSError):
                os.close(each)


class Nursery:
    """One process to fork children of one backend from, and the folder in which theirs are. Raises NurseryError."""

    def __init__(self, backend: Backend) -> None:
        self._base = Base()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._process: subprocess.Popen[bytes] = subprocess.Popen(
                    backend.command(self._base.path),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    cwd="/",
                    env=ENVIRONMENT | {"HOME": self._base.path, "TMPDIR": self._base.path},
                    start_new_session=True,
                    bufsize=0,
                )
            self.report = self._settle(backend)
        except BaseException:
            self.close()
            raise

    def _settle(self, backend: Backend) -> str:
        self._control.settimeout(LAUNCH_SECONDS)
        try:
            self._control.send(values.encode(backend.settling(self._base.path)))
            said = self._control.recv(4096).decode(errors="replace")
        except TimeoutError:
            raise NurseryError(
                f"the process that children are forked from was not up within {LAUNCH_SECONDS:g} s"
            ) from None
        except OSError:
            said = ""
        self._control.settimeout(None)
        errors = self._process.stderr
        if said.startswith("R"):
            if errors:
                errors.close()
            return said[1:]
        if said:
            raise NurseryError(said[1:])
        self._process.kill()
        code = self._process.wait()
        text = (errors.read(_SHOWN_ERROR_BYTES) or b"").decode(errors="replace").strip() if errors else ""
        raise NurseryError(f"the process that children are forked from ended with {code}: {text}")

    @property
    def base(self) -> str:
        """The folder in which its children's are."""
        return self._base.path

    @property
    def pid(self) -> int:
        """The number of the process that was started: bwrap, or the interpreter."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether it can bear children still."""
        try:
            # It never speaks unasked: what there is to read is its end, which bwrap outlives for a moment.
            return bool(self._control.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK))
        except BlockingIOError:
            return self._process.poll() is None
        except OSError:
            return False

    def bear(self) -> Born:
        """A new child in a folder of its own, not yet locked in. Raises OSError."""
        folder = f"{self._base.path}/{secrets.token_hex(16)}"
        Path(folder).mkdir(mode=0o700)
        line, child_line = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        child_requests, requests = os.pipe()
        answers, child_answers = os.pipe()
        try:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            try:
                socket.send_fds(self._control, [b"F"], [child_requests, child_answers, child_line.fileno()])
            finally:
                child_line.close()
                os.close(child_requests)
                os.close(child_answers)
            return Born(folder, requests, answers, line)
        except BaseException:
            line.close()
            os.close(requests)
            os.close(answers)
            remove_flat_folder(folder)
            raise

    def close(self) -> None:
        """End it and all of its children, and remove its folder."""
        self._control.close()
        process = getattr(self, "_process", None)
        if process is not None:
            try:
                process.wait(2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stderr:
                process.stderr.close()
        self._base.remove()

    def forget(self) -> None:
        """In a process forked from the judge's, where it is somebody else's."""
        self._control.close()
        self._base.release()


_lock = threading.Lock()
_nurseries: dict[Backend, Nursery] = {}


def bear(backend: Backend) -> Born:
    """A child of `backend`. Raises OSError."""
    nursery = nursery_of(backend)
    try:
        return nursery.bear()
    except OSError:
        if nursery.alive():
            raise
    return nursery_of(backend).bear()  # it died under our hands


def nursery_of(backend: Backend) -> Nursery:
    """The nursery of `backend`, started where there is none that lives. Raises NurseryError."""
    with _lock:
        found = _nurseries.get(backend)
        if found is not None and not found.alive():
            found.close()
            found = None
        if found is None:
            found = _nurseries[backend] = Nursery(backend)
    return found


def close(backend: Backend) -> None:
    """End the nursery of `backend`, if there is one."""
    with _lock:
        found = _nurseries.pop(backend, None)
    if found is not None:
        found.close()


def _close_all() -> None:
    for each in list(_nurseries):
        close(each)


def _forget_all() -> None:
    global _lock  # noqa: PLW0603 it may be held by a thread that this process does not have
    _lock = threading.Lock()
    for each in _nurseries.values():
        each.forget()
    _nurseries.clear()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_forget_all)

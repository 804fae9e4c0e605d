"""Where children come from: a process that has everything loaded, runs no candidate, and forks one child an answer.

A fresh interpreter costs every answer 25 to 45 ms, a fork about 1. What one answer could leave to the next is what this
process holds, and no candidate can reach it: a child locks itself in (`session.py`) before it reads a program, has no
descriptor but the two pipes of its own conversation, may signal nobody but itself, and the memory is its own copy.

The judge asks for a child by a message with three descriptors: where the child reads, where it writes, and a socket
for it alone. On that socket goes one byte from the child itself, by which the kernel tells the judge the child's
number; then one from the judge to have it killed, and the exit status once it is gone. When the judge goes, so does
this process, and its children with it (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import _socket
import contextlib
import gc
import os
import select
import signal
import sys

from . import kernel, landlock, session, values

TYPE_CHECKING = False  # typing.TYPE_CHECKING without importing typing, which costs every start 9 ms
if TYPE_CHECKING:
    from typing import Any, NoReturn

_SCM_RIGHTS_BYTES = 3 * 4
_LARGEST_CHARTER = 1 << 20
_WORTH_LOADING = (
    "bisect", "collections", "copy", "functools", "heapq", "itertools", "math", "operator", "re", "string", "typing",
)  # fmt: skip
"""What programs import most; not `random`, whose state would be the same in all."""


def main() -> None:
    """Lock in as far as a process that forks can be, then bear children until the judge is gone."""
    control = _socket.socket(fileno=os.dup(0))
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    try:
        report = _confine(values.decode(control.recv(_LARGEST_CHARTER)))
    except Exception as error:  # noqa: BLE001 the judge is told, whatever it is
        control.send(f"E{type(error).__name__}: {error}".encode())
        return
    for name in _WORTH_LOADING:
        __import__(name)
    os.dup2(null, 2)
    os.close(null)
    control.send(f"R{report}".encode())
    gc.collect()
    gc.freeze()  # or the first collection in each child would copy every page
    _Nursery(control).run()


def _confine(charter: dict[str, Any]) -> str:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.drop_capabilities()
    if not charter["landlock"]:
        return "no Landlock"
    return f"Landlock ABI {landlock.restrict(charter['readable'], ['/dev/null'], charter['base'])}"


class _Nursery:
    def __init__(self, control: _socket.socket) -> None:
        self._control = control
        self._sockets: dict[int, int] = {}
        """Numbers of living children by the descriptor of their sockets."""
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        os.set_blocking(self._woken, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._poll = select.poll()
        for each in (control.fileno(), self._woken):
            self._poll.register(each, select.POLLIN)

    def run(self) -> NoReturn:
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._woken:
                    os.read(self._woken, 512)
                    self._bury()
                elif descriptor == self._control.fileno():
                    self._bear()
                elif descriptor in self._sockets:
                    # A word on a child's socket, or the judge's end closed: either way it is to go.
                    self._poll.unregister(descriptor)
                    os.kill(self._sockets[descriptor], signal.SIGKILL)  # not yet waited for, so it is the child's

    def _bear(self) -> None:
        descriptors: list[int] = []
        message, ancillary, _, _ = self._control.recvmsg(16, _socket.CMSG_SPACE(_SCM_RIGHTS_BYTES))
        for _, _, data in ancillary:
            descriptors += [int.from_bytes(data[at : at + 4], sys.byteorder) for at in range(0, len(data) - 3, 4)]
        if not message:
            os._exit(0)
        requests, answers, socket = descriptors
        own_number = os.getpid()
        try:
            number = os.fork()
        except OSError:
            number = -1
        if number == 0:
            try:
                self._become(requests, answers, socket)
                session.main(own_number)
            finally:
                os._exit(1)
        os.close(requests)
        os.close(answers)
        if number < 0:
            os.close(socket)  # nothing came from it: the judge knows
            return
        self._sockets[socket] = number
        self._poll.register(socket, select.POLLIN)

    def _become(self, requests: int, answers: int, socket: int) -> None:
        """In the child: it dies with the nursery, and nothing of the nursery's stays open."""
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.write(socket, b"B")
        os.dup2(requests, 0)
        os.dup2(answers, 1)
        # Not up to SC_OPEN_MAX: before Linux 5.9 those are a million calls.
        highest = max(requests, answers, socket, self._woken, self._waker, self._control.detach(), *self._sockets, 16)
        os.closerange(3, highest + 1)
        gc.unfreeze()

    def _bury(self) -> None:
        while self._sockets:
            try:
                number, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if number == 0:
                return
            for socket in [each for each, child in self._sockets.items() if child == number]:
                del self._sockets[socket]
                with contextlib.suppress(KeyError):
                    self._poll.unregister(socket)
                with contextlib.suppress(OSError):  # the judge's end may be closed
                    os.write(socket, status.to_bytes(4, "big"))
                os.close(socket)

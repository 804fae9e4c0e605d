"""The child's life: lock itself in, run the candidate's program, answer calls until killed.

Nothing in this process is trusted once the candidate's program runs; all it can do from then on is to answer.
"""

from __future__ import annotations

import os
import resource
import sys

from . import answering, frames, kernel, landlock, seccomp, tester, values

TYPE_CHECKING = False  # typing.TYPE_CHECKING without importing typing, which costs every child 9 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MODULE = "candidate"
_SIGKILL = 9  # importing signal pulls enum and re in
_MESSAGE_CHARACTERS = 300


def main(parent: int) -> None:
    """Talk on what were stdin and stdout; the candidate gets /dev/null for all three. `parent` must be alive."""
    requests, answers = os.dup(0), os.dup(1)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    nonce, charter = _receive(requests)
    try:
        report = _confine(charter, parent)
    except Exception as error:  # noqa: BLE001 the judge is told, whatever it is
        _send(answers, nonce, frames.REFUSED, values.encode(f"{type(error).__name__}: {error}"))
        return
    os.dup2(null, 2)
    os.close(null)
    _forget_ourselves()
    _send(answers, nonce, frames.READY, values.encode(report))
    limit = int(charter["output_bytes"])

    nonce, asked, payload = _receive_frame(requests)
    if asked == frames.TESTS:
        tester.run(nonce, values.decode(payload), _receiver(requests), _sender(answers))
    if asked == frames.SUBJECT:
        kind, payload, namespace = _run(values.decode(payload))
        _send(answers, nonce, kind, payload)
        answering.serve(namespace, limit, _receiver(requests), _sender(answers))
    program, entry_point = values.decode(payload)
    kind, payload, function = _load(program, entry_point)
    while True:
        _send(answers, nonce, kind, payload)
        nonce, arguments = _receive(requests)
        kind, payload = _call(function, arguments, limit)


def _confine(charter: dict[str, Any], parent: int) -> str:
    """Lock this process in as the charter says; whatever fails raises."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent:
        raise RuntimeError("the judge died before its child was up")
    os.umask(0o077)
    os.chdir(charter["own_folder"])
    os.environ["HOME"] = os.environ["TMPDIR"] = charter["own_folder"]
    for name, (soft, hard) in charter["rlimits"].items():
        number = getattr(resource, name)
        ceiling = resource.getrlimit(number)[1]
        capped = ceiling != resource.RLIM_INFINITY
        resource.setrlimit(number, (min(soft, ceiling), min(hard, ceiling)) if capped else (soft, hard))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.drop_capabilities()  # dropped by the nursery already; nothing here relies on that
    report = "seccomp"
    if charter["landlock"]:
        version = landlock.restrict(charter["readable"], ["/dev/null"], charter["own_folder"])
        report = f"Landlock ABI {version}, seccomp"
    seccomp.install(seccomp.build(os.uname().machine, os.getpid()))
    return report


def _forget_ourselves() -> None:
    """So that an honest program's `import values` fails here as it does elsewhere. Tidiness, not protection."""
    for name in [each for each in sys.modules if each.split(".")[0] == "inside"]:
        del sys.modules[name]
    sys.argv = [_MODULE]


def _run(program: str) -> tuple[bytes, bytes, dict[str, Any]]:
    module = type(sys)(_MODULE)
    sys.modules[_MODULE] = module  # dataclasses and pickle look a class's module up
    try:
        code = compile(program, f"<{_MODULE}>", "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102 what this process is for
    except BaseException as error:  # noqa: BLE001 SystemExit too is an answer
        return frames.RAISED, _describe(error), {}
    return frames.LOADED, b"", module.__dict__


def _load(program: str, entry_point: str) -> tuple[bytes, bytes, Callable[..., Any] | None]:
    kind, payload, namespace = _run(program)
    if kind == frames.RAISED:
        return kind, payload, None
    function = namespace.get(entry_point)
    if not callable(function):
        found = "nothing" if function is None else f"a {type(function).__name__}"
        return frames.NO_FUNCTION, values.encode(found), None
    return kind, payload, function


def _call(function: Callable[..., Any] | None, arguments: tuple[Any, ...], limit: int) -> tuple[bytes, bytes]:
    if function is None:
        return frames.NO_FUNCTION, values.encode("nothing")
    try:
        answer = function(*arguments)
    except BaseException as error:  # noqa: BLE001 SystemExit too is an answer
        return frames.RAISED, _describe(error)
    try:
        return frames.ANSWER, values.encode(answer, limit)
    except values.UnsendableError as error:
        return frames.UNSENDABLE, values.encode(str(error)[:_MESSAGE_CHARACTERS])
    except BaseException as error:  # noqa: BLE001 SystemExit too is an answer
        return frames.RAISED, _describe(error)


def _describe(error: BaseException) -> bytes:
    try:
        message = str(error)[:_MESSAGE_CHARACTERS]
    except BaseException:  # noqa: BLE001 its __str__ is the candidate's
        message = ""
    name = type(error).__name__[:_MESSAGE_CHARACTERS]
    return values.encode((name, message, isinstance(error, MemoryError)))


def _receive(requests: int) -> tuple[bytes, Any]:
    nonce, _, payload = _receive_frame(requests)
    return nonce, values.decode(payload)


def _receive_frame(requests: int) -> tuple[bytes, bytes, bytes]:
    length, nonce, kind = frames.unpack_head(_read(requests, frames.HEAD_BYTES))
    return nonce, kind, _read(requests, length)


def _receiver(requests: int) -> Callable[[], tuple[bytes, bytes]]:
    def receive() -> tuple[bytes, bytes]:
        nonce, _, payload = _receive_frame(requests)
        return nonce, payload

    return receive


def _sender(answers: int) -> Callable[[bytes, bytes, bytes], None]:
    def send(nonce: bytes, kind: bytes, payload: bytes) -> None:
        _send(answers, nonce, kind, payload)

    return send


def _read(requests: int, wanted: int) -> bytes:
    parts = []
    while wanted:
        part = os.read(requests, wanted)
        if not part:
            os._exit(0)  # the judge is done, or gone
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)


def _send(answers: int, nonce: bytes, kind: bytes, payload: bytes) -> None:
    frame = memoryview(frames.pack(nonce, kind, payload))
    while frame:
        frame = frame[os.write(answers, frame) :]

"""Find the strongest backend that holds *on this machine*, by trying: installed is not the same as working."""

from __future__ import annotations

import os
import platform
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pkt_bench.errors import UnavailableError

from . import nurseries
from .backends import DEFAULT_BACKENDS, Backend
from .judge import Case, judge_in
from .limits import Limits
from .trial import try_in
from .verdict import Reason, Verdict

_DEFAULT_LIMITS = Limits()
_LIMITS = Limits(wall_seconds=5.0, cpu_seconds=2.0, memory_bytes=128 * 1024**2, file_bytes=1024**2, output_bytes=65536)


@dataclass(frozen=True)
class Sandbox:
    """A backend that passed its self-test here."""

    backend: Backend
    version: str
    """What it stands on, e.g. `Landlock ABI 7`."""
    proof: str
    """How many of the self-test's probes held, e.g. `10/10`."""
    seconds: float
    """What the self-test took."""

    @property
    def name(self) -> str:
        """`bwrap` or `lockdown`; what a row's sandbox column holds."""
        return self.backend.name

    def describe(self) -> dict[str, str]:
        """What a verdict of it depends on, for a row's environment."""
        return {
            "sandbox": self.name,
            "sandbox_version": self.version,
            "sandbox_proof": self.proof,
            "sandbox_kernel": os.uname().release,
            "sandbox_python": platform.python_version(),
        }

    def judge(self, program: str, entry_point: str, cases: Sequence[Case], limits: Limits = _DEFAULT_LIMITS) -> Verdict:
        """`judge_code` in this very sandbox."""
        return judge_in(self.backend, program, entry_point, cases, limits)

    def judge_tests(
        self,
        program: str,
        tests: str | Sequence[str],
        *,
        entry_point: str | Sequence[str] | None = None,
        prelude: str = "",
        limits: Limits = _DEFAULT_LIMITS,
    ) -> Verdict:
        """`judge_tests` in this very sandbox."""
        names = (entry_point,) if isinstance(entry_point, str) else tuple(entry_point or ())
        source = tests if isinstance(tests, str) else "\n".join(tests)
        return try_in(self.backend, program, source, names, prelude, limits)


@dataclass(frozen=True)
class Unfit:
    """Why one backend will not do, and how to get it."""

    backend: str
    why: str
    remedy: str


@dataclass(frozen=True)
class Refusal:
    """No backend holds here, so no candidate is run here."""

    backends: tuple[Unfit, ...]

    def __str__(self) -> str:
        lines = ["no sandbox for model-written code works on this machine:"]
        width = max((len(each.backend) for each in self.backends), default=0)
        for each in self.backends:
            lines.append(f"  {each.backend:{width}}  {each.why}")
            lines.append(f"  {'':{width}}  to get it: {each.remedy}")
        if not self.backends:
            lines.append("  none was offered to choose from")
        lines.append("Suites whose answers are programs are skipped; all others run.")
        return "\n".join(lines)


class NoSandboxError(UnavailableError):
    """`judge_code` was called where `probe()` refuses; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


_lock = threading.Lock()
_cached: list[Sandbox | Refusal] = []


def probe(backends: Sequence[Backend] | None = None) -> Sandbox | Refusal:
    """The first of `backends` that passes its self-test (below 2 s), or why none does.

    Without `backends`: bwrap, then lockdown, found once per process. Call it where cells are planned, and
    skip code suites with `str(refusal)` as the reason.
    """
    if backends is not None:
        return _probe(backends)
    with _lock:
        if not _cached:
            _cached.append(_probe(DEFAULT_BACKENDS))
        return _cached[0]


def _probe(backends: Sequence[Backend]) -> Sandbox | Refusal:
    unfit = []
    for backend in backends:
        why = backend.unavailable()
        if why is None:
            started = time.monotonic()
            try:
                held, failures = self_test(backend)
            finally:
                nurseries.close(backend)
            if not failures:
                return Sandbox(backend, backend.version(), f"{held}/{held}", time.monotonic() - started)
            why = f"does not hold here: {'; '.join(failures)}"
        unfit.append(Unfit(backend.name, why, backend.remedy))
    return Refusal(tuple(unfit))


@dataclass(frozen=True)
class _Probe:
    claim: str
    program: str
    reasons: tuple[Reason, ...] = ("passed",)
    argument: str | int = 0
    limits: Limits = _LIMITS
    intact: Callable[[], bool] = lambda: True


def self_test(backend: Backend) -> tuple[int, list[str]]:
    """How many probes held, and a sentence for each that did not. Stops where nothing runs at all."""
    held, failures = 0, []
    with _targets() as probes:
        for each in probes:
            verdict = judge_in(backend, each.program, "f", [((each.argument,), "held")], each.limits)
            if verdict.reason in each.reasons and each.intact():
                held += 1
                continue
            failures.append(f"{each.claim}: no ({verdict.reason}: {verdict.detail})")
            if not held:
                break
    return held, failures


_ATTEMPT = """
def f(x):
    try:
        {attack}
    except OSError:
        return "held"
    return "escaped"
"""


@contextmanager
def _targets() -> Iterator[list[_Probe]]:
    """The probes, aimed at a secret file, a folder and a listener that exist for them only."""
    with tempfile.TemporaryDirectory(prefix="pkt-bench-self-test-") as folder, socket.socket() as listener:
        secret, outside = Path(folder, "secret"), Path(folder, "written")
        secret.write_text("secret")
        secret.chmod(0o640)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        listener.setblocking(False)

        def nobody_called() -> bool:
            try:
                listener.accept()[0].close()
            except BlockingIOError:
                return True
            return False

        def attempt(attack: str) -> str:
            return _ATTEMPT.format(attack=attack)

        dial = "import socket; socket.create_connection(('127.0.0.1', x), 1)"
        fork = "import os; os.fork() or os._exit(0)"
        yield [
            _Probe("a right answer passes", "def f(x): return 'held'"),
            _Probe("a wrong answer fails", "def f(x): return 'wrong'", ("wrong-answer",)),
            _Probe("a secret file cannot be read", attempt("open(x).read()"), argument=str(secret)),
            _Probe(
                "nothing can be written outside",
                attempt("open(x, 'w').close()"),
                argument=str(outside),
                intact=lambda: not outside.exists(),
            ),
            _Probe(
                "a file's mode cannot be changed",
                attempt("import os; os.chmod(x, 0o666)"),
                argument=str(secret),
                intact=lambda: secret.stat().st_mode & 0o777 == 0o640,
            ),
            _Probe(
                "a listener on 127.0.0.1 cannot be reached",
                attempt(dial),
                argument=listener.getsockname()[1],
                intact=nobody_called,
            ),
            _Probe("no process can be started", attempt(fork)),
            _Probe("the parent cannot be signalled", attempt("import os; os.kill(os.getppid(), 0)")),
            _Probe("memory is limited", "def f(x):\n    bytearray(1 << 28)\n    return 'held'", ("memory",)),
            _Probe(
                "an endless loop is ended",
                "def f(x):\n    while True: pass",
                ("timeout",),
                limits=replace(_LIMITS, wall_seconds=0.2),
            ),
        ]

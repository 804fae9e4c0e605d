"""Judging programs that a model wrote, without letting them do anything but answer.

    verdict = judge_code("def f(x): return x + 1", "f", [((1,), 2), ((41,), 42)])
    verdict.passed, verdict.reason, verdict.detail, verdict.seconds, verdict.backend

    found = probe()                     # once, where cells are planned; cached
    if isinstance(found, Refusal):      # skip code suites with str(found) as the reason

**How.** Two processes. A child, started afresh for every program, locks itself in before it reads the
program, runs it, and answers one call at a time with plain literals. The judge, on this side, holds the
expected values and compares. It never sends them, never runs a candidate, and never builds objects from an
answer in order to compare it (`inside/values.py`). So printing "passed", exiting with 0, an object that
equals everything, walking frames, patching builtins or writing to the result channel end as a wrong answer or
worse: the only way to pass is to send the right values.

**Promised**, where `probe()` gives a Sandbox (each is a probe of the self-test or a test):

* files: none can be read but the interpreter's own (standard library, shared libraries, time zones) and those
  in the candidate's temporary folder; none can be written, removed, linked, or changed in mode, owner or
  times outside it. The folder is flat (no subfolders), limited in bytes, and removed.
* network: no socket but a stream pair within the process. Processes: no second one, no execve, no signal to
  another process, no ptrace. Threads are allowed and counted.
* wall time, processor time, memory, file size, size of an answer: limited (`Limits`). Output is thrown away.
* environment: written from scratch; no file descriptor but the two pipes of the conversation.
* nothing survives: the child dies with its judge, even where the judge is killed.
* the same program gets the same verdict: hashes of strings are seeded with 0 (what it draws at random is its
  own).

**Not promised**: that the kernel has no holes; that a candidate cannot learn a file's name, size or times by
stat, the kernel's version or the time of day; that processor caches tell nothing; that a candidate uses
*less* than its limits. A verdict says what the calls returned, not how: a program that guesses right passes.
Thread and folder limits are checked every 20 ms and may be overshot for that long; what is deleted but still
open (32 files at most) is not counted.

**Comparison**: Python's `==` between plain values, containers by their kind: `True == 1 == 1.0` and a set
equals a frozenset, but a list never equals a tuple. nan matches nan. Subclasses (Counter, defaultdict,
namedtuple, IntEnum) count as the plain contents of their base.

**Files**: `judge` (the questions), `conversation` (one child process), `backends` (bwrap, lockdown), `probe`
(the self-test), `interpreter` (which files Python needs), `limits`, `verdict`; `inside/` is what the child
runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from .judge import Case
from .limits import Limits
from .probe import NoSandboxError, Refusal, Sandbox, Unfit, probe
from .trial import try_in
from .verdict import REASONS, Reason, Verdict

__all__ = [
    "REASONS",
    "Case",
    "Limits",
    "NoSandboxError",
    "Reason",
    "Refusal",
    "Sandbox",
    "Unfit",
    "Verdict",
    "judge_code",
    "judge_tests",
    "probe",
]


_DEFAULT_LIMITS = Limits()


def judge_code(program: str, entry_point: str, cases: Sequence[Case], *, limits: Limits = _DEFAULT_LIMITS) -> Verdict:
    """Run `program` in the strongest sandbox of this machine and call its `entry_point` once for every case.

    A case is (tuple of positional arguments, expected value), both plain literals. Passed means that every
    call returned its expected value; judging stops at the first that did not. All calls share one process, as
    the asserts of a test file would.

    Raises NoSandboxError where none works, and ValueError for cases that are empty or not plain literals. A
    verdict of `sandbox-error` (`verdict.scored` is False) says nothing about the program: do not count it as
    a failure.
    """
    found = probe()
    if isinstance(found, Refusal):
        raise NoSandboxError(found)
    verdict = found.judge(program, entry_point, cases, limits)
    # The machine may have been out of processes or memory for a moment; a candidate cannot bring this about.
    return verdict if verdict.scored else found.judge(program, entry_point, cases, limits)


def judge_tests(
    program: str,
    tests: str | Sequence[str],
    *,
    entry_point: str | Sequence[str] | None = None,
    prelude: str = "",
    limits: Limits = _DEFAULT_LIMITS,
) -> Verdict:
    r"""Run `program` in the strongest sandbox of this machine and try it by a test program in another.

    `tests` is Python source, or the lines of it: `row["test"] + f"\ncheck({entry_point})"` of a HumanEval row,
    `[row["test_setup_code"], *row["test_list"]]` of an MBPP row. They run as they would after the program, in the
    same names, except that the program is elsewhere: its names are proxies.

    `entry_point` names what is under test, one or several; without it that is what the asserts call and the tests do
    not define. `prelude` is the code of the prompt, whose functions the tests may call.

    Passed means that the tests came to their end. Raises NoSandboxError where no sandbox works, ValueError for tests
    or a prelude that do not compile or run, or that never ask the program anything. A verdict of `sandbox-error`
    (`verdict.scored` is False) says nothing about the program: do not count it as a failure.
    """
    found = probe()
    if isinstance(found, Refusal):
        raise NoSandboxError(found)
    names = (entry_point,) if isinstance(entry_point, str) else tuple(entry_point or ())
    source = tests if isinstance(tests, str) else "\n".join(tests)
    verdict = try_in(found.backend, program, source, names, prelude, limits)
    return verdict if verdict.scored else try_in(found.backend, program, source, names, prelude, limits)

"""Judging programs that a model wrote, without letting them do anything but answer.

    verdict = judge_code("def f(x): return x + 1", "f", [((1,), 2), ((41,), 42)])     # by cases
    verdict = judge_tests("def f(x): return x + 1", "assert f(1) == 2")               # by a test program
    verdict.passed, verdict.reason, verdict.detail, verdict.seconds, verdict.backend

    found = probe()                     # once, where cells are planned; cached
    if isinstance(found, Refusal):      # skip code suites with str(found) as the reason
    describe()                          # for the row: which sandbox, its version, how many probes held

**By cases.** Two processes. A child, new for every program, locks itself in before it reads the program, runs it, and
answers one call at a time with plain literals. The judge, on this side, holds the expected values and compares. It
never sends them, never runs a candidate, and never builds objects from an answer in order to compare it
(`inside/values.py`). So printing "passed", exiting with 0, an object that equals everything, walking frames, patching
builtins or writing to the result channel end as a wrong answer or worse: the only way to pass is to send the right
values.

**By a test program.** Three processes: the candidate in a child, the tests in another, confined alike (they are data of
a benchmark), and the judge carries between them. In the tests, the names of the program are proxies. What they see is
what they would see after the program in one interpreter, with these differences, all of them on purpose:

* a plain value (`inside/crossing.py`) crosses by content and is compared by Python in the tests; one list met twice
  arrives as one, and what a call did to its arguments (lists, dicts, sets) is done to those of the tests, before an
  exception as well. Objects kept from an earlier call and changed later are not followed. A subclass of a plain class
  arrives as its base. Of a set the order may differ.
* any other value (a generator, an object of the program's class) stays where it is; the tests hold a proxy that can be
  called, iterated, indexed, asked for its length, text or attributes, each time by asking the candidate's child. Two
  proxies are never the same object.
* what would hand an expected value to the program's own code, or let that decide (its `__eq__`, `__lt__`, `__sub__`,
  `__contains__`, isinstance with its class), ends the trial with the reason `unsplit`: no pass, and not shown to be
  wrong either. So does a value that cannot cross: over `output_bytes`, nested over 100 deep, or an object or function
  of the tests' own as an argument. `inside/values.py` has the bounds.
* names other than the entry points only serve to build arguments (`f([Pair(1, 2)])`): what they make cannot be read, or
  a program could supply what it is compared with. A name that stands for a module or a function of the standard
  library is the real one. A builtin's name means the builtin, unless it is the entry point's.
* functions of the `prelude` are run with the tests; its classes are the program's, whose objects have to be its own.

What the tests themselves give away (`assert answer.equals(17)`) is given away.

**Children** are forked from a process that has everything loaded and runs no candidate (`inside/nursery.py`); it is
started when first needed and ends with the judge.

**Promised**, where `probe()` gives a Sandbox (each is a probe of the self-test or a test), for candidates and tests:

* files: none can be read but the interpreter's own (standard library, shared libraries, time zones) and those
  in the candidate's temporary folder; none can be written, removed, linked, or changed in mode, owner or
  times outside it. The folder is flat (no subfolders), limited in bytes, and removed.
* network: no socket but a stream pair within the process. Processes: no second one, no execve, no signal to
  another process, no ptrace. Threads are allowed and counted.
* wall time, processor time, memory, file size, size of an answer: limited (`Limits`). Output is thrown away.
* environment: written from scratch; no file descriptor but the two pipes of the conversation.
* nothing survives: a child dies with its judge, even where the judge is killed. What a killed judge leaves in the
  temporary folder is removed by the next one there.
* one answer neither sees nor influences another: nothing that a child can write to outlives it.
* the same program gets the same verdict: hashes of strings are seeded with 0 (what it draws at random is its
  own).

**Not promised**: that the kernel has no holes; that a candidate cannot learn a file's name, size or times by
stat, the kernel's version or the time of day; that processor caches tell nothing; that a candidate uses
*less* than its limits. A verdict says what the calls returned, not how: a program that guesses right passes.
Where a kernel has no Landlock (bwrap only), the folder of another answer that is judged at the same time is hidden by
an unlisted, random name alone. Thread and folder limits are checked every 20 ms and may be overshot for that long; what
is deleted but still open (32 files at most) is not counted.

**Comparison by cases**: Python's `==` between plain values, containers by their kind: `True == 1 == 1.0` and a set
equals a frozenset, but a list never equals a tuple. nan matches nan. Subclasses (Counter, defaultdict,
namedtuple, IntEnum) count as the plain contents of their base. **By tests**: whatever Python says there; nan equals
nothing.

**Files**: `judge` (by cases), `trial` (by a test program), `conversation` (one child), `nurseries` and `folders` (where
children come from and live), `backends` (bwrap, lockdown), `probe` (the self-test), `interpreter` (which files Python
needs), `limits`, `verdict`; `inside/` is what runs inside.
"""

from __future__ import annotations

from collections.abc import Sequence

from .judge import Case
from .limits import Limits
from .probe import NoSandboxError, Refusal, Sandbox, Unfit, probe
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
    "describe",
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

    `tests` is Python source, or the lines of it: `row["test"] + f"\ncheck({entry_point})"` of a HumanEval row, whose
    `program` is prompt + completion and whose `prelude` is the prompt; `[row["test_setup_code"], *row["test_list"]]` of
    an MBPP row. They run as they would after the program; the module's docstring lists what differs.

    `entry_point` names what is under test, one or several; without it that is what the asserts call and the tests do
    not define (`inside/naming.py`). `prelude` is the code of the prompt, whose functions the tests may call.

    Passed means that the tests came to their end. Raises NoSandboxError where no sandbox works; ValueError for tests or
    a prelude that do not compile or run, or that never ask the program anything. A verdict of `unsplit` is no pass, and
    worth counting apart. A verdict of `sandbox-error` (`verdict.scored` is False) says nothing about the program: do
    not count it as a failure.
    """
    found = probe()
    if isinstance(found, Refusal):
        raise NoSandboxError(found)
    for _ in range(2):  # as in judge_code
        verdict = found.judge_tests(program, tests, entry_point=entry_point, prelude=prelude, limits=limits)
        if verdict.scored:
            break
    return verdict


def describe() -> dict[str, str]:
    """The sandbox that judges on this machine, for a row's environment. Raises NoSandboxError where there is none."""
    found = probe()
    if isinstance(found, Refusal):
        raise NoSandboxError(found)
    return found.describe()

"""Try one program by one test program: the candidate in one child, the tests in another, and the judge in between.

The judge carries the tests' questions to the candidate and its answers back, as bytes that it does not read. What the
answers are compared with, and the comparison, stay with the tests.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import cast

from .backends import Backend
from .conversation import Child, EndedError
from .inside import frames, values
from .limits import Limits
from .verdict import REASONS, Reason, Verdict, printable

# Where the tests themselves hold a large value, that is not the candidate's to be limited in.
_LEAST_OUTPUT_OF_TESTS = 16 * 1024**2


def try_in(
    backend: Backend, program: str, tests: str, entry_points: Sequence[str], prelude: str, limits: Limits
) -> Verdict:
    """`judge_tests` in a sandbox of `backend`. Raises ValueError for tests that cannot judge anything."""
    started = time.monotonic()
    try:
        with ExitStack() as children:
            candidate = children.enter_context(Child(backend, limits))
            wider = replace(limits, output_bytes=max(limits.output_bytes, _LEAST_OUTPUT_OF_TESTS))
            tester = children.enter_context(Child(backend, wider))
            candidate.begin_confining()
            tester.begin_confining()
            candidate.end_confining()
            tester.end_confining()
            tester.watch(candidate)
            reason, detail = _carry(candidate, tester, (program, tests, tuple(entry_points), prelude))
    except EndedError as end:
        reason, detail = end.reason, end.detail
    except OSError as error:
        reason, detail = "sandbox-error", f"no child, or not to its end: {error}"
    seconds = time.monotonic() - started
    return Verdict(reason == "passed", cast("Reason", reason), printable(detail), seconds, backend.name)


def _carry(candidate: Child, tester: Child, given: tuple[str, str, tuple[str, ...], str]) -> tuple[str, str]:
    """(reason, detail); raises EndedError when a child came to its end, ValueError when the tests are at fault."""
    program, tests, entry_points, prelude = given
    try:
        subject, trial = values.encode(program), values.encode((prelude, tests, entry_points))
    except values.UnsendableError as error:
        raise ValueError(f"judge_tests: the program or the tests cannot be sent: {error}") from None
    candidate.send(frames.SUBJECT, subject)
    tester.send(frames.TESTS, trial)
    kind, payload = tester.receive()
    if kind == frames.VERDICT:
        _, detail, _ = values.decode(payload)
        raise ValueError(f"judge_tests: {printable(str(detail))}")
    kind, payload = candidate.receive()
    if kind != frames.LOADED:
        return _not_loaded(kind, payload)
    tester.send(frames.BEGIN, b"")
    while True:
        kind, payload = tester.receive()
        if kind != frames.ASK:
            return _ended(kind, payload)
        candidate.send(frames.DO, payload)
        kind, payload = candidate.receive()
        if kind != frames.ANSWER:
            raise EndedError("forged", "an answer of a kind that was not asked for")
        tester.send(frames.ANSWERED, payload)


def _not_loaded(kind: bytes, payload: bytes) -> tuple[str, str]:
    try:
        said = values.decode(payload)
    except values.MalformedError:
        said = None
    if kind != frames.RAISED or not isinstance(said, tuple) or len(said) != 3:
        return "forged", "an answer of a kind that was not asked for"
    name, message, out_of_memory = said
    return ("memory" if out_of_memory is True else "exception"), f"the program: {name}: {message}"


def _ended(kind: bytes, payload: bytes) -> tuple[str, str]:
    if kind != frames.VERDICT:
        raise EndedError("sandbox-error", "the tests' child said something that it never says")
    reason, detail, questions = values.decode(payload)
    if reason == "passed" and not questions:
        raise ValueError(
            "judge_tests: the tests came to their end and never asked the program anything, so any program would "
            "pass; a HumanEval row needs its `check(entry_point)` after `test`"
        )
    if reason not in REASONS:
        raise EndedError("sandbox-error", "the tests' child gave a reason that there is not")
    return str(reason), str(detail)

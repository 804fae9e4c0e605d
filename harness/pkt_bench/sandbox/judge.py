"""Judge one program in one sandbox: the expected values and the comparison never leave this side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

from .backends import Backend
from .conversation import Child, EndedError
from .inside import frames, values
from .limits import Limits
from .verdict import Reason, Verdict, printable

Case = tuple[tuple[Any, ...], Any]
_SHOWN_BYTES = 4096


def judge_in(backend: Backend, program: str, entry_point: str, cases: Sequence[Case], limits: Limits) -> Verdict:
    """Start a child of `backend`, have it run `program`, call `entry_point` once per case, compare the answers.

    Cases are (positional arguments, expected value), both plain literals; raises ValueError, before anything
    is started, for one that is not, or for no cases at all.
    """
    expected = _check_cases(program, entry_point, cases)
    started = time.monotonic()
    try:
        with Child(backend, limits) as child:
            child.confine()
            _put_questions(child, program, entry_point, cases, expected)
    except EndedError as end:
        reason, detail = end.reason, end.detail
    except OSError as error:
        reason, detail = "sandbox-error", f"no child, or not to its end: {error}"
    else:
        reason, detail = "passed", ""
    seconds = time.monotonic() - started
    return Verdict(reason == "passed", cast("Reason", reason), printable(detail), seconds, backend.name)


def _check_cases(program: str, entry_point: str, cases: Sequence[Case]) -> list[bytes]:
    """The canonical bytes of each expected value."""
    if not cases:
        raise ValueError(f"judge_code: no cases for {entry_point!r}; a program that is asked nothing would pass")
    try:
        values.encode((program, entry_point))
    except (values.UnsendableError, TypeError) as error:
        raise ValueError(f"judge_code: the program or the name {entry_point!r} cannot be sent: {error}") from None
    expected = []
    for number, (arguments, value) in enumerate(cases):
        if not isinstance(arguments, tuple):
            given = type(arguments).__name__
            raise ValueError(  # noqa: TRY004 one error type for cases that cannot be asked
                f"judge_code: the arguments of case {number} are a {given}; a tuple is needed, "
                "one item per positional argument"
            )
        try:
            values.encode(arguments)
            expected.append(values.canonical(values.encode(value)))
        except (values.UnsendableError, values.MalformedError) as error:
            raise ValueError(
                f"judge_code: case {number} of {entry_point!r} is not made of plain literals (None, bool, int, "
                f"float, complex, str, bytes, list, tuple, dict, set, frozenset): {error}"
            ) from None
    return expected


def _put_questions(
    child: Child, program: str, entry_point: str, cases: Sequence[Case], expected: Sequence[bytes]
) -> None:
    """Returns when every answer is right; raises EndedError at the first that is not."""
    _accept(*child.ask(frames.PROGRAM, (program, entry_point)), frames.LOADED, f"{entry_point!r}")
    for number, ((arguments, value), form) in enumerate(zip(cases, expected, strict=True)):
        payload = _accept(*child.ask(frames.CALL, arguments), frames.ANSWER, f"case {number}")
        try:
            same = values.canonical(payload) == form
        except values.MalformedError as error:
            raise EndedError("forged", f"case {number}: bytes that are no value: {error}") from None
        if not same:
            shown = _show(payload)
            raise EndedError(
                "wrong-answer", f"case {number}: answered {shown}, expected {printable(_repr(value), 120)}"
            )


def _accept(kind: bytes, payload: bytes, wanted: bytes, who: str) -> bytes:
    """The payload when it is what was asked for; raises EndedError with what happened instead."""
    if kind == wanted:
        return payload
    said = _decode_small(payload)
    if kind == frames.RAISED and isinstance(said, tuple) and len(said) == 3:
        name, message, out_of_memory = said
        raise EndedError("memory" if out_of_memory is True else "exception", f"{who}: {name}: {message}")
    if kind == frames.NO_FUNCTION:
        raise EndedError("no-function", f"the program leaves {said} under the name {who}")
    if kind == frames.UNSENDABLE:
        raise EndedError("wrong-answer", f"{who}: answered something that is not a plain literal: {said}")
    raise EndedError("forged", f"{who}: an answer of a kind that was not asked for")


def _decode_small(payload: bytes) -> object:
    if len(payload) > _SHOWN_BYTES:
        return "(too long to show)"
    try:
        return values.decode(payload)
    except values.MalformedError:
        return "(unreadable)"


def _show(payload: bytes) -> str:
    return printable(_repr(_decode_small(payload)), 120)


def _repr(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # an int of more digits than Python prints
        return "(too long to show)"

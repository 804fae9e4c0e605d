"""What came of judging one candidate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Reason = Literal[
    "passed",
    "wrong-answer",  # a call returned another value, or nothing that is a plain literal
    "exception",  # the program or a call raised, SystemExit included
    "timeout",  # wall clock or processor time
    "memory",  # MemoryError
    "no-function",  # the program ran and left nothing callable under the entry point's name
    "killed",  # the process ended, by itself, by a signal, or by us for going over another limit
    "forged",  # bytes on the result channel that are no answer to the question asked
    "unsplit",  # the tests need what two processes cannot have (`judge_tests`): no pass, and no wrong answer shown
    "sandbox-error",  # the child could not be started or locked in: says nothing about the candidate
]
REASONS: tuple[Reason, ...] = get_args(Reason)


@dataclass(frozen=True)
class Verdict:
    """Whether a program answered every case rightly, why not, and what it took.

    `detail` is one printable line for humans, empty when passed. `seconds` is the wall time of the whole
    judgement, starting the child included. `backend` names the sandbox that held the candidate.
    """

    passed: bool
    reason: Reason
    detail: str
    seconds: float
    backend: str

    @property
    def scored(self) -> bool:
        """False when the sandbox, not the candidate, failed: such a verdict must not count as a wrong answer."""
        return self.reason != "sandbox-error"


def printable(text: str, longest: int = 300) -> str:
    """One line without control characters (a candidate's text may carry terminal escapes), cut to `longest`."""
    line = "".join(each if each.isprintable() else "?" for each in text[: longest + 1])
    return line if len(line) <= longest else line[: longest - 3] + "..."

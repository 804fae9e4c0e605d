"""What can go wrong, one class per exit code.

    PktBenchError
    |- RequestError       2  the request made no sense: unknown name, bad value, nothing selected
    |- UnavailableError  3  this machine cannot do it: no data, no sandbox, a broken plugin asked for
    |- StorageError       4  the run folder cannot be written
    |- IntegrityError     5  weights or stored rows are not what they were
    |- ContractError      1  a plugin broke a promise; fails its cell, never the run
    |- DivergedError      1  numbers left the finite range; the cell ends as diverged
    `- OverBudgetError    1  a method needs more than the sweep allows; the cell ends as over-budget

A message says who, what was given, what was allowed and what to do next, and is raised before the expensive step.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Literal


class PktBenchError(Exception):
    """Anything pkt-bench says itself; `exit_code` is what the command line ends with."""

    exit_code = 1


class RequestError(PktBenchError):
    """The request made no sense: usage, configuration, unknown names, nothing selected."""

    exit_code = 2


class UnavailableError(PktBenchError):
    """This machine cannot do what was asked: missing data or extra, no sandbox, a broken plugin asked for."""

    exit_code = 3


class StorageError(PktBenchError):
    """The run folder cannot be written or read."""

    exit_code = 4


class IntegrityError(PktBenchError):
    """Weights or stored rows are not what they were, or not what they claim to be."""

    exit_code = 5


Promise = Literal["", "teacher", "shapes", "returns", "selection"]
"""Which promise of a method a `ContractError` is about, where it is one that `plugins check` reports on by itself."""


class ContractError(PktBenchError):
    """A plugin broke a promise of its hook. The cell fails with this as its reason; the run goes on."""

    def __init__(self, text: str, promise: Promise = "") -> None:
        super().__init__(text)
        self.promise = promise


class DivergedError(PktBenchError):
    """A loss, a gradient or a weight is NaN or infinite. The cell ends as `diverged`."""


class OverBudgetError(PktBenchError):
    """A method needs more than `--budget` allows every method of the sweep. The cell ends as `over-budget`."""


class Interrupted(BaseException):
    """The run was asked to stop and has stopped; `exit_code` by the signal that asked."""

    def __init__(self, exit_code: int = 130) -> None:
        super().__init__(f"interrupted ({exit_code})")
        self.exit_code = exit_code


def together(texts: Iterable[str]) -> str:
    """Several complaints as one text: each once, numbered, the lines below it indented with it. One stays as it is."""
    said = list(dict.fromkeys(texts))
    if len(said) == 1:
        return said[0]
    indent = " " * (len(str(len(said))) + 2)
    lines = [f"  {number}. " + text.replace("\n", f"\n{indent}") for number, text in enumerate(said, 1)]
    return f"{len(said)} problems, and nothing was started:\n" + "\n".join(lines)


def sentence(text: str) -> str:
    """A text with a full stop behind it, unless it ends as sentences do."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def unknown_name(kind: str, name: str, known: Iterable[str]) -> RequestError:
    """The error for a name nobody offers: the nearest one first, then all there are."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    listing = ", ".join(names) if names else "none"
    return RequestError(f"no {kind} is called '{name}'.{hint}\n  Installed: {listing}")

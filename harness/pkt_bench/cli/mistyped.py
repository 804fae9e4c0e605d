"""What is said to a command, a flag or an environment variable that nobody knows: the nearest that there is."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

VARIABLES = (
    "PKT_BENCH_DATA",
    "PKT_BENCH_DEBUG",
    "PKT_BENCH_DISABLE_PLUGINS",
    "PKT_BENCH_HOME",
    "PKT_BENCH_LOAD_PLUGINS",
    "PKT_BENCH_STRICT_PLUGINS",
)
"""Environment variables that are read."""

_OURS = "PKT_BENCH_"
# of the part behind our name: HOEM is HOME, and what a plugin calls its own is left alone
_ALIKE = 0.7
# so many commands are named where none is near
_FEW = 8


def usage(error: Any) -> str:  # noqa: ANN401 - an error of the library below typer
    """What is wrong with the words of a command, and what was perhaps meant."""
    said, command = str(error.format_message()), getattr(getattr(error, "ctx", None), "command", None)
    if (option := getattr(error, "option_name", "")) and type(error).__name__ == "NoSuchOption":
        there_are = ["--help", *(each for parameter in getattr(command, "params", ()) for each in parameter.opts)]
        by_word = {each.lstrip("-"): each for each in there_are}
        near = difflib.get_close_matches(option.lstrip("-").replace("_", "-"), by_word, n=1, cutoff=0.65)
        return f"No such option: {option}." + (f" Did you mean '{by_word[near[0]]}'?" if near else "")
    commands = [name for name, each in getattr(command, "commands", {}).items() if not each.hidden]
    if said.startswith("No such command") and "Did you mean" not in said and len(commands) <= _FEW:
        return f"{said}\n  Commands: {', '.join(commands)}"
    return said


def variables(environ: Mapping[str, str]) -> Iterator[str]:
    """A sentence on each variable that is nearly one of ours, and so was perhaps meant to be."""
    known = {name.removeprefix(_OURS): name for name in VARIABLES}
    for name in sorted(environ):
        if name.startswith(_OURS) and name not in VARIABLES:
            near = difflib.get_close_matches(name.removeprefix(_OURS), known, n=1, cutoff=_ALIKE)
            if near:
                yield f"nobody reads the environment variable {name}. Did you mean {known[near[0]]}?"

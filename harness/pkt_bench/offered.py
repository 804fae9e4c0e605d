"""What an offer has to be: checked when a plugin is loaded, so that a mistake in it is no surprise of a run."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pkt_bench.domain import Control, DataRef, Executor, Method, ModelRef, Pair, PromptSpec, Suite, Task, Tracker

NAMES = "1 to 64 letters, digits, dots, dashes, underlines and plus signs, the first a letter or digit"
RESERVED = ("all", "none")
"""Names that mean something else where names are given."""
BUILT_IN_EXECUTORS = ("process", "inline")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", re.ASCII)
_NOUN = {Method: "method", Pair: "pair", Suite: "suite", Control: "control", Executor: "executor", Tracker: "tracker"}


def problem_with(item: Any) -> str | None:  # noqa: ANN401 - of any kind, from a stranger
    """Why an offer cannot be used, in words that say what is wanted; None where it can be."""
    name, noun = item.name, _NOUN[type(item)]
    return _problem_with_name(item, noun) or next(
        (f"{noun} '{name}': {problem}" for problem in _CHECKS[type(item)](item)), None
    )


def _problem_with_name(item: Any, noun: str) -> str | None:  # noqa: ANN401 - see above
    name = item.name
    if not isinstance(name, str):
        return f"a {noun} has the name {name!r}; a name is text"
    # a method of its own that is a control may be called as the harness calls one
    parts = name.split(":") if isinstance(item, Method) and item.control_of else [name]
    if len(parts) > 2 or not all(_NAME.fullmatch(part) for part in parts):
        return f"a {noun} has the name {_shown(name)}; names are {NAMES}"
    if name in RESERVED:
        return f"a {noun} has the name '{name}', which stands for several of them; give it another"
    if isinstance(item, Executor) and name in BUILT_IN_EXECUTORS:
        return f"an executor has the name '{name}', which is one of pkt-bench's own; give it another"
    return None


def _shown(name: str) -> str:
    written = ascii(name[:40]) if not name.isprintable() else f"'{name[:40]}'"
    return f"{written[:-1]}...'" if len(name) > 40 else written


def _wrong(field: str, value: object, wanted: str) -> str:
    return f"{field} is {_kind_of(value)}; {wanted}"


def _kind_of(value: object) -> str:
    if value is None or isinstance(value, str | int | float):
        return repr(value)
    if inspect.isclass(value):
        return f"the class {value.__name__}"
    return f"a {type(value).__name__}"


def _not_model(field: str, value: object) -> Iterator[str]:
    if not (inspect.isclass(value) and issubclass(value, BaseModel)):
        yield _wrong(field, value, "the class of its settings is wanted, made from pkt_bench.Settings")


def _not_callable(field: str, value: object, *, may_be_none: bool = False) -> Iterator[str]:
    if not (callable(value) or (may_be_none and value is None)):
        yield _wrong(field, value, "a function is wanted")


def _not_texts(field: str, value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield _wrong(field, value, f"write a tuple: ({value!r},)")
    elif not isinstance(value, Sequence) or not all(isinstance(each, str) for each in value):
        yield _wrong(field, value, "a tuple of names is wanted")


def _not_text(field: str, value: object) -> Iterator[str]:
    if not isinstance(value, str):
        yield _wrong(field, value, "text is wanted")


def _of_method(method: Method) -> Iterator[str]:
    yield from _not_text("summary", method.summary)
    yield from _not_text("paper", method.paper)
    yield from _not_text("version", method.version)
    yield from _not_text("control_of", method.control_of)
    yield from _not_callable("transfer", method.transfer)
    yield from _not_model("settings", method.settings)
    yield from _not_callable("skip", method.skip)
    yield from _not_callable("estimate", method.estimate, may_be_none=True)


def _of_control(control: Control) -> Iterator[str]:
    yield from _not_text("summary", control.summary)
    yield from _not_texts("of", control.of)
    if not isinstance(control.settings, Mapping):
        yield _wrong("settings", control.settings, "a mapping of the method's fields is wanted")
    yield from _not_callable("teacher", control.teacher, may_be_none=True)
    yield from _not_callable("pair", control.pair, may_be_none=True)


def _of_pair(pair: Pair) -> Iterator[str]:
    yield from _not_text("summary", pair.summary)
    for role in ("teacher", "student"):
        if not isinstance(getattr(pair, role), ModelRef):
            yield _wrong(role, getattr(pair, role), "a pkt_bench.ModelRef is wanted")
    yield from _not_texts("suites", pair.suites)
    yield from _not_texts("caveats", pair.caveats)


def _of_suite(suite: Suite) -> Iterator[str]:
    yield from _not_text("summary", suite.summary)
    yield from _not_callable("records", suite.records)
    yield from _not_callable("test_prompts", suite.test_prompts)
    if not isinstance(suite.prompt, PromptSpec):
        yield _wrong("prompt", suite.prompt, "a pkt_bench.PromptSpec is wanted")
    if not isinstance(suite.tasks, Sequence) or not all(isinstance(task, Task) for task in suite.tasks):
        yield _wrong("tasks", suite.tasks, "a tuple of pkt_bench.Task is wanted")
    elif not suite.tasks:
        yield "tasks is empty; the first task is what a student is scored by"
    if not isinstance(suite.task_path, Path | None):
        yield _wrong("task_path", suite.task_path, "a pathlib.Path is wanted, or None for lm-eval's own tasks")
    if not isinstance(suite.needs, Sequence) or not all(isinstance(ref, DataRef) for ref in suite.needs):
        yield _wrong("needs", suite.needs, "a tuple of pkt_bench.DataRef is wanted")


def _of_executor(executor: Executor) -> Iterator[str]:
    yield from _not_text("summary", executor.summary)
    yield from _not_callable("execute", executor.execute)
    yield from _not_model("settings", executor.settings)
    yield from _not_callable("missing", executor.missing)


def _of_tracker(tracker: Tracker) -> Iterator[str]:
    yield from _not_text("summary", tracker.summary)
    yield from _not_callable("start", tracker.start)
    yield from _not_model("settings", tracker.settings)
    yield from _not_callable("missing", tracker.missing)


_CHECKS: dict[type[Any], Callable[[Any], Iterator[str]]] = {
    Method: _of_method,
    Control: _of_control,
    Pair: _of_pair,
    Suite: _of_suite,
    Executor: _of_executor,
    Tracker: _of_tracker,
}

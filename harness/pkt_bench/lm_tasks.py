"""lm-eval's task objects for a task of a suite, stock ones among them, with data from folders where those have it."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pkt_bench import task_index
from pkt_bench.domain import Suite, Task
from pkt_bench.errors import PktBenchError, UnavailableError

TaskDict = dict[str, dict[str, Any]]


def load(suite: Suite, task: Task, called: str = "") -> TaskDict:
    """What lm-eval's `evaluate` takes: `{"tasks": {name: Task}, "groups": {name: Group}, "group_map": {name: names}}`.

    A plain task is one entry of `tasks`, under its own name. A group has its members in `tasks` too, itself in
    `groups`. They are made anew each time, for `evaluate` changes them; their data are read once in a process. Messages
    call the suite `called`.

    Raises:
        UnavailableError: there is no such task, its data are not to be had, or lm-eval cannot load it.
    """
    index = index_of(suite)
    if task.name not in index:
        where = suite.task_path or f"lm-eval {task_index.version()}"
        known = ", ".join(index) if suite.task_path else f"{len(index):,}: pkt-bench ls tasks PATTERN"
        raise UnavailableError(
            f"suite {called or suite.name}: {where} has no task '{task.name}' (it has: {known or 'none'})."
        )
    listed = index[task.name]
    from pkt_bench.mirrored_tasks import MirroringFactory

    try:
        with _quiet(), _code_judged(listed, index):
            entries = _entries(suite.task_path)
            built = MirroringFactory(task.shots).build(entries[task.name], overrides=None, registry=entries)
    except PktBenchError:
        raise
    except Exception as error:  # a task is code
        first = (str(error).strip().splitlines() or [""])[0]
        raise UnavailableError(
            f"suite {called or suite.name}: lm-eval cannot load its task '{task.name}':"
            f" {type(error).__name__}: {first}\n"
            "  Leave the suite out with --suite, or tell its author."
        ) from error
    return _as_dict(built)


def index_of(suite: Suite) -> Mapping[str, task_index.Listed]:
    """The tasks that a suite's own may be among."""
    return task_index.of_lm_eval() if suite.task_path is None else index_of_folder(suite.task_path)


@functools.lru_cache(maxsize=16)
def index_of_folder(folder: Path) -> Mapping[str, task_index.Listed]:
    """The tasks that a folder's YAML files define."""
    return task_index.of_folder(folder)


@functools.lru_cache(maxsize=16)
def _entries(folder: Path | None) -> dict[str, Any]:
    """The index as lm-eval has it."""
    from lm_eval.tasks._index import Entry, Kind

    index = task_index.of_lm_eval() if folder is None else index_of_folder(folder)
    return {
        name: Entry(name=name, kind=Kind[each.kind], yaml_path=each.file, tags=set(each.tags))
        for name, each in index.items()
    }


def _as_dict(built: Any) -> TaskDict:  # noqa: ANN401 - lm_eval ships no types
    """As `TaskManager.load` lays out what the factory made."""
    from lm_eval.api.group import Group

    tasks: dict[str, Any] = {}
    groups: dict[str, Any] = {}
    for item in built if isinstance(built, list) else [built]:
        if isinstance(item, Group):
            groups |= {item.name: item} | {each.name: each for each in item.get_all_groups()}
            tasks |= {each.task_name: each for each in item.get_all_tasks()}
        else:
            tasks[item.task_name] = item
    return {"tasks": tasks, "groups": groups, "group_map": {name: each.child_names for name, each in groups.items()}}


# ---------------------------------------------------------------- code


def _mentions_code(listed: task_index.Listed, index: Mapping[str, task_index.Listed]) -> bool:
    files = {
        file for each in task_index.members(listed, index) if each.file for file in _python_beside(each.file.parent)
    }
    return any("code_eval" in file.read_text(encoding="utf-8", errors="replace") for file in files)


@functools.lru_cache(maxsize=256)
def _python_beside(folder: Path) -> tuple[Path, ...]:
    return tuple(folder.glob("*.py"))


@contextlib.contextmanager
def _code_judged(listed: task_index.Listed, index: Mapping[str, task_index.Listed]) -> Iterator[None]:
    if not _mentions_code(listed, index):
        yield
        return
    from pkt_bench.code_eval import judged_in_sandbox

    with judged_in_sandbox():
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what lm-eval and datasets say while they load: what is wrong is said here, once."""
    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets", "huggingface_hub")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)

"""Which tasks lm-eval has, and where: read from its YAML files without importing it, and kept by version."""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import functools
import importlib.metadata
import importlib.util
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from pkt_bench import durable, homes
from pkt_bench.errors import RequestError, UnavailableError

Kind = Literal["TASK", "PY_TASK", "GROUP", "TAG"]
_TOLD = ("task", "group", "tag", "class", "include")
_IGNORED = frozenset({"__pycache__", ".ipynb_checkpoints"})


@dataclass(frozen=True)
class Listed:
    """A task, group or tag: the YAML file that defines it (a tag has none), and of a tag the tasks that carry it."""

    name: str
    kind: Kind
    file: Path | None
    tags: tuple[str, ...] = ()


@functools.cache
def home() -> Path:
    """The folder of lm-eval's tasks.

    Raises:
        UnavailableError: lm-eval is not installed.
    """
    found = importlib.util.find_spec("lm_eval")
    if found is None or found.origin is None:
        raise UnavailableError("lm-eval is not installed, and its tasks are asked for.\n  pip install lm-eval")
    return Path(found.origin).parent / "tasks"


@functools.cache
def version() -> str:
    """The version of lm-eval."""
    return importlib.metadata.version("lm_eval")


@functools.cache
def of_lm_eval() -> Mapping[str, Listed]:
    """Every task, group and tag of the lm-eval that is installed, by name."""
    root = home()
    kept = homes.cache_folder() / "lm-eval" / f"{version()}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads(kept.read_text(encoding="utf-8"))
        if content["root"] == str(root) and content["changed"] == root.stat().st_mtime_ns:
            return {
                name: Listed(name, kind, root / file if file else None, tuple(tags))
                for name, (kind, file, tags) in content["tasks"].items()
            }
    found = of_folder(root)
    listed = {
        name: [each.kind, each.file.relative_to(root).as_posix() if each.file else None, each.tags]
        for name, each in found.items()
    }
    with contextlib.suppress(OSError):
        content = {"root": str(root), "changed": root.stat().st_mtime_ns, "tasks": listed}
        durable.publish(kept, json.dumps(content).encode())
    return found


def of_folder(root: Path) -> dict[str, Listed]:
    """Every task, group and tag that the YAML files of a folder define; a file that is no YAML defines none."""
    told = _Told()
    found: dict[str, Listed] = {}
    tagged: dict[str, list[str]] = {}
    for file in sorted(_yaml_files(root)):
        with contextlib.suppress(yaml.YAMLError, OSError, ValueError, RecursionError):
            content = told.of(file)
            tags = content.get("tag") or []
            tags = [tags] if isinstance(tags, str) else tags
            if "group" in content and "class" not in content:
                found.setdefault(content["group"], Listed(content["group"], "GROUP", Path(file), tuple(tags)))
            elif isinstance(name := content.get("task"), str) and name not in found:
                found[name] = Listed(name, "PY_TASK" if "class" in content else "TASK", Path(file), tuple(tags))
                for tag in tags:
                    tagged.setdefault(tag, []).append(name)
                    found.setdefault(tag, Listed(tag, "TAG", None))
    for tag, names in tagged.items():
        if found[tag].kind == "TAG":
            found[tag] = Listed(tag, "TAG", None, tuple(sorted(set(names))))
    return found


def _yaml_files(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _IGNORED]
        yield from (os.path.join(folder, name) for name in files if name.endswith(".yaml"))  # noqa: PTH118 - 14,000


class _Reader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads the YAML of a task without running what it names with `!function`: it becomes that text."""


_Reader.add_multi_constructor("!", lambda loader, suffix, node: f"!{suffix} {node.value}")  # noqa: ARG005 - the library's signature


class _Told:
    """What files say of `_TOLD`, those they include read once."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}

    def of(self, file: str) -> dict[str, Any]:
        file = os.path.normpath(file)
        if file not in self._known:
            self._known[file] = {}  # a file that includes itself says nothing
            with open(file, encoding="utf-8") as opened:  # noqa: PTH123 - 14,000 of them
                text = opened.read()
            content = _skimmed(text)
            if content is None:
                content = yaml.load(text, Loader=_Reader)  # noqa: S506 - a SafeLoader
                if not isinstance(content, dict):
                    raise ValueError(f"{file} is no task")
                content = {name: content[name] for name in _TOLD if name in content}
            included: dict[str, Any] = {}
            for name in _listed(content.pop("include", None)):
                included |= self.of(os.path.join(os.path.dirname(file), name))  # noqa: PTH118, PTH120 - as above
            self._known[file] = included | content
        return self._known[file]


def _listed(value: object) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)  # type: ignore[call-overload]


_ENTRY = re.compile(
    r"""^(["']?)(task|group|tag|class|include)\1[ \t]*:(?=[ \t\r\n]|$)[ \t]*(.*)$"""
    r"""((?:\n[ \t]*- .*|\n[ \t]*\#.*|\n[ \t]*(?=\n)|\n[ \t]+.*)*)""",
    re.MULTILINE | re.VERBOSE,
)
_NO_TEXT = re.compile(r"[\d.eE+\-_:]+|true|false|null|yes|no|on|off|~", re.IGNORECASE)


def _skimmed(text: str) -> dict[str, Any] | None:
    """The entries of `_TOLD` in a file that says them plainly; None where a parser has to read it."""
    found: dict[str, Any] = {}
    for entry in _ENTRY.finditer(text):
        name, value, below = entry[2], entry[3].strip(), entry[4].strip()
        value = "" if value.startswith("#") else value
        if bool(value) == bool(below):
            return None
        if value.startswith("!function"):
            found[name] = value
        elif value:
            if (plain := _scalar(value)) is None:
                return None
            found[name] = plain
        elif name == "task":
            found[name] = []  # the members of a group: who they are is read when they are asked for
        else:
            items = [_item(line) for line in below.split("\n") if line.strip() and not line.strip().startswith("#")]
            if None in items:
                return None
            found[name] = items
    return found


def _item(line: str) -> str | None:
    return _scalar(line.strip()[2:]) if line.strip().startswith("- ") else None


def _scalar(text: str) -> str | None:
    """A text as YAML has it where that is plain to see."""
    text = text.strip()
    if text[:1] in {'"', "'"}:
        inside, closing, after = text[1:].partition(text[0])
        return inside if closing and "\\" not in inside and (not after.strip() or after.strip()[0] == "#") else None
    text = re.sub(r"\s+#.*$", "", text)
    plain = re.fullmatch(r"[\w./:\-+@()&' ,=]+", text) and ": " not in text and not _NO_TEXT.fullmatch(text)
    return text if plain else None


# ---------------------------------------------------------------- one task


def configuration(file: Path) -> dict[str, Any]:
    """What a task's file says, with what it includes; functions are named and not run.

    Raises:
        UnavailableError: it cannot be read.
    """
    try:
        return _configuration(file, ())
    except (yaml.YAMLError, OSError, ValueError) as error:
        raise UnavailableError(f"{file} is no task of lm-eval: {error}.") from None


def _configuration(file: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    file = Path(os.path.normpath(file))
    if file in above:
        raise ValueError("it includes itself")
    content = yaml.load(file.read_text(encoding="utf-8"), Loader=_Reader)  # noqa: S506 - a SafeLoader
    if not isinstance(content, dict):
        raise ValueError("it is no table of keys")  # noqa: TRY004 - as the others are said
    merged: dict[str, Any] = {}
    for name in _listed(content.pop("include", None)):
        merged |= _configuration(file.parent / name, (*above, file))
    return merged | content


def sources(file: Path) -> list[Path]:
    """The files a task is made of: its YAML, what that includes, and the Python files beside them."""
    found: dict[Path, None] = {}

    def add(yaml_file: Path) -> None:
        yaml_file = Path(os.path.normpath(yaml_file))
        if yaml_file in found:
            return
        found[yaml_file] = None
        content = yaml.load(yaml_file.read_text(encoding="utf-8"), Loader=_Reader)  # noqa: S506 - a SafeLoader
        for name in _listed(content.get("include")):
            add(yaml_file.parent / name)

    add(file)
    for folder in dict.fromkeys(each.parent for each in list(found)):
        found |= dict.fromkeys(sorted(folder.glob("*.py")))
    return list(found)


def members(listed: Listed, index: Mapping[str, Listed]) -> list[Listed]:
    """The tasks a name stands for: itself, those of a group and of the groups in it, or those that carry a tag."""
    if listed.kind == "TAG":
        return [index[name] for name in listed.tags]
    if listed.kind != "GROUP" or listed.file is None:
        return [listed]
    found: dict[str, Listed] = {}
    for name in _members_of(configuration(listed.file)):
        if name in index and name != listed.name:
            found |= {each.name: each for each in members(index[name], index)}
    return list(found.values())


def _members_of(content: Mapping[str, Any]) -> Iterator[str]:
    for each in content.get("task") or ():
        if isinstance(each, str):
            yield each
        elif isinstance(each, Mapping):
            if isinstance(each.get("task"), str):
                yield each["task"]
            elif isinstance(each.get("group"), str):
                yield each["group"]
                yield from _members_of(each)
            else:
                yield from _members_of(each)


def unknown(name: str, index: Mapping[str, Listed]) -> RequestError:
    """The error for a task nobody has: the nearest names, and where all are listed."""
    near = difflib.get_close_matches(name, index, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return RequestError(
        f"lm-eval {version()} has no task '{name}'.{hint}\n  It has {len(index):,}: pkt-bench ls tasks PATTERN"
    )


def matching(pattern: str, index: Mapping[str, Listed]) -> Sequence[Listed]:
    """The tasks, groups and tags whose name matches a pattern of the shell, or holds it where it has no `*`."""
    wanted = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    return [index[name] for name in sorted(index) if fnmatch.fnmatchcase(name, wanted)]

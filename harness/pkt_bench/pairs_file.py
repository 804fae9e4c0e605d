"""Pairs of a user's own, in a TOML file: a table for each, with its two sides as they are typed after `--pair`.

[smol]
teacher = "models/smollm2-135m"                 # from this file's folder, or a model of the hub, or a GGUF file
student = "owner/name@revision"
suites = ["arc_easy", "piqa"]
caveats = ["the student was cut from the teacher"]
licence = "Apache-2.0"
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from pkt_bench import resolving
from pkt_bench.domain import Pair
from pkt_bench.errors import RequestError
from pkt_bench.settings import Settings, plainly

HERE = Path("pairs.toml")
"""The file that is read where none is named and this one is there."""
MAX_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")


class Written(Settings):
    """A pair as it is written."""

    teacher: str = Field(min_length=1)
    """The large one: a folder, a GGUF file, or a model of the hub as OWNER/NAME[@REVISION]."""
    student: str = Field(min_length=1)
    """The small one, in the same ways."""
    summary: str = ""
    """One line for `ls pairs`."""
    suites: tuple[str, ...] = ()
    """What it is run on where no suites are asked for."""
    caveats: tuple[str, ...] = ()
    """What whoever reads its numbers should know, in a sentence each."""
    licence: str = ""
    """Of the two checkpoints, as their pages say."""


def read(named: Path | None, taken: Collection[str]) -> tuple[dict[str, Pair], list[RequestError]]:
    """The pairs of the file `named`, or of `./pairs.toml` where there is one, and what is wrong in it.

    `taken` are the names of plugins' pairs, which no pair here may have. Nothing is raised: the file is not there, it
    is no TOML, a pair is not written well are all among what is wrong, each with the file and the key.
    """
    file = named or HERE
    if named is None and not file.is_file():
        return {}, []
    pairs: dict[str, Pair] = {}
    problems: list[RequestError] = []
    try:
        tables = _tables(file)
    except RequestError as error:
        return {}, [error]
    for name, table in tables.items():
        try:
            pairs[name] = _pair(file, name, table, taken)
        except RequestError as error:
            problems.append(error)
    return pairs, problems


def _tables(file: Path) -> dict[str, Any]:
    try:
        content = file.read_bytes()[: MAX_BYTES + 1]
    except OSError as error:
        raise RequestError(f"{file}: {error.strerror}. Give the path of a TOML file to --pairs-file.") from None
    if len(content) > MAX_BYTES:
        raise RequestError(f"{file} has more than {MAX_BYTES} bytes: not a file of pairs.")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise RequestError(f"{file} is not UTF-8 text. Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        said, _, where = str(error).rstrip(")").rpartition(" (at ")
        place = re.fullmatch(r"line (\d+), column (\d+)", where)
        at = f":{place[1]}:{place[2]}" if place else ""
        raise RequestError(f"{file}{at}: not TOML: {said or error}.") from None
    except (RecursionError, ValueError) as error:
        raise RequestError(f"{file} cannot be read as TOML: {error}.") from None


def _pair(file: Path, name: str, table: object, taken: Collection[str]) -> Pair:
    if not _NAME.fullmatch(name):
        raise RequestError(
            f"{file}: the name '{name}' will not do: letters, digits, dots, dashes and underlines, at most 64 of them."
        )
    if not isinstance(table, dict):
        raise RequestError(
            f'{file}: {name} is no table of a pair. Write it as\n  [NAME]\n  teacher = "..."\n  student = "..."'
        )
    if name in taken:
        raise RequestError(f"{file}: [{name}] is what a plugin calls a pair of its own. Give yours another name.")
    known = Written.model_fields
    strange = [key for key in table if key not in known]
    if strange:
        near = difflib.get_close_matches(strange[0], known, n=1, cutoff=0.5)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise RequestError(f"{file}: {name}: nobody knows the key '{strange[0]}'.{hint}\n  Keys: {', '.join(known)}")
    try:
        written = Written.model_validate(table)
    except ValidationError as error:
        raise RequestError(
            "\n".join(
                f"{file}: {name}.{'.'.join(map(str, each['loc']))} will not do: {plainly(each)}.\n"
                f"  {each['loc'][0]}: {' '.join((known[str(each['loc'][0])].description or '').split())}"
                for each in error.errors()
            )
        ) from None
    beside = file.parent
    return Pair(
        name,
        written.summary or f"of {file.name}",
        teacher=resolving.side(written.teacher, beside),
        student=resolving.side(written.student, beside),
        suites=written.suites,
        caveats=written.caveats,
        licence=written.licence,
    )

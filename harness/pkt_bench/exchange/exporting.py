"""Recorded runs written for another program, into a folder that is whole or not there."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pkt_bench import durable, sources
from pkt_bench.errors import RequestError, StorageError, unknown_name
from pkt_bench.exchange import cards, lm_eval_writer, plain
from pkt_bench.exchange.students import Student, students

if TYPE_CHECKING:
    from pkt_bench.store import Contents

FORMATS = ("csv", "lm-eval", "model-index")
# a file of an export: where it goes below the folder, and what is in it
File = tuple[Path, bytes]


@dataclass(frozen=True)
class Exported:
    """How many files were written about how many runs with scores, and in words what was stepped over."""

    files: int
    runs: int
    problems: tuple[str, ...]


def export(source: str, form: str, to: Path, *, dataset: str = "") -> Exported:
    """Writes the runs of `source` to the new folder `to` as one of `FORMATS`.

    `dataset` is the hub's name of the data set that was scored, which `model-index` names in `.eval_results`.

    Raises:
        RequestError: there is no such format or source, nothing in it has scores, or `to` is not empty.
        StorageError: something cannot be read or written.
        UnavailableError: the format needs a library that is not installed.
    """
    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS)
    if dataset and form != "model-index":
        raise RequestError(f"--dataset is for --as model-index alone, not for {form}.\n  Leave it out.")
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if any(to.iterdir()):
            raise RequestError(f"{to} is not empty, and an export is a folder of its own.\n  Name a new one with --to.")
    found = sources.read(source, items=form != "model-index")
    scored = students(found.runs)
    if not scored:
        raise RequestError(
            f"{source} holds no done run with scores.\n  pkt-bench ls runs {source} shows how they ended."
        )
    try:
        count = _write(to, _files(found, scored, form, dataset))
    except OSError as error:
        raise StorageError(
            f"{to} cannot be written: {error.strerror or error}.\n  Name another folder with --to."
        ) from None
    return Exported(count, len(scored), found.problems)


def _files(found: Contents, scored: Iterable[Student], form: str, dataset: str) -> Iterator[File]:
    if form == "csv":
        yield from plain.files(found.runs, found.items)
    elif form == "lm-eval":
        yield from lm_eval_writer.files(scored, found.items)
    else:
        yield from cards.files(scored, dataset)


def _write(to: Path, files: Iterable[File]) -> int:
    """Writes all files aside and puts the folder in place; gives how many they were."""
    durable.make_folder(to.parent)
    written = to.with_name(f".{to.name}.aside")
    shutil.rmtree(written, ignore_errors=True)
    count = 0
    try:
        for count, (path, data) in enumerate(files, 1):  # noqa: B007 - how many there were
            (written / path).parent.mkdir(parents=True, exist_ok=True)
            (written / path).write_bytes(data)
        durable.put_in_place(written, to)
    finally:
        shutil.rmtree(written, ignore_errors=True)
    return count

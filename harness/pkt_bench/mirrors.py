"""Data sets as files: folders of JSON Lines that stand in for what the hub has, in one layout.

    NAME/SPLIT.jsonl           a data set, or its only configuration
    NAME/CONFIG/SPLIT.jsonl    one configuration of it
    NAME/SPLIT/CONFIG.jsonl    the same, the other way round

NAME is the short name of `known_datasets`, or the hub's `owner/name`. A folder that has a data set stands for all of
it: a split it lacks is missing, and not fetched from elsewhere.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pkt_bench.domain import DataRef
from pkt_bench.errors import RequestError, UnavailableError
from pkt_bench.known_datasets import Known, known

ENV = "PKT_BENCH_DATA"
"""Folders to look in, separated as those of PATH."""

ALL = "all"
"""The configuration that is every other one in turn, as `cais/mmlu` has it."""

Row = Mapping[str, Any]


_SWITCHES = {
    **dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE"), "1"),
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
}


def cut_network() -> None:
    """Sets every switch of the libraries that fetch something, for this process and those it starts.

    They are read when those libraries are imported: call it before.
    """
    os.environ.update(_SWITCHES)


def use(given: Iterable[Path]) -> None:
    """Looks into these folders first, in this process and in those it starts.

    Raises:
        RequestError: one of them is no folder.
    """
    first = [folder.expanduser().resolve() for folder in given]
    for folder in first:
        if not folder.is_dir():
            raise RequestError(f"--data-dir {folder}: there is no such folder. Give one that holds NAME/SPLIT.jsonl.")
    os.environ[ENV] = os.pathsep.join(str(folder) for folder in dict.fromkeys((*first, *folders())))


def folders() -> tuple[Path, ...]:
    """The folders to look in, the first that has a file winning."""
    return tuple(Path(text) for text in os.environ.get(ENV, "").split(os.pathsep) if text)


def reference(hub: str, config: str = "", revision: str = "", splits: Sequence[str] = ()) -> DataRef:
    """The data set of the hub under the name that folders have it by."""
    about = known(hub, config)
    name, licence = (about.folder, about.licence) if about is not None else (hub, "")
    return DataRef(name, hub, config, revision, tuple(splits), licence)


def title(ref: DataRef) -> str:
    """A data set for people: its name, and what it is on the hub."""
    there = ", ".join(part for part in (ref.hub if ref.hub != ref.name else "", ref.config) if part)
    return f"{ref.name} ({there})" if there else ref.name


def expected(ref: DataRef, split: str) -> str:
    """The file that would hold a split, below a folder of data."""
    about = known(ref.hub, ref.config)
    if not ref.config or (about is not None and about.config != "*"):
        return f"{ref.name}/{split}.jsonl"
    if about is not None and ref.config == ALL:
        return f"{ref.name}/{split}/CONFIG.jsonl"
    return f"{ref.name}/{split}/{ref.config}.jsonl" if about is not None else f"{ref.name}/{ref.config}/{split}.jsonl"


def files(ref: DataRef, split: str) -> tuple[Path, ...]:
    """The files that hold a split: none where no folder has them, several where it is made of configurations."""
    about = known(ref.hub, ref.config)
    for folder in folders():
        if found := _files_in(folder, ref, split, about):
            return found
    return ()


def _files_in(folder: Path, ref: DataRef, split: str, about: Known | None) -> tuple[Path, ...]:
    for name in dict.fromkeys((ref.name, ref.hub)):
        root = folder / name
        if not name or not root.is_dir():
            continue
        if about is not None and about.config == "*" and ref.config in {"", ALL}:
            found = [*(root / split).glob("*.jsonl")] or [*root.glob(f"*/{split}.jsonl")]
            return tuple(sorted(found, key=lambda file: file.as_posix()))
        candidates = [root / ref.config / f"{split}.jsonl", root / split / f"{ref.config}.jsonl"] if ref.config else []
        if not ref.config or (about is not None and about.config != "*"):
            candidates.append(root / f"{split}.jsonl")
        if about is not None and split in about.stands_in:
            candidates += [file.parent / f"{about.stands_in[split]}.jsonl" for file in candidates]
        for file in candidates:
            if file.is_file():
                return (file,)
    return ()


def stands_for(ref: DataRef) -> bool:
    """Whether some folder has the data set, in whatever configuration: then it is looked for nowhere else."""
    return any((folder / name).is_dir() for folder in folders() for name in (ref.name, ref.hub) if name)


def missing(ref: DataRef, split: str) -> UnavailableError:
    """What to say of a split that is nowhere."""
    looked = ", ".join(str(folder) for folder in folders())
    where = f"looked for in {looked}" if looked else "no --data-dir was given"
    return UnavailableError(
        f"the split '{split}' of the data set {title(ref)} is missing: {expected(ref, split)} ({where}).\n"
        "  Give a folder that has it with --data-dir, or fetch it where there is a network:"
        " pkt-bench prefetch --to DIR, with the same flags."
    )


def dataset_rows(ref: DataRef, split: str) -> Sequence[Row]:
    """The rows of a split as the hub has them, from a folder of data, or from the hub and its cache.

    Raises:
        UnavailableError: it is in neither, or a file does not hold it.
    """
    if found := files(ref, split):
        if len(found) == 1:
            return _rows_of(found[0], found[0].stat().st_mtime_ns, ref.hub, ref.config)
        return tuple(row for file in found for row in _rows_of(file, file.stat().st_mtime_ns, ref.hub, ref.config))
    if stands_for(ref) or not ref.hub:
        raise missing(ref, split)
    return _from_hub(ref, split)


def dataset_has(ref: DataRef, split: str) -> bool:
    """Whether a split can be had here."""
    try:
        dataset_rows(ref, split)
    except UnavailableError:
        return False
    return True


@functools.lru_cache(maxsize=512)
def _rows_of(file: Path, changed: int, hub: str, config: str) -> tuple[Row, ...]:  # noqa: ARG001 - part of the key
    about = known(hub, config)
    found = []
    # not splitlines: a string of JSON may hold signs that Python takes for the end of a line
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("it is no object")  # noqa: TRY004, TRY301 - said below, with what JSON says
            found.append(about.row(row) if about is not None else row)
        except (ValueError, LookupError, TypeError) as error:
            raise UnavailableError(
                f"{file}:{number} is no row of the data set {about.folder if about is not None else file.parent.name}:"
                f" {error}.\n  A file of data holds one JSON object a line."
            ) from None
    return tuple(found)


@functools.lru_cache(maxsize=64)
def _from_hub(ref: DataRef, split: str) -> tuple[Row, ...]:
    import datasets

    about = known(ref.hub, ref.config)
    try:
        found = datasets.load_dataset(ref.hub, ref.config or None, revision=ref.revision or None, split=split)
    except Exception as error:  # noqa: BLE001 - whatever the network or the hub's files bring about
        first = (str(error).strip().splitlines() or [""])[0]
        raise UnavailableError(f"{missing(ref, split)}\n  The hub: {type(error).__name__}: {first}") from None
    return tuple(about.row(row) if about is not None else row for row in found)


def digest(ref: DataRef, split: str) -> str:
    """BLAKE2b-128 over the rows of a split: the same from a file and from the hub."""
    state = hashlib.blake2b(digest_size=16)
    for row in dataset_rows(ref, split):
        state.update(json.dumps(row, sort_keys=True, ensure_ascii=False, default=str).encode())
        state.update(b"\n")
    return state.hexdigest()


def written(ref: DataRef, split: str) -> dict[str, bytes]:
    """A split as the files a folder of data has it in, by their names below it.

    Raises:
        UnavailableError: it cannot be had.
    """
    if found := files(ref, split):
        return {_below(file): file.read_bytes() for file in found}
    about = known(ref.hub, ref.config)
    lines: dict[str, list[str]] = {}
    for row in dataset_rows(ref, split):
        # all configurations at once are written as one file each
        config = row["subject"] if about is not None and about.config == "*" and ref.config == ALL else ref.config
        name = expected(replace(ref, config=config), split)
        lines.setdefault(name, []).append(json.dumps(row, ensure_ascii=False, default=str))
    return {name: "".join(f"{line}\n" for line in each).encode() for name, each in lines.items()}


def _below(file: Path) -> str:
    """A file's name below the folder of data it is in."""
    return next(file.relative_to(each).as_posix() for each in folders() if file.is_relative_to(each))


def sha256(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    status = file.stat()
    return _sha256(file, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _sha256(file: Path, size: int, changed: int) -> str:  # noqa: ARG001 - parts of the key
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()

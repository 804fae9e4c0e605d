"""What of a run folder can be made again, and so may go: stage results, saved students, what the dead left lying.

Nothing that is recorded is touched, and nothing that a process uses or makes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pkt_bench import durable
from pkt_bench.domain import Outcome
from pkt_bench.errors import RequestError, StorageError
from pkt_bench.stages import Entry, StageCache
from pkt_bench.store import MARKER, OUR_NAMES, Store

STAGES, ARTIFACTS = "stages", "artifacts"

What = Literal["stage result", "torn stage result", "saved student", "left by a dead process", "lock nobody holds"]


@dataclass(frozen=True)
class Freed:
    """Something that went, or would go: what it was, where, how large."""

    what: What
    path: Path
    bytes: int


def check_run_folder(root: Path) -> None:
    """Refuses to tidy a folder that is not ours.

    Raises:
        RequestError: there is no such folder, or it is somebody else's.
    """
    if not root.is_dir():
        raise RequestError(f"there is no run folder {root}.\n  Name one that pkt-bench run has made.")
    if not (root / MARKER).exists() and any(path.name not in OUR_NAMES for path in root.iterdir()):
        raise RequestError(f"{root} is not a run folder: it has no {MARKER}.\n  Name one that pkt-bench run has made.")


def reclaim(
    root: Path,
    *,
    unused_seconds: float | None = None,
    keep_bytes: int | None = None,
    artifacts: bool = False,
    dry_run: bool = False,
) -> Iterator[Freed]:
    """Removes leftovers, stage results unused for so long, then those used longest ago until `keep_bytes` are left.

    With `artifacts` also the saved students of cells that are done. Gives each thing as it goes; `dry_run` removes
    nothing.

    Raises:
        RequestError: it is no run folder.
        StorageError: something cannot be removed.
    """
    check_run_folder(root)
    cache = StageCache(root / STAGES)
    try:
        torn = list(cache.torn())
        yield from _leftovers(cache, torn, dry_run=dry_run)
        whole = [entry for entry in cache.entries() if entry.folder not in torn]
        yield from _unused(cache, whole, unused_seconds, keep_bytes, dry_run=dry_run)
        if artifacts:
            yield from _students(root, dry_run=dry_run)
    except OSError as error:
        raise StorageError(
            f"{error.filename or root} cannot be removed: {error.strerror}.\n  Allow it, and give the command again."
        ) from None


def _leftovers(cache: StageCache, torn: Iterable[Path], *, dry_run: bool) -> Iterator[Freed]:
    for folder in torn:
        size = size_of(folder)
        if dry_run or cache.remove(folder):
            yield Freed("torn stage result", folder, size)
    for path in cache.leftovers():
        freed = Freed("left by a dead process" if path.is_dir() else "lock nobody holds", path, size_of(path))
        if not dry_run:
            _remove(path)
        yield freed


def _unused(
    cache: StageCache,
    entries: Sequence[Entry],
    unused_seconds: float | None,
    keep_bytes: int | None,
    *,
    dry_run: bool,
) -> Iterator[Freed]:
    left = sum(entry.bytes for entry in entries)
    now = time.time()
    for entry in entries:
        too_old = unused_seconds is not None and now - entry.used > unused_seconds
        too_much = keep_bytes is not None and left > keep_bytes
        if (too_old or too_much) and (cache.is_unused(entry.folder) if dry_run else cache.remove(entry.folder)):
            left -= entry.bytes
            yield Freed("stage result", entry.folder, entry.bytes)


def _students(root: Path, *, dry_run: bool) -> Iterator[Freed]:
    """The students of done cells, and what was put together of one when somebody died; each under its cell's lock."""
    store = Store(root)
    done = {key for key, outcome in store.outcomes().items() if outcome is Outcome.DONE}
    for path in sorted((root / ARTIFACTS).glob("*")):
        key = path.name.strip(".").split(".")[0]
        if key not in done or not path.is_dir():
            continue
        # the lock of a cell: see `pipeline.claim`
        lock = path.with_name(f".{key}.lock")
        existed = lock.exists()
        with durable.locked(lock, wait=False) as held:
            if not held:
                continue
            freed = Freed(
                "left by a dead process" if path.name.startswith(".") else "saved student", path, size_of(path)
            )
            if not dry_run:
                _remove(path)
            # a done cell is not run again, so nobody waits for its lock
            if not (dry_run and existed):
                lock.unlink(missing_ok=True)
        yield freed


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

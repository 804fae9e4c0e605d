"""Stage results by content: computed once per run folder, checked when read, safe under several processes.

    <root>/<stage>/<key>/               an entry: its files and MANIFEST.json, put in place whole by one rename
    <root>/<stage>/<key>.lock           held by whoever computes the entry
    <root>/<stage>/.<key>.<host>-<pid>  an entry while it is computed

Who uses an entry holds a shared lock on its manifest until the process ends: such an entry is never removed. When it
was last used is the time of its folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench import durable
from pkt_bench.domain import canonical, digest_of
from pkt_bench.durable import file_digest

if TYPE_CHECKING:
    import torch


DATA = "data.safetensors"
MANIFEST = "MANIFEST.json"
# so many entries at most are kept from removal by one process: each costs it an open file
_MOST_IN_USE = 256
_in_use: OrderedDict[Path, int] = OrderedDict()


@dataclass(frozen=True)
class Entry:
    """An entry as `pkt-bench cache` sees it: `bytes` on disk, `used` when it was last read, in seconds since 1970."""

    folder: Path
    bytes: int
    used: float

    @property
    def stage(self) -> str:
        """The stage it is a result of."""
        return self.folder.parent.name


@dataclass(frozen=True)
class StageCache:
    """A folder of stage results. The name of an entry is the digest of all its inputs.

    The manifest holds the inputs and each file's digest. A rotten entry is removed and computed again.
    """

    root: Path

    def tensors(
        self, stage: str, inputs: Mapping[str, Any], compute: Callable[[], Mapping[str, torch.Tensor]]
    ) -> tuple[dict[str, torch.Tensor], float | None]:
        """The tensors `compute` gives for `inputs`, computed at most once.

        Also how many seconds they had taken where they were found, or None where they were computed now.
        """
        from safetensors.torch import load_file, save_file

        def save(folder: Path) -> None:
            save_file({k: v.detach().cpu().contiguous() for k, v in compute().items()}, folder / DATA)

        entry, reused = self.files(stage, inputs, save)
        return load_file(entry / DATA), reused

    def files(self, stage: str, inputs: Mapping[str, Any], save: Callable[[Path], None]) -> tuple[Path, float | None]:
        """The folder that `save` filled for `inputs`, filled at most once: for results too large to hold as a whole.

        The second value is as in `tensors`. Files lie in the folder itself, in no folders below it.
        """
        key = digest_of({"stage": stage, "inputs": inputs})
        final = self.root / stage / key
        seconds = _use(final)
        if seconds is not None:
            return final, seconds
        final.parent.mkdir(parents=True, exist_ok=True)
        # the lock only saves work: a second process waits instead of computing the same; the rename keeps it correct
        with durable.locked(_lock_of(final)):
            seconds = _use(final)
            if seconds is not None:
                return final, seconds
            # what is there is rotten, or was left by somebody who died: we hold the lock
            shutil.rmtree(final, ignore_errors=True)
            for left in final.parent.glob(f".{key}.{durable.host()}-*"):
                shutil.rmtree(left, ignore_errors=True)
            aside = final.with_name(f".{key}.{durable.host()}-{os.getpid()}")
            aside.mkdir()
            try:
                started = time.monotonic()
                save(aside)
                _write_manifest(aside, stage, inputs, time.monotonic() - started)
                durable.put_in_place(aside, final)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
            _keep(final)
        return final, None

    # ------------------------------------------------------------ what is there

    def entries(self) -> list[Entry]:
        """Every entry, the one whose last use is longest ago first. Nothing is read but names, sizes and times."""
        found = []
        for folder in self.root.glob("*/*/"):
            if not folder.name.startswith("."):
                with contextlib.suppress(OSError):
                    size = sum(path.stat().st_size for path in folder.iterdir())
                    found.append(Entry(folder, size, folder.stat().st_mtime))
        return sorted(found, key=lambda entry: (entry.used, entry.folder))

    def remove(self, folder: Path) -> bool:
        """Removes an entry with its lock file, unless somebody computes or uses it; gives whether it did."""
        with durable.locked(_lock_of(folder), wait=False) as held:
            if not held:
                return False
            with _alone(folder) as unused:
                if not unused:
                    return False
                # out of sight first: nobody must find half of it
                gone = folder.with_name(f".{folder.name}.{durable.host()}-{os.getpid()}")
                shutil.rmtree(gone, ignore_errors=True)
                folder.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)
            # whoever waits for the lock notices, and makes a new one
            _lock_of(folder).unlink(missing_ok=True)
        return True

    def is_unused(self, folder: Path) -> bool:
        """Whether nobody computes or uses an entry now."""
        if not _lock_of(folder).exists():
            with _alone(folder) as unused:
                return unused
        with durable.locked(_lock_of(folder), wait=False) as held, _alone(folder) as unused:
            return held and unused

    def leftovers(self) -> Iterator[Path]:
        """Folders of those who died computing, and lock files that nobody holds and no entry has.

        Each path is given while its lock is held, so it may be removed.
        """
        for path in sorted(self.root.glob("*/.*/")):
            lock = path.with_name(f"{path.name.split('.')[1]}.lock")
            if not lock.exists():
                yield path
                continue
            with durable.locked(lock, wait=False) as held:
                if held:
                    yield path
        for lock in sorted(self.root.glob("*/*.lock")):
            with durable.locked(lock, wait=False) as held:
                if held and not lock.with_suffix("").exists():
                    yield lock

    def torn(self) -> Iterator[Path]:
        """Entries that are not whole: a name without a readable manifest, or without the files it lists."""
        for entry in self.entries():
            manifest = _manifest(entry.folder)
            if manifest is None or not all((entry.folder / name).is_file() for name in manifest["files"]):
                yield entry.folder


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether nobody uses an entry; meanwhile nobody begins to."""
    try:
        descriptor = os.open(folder / MANIFEST, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield True  # without a manifest it is no use to anybody
        return
    try:
        yield durable.lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def _use(folder: Path) -> float | None:
    """What an entry took to compute, where it is there whole; it is kept, and its time is now."""
    if not _keep(folder):
        return None
    seconds = _seconds_of_whole(folder)
    if seconds is None:
        _let_go(folder)
        return None
    # in a folder that may only be read, nobody removes what was used last either
    with contextlib.suppress(OSError):
        os.utime(folder)
    return seconds


def _keep(folder: Path) -> bool:
    """Keeps an entry from removal until this process ends; False where there is none."""
    manifest = folder / MANIFEST
    if folder in _in_use and not durable.is_at(_in_use[folder], manifest):
        _let_go(folder)
    if folder not in _in_use:
        try:
            descriptor = os.open(manifest, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        durable.lock(descriptor, fcntl.LOCK_SH)
        _in_use[folder] = descriptor
        if not durable.is_at(descriptor, manifest):
            # it was removed while we waited
            _let_go(folder)
            return False
    _in_use.move_to_end(folder)
    if len(_in_use) > _MOST_IN_USE:
        _let_go(next(iter(_in_use)))
    return True


def _let_go(folder: Path) -> None:
    os.close(_in_use.pop(folder))


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _write_manifest(folder: Path, stage: str, inputs: Mapping[str, Any], seconds: float) -> None:
    """Writes the manifest last, and waits until the disk has the whole entry."""
    paths = sorted(folder.iterdir())
    files = {path.name: file_digest(path) for path in paths}
    manifest = {"stage": stage, "inputs": json.loads(canonical(inputs)), "files": files, "seconds": seconds}
    for path in paths:
        durable.sync(path)
    durable.write_synced(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    durable.sync(folder)


def _seconds_of_whole(folder: Path) -> float | None:
    """What an entry took to compute, or None where it is not there whole."""
    manifest = _manifest(folder)
    try:
        if manifest and all(file_digest(folder / name) == digest for name, digest in manifest["files"].items()):
            return float(manifest["seconds"])
    except (OSError, ValueError, TypeError):
        pass
    return None


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(content, dict) and isinstance(content.get("files"), dict) and "seconds" in content
    return content if whole else None


__all__ = ["DATA", "Entry", "StageCache", "file_digest"]

"""Files that are whole or absent, whatever kills us, and locks that die with their holder.

A file is written aside, synced, renamed, and its folder synced. Locks are `flock`: free the moment a holder dies. They
save work and never make anything correct, so where a file system has none, everything goes on without.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

ABANDONED_SECONDS = 24 * 3600
_ASIDE = re.compile(r"\.tmp-(?P<host>.+)-(?P<pid>\d+)-[0-9a-f]+")
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


# ---------------------------------------------------------------- files


def publish(path: Path, data: bytes) -> None:
    """Puts a file in place, whole and for good; once this returns, a power cut does not lose it.

    Raises:
        OSError: it cannot be written; what was at `path` before is untouched.
    """
    make_folder(path.parent)
    with aside(path.parent) as written:
        write_synced(written, data)
        put_in_place(written, path)


@contextlib.contextmanager
def aside(folder: Path) -> Iterator[Path]:
    """A new path in `folder` that readers pass over and whoever comes after a crash sweeps; gone at the end."""
    path = folder / f".tmp-{host()}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def put_in_place(written: Path, path: Path) -> None:
    """Renames a file or folder whose bytes are synced to `path`, and makes that last."""
    written.replace(path)
    sync(path.parent)


def write_synced(path: Path, data: bytes) -> None:
    """Writes a new file and waits until the disk has it."""
    with path.open("xb", buffering=0) as file:
        rest = memoryview(data)
        # a nearly full disk takes part of a write before it refuses
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Waits until the disk has a file's bytes, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, each synced into the one that holds it."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


def sweep(paths: Iterable[Path]) -> None:
    """Removes those of `paths` that writers left aside who died on this machine, or, on another, a day ago."""
    for path in paths:
        name = _ASIDE.fullmatch(path.name)
        if name is None:
            continue
        with contextlib.suppress(OSError):
            old = time.time() - path.stat().st_mtime > ABANDONED_SECONDS
            if old or (name["host"] == host() and not is_alive(int(name["pid"]))):
                path.unlink()


def digest(data: bytes) -> str:
    """BLAKE2b-128 of bytes, in hexadecimal."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def file_digest(path: Path) -> str:
    """BLAKE2b-128 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


# ---------------------------------------------------------------- processes


def host() -> str:
    """This machine's name as it is written in file names."""
    return re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname()) or "unknown"


def is_alive(pid: int) -> bool:
    """Whether this machine has such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


# ---------------------------------------------------------------- locks


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Holds the lock file `path` to itself; gives whether it does, which without `wait` may be False.

    A holder may unlink the file: whoever waited for it notices and takes the new one.

    Raises:
        OSError: the lock file can be neither made nor opened.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            held = lock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if held and not is_at(descriptor, path):
                continue
            yield held
            return
        finally:
            os.close(descriptor)


def lock(descriptor: int, how: int) -> bool:
    """Takes a `flock` on an open file; False where somebody else holds it and `how` says not to wait."""
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file still is the one that is found at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False

"""The temporary folders of children: flat, weighed from outside, removed in bounded time, swept after a kill."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
import time
from pathlib import Path

MOST_FILES = 256
_PREFIX = "pkt-bench-candidates-"
_INNER = "each"
_REMOVALS = 50
_PAUSE_SECONDS = 0.02


class Base:
    """A folder in which every child of one nursery gets a folder of its own, without being able to list the others.

    `path` is where those go. Held by a lock as long as this process lives, so that what a killed judge left behind can
    be told from what is in use; making one removes such left-overs.
    """

    def __init__(self) -> None:
        _sweep()
        for _ in range(_REMOVALS):
            self._outer = os.path.realpath(tempfile.mkdtemp(prefix=_PREFIX))
            self.path = f"{self._outer}/{_INNER}"
            try:
                self._held = os.open(self._outer, os.O_RDONLY | os.O_DIRECTORY)
                with contextlib.suppress(
                    OSError
                ):  # a file system without locks: then nobody gets the other lock either
                    fcntl.flock(self._held, fcntl.LOCK_SH)
                Path(self.path).mkdir(mode=stat.S_IWUSR | stat.S_IXUSR)
            except FileNotFoundError:  # swept by another judge before the lock was taken
                continue
            return
        raise OSError(f"no folder can be kept in {tempfile.gettempdir()}")

    def remove(self) -> None:
        """Remove it with all that is in it."""
        _remove_base(self._outer)
        self.release()

    def release(self) -> None:
        """Let go without removing: it is somebody else's."""
        with contextlib.suppress(OSError):
            os.close(self._held)


def weigh_flat_folder(folder: str) -> tuple[int, int]:
    """(bytes, files) directly in a folder, at most a little beyond `MOST_FILES` looked at."""
    held = files = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            files += 1
            if files > MOST_FILES:
                break
            with contextlib.suppress(OSError):
                held += entry.stat(follow_symlinks=False).st_size
    return held, files


def remove_flat_folder(folder: str) -> None:
    """Remove a folder in which no folder can be: a candidate's tree cannot make this deep, slow or surprising."""
    for _ in range(_REMOVALS):
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    Path(entry.path).unlink(missing_ok=True)
            Path(folder).rmdir()
        except FileNotFoundError:
            return
        except OSError:  # written to by a candidate that closed its result channel and is about to die
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def _remove_base(outer: str) -> None:
    inner = Path(outer, _INNER)
    with contextlib.suppress(OSError):
        inner.chmod(stat.S_IRWXU)
        for each in list(inner.iterdir()):
            remove_flat_folder(str(each))
        inner.rmdir()
    with contextlib.suppress(OSError):
        Path(outer).rmdir()


def _sweep() -> None:
    """Remove the folders of judges that are no more: nobody holds their locks."""
    with contextlib.suppress(OSError):
        for each in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                held = os.open(each, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    if os.fstat(held).st_uid == os.getuid():
                        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        _remove_base(str(each))
                finally:
                    os.close(held)

"""Which interpreter runs candidates, and exactly which files it needs in order to work."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# Parts of the standard library no answer needs, and folders in it that may hold other people's data, our
# suites included.
_LEFT_OUT = frozenset({
    "site-packages", "dist-packages", "test", "idlelib", "ensurepip", "lib2to3", "tkinter", "turtledemo",
})  # fmt: skip
_ZONES = "/usr/share/zoneinfo"
_SECONDS = 30

# Prints the search path, a blank line, and every file that importing all the extension modules maps in.
_INVENTORY = """
import os, sys
sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
for folder in sys.path:
    print(os.path.realpath(folder))
print()
skip = ("_test", "_xx", "xx", "_tkinter", "_ctypes_test", "_dbm", "_gdbm", "nis", "ossaudiodev", "spwd")
for folder in sys.path:
    if os.path.basename(folder) == "lib-dynload" and os.path.isdir(folder):
        for name in sorted(os.listdir(folder)):
            if name.endswith(".so") and not name.startswith(skip):
                try:
                    __import__(name.split(".")[0])
                except BaseException:
                    pass
for line in open("/proc/self/maps", encoding="utf-8", errors="surrogateescape"):
    parts = line.rstrip("\\n").split(None, 5)
    if len(parts) == 6 and parts[5].startswith("/"):
        print(parts[5])
"""

# No -I although it is meant: it would ignore PYTHONHASHSEED too, and a candidate that walks a set of strings
# would be judged differently from run to run. What -I adds to -s and -P is to ignore the environment, which
# we write ourselves.
FLAGS = ("-s", "-P", "-S", "-B")
ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "LC_ALL": "C.UTF-8",
    "MALLOC_ARENA_MAX": "1",  # an arena per thread would reserve 64 MiB of the memory limit each
}


@dataclass(frozen=True)
class Interpreter:
    """The interpreter behind the running one (outside any virtual environment) and the files it needs."""

    executable: str
    standard_library: tuple[str, ...]
    """Folders on the bare search path."""
    library_parts: tuple[str, ...]
    """What lies in those folders, file by file and folder by folder, without `_LEFT_OUT`."""
    shared_files: tuple[str, ...]
    """Shared libraries and the like, outside those folders."""


class NoInterpreterError(RuntimeError):
    """There is no interpreter to run candidates with; the message says why."""


@functools.cache
def interpreter() -> Interpreter:
    """Find it, once per process (about 0.1 s). Raises NoInterpreterError."""
    if not sys.executable:
        raise NoInterpreterError("sys.executable is empty (embedded Python?), so there is no interpreter to start")
    executable = os.path.realpath(sys.executable)
    command = [executable, *FLAGS, "-c", _INVENTORY]
    try:
        done = subprocess.run(
            command,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NoInterpreterError(f"{executable} does not start: {error}") from error
    lines = os.fsdecode(done.stdout).splitlines()
    blank = lines.index("")
    folders = tuple(dict.fromkeys(each for each in lines[:blank] if Path(each).is_dir()))
    mapped = sorted(set(lines[blank + 1 :]))
    parts = tuple(
        str(each)
        for folder in folders
        for each in sorted(Path(folder).iterdir())
        if each.name not in _LEFT_OUT and not each.name.startswith("config-") and str(each) not in folders
    )
    outside = [each for each in mapped if not each.startswith(tuple(folder + "/" for folder in folders))]
    extra = [each for each in ("/etc/ld.so.cache", _ZONES) if Path(each).exists()]
    return Interpreter(executable, folders, parts, tuple(outside + extra))

"""The ways to hold a candidate, strongest first: what each needs, how it starts the child, how to get it.

Both start a nursery (`inside/nursery.py`), whose children (`inside/session.py`) put themselves under rlimits and the
system call filter, without capabilities. They differ in what hides the file system and the network:

    bwrap      namespaces made by bubblewrap: nothing is there but the interpreter and the candidate's folder
    lockdown   Landlock: no binary, no root, no user namespace; also works inside most containers
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

from .inside import syscalls
from .interpreter import FLAGS, NoInterpreterError, interpreter
from .limits import Limits

_INSIDE = Path(__file__).resolve().parent / "inside"
_OPEN_FILES = 32


class Backend(Protocol):
    """One way to hold a candidate."""

    name: str
    remedy: str
    """How to get it, for a refusal."""

    def unavailable(self) -> str | None:
        """Why it cannot work here, as far as can be told without trying; None when it may."""
        ...

    def version(self) -> str:
        """What it stands on, for the record of a run."""
        ...

    def command(self, base: str) -> list[str]:
        """The command line that becomes the nursery, whose children have their folders in `base`."""
        ...

    def settling(self, base: str) -> dict[str, Any]:
        """What the nursery is told to lock itself in with."""
        ...

    def charter(self, folder: str, limits: Limits) -> dict[str, Any]:
        """What a child is told to lock itself in with, beyond what it has of the nursery."""
        ...


class Lockdown:
    """Landlock, seccomp and rlimits, applied by the child to itself."""

    name = "lockdown"
    remedy = "a Linux kernel 5.13 or newer with Landlock enabled (lsm=landlock,... on its command line)"

    def unavailable(self) -> str | None:
        """Needs Linux, a system call table, an interpreter and Landlock."""
        why = _no_filter()
        if why:
            return why
        from .inside import landlock

        try:
            landlock.abi()
        except OSError as error:
            return f"this kernel ({os.uname().release}) has no Landlock or has it switched off: {error.strerror}"
        return None

    def version(self) -> str:
        """Such as `Landlock ABI 7`."""
        from .inside import landlock

        return f"Landlock ABI {landlock.abi()}"

    def command(self, base: str) -> list[str]:  # noqa: ARG002 the interface's
        """The bare interpreter."""
        return [interpreter().executable, *FLAGS, str(_INSIDE / "start.py")]

    def settling(self, base: str) -> dict[str, Any]:
        """Landlock on the interpreter's files, each by itself, and the folder of all folders."""
        found = interpreter()
        return {"landlock": True, "readable": [*found.library_parts, *found.shared_files], "base": base}

    def charter(self, folder: str, limits: Limits) -> dict[str, Any]:
        """Landlock once more, which leaves of the folder of all folders the candidate's own."""
        return _charter(folder, limits, landlocked=True)


class Bubblewrap:
    """bubblewrap's namespaces, with seccomp and rlimits applied by the child to itself."""

    name = "bwrap"
    remedy = "apt install bubblewrap (dnf, pacman, apk: the same name); it needs user namespaces or root"

    def unavailable(self) -> str | None:
        """Needs Linux, a system call table, an interpreter and the binary."""
        why = _no_filter()
        if why:
            return why
        return None if shutil.which("bwrap") else "bwrap is not installed"

    def version(self) -> str:
        """Such as `bubblewrap 0.8.0`."""
        try:
            done = subprocess.run([_bwrap(), "--version"], capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.SubprocessError):
            return "bubblewrap, version unknown"
        return done.stdout.strip() or "bubblewrap, version unknown"

    def command(self, base: str) -> list[str]:
        """Start bwrap with every namespace unshared, the interpreter read-only, and the folder of all folders."""
        found = interpreter()
        # Whole folders of shared libraries, because a library is looked up by a symbolic link beside it.
        shared = [Path(each) for each in found.shared_files]
        libraries = {str(each.parent) for each in shared if ".so" in each.name} - {"/etc"}
        others = {str(each) for each in shared if str(each.parent) not in libraries}
        command = [
            _bwrap(),
            "--unshare-all",
            "--cap-drop",
            "ALL",
            "--hostname",
            "sandbox",
        ]
        for link in (Path("/lib"), Path("/lib32"), Path("/lib64")):
            if link.is_symlink():
                command += ["--symlink", str(link.readlink()), str(link)]
        for path in sorted({*libraries, *found.standard_library, *others}):
            command += ["--ro-bind", path, path]
        for loader in _loaders():
            command += ["--ro-bind", loader, loader]
        command += ["--ro-bind", found.executable, found.executable, "--ro-bind", str(_INSIDE), "/inside"]
        roots = sorted({*libraries, *found.standard_library})
        for package_folder in _package_folders(roots):
            command += ["--tmpfs", package_folder]
        for device in ("/dev/null", "/dev/urandom"):
            command += ["--dev-bind", device, device]
        # The judge's own folder rather than one in memory: it is weighed from outside, the number of files too.
        command += ["--bind", base, base, "--chdir", base, "--remount-ro", "/"]
        return [*command, found.executable, *FLAGS, "/inside/start.py"]

    def settling(self, base: str) -> dict[str, Any]:  # noqa: ARG002 the interface's
        """No Landlock: there is nothing else to see."""
        return {"landlock": False}

    def charter(self, folder: str, limits: Limits) -> dict[str, Any]:
        """Landlock where the kernel has it; elsewhere another child's folder cannot be listed nor its name guessed."""
        return _charter(folder, limits, landlocked=_has_landlock())


DEFAULT_BACKENDS: tuple[Backend, ...] = (Bubblewrap(), Lockdown())


def _no_filter() -> str | None:
    if sys.platform != "linux":
        return f"this is {sys.platform}; it exists on Linux only"
    machine = os.uname().machine
    if machine not in syscalls.ARCHITECTURES:
        known = ", ".join(sorted(syscalls.ARCHITECTURES))
        return f"no system call filter for {machine}; there is one for {known}"
    try:
        interpreter()
    except NoInterpreterError as error:
        return str(error)
    return None


def _bwrap() -> str:
    return shutil.which("bwrap") or "bwrap"


def _loaders() -> list[str]:
    """The program loader under the name that executables ask for: a symbolic link beside none of the libraries."""
    found = (entry for folder in ("/lib64", "/lib") for entry in Path(folder).glob("ld-*.so*"))
    return sorted({str(entry.parent.resolve() / entry.name) for entry in found})


def _has_landlock() -> bool:
    from .inside import landlock

    try:
        return landlock.abi() > 0
    except OSError:
        return False


def _package_folders(roots: list[str]) -> list[str]:
    """Folders of installed packages in, or in a `python*` folder of, the given ones."""
    below = [folder for root in roots for folder in (Path(root), *Path(root).glob("python*"))]
    found = (folder / name for folder in below for name in ("site-packages", "dist-packages"))
    return [str(each) for each in found if each.is_dir()]


def _charter(folder: str, limits: Limits, *, landlocked: bool) -> dict[str, Any]:
    found = interpreter()
    cpu = math.ceil(limits.cpu_seconds)
    rlimits = {
        "RLIMIT_CPU": (cpu, cpu + 1),
        "RLIMIT_AS": (int(limits.memory_bytes),) * 2,
        "RLIMIT_FSIZE": (int(limits.file_bytes),) * 2,
        "RLIMIT_NOFILE": (_OPEN_FILES,) * 2,
        "RLIMIT_CORE": (0, 0),
        "RLIMIT_MEMLOCK": (0, 0),
        "RLIMIT_MSGQUEUE": (0, 0),
    }
    return {
        "rlimits": rlimits,
        "output_bytes": int(limits.output_bytes),
        "own_folder": folder,
        "landlock": landlocked,
        "readable": [*found.standard_library, *found.shared_files],
    }

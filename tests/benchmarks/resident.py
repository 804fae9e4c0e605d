"""By how much a call raises the memory that this process has resident, at its height; Linux alone keeps that."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

MMAP_THRESHOLD, TRIM_THRESHOLD, SMALL = -3, -1, 65536
"""Names of mallopt's options, and the bytes from which freed memory goes back to the system at once."""


def peak(run):
    """Bytes above what was resident before `run()`, or None where the system keeps no such height.

    Freed memory goes back to the system from now on, or what an earlier call had freed would hide what this one takes;
    that costs time, so measure times before. Call `run` once on something small before: what libraries set up on first
    use is no working memory. Pages of files that are mapped (libraries, checkpoints) are not counted: the system takes
    them back when it needs to.
    """
    gc.collect()
    try:
        library = ctypes.CDLL(None)
        library.mallopt(MMAP_THRESHOLD, SMALL)
        library.mallopt(TRIM_THRESHOLD, SMALL)
        library.malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the height starts anew
    except (AttributeError, OSError):
        return None
    before, mapped = resident("VmRSS"), resident("RssFile")
    run()
    return resident("VmHWM") - before - (resident("RssFile") - mapped)


def resident(field):
    """A field of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {field}")

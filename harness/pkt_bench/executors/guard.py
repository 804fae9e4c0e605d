"""Keeps plugins out of the recorded rows: a phase's process gives up the right to write into them, for good.

Landlock can give rights below a folder and not take some away again, so they are given to everything beside the path
that leads to the rows. New files can then be made in every folder that is there, except in those right above the run
folder. Where the kernel has no Landlock, nothing is held; a row's digest in its name still shows a change.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from pkt_bench.domain import Job
from pkt_bench.sandbox.inside import landlock

# what belongs to the phases; everything else in a run folder is the recorder's
OPEN_NAMES = ("artifacts", "logs", "stages", "work")


def guard_rows(job: Job, phase: str) -> bool:
    """Gives up writing into the rows of the job's run folder; False where the kernel cannot do it."""
    try:
        version = landlock.abi()
    except OSError:
        return False
    if phase == "score" and shutil.which("bwrap"):
        # whoever is held by Landlock cannot mount, and bubblewrap has to when answers are judged
        return False
    for name in OPEN_NAMES:
        (job.out / name).mkdir(exist_ok=True)
    landlock.give_up(_writes(version), _beside(job.out))
    return True


def _writes(version: int) -> int:
    return landlock.WRITES & ((1 << landlock.rights_known(version)) - 1)


def _beside(out: Path) -> Iterator[str]:
    """Every path that does not lead to the rows: what lies beside each folder on the way, and what is open in it."""
    out = out.resolve()
    for folder in (*reversed(out.parents), out):
        onward = out.relative_to(folder).parts[:1]
        for entry in _entries(folder):
            if onward and entry.name == onward[0]:
                continue
            if not onward and entry.name not in OPEN_NAMES:
                continue
            yield entry.path


def _entries(folder: Path) -> Iterable[os.DirEntry[str]]:
    try:
        # rights given to a link would be its target's, and that may lead to the rows; the target has its own place
        return [entry for entry in os.scandir(folder) if not entry.is_symlink()]
    except OSError:
        return []

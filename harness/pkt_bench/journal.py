"""A cell's journal: what happened to it, one JSON object a line, beside what its processes printed.

logs/<key>.jsonl   started, stage, ended, recorded: with time, host and process
logs/<key>.log     whatever the cell's processes print, traces included
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pkt_bench.domain import Job


def log_file(job: Job) -> Path:
    """Where everything a cell's processes print goes."""
    return job.out / "logs" / f"{job.cell.key}.log"


def journal_file(job: Job) -> Path:
    """The cell's journal."""
    return job.out / "logs" / f"{job.cell.key}.jsonl"


def note(job: Job, event: str, **facts: Any) -> None:  # noqa: ANN401 - any JSON
    """Appends a line. A journal that cannot be written never stops a cell: its row says how it ended."""
    line = {
        "event": event,
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "cell": job.cell.label,
        "host": platform.node(),
        "pid": os.getpid(),
        **facts,
    }
    with contextlib.suppress(OSError):
        file = journal_file(job)
        file.parent.mkdir(parents=True, exist_ok=True)
        # one write in append mode: lines of several processes do not mix
        with file.open("ab", buffering=0) as out:
            out.write((json.dumps(line, default=str) + "\n").encode())

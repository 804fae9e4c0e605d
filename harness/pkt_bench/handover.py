"""What the phases of a cell leave for one another, as files: the saved student, then its scores.

    artifacts/<key>/               the student, put in place by one rename once it is whole
    artifacts/<key>/handover.json  what the transfer cost and how healthy it is; the digests of the student's files
    artifacts/<key>/scored.json    scores and items, until they are in the store

Whoever comes after a crash believes a folder if the digests agree, and goes on from there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pkt_bench import durable
from pkt_bench.domain import Cost, Health, Item, Job, Outcome, Score

HANDOVER = "handover.json"
SCORED = "scored.json"


@dataclass(frozen=True)
class Handover:
    """What the transfer phase tells, beside the saved student. `outcome` is set where the cell ends with it."""

    cost: Cost = field(default_factory=Cost)
    health: Health = field(default_factory=Health)
    environment: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    outcome: Outcome | None = None
    reason: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    """The student's files with their digests."""
    seen: Mapping[str, int] = field(default_factory=dict)
    """What was seen of the transfer from outside: `witness.Seen`."""


@dataclass(frozen=True)
class Scored:
    """What the scoring phase tells: figures, answers, and what it added to cost, health and environment."""

    scores: tuple[Score, ...]
    items: tuple[Item, ...]
    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    reload_difference: float
    batch_size: int
    reused_seconds: float | None = None
    """What scoring had taken, where the very same student was scored before."""
    scoring: Mapping[str, Any] = field(default_factory=dict)
    """How answers were had, for the row's column of that name."""


def folder_of(job: Job) -> Path:
    """Where a cell's student is kept."""
    return job.out / "artifacts" / job.cell.key


def aside_of(job: Job) -> Path:
    """Where a cell's student is put together before it is renamed into its place."""
    return folder_of(job).with_name(f".{job.cell.key}.aside")


def work_of(job: Job, kind: str) -> Path:
    """A folder for what a cell needs while it is under way: `scratch` or `partial`."""
    return job.out / "work" / kind / job.cell.key


def forget(job: Job) -> None:
    """Removes what earlier attempts at the cell left."""
    for folder in (folder_of(job), aside_of(job), work_of(job, "partial"), work_of(job, "scratch")):
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(job: Job, handover: Handover) -> None:
    """Writes the handover beside the student that was put together, syncs it all, and renames it into its place."""
    aside = aside_of(job)
    files = {
        path.relative_to(aside).as_posix(): durable.file_digest(path)
        for path in sorted(aside.rglob("*"))
        if path.is_file()
    }
    for path in sorted(aside.rglob("*"), reverse=True):
        durable.sync(path)
    durable.publish(aside / HANDOVER, json.dumps({**asdict(handover), "files": files}).encode())
    shutil.rmtree(folder_of(job), ignore_errors=True)
    durable.put_in_place(aside, folder_of(job))


def read_handover(job: Job) -> Handover | None:
    """The handover of a whole student; None where there is none, or its files are not what they were."""
    folder = folder_of(job)
    try:
        content = json.loads((folder / HANDOVER).read_text(encoding="utf-8"))
        if any(durable.file_digest(folder / name) != digest for name, digest in content["files"].items()):
            return None
        outcome = content.pop("outcome")
        return Handover(
            cost=Cost(**content.pop("cost")),
            health=Health(**content.pop("health")),
            outcome=None if outcome is None else Outcome(outcome),
            **content,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_scored(folder: Path, scored: Scored) -> None:
    """Keeps what scoring found in `folder`: until it is recorded, or for another cell with the same student."""
    durable.publish(folder / SCORED, json.dumps(asdict(scored)).encode())


def read_scored(folder: Path) -> Scored | None:
    """What scoring found; None where it has not, or the file is torn."""
    try:
        content = json.loads((folder / SCORED).read_text(encoding="utf-8"))
        scores = tuple(Score(**score) for score in content.pop("scores"))
        items = tuple(Item(**item) for item in content.pop("items"))
        return Scored(scores=scores, items=items, **content)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def recorded(job: Job) -> None:
    """The cell is in the store: what was kept in case of a crash can go."""
    (folder_of(job) / SCORED).unlink(missing_ok=True)
    shutil.rmtree(work_of(job, "partial"), ignore_errors=True)
    shutil.rmtree(work_of(job, "scratch"), ignore_errors=True)


def spoil(job: Job) -> None:
    """The saved student cannot be used: the next attempt makes another. Its files stay, for whoever looks into it."""
    (folder_of(job) / HANDOVER).unlink(missing_ok=True)

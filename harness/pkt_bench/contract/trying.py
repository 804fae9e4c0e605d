"""Runs a method through the real harness, cell by cell, and gathers what its cells left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pkt_bench import handover, journal, plugins, request
from pkt_bench.contract import ground
from pkt_bench.contract.layouts import LAYOUTS
from pkt_bench.domain import Cell, Job, Method, Outcome, Pair, Run
from pkt_bench.errors import Promise
from pkt_bench.executors import Moments
from pkt_bench.executors.asking import ask
from pkt_bench.executors.process import execute_in_processes
from pkt_bench.planning import Plan, asked_pairs, make_plan
from pkt_bench.plugins import Offer, Registry
from pkt_bench.preflight import Findings
from pkt_bench.settings import Settings
from pkt_bench.store import Store

# stages that the harness names itself
OURS = frozenset({"load", "save", "score"})


@dataclass(frozen=True)
class Place:
    """Where a method is tried: pairs and a suite as a request names them, and the files that offer them."""

    pairs: tuple[str, ...]
    suite: str
    files: tuple[Path, ...]
    pairs_file: Path | None = None


@dataclass
class Attempt:
    """What came of one cell."""

    job: Job
    run: Run
    stages: list[tuple[str, bool]] = field(default_factory=list)
    """The method's own stages in the order they came, each with whether it told how far it was."""

    @property
    def label(self) -> str:
        """How the pair is called."""
        return self.job.pair.name

    @property
    def done(self) -> bool:
        """Whether it ended as done."""
        return self.run.outcome is Outcome.DONE

    @property
    def files(self) -> dict[str, str]:
        """The saved student's files with their digests."""
        found = handover.read_handover(self.job)
        return {} if found is None else dict(found.files)

    @property
    def seen(self) -> Mapping[str, int]:
        """What was seen of the transfer from outside."""
        found = handover.read_handover(self.job)
        return {} if found is None else found.seen

    @property
    def kills(self) -> list[str]:
        """Where its processes were killed by order, one after the other."""
        marks = ground.marks_of(ground.orders_of(self.job.out, self.job.cell.key))
        return [mark.read_text(encoding="utf-8") for mark in marks]

    @property
    def promise(self) -> Promise:
        """Which promise it ended with, where one was broken that has a name."""
        lines = [line.get("promise", "") for line in self._journal() if line["event"] == "ended"]
        return lines[-1] if lines else ""

    @property
    def student(self) -> Path:
        """The folder of the saved student."""
        return handover.folder_of(self.job)

    def _journal(self) -> list[dict[str, Any]]:
        try:
            text = journal.journal_file(self.job).read_text(encoding="utf-8")
        except OSError:
            return []
        return [json.loads(line) for line in text.splitlines()]


@dataclass
class _Watching(Moments):
    """Keeps what the moments tell of each cell."""

    stages: dict[str, list[tuple[str, bool]]] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)

    def started(self, cell: Cell) -> None:
        """A cell begins."""

    def stage(self, cell: Cell, stage: str, fraction: float | None) -> None:
        """A cell reached a stage, or a part of it."""
        if stage in OURS:
            return
        seen = self.stages.setdefault(cell.key, [])
        if not seen or seen[-1][0] != stage:
            seen.append((stage, fraction is not None))
        elif fraction is not None:
            seen[-1] = (stage, True)

    def stopping(self) -> None:
        """Nothing new begins."""

    def measured(self, cell: Cell, resident_bytes: int) -> None:
        """What the cell's processes hold in memory now."""

    def finished(self, cell: Cell, run: Run) -> None:
        """A cell ended."""
        self.runs[cell.key] = run


def place_in(folder: Path, files: Sequence[Path], pairs: Sequence[str] = (), suite: str = "") -> Place:
    """The pairs and the suite that were asked for; else those of `LAYOUTS` and one of letters, saved below `folder`.

    Raises:
        PktBenchError: they could not be made.
    """
    letters = ground_file(folder)
    suite = suite or f"{letters.name}/pico"
    if pairs:
        return Place(tuple(pairs), suite, (*files, letters))
    if not ask(_make, folder):
        _make(folder)
    listed = folder / "pairs.toml"
    tables = (
        f'[{layout.name}]\nteacher = "{layout.name}/teacher"\nstudent = "{layout.name}/student"\n' for layout in LAYOUTS
    )
    listed.write_text("\n".join(tables), encoding="utf-8")
    return Place(tuple(layout.name for layout in LAYOUTS), suite, (*files, letters), listed)


def ground_file(folder: Path) -> Path:
    """The plugin file with the suite of letters, copied into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    # a name that no file of a user has
    file = folder / "pkt_bench_letters.py"
    shutil.copyfile(ground.__file__, file)
    return file


def _make(folder: Path) -> None:
    for layout in LAYOUTS:
        layout.made(folder)


@dataclass(frozen=True)
class Planned:
    """What will be run of some methods, with the pairs by name as far as they are here."""

    registry: Registry
    plan: Plan
    pairs: Mapping[str, Pair]


def planned(
    offers: Sequence[Offer[Method]], place: Place, out: Path, assignments: Sequence[str], more: Mapping[str, Any]
) -> Planned:
    """The cells of some methods on every pair of a place, as any run would plan them.

    Raises:
        PktBenchError: a setting is wrong, or a pair cannot be used.
    """
    flags = {
        "methods": [f"{offer.distribution}/{offer.item.name}" for offer in offers],
        "pairs": list(place.pairs),
        "suites": [place.suite],
        "plugins": list(place.files),
        "pairs_file": place.pairs_file,
        "out": out,
        "allow_small_teacher": True,
        **more,
    }
    asked = request.build(flags, None, assignments)
    registry = plugins.load(asked.plugins)
    plan = make_plan(asked, registry, Store(out))
    named = (pair for pair, _ in asked_pairs(asked, registry, Findings()))
    pairs = {pair.name: pair for pair in (*named, *(job.pair for job in plan.jobs))}
    return Planned(registry, plan, {name: pair for name, pair in pairs.items() if pair.teacher.found})


def tried(jobs: Sequence[Job]) -> list[Attempt]:
    """Runs cells, each phase in a process of its own, and gathers what they left."""
    watching = _Watching()
    execute_in_processes(jobs, None, watching, Settings())
    return [Attempt(job, watching.runs[job.cell.key], watching.stages.get(job.cell.key, [])) for job in jobs]


def killed(jobs: Sequence[Job], moments: Mapping[str, Sequence[str]], out: Path) -> list[Attempt]:
    """The same cells into another run folder, each killed at its `moments` (by key), one after the other.

    The harness makes another process of a cell whose process was killed, and that goes on where it was left.
    """
    moved = [replace(job, out=out) for job in jobs]
    Store(out).create()
    for key, orders in moments.items():
        folder = ground.orders_of(out, key)
        folder.mkdir(parents=True)
        (folder / ground.ORDERS).write_text(json.dumps(list(orders)), encoding="utf-8")
    found = tried(moved)
    # what else may happen to a process that is killed: the same command once more
    left = [attempt.job for attempt in found if not attempt.done]
    return [*(attempt for attempt in found if attempt.done), *(tried(left) if left else ())]

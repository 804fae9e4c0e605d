"""The contract of a method, and whether it keeps it: what `pkt-bench plugins check` and the tests of authors ask.

    it says what it is; its settings are plain and documented; importing it loads nothing heavy
    skip gives a reason or none; each pair is done, or skipped with a reason
    teacher and pristine student are left alone; the student keeps its tensors and shapes, finite, changed as declared
    what was saved is what was handed over; what it says of its cost is true
    the same seed gives the same student; a kill costs it nothing but time

Nothing is imitated: cells are planned, run, killed and scored by the harness as any run's are, on pairs of a few
thousand random weights that are laid out as differently as real models are.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkt_bench.contract import cold, done, said, settled, trying
from pkt_bench.contract.elsewhere import elsewhere
from pkt_bench.contract.findings import Finding, Report, Standing, counted
from pkt_bench.contract.ground import SAVING
from pkt_bench.contract.trying import Attempt, Place, Planned
from pkt_bench.domain import Method, Skip
from pkt_bench.errors import RequestError, StorageError, UnavailableError
from pkt_bench.pipeline import record_skips
from pkt_bench.planning import Plan
from pkt_bench.plugins import Offer
from pkt_bench.store import Store

__all__ = ["Finding", "Report", "Standing", "check"]

CELL_SECONDS = 600.0
Tell = Callable[[str], None]


def check(
    methods: Sequence[str],
    files: Sequence[Path] = (),
    *,
    assignments: Sequence[str] = (),
    pairs: Sequence[str] = (),
    suite: str = "",
    cell_seconds: float = CELL_SECONDS,
    keep: Path | None = None,
    tell: Tell = lambda _: None,
) -> list[Report]:
    """Checks methods, by name, against the contract.

    Args:
        methods: as for `--methods`.
        files: single-file plugins to load.
        assignments: settings to check them with, `METHOD.FIELD=VALUE`.
        pairs: the pairs to try them on, as for `--pair`, instead of the random ones.
        suite: the suite to try them on, instead of one of letters.
        cell_seconds: after which a cell is ended.
        keep: a folder that is made for the pairs and the run folders `first`, `again` and `killed`, logs included; by
            default they go when the check is over.
        tell: is told what comes next, in a few words.

    Raises:
        RequestError: a name is unknown, or a setting or a pair is wrong.
        UnavailableError: a plugin file cannot be used, or a pair is not here.
    """
    from pkt_bench import plugins

    offers = plugins.load(files).methods.expand(methods)
    _check_names(assignments, offers)
    with _folder(keep) as folder:
        return _Check(offers, folder, files, assignments, cell_seconds, tell).reports(pairs, suite)


def _check_names(assignments: Sequence[str], offers: Sequence[Offer[Method]]) -> None:
    """Settings are for methods that are checked, or for those that they are controls of."""
    known = {name for offer in offers for name in (offer.item.name, _called(offer), offer.item.control_of) if name}
    for text in assignments:
        name = text.partition("=")[0].rpartition(".")[0]
        if name and name not in known:
            raise RequestError(
                f"--set {text}: '{name}' is not among the methods that are checked."
                f"\n  They are: {', '.join(sorted(known))}"
            )


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        # short: sockets that a method makes in its scratch folder have a path of 107 bytes at most
        with tempfile.TemporaryDirectory(prefix="pkt-") as folder:
            yield Path(folder)
        return
    try:
        keep.mkdir(parents=True)
    except FileExistsError:
        raise RequestError(f"{keep} is there already, and nothing of it is touched.\n  Name a new folder.") from None
    except OSError as error:
        raise StorageError(f"{keep} cannot be made: {error.strerror}.") from None
    yield keep.absolute()
    for run_folder in keep.glob("*/pkt-bench.json"):
        Store(run_folder.parent).write_board()


class _Check:
    """One check of some methods: everything is planned once, and each run of cells is shared by all of them."""

    def __init__(
        self,
        offers: Sequence[Offer[Method]],
        folder: Path,
        files: Sequence[Path],
        assignments: Sequence[str],
        cell_seconds: float,
        tell: Tell,
    ) -> None:
        self._offers, self._folder, self._files = offers, folder, files
        self._assignments, self._more, self._tell = assignments, {"cell_seconds": cell_seconds}, tell

    def reports(self, pairs: Sequence[str], suite: str) -> list[Report]:
        """Runs what has to be run, and says of each method what was found."""
        started = time.monotonic()
        self._tell("making pairs to try it on")
        place = trying.place_in(self._folder, self._files, pairs, suite)
        runnable = [offer for offer in self._offers if settled.can_be_kept(offer.item)]
        if not runnable:
            names = ", ".join(offer.item.name for offer in self._offers)
            raise UnavailableError(f"the settings of {names} cannot be kept as JSON, so no cell of it can be planned.")
        planned = trying.planned(runnable, place, self._folder / "first", self._assignments, self._more)
        self._tell(f"running {counted(len(planned.plan.jobs), 'cell')}")
        evidence = self._run(planned.plan)
        seconds = (time.monotonic() - started) / len(self._offers)
        skips = _by_name(planned.plan.skips)
        cold_starts = self._cold(place, planned)
        reports = []
        for offer in self._offers:
            name = _called(offer)
            found = (
                *said.of_words(offer),
                *said.of_importing(cold_starts[name]),
                *settled.of_settings(offer.item),
                *said.of_skips(offer.item, planned.registry.suites.get(place.suite).item, planned.pairs),
                *said.of_estimate(offer.item, planned.registry.suites.get(place.suite).item, planned.pairs),
                *done.of_cells(offer.item, evidence.first.get(name, []), skips.get(name, [])),
                *_closely(name, evidence),
            )
            reports.append(Report(offer.item.name, offer.distribution, offer.version, found, seconds))
        return reports

    def _run(self, plan: Plan) -> Evidence:
        """The cells of the plan; of each method one that was done again elsewhere, and again under kills."""
        record_skips(plan.skips, Store(self._folder / "first"))
        first: dict[str, list[Attempt]] = {}
        for attempt in trying.tried(plan.jobs):
            first.setdefault(attempt.job.method, []).append(attempt)
        closely = [each for attempts in first.values() for each in attempts if each.done]
        closely = list({attempt.job.method: attempt for attempt in reversed(closely)}.values())
        jobs = [attempt.job for attempt in closely]
        moments = {attempt.job.cell.key: _moments(attempt) for attempt in closely}
        if not jobs:
            return Evidence(first, {}, {})
        self._tell("once more, in another program")
        again = elsewhere(jobs, self._folder / "again")
        self._tell("once more, killed on the way")
        killed = trying.killed(jobs, moments, self._folder / "killed")
        return Evidence(first, _by_key(again), _by_key(killed))

    def _cold(self, place: Place, planned: Planned) -> Mapping[str, cold.Cold | str]:
        """What each method's plugin loads, by a program for each plugin; in words where that program failed."""
        pair = next(iter(planned.pairs.values()), None)
        suite = planned.registry.suites.get(place.suite)
        plugins: dict[tuple[str, str], list[Offer[Method]]] = {}
        for offer in self._offers:
            plugins.setdefault((offer.distribution, offer.provider), []).append(offer)
        found: dict[str, cold.Cold | str] = {}
        for (distribution, provider), offers in plugins.items():
            names = [_called(offer) for offer in offers]
            if pair is None:
                found |= dict.fromkeys(names, "no pair is here to ask its skip of")
                continue
            beside: list[Offer[Any]] = [
                suite,
                *(
                    control
                    for control in planned.registry.controls
                    if any(control.item == offer.item.control for offer in offers)
                ),
            ]
            providers = (f"{distribution}/{provider}", *(f"{each.distribution}/{each.provider}" for each in beside))
            asked = cold.Asked(
                providers=tuple(dict.fromkeys(providers)),
                methods=tuple(names),
                # files are loaded whatever the allow-list says
                files=tuple(
                    str(file)
                    for file in place.files
                    if file.name in {distribution, *(each.distribution for each in beside)}
                ),
                teacher=str(pair.teacher.path),
                student=str(pair.student.path),
                suite=place.suite,
            )
            try:
                found |= cold.ask(asked)
            except RuntimeError as error:
                found |= dict.fromkeys(names, str(error))
        return found


@dataclass(frozen=True)
class Evidence:
    """What was run: every cell by its method; one of each method again and under kills, by its key."""

    first: Mapping[str, Sequence[Attempt]]
    again: Mapping[str, Attempt]
    killed: Mapping[str, Attempt]


def _closely(name: str, evidence: Evidence) -> Iterator[Finding]:
    """What can be said of a method that did at least one pair."""
    well = [attempt for attempt in evidence.first.get(name, []) if attempt.done]
    if well:
        key = well[0].job.cell.key
        yield from done.of_costs(well)
        yield from done.of_state(well)
        yield done.of_seed(well[0], evidence.again[key])
        yield done.of_kill(well[0], evidence.killed[key])


def _by_key(attempts: Sequence[Attempt]) -> dict[str, Attempt]:
    return {attempt.job.cell.key: attempt for attempt in attempts}


def _called(offer: Offer[Method]) -> str:
    return f"{offer.distribution}/{offer.item.name}"


def _by_name(skips: Sequence[Skip]) -> dict[str, list[Skip]]:
    found: dict[str, list[Skip]] = {}
    for skip in skips:
        found.setdefault(f"{skip.cell.distribution}/{skip.cell.method}", []).append(skip)
    return found


def _moments(attempt: Attempt) -> tuple[str, ...]:
    """When to kill it: in the last stage that tells how far it is, else at the end of its last one; and in the end."""
    parts = [name for name, told in attempt.stages if told]
    stages = parts or [name for name, _ in attempt.stages]
    return (*stages[-1:], SAVING)

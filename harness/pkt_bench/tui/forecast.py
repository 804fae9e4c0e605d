"""How long a run still takes, learned from what earlier cells took: in this folder before, and in this run."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence

from pkt_bench.domain import Cell, Job


class Forecast:
    """Keeps what is to do, what is under way and what ended; `left()` says the seconds to come.

    A cell is expected to take what cells of its method and suite took in this run, else what they took in earlier ones
    (`Job.expected_seconds`), else what cells of this run took on the whole. Nothing is said before anything is known.
    """

    def __init__(self, jobs: Sequence[Job], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._jobs = {job.cell.key: job for job in jobs}
        self._running: dict[str, float] = {}
        self._ended: set[str] = set()
        self._took: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        self._began: float | None = None
        self.lanes = 1
        """How many cells were under way at once, at most."""

    def started(self, cell: Cell) -> None:
        """A cell begins."""
        self._running[cell.key] = self._clock()
        self._began = self._clock() if self._began is None else self._began
        self.lanes = max(self.lanes, len(self._running))

    def finished(self, cell: Cell) -> None:
        """A cell ended, however."""
        began = self._running.pop(cell.key, None)
        self._ended.add(cell.key)
        if began is not None:
            self._took[_kind(cell)].append(self._clock() - began)

    def left(self) -> float | None:
        """Seconds until all cells have ended; None where nothing is known of any of them."""
        now = self._clock()
        total, longest = 0.0, 0.0
        for key, job in self._jobs.items():
            if key in self._ended:
                continue
            expected = self._expected(job)
            if expected is None:
                return None
            rest = max(0.0, expected - (now - self._running[key])) if key in self._running else expected
            total, longest = total + rest, max(longest, rest)
        return max(total / self.lanes, longest)

    def per_minute(self) -> float | None:
        """Cells that end in a minute; None before one has."""
        if self._began is None or not self._ended:
            return None
        return 60 * len(self._ended) / max(1e-9, self._clock() - self._began)

    def _expected(self, job: Job) -> float | None:
        if took := self._took.get(_kind(job.cell)):
            return statistics.fmean(took)
        if job.expected_seconds is not None:
            return job.expected_seconds
        every = [seconds for took in self._took.values() for seconds in took]
        return statistics.fmean(every) if every else None


def _kind(cell: Cell) -> tuple[str, str, str]:
    return cell.method, cell.pair, cell.suite


def spoken(seconds: float) -> str:
    """A time span for people: `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"

"""How long a run still takes, learned from what earlier cells took: in this folder before, and in this run."""

from __future__ import annotations

import statistics
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
        self._took: dict[tuple[str, str, str], list[float]] = {}
        self._began: float | None = None
        self.lanes = 1
        """How many cells were under way at once, at most."""

    def started(self, cell: Cell) -> None:
        """A cell begins."""
        self._running[cell.key] = self._clock()
        self._began = self._clock() if self._began is None else self._began
        self.lanes = max(self.lanes, len(self._running))

    def finished(self, cell: Cell, *, counts: bool = True) -> None:
        """A cell ended; whether what it took `counts` for others: not if it was cut short, or done by somebody else."""
        began = self._running.pop(cell.key, None)
        self._ended.add(cell.key)
        if began is not None and counts:
            self._took.setdefault(_kind(cell), []).append(self._clock() - began)

    def left(self) -> float | None:
        """Seconds until all cells have ended; None where nothing is known of any of them."""
        now, running, ended = self._clock(), dict(self._running), set(self._ended)
        every = [seconds for took in list(self._took.values()) for seconds in list(took)]
        average = statistics.fmean(every) if every else None
        kinds = {kind: statistics.fmean(took) for kind, took in list(self._took.items())}
        total, longest = 0.0, 0.0
        for key, job in self._jobs.items():
            if key in ended:
                continue
            before = average if job.expected_seconds is None else job.expected_seconds
            expected = kinds.get(_kind(job.cell), before)
            if expected is None:
                return None
            rest = max(0.0, expected - (now - running[key])) if key in running else expected
            total, longest = total + rest, max(longest, rest)
        return max(total / self.lanes, longest)

    def per_minute(self) -> float | None:
        """Cells that end in a minute; None before one has."""
        if self._began is None or not self._ended:
            return None
        return 60 * len(self._ended) / max(1e-9, self._clock() - self._began)


def _kind(cell: Cell) -> tuple[str, str, str]:
    return cell.called or cell.method, cell.pair, cell.suite


def spoken(seconds: float) -> str:
    """A time span for people: `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"

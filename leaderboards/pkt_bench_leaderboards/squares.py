"""One method on one suite: its mean over seeds, how sure that is, and what it took."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Mapping, Sequence

from pkt_bench_leaderboards import statistics
from pkt_bench_leaderboards.comparable import Entry
from pkt_bench_leaderboards.records import NOT_RUN, Costs, Reason, Square
from pkt_bench_leaderboards.statistics import Answers
from pkt_bench_leaderboards.statistics.answers import is_right_or_wrong, lined_up, shared_documents

# of a normal distribution, where only a standard error is known
_TWO_SIDED = 1.959963984540054
_COSTS = operator.attrgetter(*(field.name for field in dataclasses.fields(Costs)))


def square_of(runs: Sequence[Entry], answers: Mapping[int, Answers] | None = None, *, fraction: bool = True) -> Square:
    """The square of one method on one suite from its runs, one per seed, and their answers by seed, where known.

    `fraction`: the figure is a share of 1, so its interval is too.
    """
    if not runs:
        return Square(NOT_RUN)
    reasons: dict[tuple[str, str], list[int]] = {}
    for entry in runs:
        if not entry.done:
            reasons.setdefault((entry.outcome, entry.reason), []).append(entry.seed)
        elif entry.value is None:
            reasons.setdefault((entry.outcome, "the scorer gave no value"), []).append(entry.seed)
    said = tuple(Reason(outcome, why, tuple(seeds)) for (outcome, why), seeds in reasons.items())
    done = [entry for entry in runs if entry.done]
    if not done:
        return Square(runs[-1].outcome, reasons=said)
    valued = [entry for entry in done if entry.value is not None]
    values = [entry.value for entry in valued if entry.value is not None]
    mean = sum(values) / len(values) if values else None
    stderr, low, high = _spread(mean, valued, answers, fraction=fraction)
    return Square(
        outcome="done",
        value=mean,
        stderr=stderr,
        low=low,
        high=high,
        seeds=tuple(entry.seed for entry in valued),
        values=tuple(values),
        costs=costs_of(done),
        reasons=said,
    )


def costs_of(done: Sequence[Entry]) -> Costs:
    """What these runs took, on average; a mean over some would pass for one over all, and is not given."""
    if not done:
        return Costs()
    columns = zip(*map(_COSTS, done), strict=True)
    return Costs(*(None if None in values else sum(values) / len(values) for values in columns))


def table_of(answers: Mapping[int, Answers]) -> statistics.Crossed | None:
    """Items by seeds of one method on one suite; None where nothing is known of other items."""
    runs = list(answers.values())
    return statistics.crossed(lined_up(runs, shared_documents(runs)))


def right_or_wrong(answers: Mapping[int, Answers]) -> bool:
    """Whether every answer is worth 0 or 1."""
    return all(is_right_or_wrong(run.values) for run in answers.values())


def around(value: float | None, stderr: float | None, *, fraction: bool) -> tuple[float | None, float | None]:
    """The interval of a figure of which the standard error is all that is known."""
    if value is None or stderr is None:
        return None, None
    low, high = value - _TWO_SIDED * stderr, value + _TWO_SIDED * stderr
    return (max(0.0, low), min(1.0, high)) if fraction else (low, high)


def _spread(
    value: float | None, valued: Sequence[Entry], answers: Mapping[int, Answers] | None, *, fraction: bool
) -> tuple[float | None, float | None, float | None]:
    """Standard error and interval: from the answers, or without them from what the scorer says of each seed."""
    table = table_of(answers) if answers else None
    if table is None or not answers or value is None or abs(table.mean - value) > 1e-6:
        # a figure that is no mean of what its answers were worth is as sure as its scorer says
        values = [entry.value for entry in valued if entry.value is not None]
        stderr = statistics.seeds_stderr(values, [entry.stderr for entry in valued])
        return stderr, *around(value, stderr, fraction=fraction)
    proportion = fraction and right_or_wrong(answers)
    found = statistics.interval([table], proportion=proportion)
    low, high = found if found is not None else (None, None)
    return table.stderr, low, high

"""Variants that take turns in one process, timed by its CPU time, and the table that says how they compare."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Spent:
    """Seconds of one call."""

    cpu: float
    wall: float


def timed(work, least=0.0):
    """One call of `work`, averaged over as many as fill `least` CPU seconds."""
    calls, cpu, wall = 0, time.process_time(), time.perf_counter()
    while True:
        work()
        calls += 1
        spent = time.process_time() - cpu
        if spent >= least:
            return Spent(spent / calls, (time.perf_counter() - wall) / calls)


def take_turns(variants, rounds, least=0.02):
    """What each variant spent in every round, A B C A B C, after a call of each that is not counted."""
    for work in variants.values():
        work()
    seen = {name: [] for name in variants}
    for _ in range(rounds):
        for name, work in variants.items():
            seen[name].append(timed(work, least))
    return seen


def quotients(seen, slow, fast, share=1.0):
    """How many times less CPU time `fast` took, in every round; `slow` did a `share` of its own work."""
    return [a.cpu / share / b.cpu for a, b in zip(seen[slow], seen[fast], strict=True)]


def table_of(title):
    """A table that `add` fills."""
    return Table("what", "variant", "CPU ms", "wall ms", "cheaper", "range", "goal", "and", title=title)


def add(table, what, seen, *, goals=None, remarks=None, share=1.0):
    """A row per variant, compared with the first of them.

    Args:
        table: from `table_of`.
        what: what all variants compute.
        seen: from `take_turns`.
        goals: by variant, how many times cheaper than the first it shall be.
        remarks: by variant.
        share: of the work that the first did when it was timed; its times are scaled up.
    """
    first = next(iter(seen))
    for name, spent in seen.items():
        whole = share if name == first else 1.0
        found = quotients(seen, first, name, share) if name != first else [1.0]
        goal = (goals or {}).get(name)
        missed = " MISSED" if goal and statistics.median(found) < goal else ""
        table.add_row(
            what if name == first else "",
            name,
            f"{1000 * statistics.median(one.cpu for one in spent) / whole:.4g}",
            f"{1000 * statistics.median(one.wall for one in spent) / whole:.4g}",
            f"{statistics.median(found):.3g}x",
            f"{min(found):.3g}..{max(found):.3g}",
            f"{goal:g}x{missed}" if goal else "",
            (remarks or {}).get(name, ""),
        )
    table.add_section()

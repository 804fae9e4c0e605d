"""What methods tried before they chose, from the notes of their runs: losses by step and rate, or by rate."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.report.counted import Counted
from pkt_bench_leaderboards.report.markup import Markup, join, scrolling, tag

SHADES = 5
_CHOSEN = {"step": ("step", "steps"), "rate": ("rate", "learning_rate")}


@dataclass(frozen=True)
class Grid:
    """Losses of one run by (step, rate), the step None where there are none; `chosen`: what the run took."""

    what: str
    losses: Mapping[tuple[float | None, float], float]
    chosen: tuple[float | None, float] | None = None


def grids_of(notes: Mapping[str, Any]) -> list[Grid]:
    """The grids that the notes of a run hold: lists of (step, rate, loss), or an object of losses by rate."""
    found = []
    for what, value in notes.items():
        losses = _by_step(value) or _by_rate(value)
        if len(losses) > 1:
            has_steps = any(step is not None for step, _ in losses)
            found.append(Grid(what, losses, _chosen(notes, has_steps=has_steps)))
    return found


def heat_maps(runs: Sequence[Counted]) -> Markup:
    """A map per method, suite and grid, the mean over its seeds; empty where no notes hold one."""
    tried: dict[tuple[str, str, str, bool], list[Grid]] = defaultdict(list)
    for run in runs:
        for grid in grids_of(run.json("notes")):
            has_steps = any(step is not None for step, _ in grid.losses)
            tried[grid.what, run.label, run.suite, has_steps].append(grid)
    maps = [_map(label, suite, what, grids) for (what, label, suite, steps), grids in tried.items() if steps]
    by_rate: dict[tuple[str, str], dict[str, list[Grid]]] = defaultdict(dict)
    for (what, label, suite, steps), grids in tried.items():
        if not steps:
            by_rate[what, suite][label] = grids
    maps += [_lines(what, suite, by_label) for (what, suite), by_label in sorted(by_rate.items())]
    if not maps:
        return Markup()
    words = (
        "What methods noted of the settings they tried, the mean over seeds; the stronger the colour the better. "
        "In brackets and framed: by how many seeds it was chosen."
    )
    return join([tag("p", words, class_="note"), tag("div", *maps, class_="panels")])


def _map(label: str, suite: str, what: str, grids: Sequence[Grid]) -> Markup:
    tried = _over_seeds(grids)
    steps = sorted({step for step, _ in tried.means if step is not None})
    rates = sorted({rate for _, rate in tried.means})
    head = tag(
        "tr", tag("th", "step \\ rate", scope="col"), *(tag("th", f"{r:g}", scope="col", class_="n") for r in rates)
    )
    body = [
        tag("tr", tag("th", f"{step:g}", scope="row", class_="n"), *(_cell((step, rate), tried) for rate in rates))
        for step in steps
    ]
    return _table(f"{label} on {suite}: {_spoken(what)} by step and rate, {_seeds(grids)}", head, body)


def _lines(what: str, suite: str, by_label: Mapping[str, Sequence[Grid]]) -> Markup:
    rates = sorted({rate for grids in by_label.values() for grid in grids for _, rate in grid.losses})
    head = tag("tr", tag("th", "method", scope="col"), *(tag("th", f"{r:g}", scope="col", class_="n") for r in rates))
    body = []
    for label, grids in by_label.items():
        tried = _over_seeds(grids)
        body.append(tag("tr", tag("th", label, scope="row"), *(_cell((None, r), tried) for r in rates)))
    return _table(f"{suite}: {_spoken(what)}", head, body)


_Where = tuple[float | None, float]


@dataclass(frozen=True)
class _Tried:
    """Means of the places that every seed tried, and how often each was chosen; of `scores` more is better."""

    means: Mapping[_Where, float]
    times: Mapping[_Where, int]
    scores: bool


def _over_seeds(grids: Sequence[Grid]) -> _Tried:
    everywhere = set(grids[0].losses).intersection(*(grid.losses for grid in grids))
    means = {where: sum(grid.losses[where] for grid in grids) / len(grids) for where in everywhere}
    times: dict[_Where, int] = defaultdict(int)
    for grid in grids:
        if grid.chosen is not None:
            times[grid.chosen] += 1
    return _Tried(means, times, "score" in grids[0].what)


def _cell(where: _Where, tried: _Tried) -> Markup:
    if where not in tried.means:
        return tag("td", text.UNKNOWN, class_="n")
    low, high = min(tried.means.values()), max(tried.means.values())
    share = (high - tried.means[where]) / (high - low) if high > low else 0.0
    shade = min(SHADES - 1, int((1 - share if tried.scores else share) * SHADES))
    times = tried.times.get(where)
    written = text.number(tried.means[where], fraction=False) + (f" [{times}]" if times else "")
    return tag("td", written, class_=f"n heat{shade}" + (" chosen" if times else ""))


def _table(caption: str, head: Markup, body: Sequence[Markup]) -> Markup:
    made = tag("table", tag("caption", tag("span", caption)), tag("thead", head), tag("tbody", *body), class_="heat")
    return scrolling(made, caption)


def _seeds(grids: Sequence[Grid]) -> str:
    return "1 seed" if len(grids) == 1 else f"mean of {len(grids)} seeds"


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _by_step(value: object) -> dict[_Where, float]:
    if not isinstance(value, list):
        return {}
    found: dict[_Where, float] = {}
    for each in value:
        if isinstance(each, dict):
            step, rate, loss = each.get("steps", each.get("step")), each.get("rate"), each.get("loss")
        elif isinstance(each, list) and len(each) == 3:
            step, rate, loss = each
        else:
            return {}
        if not (_is_number(step) and _is_number(rate) and _is_number(loss)):
            return {}
        found[float(step), float(rate)] = float(loss)
    return found


def _by_rate(value: object) -> dict[_Where, float]:
    if not isinstance(value, dict) or not all(_is_number(loss) for loss in value.values()):
        return {}
    try:
        return {(None, float(rate)): float(loss) for rate, loss in value.items()}
    except ValueError:
        return {}


def _chosen(notes: Mapping[str, Any], *, has_steps: bool) -> _Where | None:
    step = next((notes[name] for name in _CHOSEN["step"] if _is_number(notes.get(name))), None)
    rate = next((notes[name] for name in _CHOSEN["rate"] if _is_number(notes.get(name))), None)
    if rate is None or (has_steps and step is None):
        return None
    return (float(step) if has_steps and step is not None else None, float(rate))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

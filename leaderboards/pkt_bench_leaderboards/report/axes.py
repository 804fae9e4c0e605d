"""Axes of plots: where a value stands, linear or logarithmic, and which values are marked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SPAN = 20
"""Values whose largest is this many times their smallest are set on a logarithmic axis."""
ZERO_ROOM = 34.0
"""Pixels between the place of zero and the start of a logarithmic axis, which has no zero."""


@dataclass(frozen=True)
class Axis:
    """From `low` at pixel `start` to `high` at `end`; `zero` is the pixel of zero where a logarithmic axis has one."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    zero: float | None = None

    def at(self, value: float) -> float:
        """The pixel of a value; values beyond the ends stand at the ends."""
        if self.log and value <= 0:
            return self.start if self.zero is None else self.zero
        low, high, where = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        share = (min(max(where, low), high) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """The values to mark, in rising order."""
        marked = _powers(self.low, self.high) if self.log else _steps(self.low, self.high)
        return [0.0, *marked] if self.zero is not None else marked


def linear(values: Sequence[float], start: float, end: float, *, floor: float | None = None) -> Axis:
    """A linear axis that holds `values` with some room; none of it below `floor`."""
    low, high = min(values), max(values)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 0.05
    low = low - room if floor is None else max(floor, low - room)
    return Axis(low, high + room, start, end)


def of_amounts(values: Sequence[float], start: float, end: float) -> Axis:
    """An axis of amounts, none of them negative: logarithmic where those above zero span decades."""
    positive = [value for value in values if value > 0]
    if not positive:
        return Axis(0.0, 1.0, start, end)
    low, high = min(positive), max(positive)
    if high / low < SPAN:
        return Axis(0.0, high * 1.08, start, end)
    has_zero = len(positive) < len(values)
    low, high = low / 1.5, high * 1.5
    return Axis(low, high, start + ZERO_ROOM if has_zero else start, end, log=True, zero=start if has_zero else None)


def without_collisions(axis: Axis, write: Callable[[float], str], letter: float = 6.2) -> list[tuple[float, str]]:
    """The ticks and their labels, those left out that would run into the one before."""
    kept: list[tuple[float, str]] = []
    free = -math.inf
    for value in axis.ticks:
        label = write(value)
        half = len(label) * letter / 2
        kept.append((value, label if axis.at(value) - half >= free else ""))
        if kept[-1][1]:
            free = axis.at(value) + half + 4
    return kept


def _steps(low: float, high: float, most: int = 5) -> list[float]:
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _powers(low: float, high: float) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    times = (1,) if math.log10(high / low) > 2.5 else (1, 2, 5)
    marked = [factor * 10.0**exponent for exponent in exponents for factor in times]
    return [value for value in marked if low <= value <= high]

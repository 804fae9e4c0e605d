"""A sample of the requests that is put to stock lm-eval as well, and what may differ."""

from __future__ import annotations

from collections.abc import Sequence

SHARE = 0.01
"""Of stock lm-eval's work that the sample may cost; one request is always in it."""
MOST = 16

TOLERANCES = {"float32": 1e-3, "float64": 1e-6}
"""How far a log-likelihood may be from stock's, by dtype."""
_HALF_PRECISION = {"bfloat16": 2e-2, "float16": 3e-3}
# per unit of log-likelihood: stock lm-eval differs by as much from itself with another batch size


def tolerance(dtype: str, value: float) -> float:
    """How far a log-likelihood may be from stock's `value`."""
    if dtype in _HALF_PRECISION:
        return _HALF_PRECISION[dtype] * (1 + abs(value))
    return TOLERANCES[dtype]


def sample(costs: Sequence[int]) -> list[int]:
    """The numbers of the requests to put to both scorers: spread over the lengths, within the share of all costs."""
    order = sorted(range(len(costs)), key=lambda number: (costs[number], number))
    allowed = SHARE * sum(costs)
    for count in range(min(MOST, len(order)), 1, -1):
        chosen = [order[(2 * step + 1) * len(order) // (2 * count)] for step in range(count)]
        if sum(costs[number] for number in chosen) <= allowed:
            return sorted(chosen)
    return order[len(order) // 2 : len(order) // 2 + 1]

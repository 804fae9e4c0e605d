"""What each row of a board is called."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

from pkt_bench_leaderboards.comparable import Entry, RowKey

OWN = "pkt-bench"
"""The distribution of the bench's own methods; where several offer untouched models, its are measured against."""


def labels_of(kinds: Iterable[Entry], beside: Iterable[RowKey] = ()) -> dict[RowKey, str]:
    """What each row is called: the method, and where that is not enough, what tells it from its namesakes.

    Methods of one name that several distributions offer are called `distribution/method`, their controls too, as on
    the command line. `beside` are rows that are not called here, but shown with these.
    """
    entries = list(kinds)
    shared = shared_methods([*(entry.row for entry in entries), *beside])
    by_method: dict[str, list[RowKey]] = {}
    for entry in entries:
        by_method.setdefault(called(entry.row, shared), []).append(entry.row)
    labels: dict[RowKey, str] = {}
    for name, rows in by_method.items():
        settings = [json.loads(row.settings or "{}") for row in rows]
        named = sorted({key for chosen in settings for key in chosen})
        differing = [key for key in named if len({json.dumps(c.get(key), sort_keys=True) for c in settings}) > 1]
        for row, chosen in zip(rows, settings, strict=True):
            words = [name]
            if len({other.version for other in rows}) > 1:
                words.append(f"v{row.version}")
            words += [f"{key}={_setting(chosen.get(key))}" for key in differing]
            labels[row] = " ".join(words)
    return labels


def shared_methods(rows: Iterable[RowKey]) -> frozenset[str]:
    """Names of methods that several distributions offer; a control counts as its method does."""
    offered: dict[str, set[str]] = {}
    for row in rows:
        offered.setdefault(_method(row.method), set()).add(row.distribution)
    return frozenset(name for name, distributions in offered.items() if len(distributions) > 1)


def called(row: RowKey, shared: Collection[str]) -> str:
    """The method of a row, with its distribution where the name is among those that several offer."""
    return f"{row.distribution}/{row.method}" if _method(row.method) in shared else row.method


def is_called(row: RowKey, name: str) -> bool:
    """Whether a name is that of a row's method, plain or with its distribution."""
    return name in {row.method, f"{row.distribution}/{row.method}"}


def _method(name: str) -> str:
    return name.partition(":")[0]


def _setting(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))

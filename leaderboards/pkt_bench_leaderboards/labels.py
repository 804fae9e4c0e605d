"""What each row of a board is called."""

from __future__ import annotations

import json
from collections.abc import Iterable

from pkt_bench_leaderboards.comparable import Entry, RowKey


def labels_of(kinds: Iterable[Entry]) -> dict[RowKey, str]:
    """What each row is called: the method, and where that is not enough, what tells it from its namesakes."""
    by_method: dict[str, list[RowKey]] = {}
    for entry in kinds:
        by_method.setdefault(entry.method, []).append(entry.row)
    labels: dict[RowKey, str] = {}
    for method, rows in by_method.items():
        settings = [json.loads(row.settings or "{}") for row in rows]
        named = sorted({key for chosen in settings for key in chosen})
        differing = [key for key in named if len({json.dumps(c.get(key), sort_keys=True) for c in settings}) > 1]
        for row, chosen in zip(rows, settings, strict=True):
            words = [method]
            if len({other.distribution for other in rows}) > 1:
                words.append(f"({row.distribution})")
            if len({other.version for other in rows}) > 1:
                words.append(f"v{row.version}")
            words += [f"{key}={_setting(chosen.get(key))}" for key in differing]
            labels[row] = " ".join(words)
    return labels


def _setting(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))

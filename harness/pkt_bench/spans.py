"""Amounts of bytes in words."""

from __future__ import annotations


def size(count: float) -> str:
    """Bytes in decimal units with three digits: `13.5 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"

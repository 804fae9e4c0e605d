"""Whether this process was asked to end after the stage it is in: a mark, set by a signal, looked at between stages."""

from __future__ import annotations

from pkt_bench.errors import Interrupted

_asked = False


def ask() -> None:
    """Asks this process to stop before its next stage."""
    global _asked  # noqa: PLW0603 - one process, one mark
    _asked = True


def asked() -> bool:
    """Whether it was asked to."""
    return _asked


def check() -> None:
    """Called where stopping loses nothing.

    Raises:
        Interrupted: stopping was asked for.
    """
    if _asked:
        raise Interrupted

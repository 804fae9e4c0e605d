"""Calling a plugin's function from a command: what it prints is no result, and its `sys.exit` ends nothing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def called() -> Iterator[None]:
    """Around the call of a stranger's function.

    Raises:
        RuntimeError: in the place of a SystemExit, which would end the command in silence, as if all were well.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except SystemExit as ended:
        raise RuntimeError(f"it ended the program: sys.exit({ended.code!r})") from None


def missing(asked: Callable[[], str | None]) -> str:
    """Why an executor or a tracker cannot be used here, by its own `missing`; empty where it can."""
    try:
        with called():
            return asked() or ""
    except Exception as error:  # noqa: BLE001 - one stranger's defect must not hide the others
        return f"its `missing` raised {type(error).__name__}: {error}; tell its author"

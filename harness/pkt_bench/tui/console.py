"""The two consoles: results go to stdout, everything said about them to stderr."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from rich.console import Console

# off a terminal nothing is cut: a table takes the width it needs
UNBOUNDED = 10_000


def results() -> Console:
    """The console for what was asked for."""
    return _console(sys.stdout)


def remarks() -> Console:
    """The console for progress, warnings and errors."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    dumb = os.environ.get("TERM") == "dumb"
    width = None if stream.isatty() or os.environ.get("COLUMNS") else UNBOUNDED
    return Console(file=stream, width=width, highlight=False, soft_wrap=False, no_color=True if dumb else None)

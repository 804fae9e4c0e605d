"""`pkt-bench browse`: the leaderboard to walk through, in a terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from pkt_bench.cli import completion


def browse(
    run_dir: Annotated[
        str,
        typer.Argument(
            metavar="[RUN_DIR]",
            help="A run folder, a published board, a board file, or REV:PATH.",
            autocompletion=completion.run_sources,
        ),
    ] = "runs",
    baseline: Annotated[
        str, typer.Option("--baseline", metavar="METHOD", help="What the others are tested against.")
    ] = "student",
) -> None:
    """Walk through a leaderboard: who is ahead, what it cost, which questions flipped."""
    import os
    import sys

    from pkt_bench.errors import RequestError

    # it is drawn on stderr
    streams = (sys.stdin, sys.stdout, sys.stderr)
    if os.environ.get("TERM") == "dumb" or not all(stream.isatty() for stream in streams):
        raise RequestError(
            "browse needs a terminal that can move its cursor, and this is none."
            f"\n  See the same with: pkt-bench board {run_dir}"
        )
    from pkt_bench.tui.browse.recorded import Recorded

    recorded = Recorded(run_dir, baseline)
    recorded.open()
    from pkt_bench.tui.browse.app import Browser

    Browser(recorded).run()

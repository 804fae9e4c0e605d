"""A comparison on a terminal, and the documents that were answered differently."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from pkt_bench.tui.board import print_boards
from pkt_bench.tui.console import results
from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.compared import Comparison
from pkt_bench_leaderboards.compared_forms import flips_as_lines, write
from pkt_bench_leaderboards.flips import Flip


def print_comparison(comparison: Comparison, flips: Sequence[Flip] | None = None) -> None:
    """Prints what changed; with `flips`, every one of them below it."""
    console = results()
    unicode = console.encoding.lower().startswith("utf")
    print_boards(write(comparison), console)
    if flips is None:
        return
    for line in ["", *(flips_as_lines(flips) or ["no document that both answered was answered differently"])]:
        # what a model was asked may be in any script; a long line is not cut
        console.print(Text(line if unicode else text.ascii_only(line)), crop=False, no_wrap=True, overflow="ignore")

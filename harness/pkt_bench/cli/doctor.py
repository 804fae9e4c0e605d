"""`pkt-bench doctor`: what this machine can do, and what it can do for a pair."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pkt_bench.cli import options


@options.with_request
def doctor(
    flags: dict[str, Any],
    verify: Annotated[
        bool, typer.Option("--verify", help="Read the pairs' weights in the hub's cache and compare their digests.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show what this machine can do; with --pair, how its models match, what they need, and which methods can run."""
    from pkt_bench import diagnosis
    from pkt_bench.tui import doctor as view

    request, registry, _ = options.read(flags)
    found = diagnosis.diagnose(request, registry, pairs=bool(flags["pairs"] or flags["pairs_file"]), verify=verify)
    view.print_json(found) if json else view.print_diagnosis(found)
    if found.problems:
        raise typer.Exit(3)

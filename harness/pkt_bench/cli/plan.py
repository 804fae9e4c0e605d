"""`pkt-bench plan`: what a run would do, and what not, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pkt_bench.cli import options


@options.with_request
def plan(
    flags: dict[str, Any],
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate",
            help="Show what each method needs in memory and computation, by formula. Weights need not be there:"
            " --pair llama-2-13b:llama-2-7b.",
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per cell.")] = False,
) -> None:
    """Show what a run would do: cells to run, done before, or skipped with the reason."""
    from pkt_bench import estimating
    from pkt_bench.tui import plan as view

    request, registry, store = options.read(flags)
    if estimate:
        view.print_estimates(estimating.estimate(request, registry), json=json)
        return
    made, _, _ = options.prepare(request, registry, store, writes=False)
    if json:
        view.print_json(made)
    else:
        view.print_plan(made)

"""`pkt-bench plan`: what a run would do, and what not, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from pkt_bench.cli import options


def plan(
    methods: options.Methods = None,
    controls: options.Controls = None,
    pairs: options.Pairs = None,
    suites: options.Suites = None,
    also_score: options.AlsoScore = None,
    seeds: options.Seeds = None,
    limit: options.Limit = None,
    budget: options.Budget = None,
    set_: options.Set = None,
    config: options.Config = None,
    plugin: options.Plugin = None,
    out: options.Out = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    batch_size: options.BatchSize = None,
    threads: options.Threads = None,
    executor: options.Executor = None,
    track: options.Track = None,
    slots: options.Slots = None,
    cell_seconds: options.CellSeconds = None,
    cell_memory: options.CellMemory = None,
    cell_disk: options.CellDisk = None,
    retry: options.Retry = None,
    fresh: options.Fresh = False,
    allow_small_teacher: options.SmallTeacher = False,
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
    flags = {name: value for name, value in locals().items() if name not in {"json", "estimate"}}
    flags["plugins"] = flags.pop("plugin")
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

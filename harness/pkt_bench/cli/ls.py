"""`pkt-bench ls`: what there is to run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ls = typer.Typer(no_args_is_help=True, help="List methods, controls, pairs or suites.")

Plugin = Annotated[list[Path] | None, typer.Option("--plugin", metavar="FILE.py", help="Load a single-file plugin.")]
Format = Annotated[str, typer.Option("--format", help="table, json, csv or md.")]


@ls.command()
def methods(plugin: Plugin = None, format: Format = "table") -> None:  # noqa: A002 - the flag's name
    """The transfer methods that are installed."""
    from pkt_bench import plugins
    from pkt_bench.tui.listing import show

    rows = [
        {
            "method": offer.item.name,
            "paradigm": offer.item.paradigm,
            "summary": offer.item.summary,
            "distribution": f"{offer.distribution} {offer.version}",
        }
        for offer in plugins.load(plugin or ()).methods
        if offer.item.control is None
    ]
    show("methods", rows, format)


@ls.command()
def controls(plugin: Plugin = None, format: Format = "table") -> None:  # noqa: A002 - the flag's name
    """The controls of each method: run them with --controls, or by name as a method."""
    from pkt_bench import plugins
    from pkt_bench.tui.listing import show

    rows = [
        {
            "control": offer.item.name,
            "of": offer.item.control_of,
            "summary": offer.item.control.summary if offer.item.control is not None else offer.item.summary,
        }
        for offer in plugins.load(plugin or ()).methods
        if offer.item.control_of
    ]
    show("controls", rows, format)


@ls.command()
def pairs(plugin: Plugin = None, format: Format = "table") -> None:  # noqa: A002 - the flag's name
    """The (teacher, student) pairs that are installed."""
    from pkt_bench import models, plugins
    from pkt_bench.errors import PktBenchError
    from pkt_bench.tui.listing import show

    rows = []
    for offer in plugins.load(plugin or ()).pairs:
        pair = offer.item
        try:
            sizes = [f"{models.parameter_count(ref):,}" for ref in (pair.teacher, pair.student)]
        except PktBenchError:
            sizes = ["not here", "not here"]
        rows.append(
            {
                "pair": pair.name,
                "teacher parameters": sizes[0],
                "student parameters": sizes[1],
                "summary": pair.summary,
                "distribution": f"{offer.distribution} {offer.version}",
            }
        )
    show("pairs", rows, format)


@ls.command()
def suites(plugin: Plugin = None, format: Format = "table") -> None:  # noqa: A002 - the flag's name
    """The suites that are installed."""
    from pkt_bench import plugins
    from pkt_bench.domain import SPLITS
    from pkt_bench.tui.listing import show

    rows = [
        {
            "suite": offer.item.name,
            "tasks": ", ".join(task.name for task in offer.item.tasks),
            "metric": offer.item.tasks[0].metric,
            **{split: len(offer.item.records(split)) for split in SPLITS},
            "test": len(offer.item.test_prompts()),
            "summary": offer.item.summary,
            "distribution": f"{offer.distribution} {offer.version}",
        }
        for offer in plugins.load(plugin or ()).suites
    ]
    show("suites", rows, format)

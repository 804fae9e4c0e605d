"""`pkt-bench plugins`: what was found, what it offers, and why something cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

plugins = typer.Typer(no_args_is_help=True, help="See the plugins that were found.")


@plugins.command("list")
def list_plugins(
    plugin: Annotated[
        list[Path] | None, typer.Option("--plugin", metavar="FILE.py", help="Load a single-file plugin.")
    ] = None,
    format: Annotated[str, typer.Option("--format", help="table, json, csv or md.")] = "table",  # noqa: A002
) -> None:
    """Every plugin, what it offers, and the reason of each that cannot be used."""
    from pkt_bench.plugins import load
    from pkt_bench.tui.listing import show

    rows = [
        {
            "plugin": provider.name,
            "status": provider.status,
            "distribution": f"{provider.distribution} {provider.version}",
            "offers": ", ".join(provider.offers),
            "hooks": ", ".join(hook.removeprefix("pkt_bench_") for hook in provider.hooks),
            "reason": provider.reason,
        }
        for provider in load(plugin or ()).providers
    ]
    show("plugins", rows, format)

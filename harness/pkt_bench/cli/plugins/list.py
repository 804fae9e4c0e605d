"""`pkt-bench plugins list`: every plugin that was found, and why one cannot be used."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from pkt_bench.cli import completion


def list_plugins(
    plugin: Annotated[
        list[Path] | None, typer.Option("--plugin", metavar="FILE.py", help="Load a single-file plugin.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    format: Annotated[  # noqa: A002 - the flag's name
        str, typer.Option("--format", help="table, json, csv or md.", autocompletion=completion.formats)
    ] = "table",
) -> None:
    """Every plugin, what it offers, and the reason of each that cannot be used."""
    from pkt_bench.plugins import load
    from pkt_bench.tui.listing import show

    form = "json" if as_json else format

    def listed(names: Iterable[str]) -> list[str] | str:
        return list(names) if form == "json" else ", ".join(names)

    rows = [
        {
            "plugin": provider.name,
            "status": provider.status,
            "distribution": provider.distribution,
            "version": provider.version,
            "offers": listed(provider.offers),
            "hooks": listed(hook.removeprefix("pkt_bench_") for hook in provider.hooks),
            "reason": provider.reason,
        }
        for provider in load(plugin or ()).providers
    ]
    show("plugins", rows, form)

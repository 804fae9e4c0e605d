"""`pkt-bench plugins show`: everything about a plugin, or about one thing that a plugin offers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pkt_bench.cli import completion


def show_plugin(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Anything that a plugin offers, DISTRIBUTION/NAME, or a plugin.",
            autocompletion=completion.anything,
        ),
    ],
    kind: Annotated[
        str,
        typer.Option(
            "--kind", metavar="method|control|pair|suite|executor|tracker|plugin", help="Which, of several of a name."
        ),
    ] = "",
    plugin: Annotated[
        list[Path] | None, typer.Option("--plugin", metavar="FILE.py", help="Load a single-file plugin.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """What it is, who offers it, its settings, its controls, and what it cannot do."""
    from pkt_bench import mirrors, plugins
    from pkt_bench.about import look_up
    from pkt_bench.tui.about import print_about, print_json

    mirrors.cut_network()  # a method that is asked what it skips may look at records
    registry = plugins.load(plugin or ())
    found = look_up(name, registry, kind)
    if as_json:
        print_json(found)
    else:
        print_about(found, [registry.suites.name_of(offer) for offer in registry.suites])

"""`pkt-bench schema`: what may stand in a sweep file, with every plugin's settings, as JSON Schema for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pkt_bench.cli import completion

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pkt_bench.plugins import Registry


def schema(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="A method, executor or tracker: the schema of its settings alone.",
            autocompletion=completion.with_settings,
        ),
    ] = None,
    plugin: Annotated[
        list[Path] | None, typer.Option("--plugin", metavar="FILE.py", help="Load a single-file plugin.")
    ] = None,
) -> None:
    """The JSON Schema of sweep files, for editors, with every name and setting that the plugins here offer."""
    from pkt_bench import plugins, sweep_schema

    registry = plugins.load(plugin or ())
    if name is None:
        made = sweep_schema.of_sweep_files(registry)
    else:
        made = sweep_schema.of_settings(name, _settings_of(name, registry))
    typer.echo(json.dumps(made, indent=2, ensure_ascii=False))


def _settings_of(name: str, registry: Registry) -> type[BaseModel]:
    from pkt_bench import offers
    from pkt_bench.errors import unknown_name
    from pkt_bench.executors import BUILT_IN

    if name in BUILT_IN:
        return BUILT_IN[name].settings
    plain = offers.split_name(name)[1]
    shelves: tuple[Any, ...] = (registry.methods, registry.executors, registry.trackers)
    for shelf in shelves:
        if plain in shelf.offers or name.partition(":")[0].rpartition("/")[2] in shelf.offers:
            settings: type[BaseModel] = shelf.get(name).item.settings
            return settings
    known = {offered for shelf in shelves for offered in shelf.offers if ":" not in offered}
    raise unknown_name("method, executor or tracker", name, {*BUILT_IN, *known})

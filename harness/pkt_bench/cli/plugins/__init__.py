"""`pkt-bench plugins`: what was found, what it offers, and why something cannot be used; one file per command."""

from __future__ import annotations

import typer

from pkt_bench.cli.plugins.list import list_plugins
from pkt_bench.cli.plugins.show import show_plugin

plugins = typer.Typer(no_args_is_help=True, help="See the plugins that were found, and what they offer.")
plugins.command("list")(list_plugins)
plugins.command("show")(show_plugin)

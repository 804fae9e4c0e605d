"""`pkt-bench plugins`: what was found, what it offers, and why something cannot be used; one file per command."""

from __future__ import annotations

import typer

from pkt_bench.cli.plugins.check import check_plugins
from pkt_bench.cli.plugins.list import list_plugins
from pkt_bench.cli.plugins.new import new_plugin
from pkt_bench.cli.plugins.show import show_plugin

plugins = typer.Typer(no_args_is_help=True, help="Write a plugin, check it, and see those that were found.")
plugins.command("new")(new_plugin)
plugins.command("list")(list_plugins)
plugins.command("show")(show_plugin)
plugins.command("check")(check_plugins)

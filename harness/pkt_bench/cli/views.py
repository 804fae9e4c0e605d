"""`pkt-bench views`: options of `pkt-bench board` under a name, for `pkt-bench board --view NAME`."""

from __future__ import annotations

from typing import Annotated

import typer

from pkt_bench.cli import completion

views = typer.Typer(no_args_is_help=True, help="Save options of pkt-bench board under a name: board --view NAME.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The view.", autocompletion=completion.views)]


@views.command(context_settings={"ignore_unknown_options": True})
def save(
    name: Name,
    options: Annotated[
        list[str], typer.Argument(metavar="-- OPTIONS", help="What pkt-bench board takes, after two hyphens.")
    ],
) -> None:
    """Keep options under a name; one that is there is replaced."""
    from pkt_bench import views as saved
    from pkt_bench.cli.board import read_options
    from pkt_bench.tui.console import remarks

    read_options(options)  # refuses what board would refuse
    replaced = saved.save(name, options)
    remarks().print(f"{'replaced' if replaced else 'saved'}: pkt-bench board --view {name}", markup=False)


@views.command("ls")
def list_views(
    format: Annotated[str, typer.Option("--format", help="table, json, csv or md.")] = "table",  # noqa: A002
) -> None:
    """Every view with its options."""
    import shlex

    from pkt_bench import views as saved
    from pkt_bench.tui.listing import show

    rows = [{"view": name, "options": shlex.join(options)} for name, options in saved.read().items()]
    show("views", rows, format, nothing="no views are saved: pkt-bench views save NAME -- --where 'seed < 3'")


@views.command()
def rm(name: Name) -> None:
    """Forget a view."""
    from pkt_bench import views as saved
    from pkt_bench.tui.console import remarks

    saved.remove(name)
    remarks().print(f"removed: {name}", markup=False)

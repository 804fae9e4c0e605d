"""`pkt-bench plugins check`: whether a method keeps its promises, and what to do where it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pkt_bench.cli import completion


def check_plugins(
    methods: Annotated[
        list[str], typer.Argument(metavar="METHOD...", help="Methods, by name.", autocompletion=completion.methods)
    ],
    plugin: Annotated[
        list[Path] | None, typer.Option("--plugin", metavar="FILE.py", help="Load a single-file plugin.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="METHOD.FIELD=VALUE",
            help="A setting to check it with.",
            autocompletion=completion.settings,
        ),
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(
            "--pair",
            help="Pairs to try it on, by name or TEACHER:STUDENT. (default: eight small random ones)",
            autocompletion=completion.pairs,
        ),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option("--suite", help="The suite to try it on. (default: letters)", autocompletion=completion.suites),
    ] = None,
    cell_seconds: Annotated[
        float | None,
        typer.Option("--cell-seconds", metavar="TIME", min=1, help="End a cell after so many seconds. (default: 600)"),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="Keep pairs and run folders, logs included. (default: removed)"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a method.")] = False,
) -> None:
    """Hold methods to their contract: run on unlike pairs, repeated, killed. Ends with 1 if one breaks it."""
    import contextlib
    import sys

    from pkt_bench import contract
    from pkt_bench.cli.signals import ending_in_order
    from pkt_bench.tui import contract as view

    names = [name for each in methods for name in each.split(",") if name]
    # what a plugin prints while it is asked is no result
    with ending_in_order(), contextlib.redirect_stdout(sys.stderr):
        reports = contract.check(
            names,
            plugin or (),
            assignments=set_ or (),
            pairs=[name for each in pair or () for name in each.split(",") if name],
            suite=suite or "",
            cell_seconds=cell_seconds or contract.CELL_SECONDS,
            keep=keep,
            tell=view.tell,
        )
    view.print_json(reports) if json else view.print_reports(reports)
    if not all(report.keeps for report in reports):
        raise typer.Exit(1)

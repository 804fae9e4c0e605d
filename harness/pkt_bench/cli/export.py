"""`pkt-bench export`: recorded runs in the format of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pkt_bench.cli import completion


def export(
    form: Annotated[str, typer.Option("--as", metavar="FORMAT", help="csv, lm-eval or model-index.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="A new folder to write to.")],
    run_dir: Annotated[
        str,
        typer.Argument(
            metavar="[RUN_DIR]", help="A run folder or a published board.", autocompletion=completion.run_sources
        ),
    ] = "runs",
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset",
            metavar="ORG/NAME",
            help="With model-index: the data set on the hub that was scored, for .eval_results.",
        ),
    ] = "",
) -> None:
    """Write scores and answers for other programs: lm-eval's files, model cards of the hub, or CSV."""
    import sys

    from pkt_bench.exchange import exporting

    done = exporting.export(run_dir, form, to, dataset=dataset)
    for words in done.problems:
        print(f"pkt-bench: {words}", file=sys.stderr)  # noqa: T201 - this is the command line
    print(f"{to}: {done.files:,} files about {done.runs:,} done runs")  # noqa: T201 - this is the output

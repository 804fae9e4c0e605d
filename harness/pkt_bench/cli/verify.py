"""`pkt-bench verify`: whether a run folder still is what was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pkt_bench.cli import completion


def verify(
    run_dir: Annotated[
        Path,
        typer.Argument(metavar="[RUN_DIR]", help="The run folder.", autocompletion=completion.run_sources),
    ] = Path("runs"),
    sample: Annotated[
        int | None, typer.Option("--sample", min=0, help="Score only so many answers again, drawn at random; 0: none.")
    ] = None,
    rerun: Annotated[
        int, typer.Option("--rerun", min=0, help="Ask saved students so many documents again, drawn at random.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of what is drawn.")] = 0,
    format: Annotated[str, typer.Option("--format", help="table, json, csv or md.")] = "table",  # noqa: A002
) -> None:
    """Check every file against its name, every score against its answers, every answer against its task."""
    import os
    import sys
    import warnings
    from dataclasses import asdict

    from pkt_bench import integrity, rerunning, rescoring, sources
    from pkt_bench.tui.listing import check_format, show

    check_format(format)
    # what the libraries that are asked again say of their progress is none of the answer
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("LOGLEVEL", "ERROR")
    warnings.simplefilter("ignore")
    folder = sources.folder(run_dir)
    checked = integrity.check(folder, all_items=sample != 0 or rerun > 0)
    faults, unchecked = list(checked.faults), list(checked.unchecked)
    again = 0
    if sample != 0:
        rescored = rescoring.rescore(checked.runs, checked.items, sample=sample, seed=seed)
        faults += rescored.faults
        unchecked += rescored.skipped
        again = rescored.checked
    asked = 0
    if rerun:
        answered = rerunning.rerun(folder, checked.runs, checked.items, count=rerun, seed=seed)
        faults += answered.faults
        unchecked += answered.skipped
        asked = answered.checked
    for words in unchecked:
        print(f"pkt-bench: {words}", file=sys.stderr)  # noqa: T201 - this is the command line
    runs = len(set(zip(checked.runs["run_id"].to_pylist(), checked.runs["cell_key"].to_pylist(), strict=True)))
    summary = (
        f"{run_dir}: {runs:,} runs, {checked.scores:,} scores, {checked.items.num_rows:,} answers,"
        f" {again:,} of them scored again, {asked:,} asked again: {len(faults) or 'no'} faults"
    )
    print(summary, file=sys.stderr)  # noqa: T201 - see above
    show("faults", [asdict(fault) for fault in faults], format, nothing="all is as it was recorded")
    if faults:
        raise typer.Exit(5)

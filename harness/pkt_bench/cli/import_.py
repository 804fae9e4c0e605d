"""`pkt-bench import`: what lm-eval wrote, as a run of a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pkt_bench.cli import completion


def import_(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="lm-eval's results_*.json, or the folder with it.")],
    out: Annotated[
        Path,
        typer.Option("--out", help="The run folder; made where there is none.", autocompletion=completion.run_folders),
    ],
    method: Annotated[str, typer.Option("--method", help="What made the student.", autocompletion=completion.methods)],
    suite: Annotated[str, typer.Option("--suite", help="The suite it learnt for.", autocompletion=completion.suites)],
    pair: Annotated[str, typer.Option("--pair", help="Its teacher and student.", autocompletion=completion.pairs)],
    seed: Annotated[int, typer.Option("--seed", min=0, help="The seed it was made with.")],
    settings: Annotated[str, typer.Option("--settings", metavar="JSON", help="The settings of the method.")] = "",
    headline: Annotated[
        str,
        typer.Option(
            "--headline",
            metavar="TASK,METRIC,FILTER",
            help="The score the suite is ranked by. (default: as the suite says)",
        ),
    ] = "",
) -> None:
    """Add an evaluation by lm-eval to a run folder; what it does not say is unknown, and never guessed."""
    import sys

    from pkt_bench.exchange import importing

    asked = importing.Asked(method, suite, pair, seed, settings, headline)
    done = importing.import_evaluation(path, out, asked)
    for words in done.unchecked:
        print(f"pkt-bench: {words}", file=sys.stderr)  # noqa: T201 - this is the command line
    state = "added" if done.added else "there already, nothing added"
    said = f"{out}: run {done.run_id}, {done.scores:,} scores, {done.items:,} answers: {state}"
    print(said)  # noqa: T201 - this is the output

"""`pkt-bench compact`: the many files of a run folder become few."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pkt_bench.cli import completion


def compact(
    run_dir: Annotated[
        Path, typer.Argument(metavar="[RUN_DIR]", help="The run folder.", autocompletion=completion.run_folders)
    ] = Path("runs"),
) -> None:
    """Fold the files of single runs into few large ones; runs and boards may go on meanwhile."""
    import sys

    from pkt_bench import compaction
    from pkt_bench.store import Store

    done = compaction.compact(Store(run_dir))
    for problem in done.problems:
        print(f"pkt-bench: {problem}", file=sys.stderr)  # noqa: T201 - this is the command line
    print(f"{run_dir}: {done.folded:,} runs folded, {done.files_before:,} files before, {done.files_after:,} after")  # noqa: T201 - this is the output

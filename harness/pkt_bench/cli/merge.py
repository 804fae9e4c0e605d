"""`pkt-bench merge`: many run folders into one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def merge(
    sources: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", help="Run folders, or published boards.")],
    out: Annotated[Path, typer.Option("--out", help="The run folder they are added to; made where there is none.")],
    artifacts: Annotated[bool, typer.Option("--artifacts", help="Copy the saved students too.")] = False,
) -> None:
    """Put the runs of many folders into one, each once; a folder that is not what was recorded is refused."""
    import sys

    from pkt_bench import merging

    done = merging.merge(sources, out, artifacts=artifacts)
    for words in done.unchecked:
        print(f"pkt-bench: {words}", file=sys.stderr)  # noqa: T201 - this is the command line
    students = f", {done.artifacts:,} saved students copied" if artifacts else ""
    print(f"{out}: {done.added:,} runs added, {done.known:,} were known{students}")  # noqa: T201 - this is the output

"""`pkt-bench publish`: a run folder as a board to publish, in a checkout, a folder, or on the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def publish(
    run_dir: Annotated[Path, typer.Argument(metavar="[RUN_DIR]", help="The run folder.")] = Path("runs"),
    slug: Annotated[str, typer.Option("--slug", help="Name of the board's folder.")] = "",
    title: Annotated[str, typer.Option("--title", help="What the board is called.")] = "",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="Where boards are published; a checkout's own folder.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace another board of that name.")] = False,
    keep_host: Annotated[bool, typer.Option("--keep-host", help="Keep the names of the machines.")] = False,
    hub: Annotated[str, typer.Option("--hub", metavar="ORG/NAME", help="Also upload it to this hub data set.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Upload without being asked.")] = False,
) -> None:
    """Check a run folder and write it as a board with a README; the same runs give the same bytes."""
    import sys

    from pkt_bench import publishing, sources
    from pkt_bench.errors import RequestError

    if not slug:
        raise RequestError("--slug is missing: it names the board's folder.\n  For example: --slug tiny-three-seeds")
    if hub and not yes and not sys.stdin.isatty():
        raise RequestError(f"--hub {hub} makes the board public, and nobody can be asked here.\n  Consent with --yes.")
    folder = sources.folder(run_dir)
    done = publishing.publish(folder, slug, title=title, to=to, force=force, keep_host=keep_host)
    for words in done.unchecked:
        print(f"pkt-bench: {words}", file=sys.stderr)  # noqa: T201 - this is the command line
    state = "written" if done.written else "there already, the same to the byte"
    print(f"{done.folder}: {done.runs:,} runs, {state}")  # noqa: T201 - this is the output
    if hub and (yes or typer.confirm(f"Upload it to {hub}, where others may see it?", err=True)):
        print(publishing.upload(done.folder, hub))  # noqa: T201 - see above

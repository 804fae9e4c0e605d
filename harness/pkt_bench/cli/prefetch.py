"""`pkt-bench prefetch`: what a run needs and has to be fetched, in one folder, for machines without a network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pkt_bench.cli import options


@options.with_request
def prefetch(
    flags: dict[str, Any],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="The folder to make, or to complete.")] = Path(
        "bundle"
    ),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be in it, and write nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per file, and one of the whole.")] = False,
) -> None:
    """Fetch what a run with these flags needs: models, data sets, task files. Run from it with --offline."""
    from pkt_bench import bundling
    from pkt_bench.errors import UnavailableError, together
    from pkt_bench.tui import bundle as view

    request, registry, _ = options.read(flags)
    made = bundling.bundle(request, registry, to, dry_run=dry_run, tell=_tell)
    if json:
        view.print_json(made)
    else:
        view.print_bundle(made, dry_run=dry_run)
    if made.missing:
        raise UnavailableError(together(made.missing).replace("and nothing was started", "and the bundle is not whole"))


def _tell(text: str) -> None:
    print(f"pkt-bench: {text}", file=sys.stderr)  # noqa: T201 - what takes minutes is said while it happens

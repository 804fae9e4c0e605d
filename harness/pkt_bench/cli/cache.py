"""`pkt-bench cache`: what a run folder keeps that can be made again, and removing it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from pkt_bench.cli import completion

cache = typer.Typer(
    no_args_is_help=True, help="See and remove stage results, which runs make again where they need them."
)

RunDir = Annotated[
    Path, typer.Argument(metavar="[RUN_DIR]", help="The run folder.", autocompletion=completion.run_folders)
]
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
UNITS = {
    "b": 1,
    **{f"{p}b": 1000**n for n, p in enumerate("kmgt", 1)},
    **{f"{p}ib": 1024**n for n, p in enumerate("kmgt", 1)},
}


@cache.command("ls")
def list_stages(
    run_dir: RunDir = Path("runs"),
    format: Annotated[str, typer.Option("--format", help="table, json, csv or md.")] = "table",  # noqa: A002
) -> None:
    """Each stage with its entries, their size, and when one was last used."""
    from pkt_bench.reclaim import STAGES, check_run_folder
    from pkt_bench.stages import StageCache
    from pkt_bench.tui.listing import check_format, show

    check_format(format)
    check_run_folder(run_dir)
    stages: dict[str, dict[str, str | int]] = {}
    # those used last come last
    for entry in StageCache(run_dir / STAGES).entries():
        row = stages.setdefault(entry.stage, {"stage": entry.stage, "entries": 0, "bytes": 0, "last used": ""})
        row |= {
            "entries": int(row["entries"]) + 1,
            "bytes": int(row["bytes"]) + entry.bytes,
            "last used": _when(entry.used),
        }
    show(
        "stage results", [stages[name] for name in sorted(stages)], format, nothing=f"{run_dir} holds no stage results"
    )


@cache.command()
def gc(
    run_dir: RunDir = Path("runs"),
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="7d", help="Remove stage results not used for so long.")
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option("--keep", metavar="10GB", help="Remove those used longest ago until no more than this is left."),
    ] = None,
    artifacts: Annotated[bool, typer.Option("--artifacts", help="Also saved students of cells that are done.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
) -> None:
    """Remove stage results by age and size, and always what dead processes left. What is in use stays."""
    from pkt_bench.reclaim import reclaim

    unused_seconds = None if older_than is None else _seconds(older_than)
    keep_bytes = None if keep is None else _bytes(keep)
    count = size = 0
    for freed in reclaim(
        run_dir, unused_seconds=unused_seconds, keep_bytes=keep_bytes, artifacts=artifacts, dry_run=dry_run
    ):
        count, size = count + 1, size + freed.bytes
        print(f"{'would remove' if dry_run else 'removed'} {freed.path} ({freed.what}, {freed.bytes:,} bytes)")  # noqa: T201 - this is the output
    print(f"{'would free' if dry_run else 'freed'} {size:,} bytes in {count:,} places")  # noqa: T201 - this is the output


def _when(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _seconds(text: str) -> float:
    return _amount("--older-than", text, SECONDS, "a number with s, m, h, d or w: 90m, 12h, 7d")


def _bytes(text: str) -> int:
    return int(
        _amount("--keep", text, UNITS, "a number with B, kB, MB, GB, TB, or KiB, MiB, GiB, TiB: 500MB, 10GB, 0B")
    )


def _amount(flag: str, text: str, units: dict[str, int], wanted: str) -> float:
    from pkt_bench.errors import RequestError

    parts = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    if parts is None or parts[2].lower() not in units:
        raise RequestError(f"{flag} '{text}' will not do.\n  Write {wanted}.")
    return float(parts[1]) * units[parts[2].lower()]

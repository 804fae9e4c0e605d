"""`pkt-bench report`: the boards of a run folder as one HTML file, to read anywhere and to attach to a paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pkt_bench.cli import completion

if TYPE_CHECKING:
    from pkt_bench_leaderboards.board import Board


def report(
    run_dir: Annotated[
        str,
        typer.Argument(metavar="[RUN_DIR]", help="The run folder.", autocompletion=completion.run_sources),
    ] = "runs",
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE.html", help="Where to write it.")] = None,
    title: Annotated[str, typer.Option("--title", help="Its title. (default: by the pairs)")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is no report of ours.")] = False,
) -> None:
    """Write the boards, what they say and what they rest on as one HTML file that needs nothing else."""
    import sys

    from pkt_bench import __version__, sources
    from pkt_bench.errors import RequestError
    from pkt_bench_leaderboards.board import boards
    from pkt_bench_leaderboards.report import Beside, page

    if to is None:
        raise RequestError(
            "a report needs a file to be written to.\n  Give one: pkt-bench report RUN_DIR --to report.html"
        )
    _check_replaceable(to, force=force)
    found = sources.read(run_dir)
    for problem in found.problems:
        print(f"pkt-bench: {problem}", file=sys.stderr)  # noqa: T201 - this is the command line
    ranked = boards(found.runs, found.items)
    beside = Beside(
        title=title,
        version=__version__,
        files=_files(Path(run_dir)),
        problems=found.problems,
        defaults=_defaults(ranked),
    )
    made = page(ranked, found.runs, found.items, beside).encode()
    _save(to, made)
    print(f"{to}: {len(ranked)} board{'s' if len(ranked) != 1 else ''}, {len(made) / 1000:.0f} kB", file=sys.stderr)  # noqa: T201 - see above


def _check_replaceable(path: Path, *, force: bool) -> None:
    """Before the work: a folder, or a file that is none of ours, is not written over."""
    from pkt_bench.errors import RequestError, StorageError
    from pkt_bench_leaderboards.report import MARK

    if path.is_dir():
        raise RequestError(f"--to {path} is a folder.\n  Name a file in it, such as {path / 'report.html'}.")
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise RequestError(f"--to {path} is below a file.\n  Name another file.") from None
    except OSError as error:
        raise StorageError(f"--to {path} cannot be read: {error.strerror}.\n  Name another file.") from None
    if not force and start and MARK.encode() not in start:
        raise RequestError(
            f"--to {path} is there and is no report of pkt-bench.\n  Name another file, or replace it with --force."
        )


def _files(source: Path) -> list[tuple[str, str]]:
    """Names and digests of the files that hold the runs; those of a run folder carry theirs in their names."""
    from pkt_bench import durable
    from pkt_bench.tables import CELLS, COMPACTED, ITEMS_FOLDER

    if source.is_file():
        return [(source.name, durable.file_digest(source))]
    found = []
    for folder in (CELLS, ITEMS_FOLDER, COMPACTED):
        for path in sorted((source / folder).rglob("*.arrow")):
            parts = path.name.split(".")
            if not path.name.startswith(".") and len(parts) == 3:
                found.append((path.relative_to(source).as_posix(), parts[1]))
    if found or not source.is_dir():
        return found
    others = sorted(path for path in source.rglob("*.arrow") if not path.name.startswith("."))
    return [(path.relative_to(source).as_posix(), durable.file_digest(path)) for path in others]


def _defaults(ranked: Iterable[Board]) -> Mapping[str, Mapping[str, Any]]:
    """The default settings of the installed methods that the boards show in the version that is installed."""
    from pkt_bench import plugins
    from pkt_bench.kept_settings import as_kept

    offered = {offer.qualified: offer.item for offer in plugins.load().methods}
    found: dict[str, Mapping[str, Any]] = {}
    rows = {f"{row.distribution}/{row.method}": row for board in ranked for row in board.rows}
    for qualified, row in rows.items():
        method = offered.get(qualified)
        if method is None or method.version != row.version:
            continue
        try:
            found[qualified] = as_kept(method.settings())
        except ValueError:  # a setting without a default, or one that JSON cannot hold: then all are given
            continue
    return found


def _save(path: Path, content: bytes) -> None:
    from pkt_bench import durable
    from pkt_bench.errors import StorageError

    try:
        durable.publish(path, content)
    except OSError as error:
        raise StorageError(f"--to {path} cannot be written: {error.strerror}.\n  Name another file.") from None

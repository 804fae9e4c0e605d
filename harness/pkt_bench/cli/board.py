"""`pkt-bench board`: the leaderboard of a run folder, on the screen, as JSON, CSV or Markdown, or as a picture."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pyarrow as pa

    from pkt_bench_leaderboards.board import Board


def board(
    run_dir: Annotated[Path, typer.Argument(metavar="[RUN_DIR]", help="The run folder.")] = Path("runs"),
    suites: Annotated[list[str] | None, typer.Option("--suite", "--suites", help="Only these suites.")] = None,
    pairs: Annotated[list[str] | None, typer.Option("--pair", "--pairs", help="Only these pairs.")] = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort", metavar="COLUMN", help="place, method, mean, gap, seconds, moved, trained, seeds, a suite."
        ),
    ] = "place",
    format: Annotated[str, typer.Option("--format", help="table, json, csv or md.")] = "table",  # noqa: A002
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Also save the screen as a picture.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every column, also of less use.")] = False,
) -> None:
    """Show who is ahead, by how much, how sure that is, and what it cost."""
    import sys

    from pkt_bench.store import Store
    from pkt_bench.tui.listing import check_format
    from pkt_bench_leaderboards import formats
    from pkt_bench_leaderboards.board import boards
    from pkt_bench_leaderboards.items import COLUMNS
    from pkt_bench_leaderboards.sheet import write

    check_format(format)
    found = Store(run_dir).read(item_columns=COLUMNS)
    for problem in found.problems:
        print(f"pkt-bench: {problem}", file=sys.stderr)  # noqa: T201 - this is the command line
    runs = _only(found.runs, "pair", _listed(pairs))
    wanted = _listed(suites)
    _only(runs, "suite", wanted)  # refuses names that are not there
    ranked = boards(runs, found.items, wanted)
    _check_sort(sort, ranked)
    sheets = [write(each, sort=sort, everything=everything) for each in ranked]
    if format == "table":
        from pkt_bench.tui.board import print_boards

        print_boards(sheets)
    else:
        forms = {"json": lambda: formats.as_json(ranked), "csv": lambda: formats.as_csv(ranked)}
        sys.stdout.write(forms.get(format, lambda: formats.as_markdown(sheets))())
    if svg is not None:
        from pkt_bench.tui.board import as_svg

        _save(svg, as_svg(sheets))


def _listed(values: Iterable[str] | None) -> list[str]:
    """Lists accept commas and repetition; `all` is everything."""
    names = [name.strip() for value in values or () for name in value.split(",")]
    return [] if "all" in names else [name for name in names if name]


def _only(runs: pa.Table, column: str, names: list[str]) -> pa.Table:
    import functools

    import pyarrow.compute as pc

    known = runs[column].unique().to_pylist()
    for name in names:
        _check_known(column, name, known)
    if not names:
        return runs
    return runs.filter(functools.reduce(pc.or_, [pc.equal(runs[column], name) for name in names]))


def _check_sort(sort: str, ranked: Iterable[Board]) -> None:
    from pkt_bench_leaderboards.sheet import sort_keys

    _check_known("column", sort, dict.fromkeys(key for each in ranked for key in sort_keys(each)))


def _check_known(kind: str, name: str, known: Iterable[str]) -> None:
    import difflib

    from pkt_bench.errors import RequestError

    names = list(known)
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise RequestError(f"the board has no {kind} '{name}'.{hint}\n  It has: {', '.join(names)}")


def _save(path: Path, content: str) -> None:
    from pkt_bench.errors import StorageError

    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"--svg {path} cannot be written: {error.strerror}.\n  Name another file.") from None

"""`pkt-bench board`: the leaderboard of a run folder, on the screen, in the formats of other programs, as a picture."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pkt_bench.cli import completion

if TYPE_CHECKING:
    import pyarrow as pa

    from pkt_bench_leaderboards.board import Board
    from pkt_bench_leaderboards.expressions import Expression
    from pkt_bench_leaderboards.sheet import Note, Sheet

WHICH, HOW, FOLD = "Which runs and methods", "How it is shown", "Runs folded another way"


def board(
    ctx: typer.Context,
    run_dir: Annotated[
        str,
        typer.Argument(metavar="[RUN_DIR]", help="The run folder.", autocompletion=completion.run_sources),
    ] = "runs",
    suites: Annotated[
        list[str] | None,
        typer.Option(
            "--suite",
            "--suites",
            help="Only these suites.",
            rich_help_panel=WHICH,
            autocompletion=completion.suites,
        ),
    ] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option(
            "--pair", "--pairs", help="Only these pairs.", rich_help_panel=WHICH, autocompletion=completion.pairs
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="EXPR",
            help="Rank only runs of which this holds, by columns of the runs table: 'seed < 3 and settings.rank == 8'.",
            rich_help_panel=WHICH,
        ),
    ] = None,
    having: Annotated[
        str | None,
        typer.Option(
            "--having",
            metavar="EXPR",
            help="Show only methods of which this holds: 'p < 0.05 and mean > 0.5'. Ranking and tests stay.",
            rich_help_panel=WHICH,
        ),
    ] = None,
    baseline: Annotated[
        str,
        typer.Option(
            "--baseline",
            metavar="METHOD",
            help="Test every method against this one.",
            rich_help_panel=WHICH,
            autocompletion=completion.rows,
        ),
    ] = "student",
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="COLUMN",
            help="place, method, mean, gap, p, seconds, moved, trained, seeds, memory, artifact, a suite.",
            rich_help_panel=HOW,
        ),
    ] = "place",
    columns: Annotated[
        list[str] | None,
        typer.Option("--columns", "--column", metavar="a,b,c", help="Only these columns.", rich_help_panel=HOW),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every column, also of less use.", rich_help_panel=HOW)
    ] = False,
    group: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            metavar="COLUMN",
            help="Put methods of a kind together: paradigm, settings.rank; with --pivot, columns of the runs table.",
            rich_help_panel=HOW,
        ),
    ] = None,
    format: Annotated[  # noqa: A002 - the flag's name
        str, typer.Option("--format", help="table, md, html, latex, csv, tsv or json.", rich_help_panel=HOW)
    ] = "table",
    svg: Annotated[
        Path | None,
        typer.Option("--svg", metavar="FILE", help="Also save the screen as a picture.", rich_help_panel=HOW),
    ] = None,
    view: Annotated[
        str | None,
        typer.Option(
            "--view",
            metavar="NAME",
            help="Options saved with pkt-bench views; flags win.",
            autocompletion=completion.views,
            rich_help_panel=HOW,
        ),
    ] = None,
    pivot: Annotated[
        str | None,
        typer.Option(
            "--pivot",
            metavar="COLUMN",
            help="A table of --group by the values of this column: settings.rank. (groups by method by itself)",
            rich_help_panel=FOLD,
        ),
    ] = None,
    ranks: Annotated[
        bool,
        typer.Option(
            "--ranks", help="Mean ranks over all pairs and suites, with critical differences.", rich_help_panel=FOLD
        ),
    ] = False,
    show: Annotated[
        str | None,
        typer.Option(
            "--show", metavar="COLUMN", help="What a pivot shows: value, seconds, n, ...", rich_help_panel=FOLD
        ),
    ] = None,
) -> None:
    """Show who is ahead, by how much, how sure that is, and what it cost."""
    flags = {
        "run_dir": run_dir,
        "suites": suites,
        "pairs": pairs,
        "where": where,
        "having": having,
        "baseline": baseline,
        "sort": sort,
        "columns": columns,
        "everything": everything,
        "group": group,
        "format": format,
        "svg": svg,
        "pivot": pivot,
        "ranks": ranks,
        "show": show,
    }
    if view is not None:
        saved = _saved(view)
        given = {name for name in flags if _is_given(ctx, name)}
        flags |= {name: value for name, value in saved.items() if name not in given}
    options = Options.of(flags)
    if options.ranks:
        _show_ranks(options)
    elif options.pivot is not None:
        _show_pivot(options)
    else:
        show_board(options)


@dataclass(frozen=True)
class Options:
    """What a board is asked for: lists are split, nothing is checked yet."""

    run_dir: str = "runs"
    suites: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    where: str | None = None
    having: str | None = None
    baseline: str = "student"
    sort: str = "place"
    columns: tuple[str, ...] = ()
    everything: bool = False
    group: tuple[str, ...] = ()
    format: str = "table"
    svg: Path | None = None
    pivot: str | None = None
    ranks: bool = False
    show: str | None = None

    @staticmethod
    def of(flags: dict[str, Any]) -> Options:
        """From what was typed.

        Raises:
            RequestError: the format is none, or flags do not go together.
        """
        from pkt_bench.errors import RequestError
        from pkt_bench_leaderboards.formats import FORMATS

        lists = {name: tuple(_listed(flags[name])) for name in ("suites", "pairs", "columns", "group")}
        options = Options(**(flags | lists | {"svg": None if flags["svg"] is None else Path(flags["svg"])}))
        if options.format not in FORMATS:
            raise RequestError(_said(f"--format '{options.format}' will not do.", options.format, FORMATS, "Formats"))
        if options.pivot is None and options.show is not None:
            raise RequestError(f"--show {options.show} is of a pivot; name its column with --pivot settings.rank")
        if options.ranks and options.pivot is not None:
            raise RequestError("--ranks and --pivot are two tables; leave out either.")
        if options.ranks or options.pivot is not None:
            # said, not passed over: whoever gives these expects something of them
            other = "--ranks" if options.ranks else "a --pivot"
            for name, given in (
                ("--having", options.having),
                ("--columns", options.columns),
                ("--sort", options.sort != "place"),
                ("--baseline", options.baseline != "student"),
                ("--all", options.everything),
            ):
                if given:
                    raise RequestError(f"{name} is of a board and says nothing of {other}; leave out either.")
        return options


# ---------------------------------------------------------------- saved views


def read_options(words: Sequence[str]) -> dict[str, Any]:
    """The flags that words on the command line of `board` set, by the name of the parameter.

    Raises:
        RequestError: a filter or a format in them will not do.
    """
    from pkt_bench.errors import RequestError

    if {"-h", "--help"} & set(words):
        raise RequestError("--help is no option that can be saved.")
    app = typer.Typer(context_settings={"help_option_names": []})
    app.command()(board)
    context = typer.main.get_command(app).make_context("pkt-bench board", list(words))
    if _is_given(context, "view"):
        raise RequestError("a view cannot apply another one; write out what that holds: pkt-bench views ls")
    Options.of({name: value for name, value in context.params.items() if name in _NAMES})
    if context.params["where"] is not None:
        _parsed("--where", context.params["where"], _run_kinds())
    return {name: value for name, value in context.params.items() if name in _NAMES and _is_given(context, name)}


_NAMES = frozenset(field.name for field in fields(Options))


def _saved(view: str) -> dict[str, Any]:
    from pkt_bench import views

    return read_options(views.options_of(view))


def _is_given(context: Any, name: str) -> bool:  # noqa: ANN401 - of typer, or of what some versions of it bring along
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


# ---------------------------------------------------------------- the two ways to show runs


def show_board(options: Options) -> None:
    """Ranks the runs and shows the boards.

    Raises:
        RequestError: the options name what is not there, or leave nothing to show.
    """
    from pkt_bench_leaderboards import formats
    from pkt_bench_leaderboards.board import boards
    from pkt_bench_leaderboards.items import COLUMNS
    from pkt_bench_leaderboards.sheet import column_keys, group_keys, sort_keys, write

    runs, items, remarks = _read(options, COLUMNS)
    ranked = boards(runs, items, options.suites, options.baseline)
    _check_baseline(options.baseline, ranked)
    for kind, names, keys in (
        ("column", (options.sort,), sort_keys),
        ("column", options.columns, column_keys),
        ("kind of method", options.group, group_keys),
    ):
        for name in names:
            _check_known(kind, name, dict.fromkeys(key for each in ranked for key in keys(each)))
    kept = [_having(each, options.having, ranked) for each in ranked]
    if not any(rows.rows for rows in kept):
        _refuse_nothing("--having", "leaves no method", "Scores and gaps are shares of 1: write 0.5 for 50 %.")
    if options.format in {"json", "csv", "tsv"}:
        if options.columns or options.group or options.everything:
            _remark(f"--columns, --group and --all change nothing here: {options.format} always has every figure")
        shown = [each for each in kept if each.rows]
        whole = {
            "json": lambda: formats.as_json(shown, _filters(options)),
            "csv": lambda: formats.as_csv(shown),
            "tsv": lambda: formats.as_csv(shown, tabs=True),
        }
        sys.stdout.write(whole[options.format]())
    sheets = [
        write(
            each,
            sort=options.sort,
            everything=options.everything,
            columns=options.columns,
            group=options.group,
            only={row.label for row in rows.rows},
            remarks=[*remarks, *_left_out(options.having, each, rows)],
        )
        for each, rows in zip(ranked, kept, strict=True)
        if rows.rows
    ]
    _show_sheets(sheets, options)


def _show_pivot(options: Options) -> None:
    from pkt_bench_leaderboards import formats, pivot

    runs, _, remarks = _read(options, None)
    group, column, show = options.group or ("method",), options.pivot or "", options.show or "value"
    known = _dotted(runs)
    for name in (*group, column):
        _check_known("column", name, known)
    _check_known("column of numbers", show, pivot.NUMBERS)
    if column in group:
        _refuse_nothing("--pivot", f"{column} is a --group already", "Name another column.")
    folded = pivot.fold(runs, group, column, show, options.suites)
    if not folded.rows:
        _refuse_nothing("--pivot", "finds no run with a score", "pkt-bench ls runs lists how they ended.")
    whole = {
        "json": lambda: formats.pivot_as_json(folded, _filters(options)),
        "csv": lambda: formats.pivot_as_csv(folded),
        "tsv": lambda: formats.pivot_as_csv(folded, tabs=True),
    }
    if options.format in whole:
        sys.stdout.write(whole[options.format]())
    _show_sheets([pivot.write(folded, subtitle=", ".join(options.suites), remarks=remarks)], options)


def _show_ranks(options: Options) -> None:
    from pkt_bench_leaderboards import ranks_sheet
    from pkt_bench_leaderboards.board import boards
    from pkt_bench_leaderboards.ranking import ranking

    runs, _, remarks = _read(options, None)
    found = ranking(boards(runs, None, options.suites))
    whole = {
        "json": lambda: ranks_sheet.as_json(found),
        "csv": lambda: ranks_sheet.as_csv(found),
        "tsv": lambda: ranks_sheet.as_csv(found, tabs=True),
    }
    if options.format in whole:
        sys.stdout.write(whole[options.format]())
    sheet = ranks_sheet.write(found)
    _show_sheets([replace(sheet, notes=(*remarks, *sheet.notes))], options)


def _show_sheets(sheets: Sequence[Sheet], options: Options) -> None:
    from pkt_bench_leaderboards import formats

    forms = {"md": formats.as_markdown, "html": formats.as_html, "latex": formats.as_latex}
    if options.format == "table":
        from pkt_bench.tui.board import print_boards

        print_boards(sheets)
    elif options.format in forms:
        sys.stdout.write(forms[options.format](sheets))
    if options.svg is not None:
        from pkt_bench.tui.board import as_svg

        _save(options.svg, as_svg(sheets))


# ---------------------------------------------------------------- which runs


def _read(options: Options, item_columns: Sequence[str] | None) -> tuple[pa.Table, pa.Table | None, list[Note]]:
    """Runs and items, and what there is to say of those that were left out; no items where no columns are named."""
    from pkt_bench import sources
    from pkt_bench_leaderboards.sheet import Note

    condition = None if options.where is None else _parsed("--where", options.where, _run_kinds())
    found = sources.read(options.run_dir, items=item_columns is not None, item_columns=item_columns or ())
    for problem in found.problems:
        _remark(problem)
    runs = _only(found.runs, "pair", options.pairs)
    _only(runs, "suite", options.suites)  # refuses names that are not there
    if condition is None:
        return runs, found.items, []
    kept = runs.filter(condition.mask(runs))
    every, left = (len(each["run_id"].unique()) for each in (runs, kept))
    misspelt = list(_never(condition, found.runs))
    if not left:
        hint = "\n  ".join(misspelt) or f"Columns: {', '.join(_run_kinds())}"
        _refuse_nothing("--where", f"leaves none of {every} runs", hint)
    for said in misspelt:
        _remark(f"--where: {said}")
    words = f"{condition.text}: {every - left} of {every} runs left out, as if they had not been made"
    return kept, found.items, [Note("where", words)]


def _never(condition: Expression, runs: pa.Table) -> Iterator[str]:
    """A sentence on each text that a column is asked for and never has, but nearly."""
    for column, text in condition.texts():
        there_are = {value for value in runs[column].to_pylist() if isinstance(value, str)}
        near = difflib.get_close_matches(text, there_are, n=1, cutoff=0.6) if text not in there_are else []
        if near:
            yield f"{column} is never '{text}'. Did you mean '{near[0]}'?"


def _run_kinds() -> dict[str, str]:
    from pkt_bench_leaderboards import schema

    return {field.name: field.kind for field in schema.RUNS}


def _parsed(flag: str, text: str, kinds: dict[str, str]) -> Expression:
    from pkt_bench.errors import RequestError
    from pkt_bench_leaderboards.expressions import ExpressionError, parse

    try:
        return parse(text, kinds)
    except ExpressionError as error:
        raise RequestError(f"{flag}: {error}") from None


def _having(board: Board, having: str | None, boards: Sequence[Board]) -> Board:
    """The board with no other rows than those the filter keeps."""
    from pkt_bench_leaderboards.figures import figures, kinds

    if having is None:
        return board
    condition = _parsed("--having", having, kinds(boards))
    return replace(board, rows=tuple(row for row in board.rows if condition.holds(figures(board, row))))


def _left_out(having: str | None, board: Board, kept: Board) -> list[Note]:
    from pkt_bench_leaderboards.sheet import Note

    if having is None:
        return []
    left = len(board.rows) - len(kept.rows)
    return [Note("having", f"{having}: {left} of {len(board.rows)} methods not shown; places and tests count them")]


def _filters(options: Options) -> dict[str, str]:
    named = {"where": options.where, "having": options.having}
    return {name: text for name, text in named.items() if text is not None}


def _dotted(runs: pa.Table) -> list[str]:
    """The columns of the runs table, and the fields of those that hold JSON objects."""
    import json

    from pkt_bench_leaderboards.pivot import JSON_COLUMNS

    names = list(_run_kinds())
    for column in JSON_COLUMNS:
        values = [json.loads(text) for text in runs[column].unique().to_pylist() if text]
        found = {f"{column}.{name}" for value in values if isinstance(value, dict) for name in value}
        names += sorted(found)
    return names


def _listed(values: Iterable[str] | None) -> list[str]:
    """Lists accept commas and repetition; `all` is everything."""
    names = [name.strip() for value in values or () for name in value.split(",")]
    return [] if "all" in names else [name for name in names if name]


def _only(runs: pa.Table, column: str, names: Sequence[str]) -> pa.Table:
    import functools

    import pyarrow.compute as pc

    known = runs[column].unique().to_pylist()
    for name in names:
        _check_known(column, name, known)
    if not names:
        return runs
    return runs.filter(functools.reduce(pc.or_, [pc.equal(runs[column], name) for name in names]))


# ---------------------------------------------------------------- what is refused


def _check_baseline(baseline: str, ranked: Sequence[Board]) -> None:
    """A baseline must be on some board; that there may be no untouched student is said by the board itself."""
    rows = [row for each in ranked for row in each.rows]
    qualified = {f"{row.distribution}/{row.method}": row.method for row in rows}
    if baseline == "student" or baseline in qualified:
        return
    _check_known("method", baseline, dict.fromkeys(name for row in rows for name in (row.label, row.method)))
    whose = sorted(name for name, method in qualified.items() if method == baseline)
    if len(whose) > 1 and all(row.label != baseline for row in rows):
        hint = f"Write --baseline {' or --baseline '.join(whose)}"
        _refuse_nothing("--baseline", f"the board has a '{baseline}' of {len(whose)} distributions", hint)


def _check_known(kind: str, name: str, known: Iterable[str]) -> None:
    from pkt_bench.errors import RequestError

    names = list(known)
    if name not in names:
        raise RequestError(_said(f"the board has no {kind} '{name}'.", name, names, "It has"))


def _said(what: str, name: str, names: Sequence[str], listed: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"{what}{hint}\n  {listed}: {', '.join(names)}"


def _refuse_nothing(flag: str, what: str, hint: str) -> None:
    from pkt_bench.errors import RequestError

    raise RequestError(f"{flag}: {what}.\n  {hint}")


def _remark(words: str) -> None:
    print(f"pkt-bench: {words}", file=sys.stderr)  # noqa: T201 - this is the command line


def _save(path: Path, content: str) -> None:
    from pkt_bench.errors import StorageError

    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"--svg {path} cannot be written: {error.strerror}.\n  Name another file.") from None

"""What the shell offers on TAB: names of plugins, settings, run folders, rows. Silent whatever happens, and quick.

A completion that fails offers nothing; it never prints, for whatever it prints lands in the line being typed.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pkt_bench.plugins import Registry
    from pkt_bench.settings import Field

RUNS = "runs"
"""The run folder that is meant where none is named."""

_VARIABLE = "_PKT_BENCH_COMPLETE"
_BASH = "complete_bash"
# how far run folders are looked for, and how many cells are read for the names in them
_FOLDERS, _DEPTH, _CELLS = 500, 2, 2000
_ROW_COLUMNS = ("run_id", "method")

Offer = str | tuple[str, str]
Names = Callable[[typer.Context, str], Iterable[Offer]]
Completion = Callable[[typer.Context, str], list[Offer]]


def _quiet(names: Names) -> Completion:
    """Completions that begin with what is typed; nothing where they cannot be had, and never a word besides."""

    @functools.wraps(names)
    def complete(ctx: typer.Context, incomplete: str) -> list[Offer]:
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                found = [each for each in names(ctx, incomplete) if _name(each).startswith(incomplete)]
        except BaseException:  # noqa: BLE001 - a stranger's plugin or a broken folder must not spoil the line
            return []
        # bash would take a name with a space for two
        return [each for each in found if os.environ.get(_VARIABLE) != _BASH or " " not in _name(each)]

    return complete


def _listed(names: Names) -> Completion:
    """The same for lists with commas: what stands before the last comma stays."""

    def of_the_last(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:
        before, comma, last = incomplete.rpartition(",")
        chosen = set(before.split(","))
        for each in names(ctx, last):
            if _name(each) in chosen:
                continue
            yield f"{before}{comma}{each}" if isinstance(each, str) else (f"{before}{comma}{each[0]}", each[1])

    return _quiet(of_the_last)


def _name(offer: Offer) -> str:
    return offer if isinstance(offer, str) else offer[0]


# ---------------------------------------------------------------- what the shell asks, and is told


@contextlib.contextmanager
def answering(environ: MutableMapping[str, str] = os.environ) -> Iterator[None]:
    """Where a shell asks for completions, nothing but those is printed, as that shell wants them; else nothing happens.

    Bash ends words at colons and `=`, and our names have some: what it took apart is put together before the command
    line is read, and it is told only what stands behind the last of them, for only that is what it replaces.
    """
    if not environ.get(_VARIABLE, "").startswith("complete_"):
        yield
        return
    known = _mend(environ) if environ[_VARIABLE] == _BASH else 0
    told = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(told),
            contextlib.redirect_stderr(io.StringIO()),
            contextlib.suppress(Exception),
        ):
            yield
    finally:
        for line in filter(None, told.getvalue().splitlines()):
            print(line[known:])  # noqa: T201 - this is what the shell reads


def _mend(environ: MutableMapping[str, str]) -> int:
    """Joins words at lone colons and `=`; gives how many letters of the word being typed bash takes for other words.

    The value of a flag, --flag=value, stays a word of its own.
    """
    try:
        # bash joins by the first letter of IFS, which typer's script sets to a line's end
        between = "\n" if "\n" in environ["COMP_WORDS"] else " "
        words, here = environ["COMP_WORDS"].split(between), int(environ["COMP_CWORD"])
    except (KeyError, ValueError):
        return 0
    mended: list[str] = []
    at, known, joins = here, 0, False
    for number, word in enumerate(words):
        breaks = bool(re.fullmatch("[:=]+", word))
        if number <= 1 or not (breaks or joins):
            mended.append(word)
            at = len(mended) - 1 if number == here else at
        elif word == "=" and mended[-1].startswith("--") and "=" not in mended[-1]:
            breaks = False
            if number == here:
                mended.append("")
                at = len(mended) - 1
        else:
            if number == here:
                at, known = len(mended) - 1, len(mended[-1]) + (len(word) if breaks else 0)
            mended[-1] += word
        joins = breaks
    at = min(at, len(mended))
    environ["COMP_WORDS"], environ["COMP_CWORD"] = between.join(mended), str(at)
    return known


# ---------------------------------------------------------------- plugins


def _registry(ctx: typer.Context) -> Registry:
    from pkt_bench import plugins

    return plugins.load(ctx.params.get("plugin") or ())


@_listed
def methods(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Methods; their controls, METHOD:CONTROL, once one is begun."""
    yield "all"
    for offer in _registry(ctx).methods:
        if offer.item.control is None or ":" in incomplete:
            yield offer.item.name, offer.item.summary


@_listed
def controls(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:  # noqa: ARG001 - the shape of a completion
    """Names of controls, without the method they are of."""
    yield "all"
    found = {offer.item.name: offer.item.summary for offer in _registry(ctx).controls}
    yield from found.items()


@_listed
def pairs(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:  # noqa: ARG001 - see above
    """Pairs by name."""
    for offer in _registry(ctx).pairs:
        yield offer.item.name, offer.item.summary


@_listed
def suites(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:  # noqa: ARG001 - see above
    """Suites."""
    yield "all"
    for offer in _registry(ctx).suites:
        yield offer.item.name, offer.item.summary


@_quiet
def executors(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:  # noqa: ARG001 - see above
    """Executors, built in and of plugins."""
    from pkt_bench.executors import BUILT_IN

    for each in (*BUILT_IN.values(), *(offer.item for offer in _registry(ctx).executors)):
        yield each.name, each.summary


@_listed
def trackers(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:  # noqa: ARG001 - see above
    """Trackers."""
    for offer in _registry(ctx).trackers:
        yield offer.item.name, offer.item.summary


@_listed
def outcomes(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:  # noqa: ARG001 - see above
    """How a run can end."""
    from pkt_bench.domain import Outcome

    yield from (str(outcome) for outcome in Outcome)


def _items(registry: Registry, *, qualified: bool = False) -> Iterator[tuple[str, Any]]:
    """Whatever has settings, by its plain name, or by DISTRIBUTION/NAME too."""
    for offer in (*registry.methods, *registry.executors, *registry.trackers):
        yield offer.item.name, offer.item
        if qualified:
            yield offer.qualified, offer.item


@_quiet
def settings(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Names of methods, behind the point of one its settings, and behind `=` the values known: lora.init=olora."""
    spelled, equals, value = incomplete.partition("=")
    name, _, field = spelled.rpartition(".")
    models = {each: item.settings for each, item in _items(_registry(ctx), qualified="/" in spelled)}
    if name not in models:
        begun = [each for each, kind in models.items() if kind.model_fields and (":" in spelled or ":" not in each)]
        yield from (f"{each}." for each in begun)
        return
    from pkt_bench.settings import describe

    for told in describe(models[name]):
        if not equals:
            # first, for a shell cuts what is long
            default = f"{told.default}: " if told.default is not None else ""
            yield f"{name}.{told.name}=", f"{default}{told.description}"
        elif told.name == field:
            yield from ((f"{spelled}={each}", said) for each, said in _values(told, value))


def _values(told: Field, begun: str) -> Iterator[tuple[str, str]]:
    """Values of a setting, its default first, each with a word on it; of a list what may come after the last comma."""
    before, comma, _ = begun.rpartition(",")
    chosen = before.split(",") if told.several and comma else []
    default = [] if told.default is None or chosen else [told.default]
    optional = ["none"] if told.optional and not chosen else []
    for each in dict.fromkeys((*default, *told.choices, *optional)):
        if each not in chosen and (each != "none" or not chosen):
            yield ",".join((*chosen, each)), "default" if each in default else ""


@_quiet
def with_settings(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Whatever has settings: methods, their controls once one is begun, executors and trackers."""
    for name, item in _items(_registry(ctx), qualified="/" in incomplete):
        if ":" not in name or ":" in incomplete:
            yield name, item.summary


@_quiet
def anything(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Whatever a plugin offers, and plugins by their own name."""
    registry = _registry(ctx)
    shelves = (registry.pairs, registry.suites, registry.controls)
    for name, item in (*_items(registry), *((offer.item.name, offer.item) for shelf in shelves for offer in shelf)):
        if ":" not in name or ":" in incomplete:
            yield name, item.summary
    yield from dict.fromkeys(provider.name for provider in registry.providers)


@_quiet
def views(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:  # noqa: ARG001 - the shape of a completion
    """Saved views, with their options."""
    import shlex

    from pkt_bench import views as saved

    yield from ((name, shlex.join(options)) for name, options in saved.read().items())


FORMATS = ("table", "json", "csv", "md")


@_quiet
def formats(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:  # noqa: ARG001 - see above
    """What a listing can be written as."""
    yield from FORMATS


# ---------------------------------------------------------------- run folders and what is in them


@_quiet
def run_folders(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:  # noqa: ARG001 - see above
    """Run folders below the folder that is being typed."""
    yield from _folders(incomplete)


@_quiet
def run_sources(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:  # noqa: ARG001 - see above
    """Run folders and published boards."""
    yield from _sources(incomplete)


@_quiet
def rows(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Methods in the run folder that the command names, and its run ids once one is begun."""
    params = ctx.params
    yield from _rows(str(params.get("in_") or params.get("run_dir") or params.get("source") or RUNS), incomplete)


@_quiet
def comparands(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:
    """What can be compared: sources, SOURCE::ROW, and rows of --in or of the default run folder."""
    source, several, row = incomplete.rpartition("::")
    inside = ctx.params.get("in_")
    if several:
        yield from (f"{source}::{each}" for each in _rows(source or inside or RUNS, row))
        return
    if inside is None:
        yield from _sources(incomplete)
    with contextlib.suppress(Exception):
        yield from _rows(inside or RUNS, incomplete)


def _sources(incomplete: str) -> Iterator[str]:
    from pkt_bench import sources

    yield from _folders(incomplete)
    yield from sources.published()


def _folders(incomplete: str) -> Iterator[str]:
    """Folders with our mark, a few levels below what is typed; looks at no more than a few hundred."""
    from pkt_bench.store import MARKER

    typed, slash, begun = incomplete.rpartition("/")
    looked = 0
    level = [(Path((typed + slash) or "."), typed + slash)]
    for depth in range(_DEPTH + 1):
        below = []
        for folder, written in level:
            try:
                entries = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
            except OSError:
                continue
            for name in entries:
                looked += 1
                if looked > _FOLDERS:
                    return
                if (depth == 0 and not name.startswith(begun)) or (name.startswith(".") and not begun.startswith(".")):
                    continue
                if (folder / name / MARKER).is_file():
                    yield written + name
                else:
                    below.append((folder / name, f"{written}{name}/"))
        level = below


def _rows(source: str, begun: str) -> Iterator[str]:
    ids, methods = _names_in(source)
    yield from methods
    if begun:
        yield from ids


def _names_in(source: str) -> tuple[list[str], list[str]]:
    """Run ids and methods of a source, from its board file where there is one: that is one file."""
    import pyarrow as pa

    from pkt_bench import sources
    from pkt_bench.store import BOARD
    from pkt_bench.tables import CELLS

    path = Path(source)
    if not path.exists() and source.removeprefix("published/") in sources.published():
        path = sources.PUBLISHED / source.removeprefix("published/")
    file = path / BOARD if path.is_dir() else path
    if file.is_file():
        with pa.OSFile(str(file)) as opened:
            schema = pa.ipc.open_file(opened).schema
            fields = [schema.get_field_index(name) for name in _ROW_COLUMNS]
            table = pa.ipc.open_file(opened, options=pa.ipc.IpcReadOptions(included_fields=fields)).read_all()
    else:
        if sum(1 for _, _ in zip(path.glob(f"{CELLS}/*/*"), range(_CELLS), strict=False)) == _CELLS:
            return [], []
        table = sources.read(source, items=False).runs
    return [list(dict.fromkeys(table[name].to_pylist())) for name in _ROW_COLUMNS]  # type: ignore[return-value]

"""`pkt-bench ls`: what there is to run, what can run it, and what was run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pkt_bench.cli import completion

if TYPE_CHECKING:
    import pyarrow as pa

    from pkt_bench.domain import ModelRef, Pair, Suite
    from pkt_bench.plugins import Offer

ls = typer.Typer(no_args_is_help=True, help="List what is installed, or what a run folder holds.")

Plugin = Annotated[list[Path] | None, typer.Option("--plugin", metavar="FILE.py", help="Load a single-file plugin.")]
DataDir = Annotated[
    list[Path] | None, typer.Option("--data-dir", metavar="DIR", help="Data sets as files: DIR/NAME/SPLIT.jsonl.")
]
Format = Annotated[str, typer.Option("--format", help="table, json, csv or md.", autocompletion=completion.formats)]


@ls.command()
def methods(plugin: Plugin = None, format: Format = "table") -> None:  # noqa: A002 - the flag's name
    """The transfer methods that are installed."""
    from pkt_bench import plugins
    from pkt_bench.tui.listing import show

    rows = [
        {
            "method": offer.item.name,
            "paradigm": offer.item.paradigm,
            "summary": offer.item.summary,
            "distribution": f"{offer.distribution} {offer.version}",
        }
        for offer in plugins.load(plugin or ()).methods
        if offer.item.control is None
    ]
    show("methods", rows, format)


@ls.command()
def controls(plugin: Plugin = None, format: Format = "table") -> None:  # noqa: A002 - the flag's name
    """The controls of each method: run them with --controls, or by name as a method."""
    from pkt_bench import plugins
    from pkt_bench.tui.listing import show

    rows = [
        {
            "control": offer.item.name,
            "of": offer.item.control_of,
            "summary": offer.item.control.summary if offer.item.control is not None else offer.item.summary,
            "distribution": offer.control_distribution or offer.distribution,
        }
        for offer in plugins.load(plugin or ()).methods
        if offer.item.control_of
    ]
    show("controls", rows, format)


@ls.command()
def pairs(
    plugin: Plugin = None,
    pairs_file: Annotated[
        Path | None,
        typer.Option("--pairs-file", metavar="FILE.toml", help="Pairs of your own. (default: ./pairs.toml)"),
    ] = None,
    format: Format = "table",  # noqa: A002 - the flag's name
) -> None:
    """The (teacher, student) pairs there are: memory of both models' weights, and of tuning all of the student."""
    from pkt_bench import pairs_file as own_pairs
    from pkt_bench import plugins
    from pkt_bench.errors import RequestError, together
    from pkt_bench.tui.listing import show

    offers = list(plugins.load(plugin or ()).pairs)
    own, wrong = own_pairs.read(pairs_file, {offer.item.name for offer in offers})
    if wrong:
        raise RequestError(together(map(str, wrong)))
    rows = [_pair(offer.item, f"{offer.distribution} {offer.version}") for offer in offers]
    rows += [_pair(pair, str(pairs_file or own_pairs.HERE)) for pair in own.values()]
    show("pairs", rows, format)


def _pair(pair: Pair, source: str) -> dict[str, Any]:
    from pkt_bench import estimating

    sizes = [estimating.parameters(ref) for ref in (pair.teacher, pair.student)]
    both = None if None in sizes else sum(size or 0 for size in sizes)
    student = sizes[1]
    return {
        "pair": pair.name,
        "teacher": _typed(pair.teacher),
        "teacher parameters": sizes[0],
        "student": _typed(pair.student),
        "student parameters": student,
        # 4 and 2 bytes a parameter of both; gradient and AdamW's two moments, 12 of the student's
        "float32 GB": _gigabytes(4, both),
        "bfloat16 GB": _gigabytes(2, both),
        "tuning GB": _gigabytes(12, student),
        "here": "yes" if all(_is_here(ref) for ref in (pair.teacher, pair.student)) else "no",
        "suites": ", ".join(pair.suites),
        "licence": pair.licence,
        "summary": pair.summary,
        "distribution": source,
    }


def _typed(ref: ModelRef) -> str:
    from pkt_bench import hub

    return hub.spelled(ref) if ref.hub else ref.label


def _is_here(ref: ModelRef) -> bool:
    from pkt_bench import hub

    if ref.hub and not ref.found:
        return hub.locate(ref) is not None
    return (ref.path / (ref.gguf or "config.json")).is_file()


def _gigabytes(width: int, parameters: int | None) -> float | None:
    return None if parameters is None else float(f"{width * parameters / 1e9:.3g}")


@ls.command()
def suites(plugin: Plugin = None, data_dir: DataDir = None, format: Format = "table") -> None:  # noqa: A002 - the flag's name
    """The suites that are installed. Any lm-eval task with a training split is one too: ls tasks."""
    from pkt_bench import mirrors, plugins
    from pkt_bench.tui.listing import show

    mirrors.use(data_dir or ())
    show("suites", [_suite(offer) for offer in plugins.load(plugin or ()).suites], format)


def _suite(offer: Offer[Suite]) -> dict[str, Any]:
    """A suite with its sizes, where its data are in a folder of data or come with it."""
    from pkt_bench import mirrors
    from pkt_bench.domain import SPLITS
    from pkt_bench.errors import PktBenchError

    suite = offer.item
    counts: dict[str, Any] = dict.fromkeys((*SPLITS, "test"))
    # a list is no reason to fetch anything
    if all(mirrors.stands_for(ref) for ref in suite.needs):
        with contextlib.suppress(PktBenchError):
            counts = {**{split: len(suite.records(split)) for split in SPLITS}, "test": len(suite.test_prompts())}
    return {
        "suite": suite.name,
        "tasks": ", ".join(task.name for task in suite.tasks),
        "metric": suite.tasks[0].metric,
        **counts,
        "needs": ", ".join(ref.name for ref in suite.needs),
        "summary": suite.summary,
        "distribution": f"{offer.distribution} {offer.version}",
    }


@ls.command()
def tasks(
    pattern: Annotated[str, typer.Argument(metavar="[PATTERN]", help="Part of a name, or a pattern: 'mmlu_*'.")] = "*",
    format: Format = "table",  # noqa: A002 - the flag's name
) -> None:
    """The tasks, groups and tags of lm-eval, and those beside the suites: --tasks NAME, or --suite NAME."""
    from pkt_bench import lm_tasks, plugins, task_index
    from pkt_bench.tui.listing import show

    index = dict(task_index.of_lm_eval())
    folders = {offer.item.task_path for offer in plugins.load().suites if offer.item.task_path is not None}
    for folder in folders:
        index |= {name: each for name, each in lm_tasks.index_of_folder(folder).items() if name not in index}
    rows = [
        {
            "task": each.name,
            "kind": {"PY_TASK": "task"}.get(each.kind, each.kind.lower()),
            "tasks": len(each.tags) if each.kind == "TAG" else None,
            "file": _short_path(each.file),
        }
        for each in task_index.matching(pattern, index)
    ]
    show("tasks", rows, format, nothing=f"lm-eval has no task whose name matches '{pattern}'")


def _short_path(file: Path | None) -> str:
    return "/".join(file.parts[-2:]) if file is not None else ""


@ls.command()
def executors(plugin: Plugin = None, format: Format = "table") -> None:  # noqa: A002 - the flag's name
    """What can run cells: --executor NAME."""
    from pkt_bench import __version__, plugins
    from pkt_bench.executors import BUILT_IN
    from pkt_bench.tui.listing import show

    rows = [
        _service("executor", each.name, each.summary, f"pkt-bench {__version__}", each.missing)
        for each in BUILT_IN.values()
    ]
    rows += [
        _service(
            "executor", each.item.name, each.item.summary, f"{each.distribution} {each.version}", each.item.missing
        )
        for each in plugins.load(plugin or ()).executors
    ]
    show("executors", rows, format)


@ls.command()
def trackers(plugin: Plugin = None, format: Format = "table") -> None:  # noqa: A002 - the flag's name
    """What can be told how a run goes: --track NAME."""
    from pkt_bench import plugins
    from pkt_bench.tui.listing import show

    rows = [
        _service("tracker", each.item.name, each.item.summary, f"{each.distribution} {each.version}", each.item.missing)
        for each in plugins.load(plugin or ()).trackers
    ]
    show("trackers", rows, format)


def _service(
    kind: str, name: str, summary: str, distribution: str, missing: Callable[[], str | None]
) -> dict[str, Any]:
    from pkt_bench import strangers

    reason = strangers.missing(missing)
    return {
        kind: name,
        "usable": "yes" if not reason else "no",
        "summary": summary,
        "distribution": distribution,
        "reason": reason,
    }


@ls.command()
def runs(
    run_dir: Annotated[
        Path, typer.Argument(metavar="[RUN_DIR]", help="The run folder.", autocompletion=completion.run_folders)
    ] = Path("runs"),
    outcome: Annotated[
        list[str] | None,
        typer.Option(
            "--outcome", metavar="failed,timeout", help="Only those that ended so.", autocompletion=completion.outcomes
        ),
    ] = None,
    format: Format = "table",  # noqa: A002 - the flag's name
) -> None:
    """Every attempt that is recorded, the newest first."""
    import sys

    from pkt_bench.store import Store
    from pkt_bench.tui.listing import check_format, show

    check_format(format)
    wanted = _outcomes(outcome or [])
    found = Store(run_dir).read(items=False)
    for problem in found.problems:
        print(f"pkt-bench: {problem}", file=sys.stderr)  # noqa: T201 - this is the command line
    rows = [row for row in _attempts(found.runs) if not wanted or row["outcome"] in wanted]
    show("runs", rows, format, nothing=f"{run_dir} holds no run that ended as {' or '.join(sorted(wanted))}")


_SHOWN = (
    *("run_id", "cell_key", "created_at", "outcome", "method", "distribution", "pair", "suite", "seed"),
    *("headline", "metric", "value", "seconds", "host", "reason"),
)


def _attempts(table: pa.Table) -> list[dict[str, Any]]:
    """One row a run, that of its headline figure where it has one."""
    from pkt_bench_leaderboards.comparable import RowKey
    from pkt_bench_leaderboards.labels import called, shared_methods

    def key_of(row: dict[str, Any]) -> RowKey:
        return RowKey(row["method"], "", row["distribution"] or "", "")

    runs: dict[tuple[str, str], dict[str, Any]] = {}
    for row in table.select(_SHOWN).to_pylist():
        key = row["cell_key"], row["run_id"]
        if key not in runs or (row["headline"] and not runs[key]["headline"]):
            runs[key] = row
    shared = shared_methods(map(key_of, runs.values()))
    newest_first = sorted(runs.values(), key=lambda row: (row["created_at"], row["run_id"]), reverse=True)
    return [
        {
            "when": row["created_at"].isoformat(timespec="seconds"),
            "outcome": row["outcome"],
            "method": called(key_of(row), shared),
            "pair": row["pair"],
            "suite": row["suite"],
            "seed": row["seed"],
            "metric": row["metric"] if row["headline"] else None,
            "value": _rounded(row["value"], 4) if row["headline"] else None,
            "seconds": _rounded(row["seconds"], 1),
            "host": row["host"],
            "reason": _short(row["reason"]),
            "cell": row["cell_key"][:12],
        }
        for row in newest_first
    ]


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _short(reason: str) -> str:
    first = reason.strip().partition("\n")[0]
    return first if len(first) <= 100 else f"{first[:97]}..."


def _outcomes(values: list[str]) -> set[str]:
    import difflib

    from pkt_bench.domain import Outcome
    from pkt_bench.errors import RequestError

    known = [str(each) for each in Outcome]
    names = [name.strip() for value in values for name in value.split(",") if name.strip()]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise RequestError(f"--outcome '{name}' will not do.{hint}\n  Outcomes: {', '.join(known)}")
    return set(names)

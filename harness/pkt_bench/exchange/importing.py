"""An evaluation by another program as a run of ours: what it does not say is null, and its digests are its own.

A row is compared with others only where all columns of `schema.COMPARED` agree, so one whose models, threads and
records are unknown is never ranked with rows that were recorded here.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench import __version__, integrity, merging, tables
from pkt_bench.domain import Outcome, canonical, digest_of
from pkt_bench.errors import IntegrityError, RequestError
from pkt_bench.exchange import lm_eval_reader
from pkt_bench.rows import documents_hash
from pkt_bench.store import Store
from pkt_bench_leaderboards import schema

if TYPE_CHECKING:
    import pyarrow as pa

    from pkt_bench.domain import Suite
    from pkt_bench.exchange.lm_eval_reader import Evaluation, Figure

# of the columns that pkt-bench wrote beside lm-eval's, those that the file, the user or the import decides
_NOT_TAKEN = frozenset(
    {
        *("run_id", "cell_key", "distribution", "distribution_version", "pkt_bench_version", "host", "created_at"),
        *("method", "suite", "pair", "seed", "settings", "outcome", "reason", "documents_hash", "comparability"),
        *("task", "metric", "filter", "value", "stderr", "n"),
    }
)


@dataclass(frozen=True)
class Asked:
    """What the file does not say: whose student it is, and by which figure the suite is ranked (empty: found out)."""

    method: str
    suite: str
    pair: str
    seed: int
    settings: str = ""
    headline: str = ""


@dataclass(frozen=True)
class Imported:
    """The run an import made, or found there already (`added` is False)."""

    run_id: str
    added: bool
    scores: int
    items: int
    unchecked: tuple[str, ...]


def import_evaluation(path: Path, out: Path, asked: Asked) -> Imported:
    """Adds what lm-eval wrote to the run folder `out`, made where there is none; adds nothing the second time.

    Raises:
        RequestError: the file is not what lm-eval writes, the request makes no sense, or `out` is something else.
        IntegrityError: the scores are not what the answers beside them say.
        StorageError: something cannot be read or written.
    """
    evaluation = lm_eval_reader.read(path)
    runs, items = _tables(evaluation, asked)
    faults, unchecked = integrity.check_rows(runs, items)
    if faults:
        said = "".join(f"\n  {fault}" for fault in faults[:10])
        raise IntegrityError(
            f"{evaluation.path}: its scores are not what its samples say, and nothing was written.{said}"
            "\n  One of the files was changed, or they are of two evaluations."
        )
    store = Store(out)
    run_id = str(runs["run_id"][0])
    added = not (merging.has_runs(out) and run_id in store.read(items=False).runs["run_id"].to_pylist())
    if added:
        merging.add(store, runs, items)
        store.write_board()
    return Imported(run_id, added, runs.num_rows, items.num_rows, tuple(unchecked))


def _tables(evaluation: Evaluation, asked: Asked) -> tuple[pa.Table, pa.Table]:
    import pyarrow as pa

    scores = [_row(evaluation, figure, asked) for figure in evaluation.scores]
    items = [asdict(item) for item in evaluation.items]
    compared = [[row.get(name) for name in schema.COMPARED] for row in scores]
    whose = [scores[0][name] for name in ("method", "settings", "pair", "suite", "seed")]
    # another evaluation of the same student by the same tasks is another attempt at the same cell
    cell_key = digest_of({"imported": whose, "compared": sorted(compared, key=str)})
    said = [
        {name: str(value) for name, value in row.items() if value is not None and name != "pkt_bench_version"}
        for row in scores
    ]
    run_id = digest_of({"cell": cell_key, "scores": said, "items": items})
    names = {"run_id": run_id, "cell_key": cell_key}
    try:
        return (
            tables.table_of([row | names for row in scores], schema.runs_schema()),
            tables.table_of([item | names for item in items], schema.items_schema()),
        )
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise RequestError(
            f"{evaluation.path} cannot be imported: a column has a value it cannot have ({error})."
            "\n  Nothing was written."
        ) from None


def _row(evaluation: Evaluation, figure: Figure, asked: Asked) -> dict[str, Any]:
    ours = {
        field.name: evaluation.ours.get(figure, {}).get(field.name)
        for field in schema.RUNS
        if field.name not in _NOT_TAKEN and evaluation.ours
    }
    settings = asked.settings or evaluation.ours.get(figure, {}).get("settings") or "{}"
    row = dict(evaluation.scores[figure]) | ours
    row |= {
        "distribution": integrity.IMPORTED,
        "pkt_bench_version": __version__,
        "method": asked.method,
        "settings": _settings(settings),
        "pair": asked.pair,
        "suite": installed.name if (installed := _installed(asked.suite)) is not None else asked.suite,
        "seed": asked.seed,
        "outcome": str(Outcome.DONE),
        "reason": "",
        "created_at": evaluation.created_at,
        "documents_hash": documents_hash([item for item in evaluation.items if item.task == figure[0]]),
    }
    row |= _headline(evaluation, figure, asked)
    return row | {"comparability": digest_of({name: row.get(name) for name in schema.COMPARED})}


def _settings(text: str) -> str:
    try:
        found = json.loads(text)
        if isinstance(found, Mapping):
            return canonical(found)
    except ValueError:
        pass
    raise RequestError(f"the settings {text!r} are no JSON object.\n  For example: --settings '{{\"rank\": 8}}'")


# ---------------------------------------------------------------- the headline


def _headline(evaluation: Evaluation, figure: Figure, asked: Asked) -> dict[str, Any]:
    """Whether the suite is ranked by a figure: as asked, as recorded, as the suite says, or for it is the only one."""
    if asked.headline:
        task, _, rest = asked.headline.partition(",")
        metric, _, filter_name = rest.partition(",")
        return {"headline": figure == _among(evaluation, (task, metric, filter_name or "none"))}
    if evaluation.ours:
        return {}
    if (installed := _installed(asked.suite)) is not None:
        task_of_suite = installed.tasks[0]
        wanted = (task_of_suite.name, task_of_suite.metric, task_of_suite.filter)
        chosen = figure == _among(evaluation, wanted)
        return {"headline": chosen, "chance": task_of_suite.chance if chosen else None}
    if len(evaluation.scores) > 1:
        offered = "".join(f"\n  --headline {','.join(each)}" for each in evaluation.scores)
        raise RequestError(
            f"{evaluation.path} has {len(evaluation.scores)} scores, and no suite '{asked.suite}' is installed that"
            f" says by which it is ranked. Say so with one of:{offered}"
        )
    return {"headline": True}


@functools.cache
def _installed(suite: str) -> Suite | None:
    """The suite of this name, plain or as `distribution/name`, where one is installed."""
    from pkt_bench import plugins

    shelf = plugins.load().suites
    return shelf.get(suite).item if shelf.called(suite) else None


def _among(evaluation: Evaluation, wanted: Figure) -> Figure:
    """`wanted`, if there is such a score."""
    if wanted in evaluation.scores:
        return wanted
    names = [",".join(figure) for figure in evaluation.scores]
    near = difflib.get_close_matches(",".join(wanted), names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise RequestError(
        f"{evaluation.path} has no score '{','.join(wanted)}' (task, metric, filter), by which the suite is ranked."
        f"{hint}\n  It has: {', '.join(names)}"
    )

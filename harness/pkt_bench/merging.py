"""Many run folders into one: every run once, nothing written before all of them are checked.

What is added is one compacted file of items and one of rows, items first, so that a merge that was cut short has
changed nothing that readers see and can be given again.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench import durable, integrity, tables
from pkt_bench.compaction import LOCK
from pkt_bench.errors import IntegrityError, RequestError
from pkt_bench.store import MARKER, Store
from pkt_bench.tables import COMPACTED
from pkt_bench_leaderboards import schema

if TYPE_CHECKING:
    import pyarrow as pa

RunName = tuple[str, str]
# a published copy of a run may lack it
_MAY_DIFFER = "host"
_ITEM_ORDER = ("run_id", "cell_key", "task", "metric", "filter", "doc_id")


@dataclass(frozen=True)
class Merged:
    """What a merge did: runs added, runs known before or given twice, saved students copied; what was not checkable."""

    added: int
    known: int
    artifacts: int
    unchecked: tuple[str, ...]


def merge(sources: Sequence[Path], out: Path, *, artifacts: bool = False) -> Merged:
    """Adds the runs of `sources` to the run folder `out`, made where there is none.

    Raises:
        RequestError: a source is no run folder, or `out` belongs to something else.
        IntegrityError: a source or `out` is not what was recorded, or copies of one run differ; nothing was written.
        StorageError: `out` cannot be written.
    """
    store = Store(out)
    there = [out] if has_runs(out) else []
    for source in sources:
        if source.resolve() == out.resolve():
            raise RequestError(f"{source} cannot be merged into itself.\n  Name another folder with --out.")
    runs: list[pa.Table] = []
    items: list[pa.Table] = []
    unchecked: list[str] = []
    seen: dict[RunName, tuple[Path, int]] = {}
    checked: list[integrity.Checked] = []
    added = known = 0
    for source in (*there, *sources):
        found = integrity.check(source, all_items=True)
        found.require_sound(source)
        unchecked += found.unchecked
        names = dict.fromkeys(tables.runs_of(found.runs))
        again = [name for name in names if name in seen]
        for name in again:
            first, number = seen[name]
            _check_same(name, (first, checked[number]), (source, found))
        fresh = names.keys() - set(again)
        seen |= {name: (source, len(checked)) for name in fresh}
        checked.append(found)
        if source in there:
            continue
        added, known = added + len(fresh), known + len(again)
        runs.append(_of(found.runs, fresh))
        items.append(_of(found.items, fresh))
    if added:
        add(store, tables.gather(runs, schema.runs_schema()), tables.gather(items, schema.items_schema()))
    store.write_board()
    copied = sum(_copy_artifacts(source, out) for source in sources) if artifacts else 0
    return Merged(added, known, copied, tuple(dict.fromkeys(unchecked)))


def add(store: Store, runs: pa.Table, items: pa.Table) -> None:
    """Adds runs with their items to a run folder as one compacted file each: the same rows, the same bytes.

    Raises:
        StorageError: it cannot be written; nothing recorded is lost.
    """
    import pyarrow as pa

    store.create()
    folder = store.root / COMPACTED
    runs = runs.sort_by(
        [(name, "ascending") for name in ("created_at", "run_id", "cell_key", "task", "metric", "filter")]
    )
    try:
        durable.make_folder(folder)
        with durable.locked(folder / LOCK):
            number = max((tables.number_of(Path(name)) for name in tables.compacted_names(store.root)), default=0) + 1
            file = None
            if items.num_rows:
                items = items.sort_by([(name, "ascending") for name in _ITEM_ORDER])
                data = tables.serialise(items, {}, compress=True)
                file = f"items-{number:06d}.{durable.digest(data)}.arrow"
                durable.publish(folder / file, data)
            answered = set(items["run_id"].unique().to_pylist())
            named = [file if run_id in answered else None for run_id in runs["run_id"].to_pylist()]
            ours = tables.compacted_schema()
            rows = pa.table([*runs.columns, pa.array(named, pa.string())], schema=ours)
            data = tables.serialise(rows, {}, compress=True)
            durable.publish(folder / f"runs-{number + 1:06d}.{durable.digest(data)}.arrow", data)
        (folder / LOCK).unlink(missing_ok=True)
    except OSError as error:
        raise store.unwritable(error) from None


def has_runs(root: Path) -> bool:
    """Whether a folder is a run folder with anything recorded in it."""
    if not (root / MARKER).exists():
        return False
    return any(tables.cell_files(root / tables.CELLS, [])) or bool(tables.compacted_names(root))


def _of(table: pa.Table, names: set[RunName]) -> pa.Table:
    """The rows of the runs named."""
    import pyarrow as pa

    return table.filter(pa.array([name in names for name in tables.runs_of(table)], pa.bool_()))


def _check_same(name: RunName, one: tuple[Path, integrity.Checked], other: tuple[Path, integrity.Checked]) -> None:
    """Two copies of one run must say the same."""
    for kind, order in (("runs", ("task", "metric", "filter")), ("items", _ITEM_ORDER)):
        mine, theirs = (_sorted(getattr(found, kind), name, order) for _, found in (one, other))
        if mine == theirs:
            continue
        columns = sorted({each for a, b in zip(mine, theirs, strict=False) for each in a if a[each] != b[each]}) or [
            "the number of rows"
        ]
        row = _sorted(one[1].runs, name, ("task", "metric", "filter"))[0]
        raise IntegrityError(
            f"run {name[1]} of cell {name[0]} ({row['method']}, {row['suite']}, seed {row['seed']}) is in {one[0]}"
            f" and in {other[0]}, and they differ in {', '.join(columns)} of the {kind}; nothing was written."
            "\n  One of them was changed: remove it, or merge the others alone."
        )


def _sorted(table: pa.Table, name: RunName, order: Sequence[str]) -> list[dict[str, Any]]:
    import pyarrow.compute as pc

    cell_key, run_id = name
    kept = table.filter(pc.and_(pc.equal(table["cell_key"], cell_key), pc.equal(table["run_id"], run_id)))
    rows: list[dict[str, Any]] = kept.sort_by([(each, "ascending") for each in order]).to_pylist()
    for row in rows:
        row.pop(_MAY_DIFFER, None)
    return rows


def _copy_artifacts(source: Path, out: Path) -> int:
    """Copies the saved students that `out` lacks, each whole or not at all."""
    copied = 0
    for folder in sorted((source / "artifacts").glob("[0-9a-f]*")):
        place = out / "artifacts" / folder.name
        if not folder.is_dir() or place.exists():
            continue
        aside = place.with_name(f".{folder.name}.aside")
        shutil.rmtree(aside, ignore_errors=True)
        durable.make_folder(place.parent)
        shutil.copytree(folder, aside)
        durable.put_in_place(aside, place)
        copied += 1
    return copied

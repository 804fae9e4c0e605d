"""Whether what is recorded still is what was recorded: files against their names, figures against the answers.

A digest in a file's name finds a flipped byte. Who rewrites a file and renames it is found out by what the figures
were made of: each score is worked out again from the answers behind it, each digest from the columns it covers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench import tables
from pkt_bench.domain import Outcome, digest_of
from pkt_bench.errors import IntegrityError
from pkt_bench.store import BOARD, Store
from pkt_bench.tables import CELLS, COMPACTED, ITEMS_FOLDER, UnreadableError
from pkt_bench_leaderboards import schema

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

# metrics lm-eval averages over documents, whose every figure must be the mean of its items
MEANS = frozenset({"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "pass_at_1"})
ITEM_COLUMNS = ("run_id", "cell_key", "task", "metric", "filter", "doc_id", "doc_hash", "value")
IMPORTED = "imported"
"""The `distribution` of rows that another program's files say, which may come without answers."""
# null in every row of schema 1 that is older than the digest of documents
_SINCE_SCHEMA_2 = ("documents_hash", "pass_tokens", "budget", "host")
# figures are sums of doubles in another order
_TOLERANCE = 1e-9
_NAMED = ("run_id", "method", "suite", "seed", "task", "metric", "filter")

# what a figure is known by: run, cell, task, metric, filter
Key = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Fault:
    """One thing that is not what it was. What cannot be known any more is None; `where` is a column or a file."""

    what: str
    where: str
    stored: str
    should_be: str
    run_id: str | None = None
    method: str | None = None
    suite: str | None = None
    seed: int | None = None
    task: str | None = None
    metric: str | None = None
    filter: str | None = None
    document: int | None = None

    def __str__(self) -> str:
        place = [
            f"{name} {value}"
            for name, value in (
                ("run", self.run_id),
                ("method", self.method),
                ("suite", self.suite),
                ("seed", self.seed),
                ("task", self.task),
                ("metric", self.metric),
                ("filter", self.filter),
                ("document", self.document),
            )
            if value is not None
        ]
        named = f" ({', '.join(place)})" if place else ""
        return f"{self.where}: {self.what}{named}: stored {self.stored}, should be {self.should_be}"


@dataclass(frozen=True)
class Checked:
    """What was looked at: everything recorded, what is wrong, and in words what could not be checked.

    `items` has the columns `ITEM_COLUMNS`, or all of them where the check was asked for those.
    """

    runs: pa.Table
    items: pa.Table
    faults: tuple[Fault, ...]
    unchecked: tuple[str, ...]
    scores: int

    def require_sound(self, root: Path) -> None:
        """Refuses what is not what it was.

        Raises:
            IntegrityError: there is a fault; names the first ones.
        """
        if not self.faults:
            return
        said = "".join(f"\n  {fault}" for fault in self.faults[:10])
        more = f"\n  and {len(self.faults) - 10:,} more" if len(self.faults) > 10 else ""
        raise IntegrityError(
            f"{root} is not what was recorded, and nothing was written.{said}{more}"
            f"\n  pkt-bench verify {root} lists all of it; delete the files and run their cells again."
        )


def check(root: Path, *, all_items: bool = False) -> Checked:
    """Checks every file and every row of a run folder.

    Raises:
        RequestError: there is no run folder, or nothing is recorded in it that can be read.
        StorageError: it cannot be read.
        IntegrityError: none of its files can be believed.
    """
    faults = list(_bad_files(root))
    if faults and not _any_readable(root):
        Checked(
            schema.runs_schema().empty_table(), schema.items_schema().empty_table(), tuple(faults), (), 0
        ).require_sound(root)
    found = Store(root).read(item_columns=() if all_items else ITEM_COLUMNS)
    unchecked = [problem for problem in found.problems if not any(fault.where in problem for fault in faults)]
    wrong, not_known = check_rows(found.runs, found.items)
    faults += wrong
    unchecked += not_known
    faults += _board(root, found.runs, unchecked)
    scores = found.runs.num_rows - found.runs["task"].null_count
    return Checked(found.runs, found.items, tuple(faults), tuple(dict.fromkeys(unchecked)), scores)


def check_rows(runs: pa.Table, items: pa.Table) -> tuple[list[Fault], list[str]]:
    """Checks rows against the items behind them; gives what is wrong, and in words what could not be checked."""
    unchecked: list[str] = []
    scored = [row for row in runs.to_pylist() if row["task"] is not None]
    faults = [*_comparability(scored, unchecked), *_figures(scored, items, unchecked)]
    return faults, unchecked


# ---------------------------------------------------------------- files


def _bad_files(root: Path) -> Iterator[Fault]:
    """Files whose bytes are not those their names promise, that are no tables of ours, or that are missing."""
    owed: dict[str, dict[str, Any]] = {}
    yield from _bad_compacted(root, owed)
    yield from _bad_cells(root, owed)
    for name, row in owed.items():
        path = tables.items_file(root, name)
        try:
            if path.parent.name == COMPACTED:
                tables.read_compacted(path, tables.subset(schema.items_schema(), ["run_id"]))
            else:
                tables.read_cell(path, schema.items_schema())
        except FileNotFoundError:
            yield _fault(row, "the answers behind a score are gone", str(path), "no file", name, scored=False)
        except UnreadableError as error:
            yield from _named(path, error, row)


def _bad_compacted(root: Path, owed: dict[str, dict[str, Any]]) -> Iterator[Fault]:
    """Of the files of many runs; adds the items files of the sound ones to `owed`, each with a row it belongs to."""
    for path in tables.compacted_files(root, tables.compacted_names(root), "runs", []):
        try:
            table = tables.read_compacted(path, tables.compacted_schema())
        except UnreadableError as error:
            yield from _named(path, error)
            continue
        for row in table.select([tables.ITEMS, "run_id", "method", "suite", "seed"]).to_pylist():
            if row[tables.ITEMS] is not None:
                owed.setdefault(row[tables.ITEMS], row)


def _bad_cells(root: Path, owed: dict[str, dict[str, Any]]) -> Iterator[Fault]:
    """Of the files of one run; adds to `owed` as `_bad_compacted` does."""
    for path in tables.cell_files(root / CELLS, []):
        try:
            file = tables.read_run(path)
        except UnreadableError as error:
            yield from _named(path, error)
            continue
        first = file.table.slice(0, 1).to_pylist()[0]
        if strange := set(tables.runs_of(file.table)) - {file.run}:
            what = "its rows are not those of the run it is named after"
            yield _fault(first, what, str(path), " ".join(min(strange)), " ".join(file.run))
        if tables.ITEMS in file.metadata:
            owed.setdefault(file.metadata[tables.ITEMS], first)


def _any_readable(root: Path) -> bool:
    for path in tables.compacted_files(root, tables.compacted_names(root), "runs", []):
        try:
            return tables.read_compacted(path, tables.compacted_schema()).num_rows > 0
        except UnreadableError:
            continue
    for path in tables.cell_files(root / CELLS, []):
        try:
            tables.read_run(path)
        except UnreadableError:
            continue
        return True
    return False


def _named(path: Path, error: UnreadableError, row: Mapping[str, Any] | None = None) -> Iterator[Fault]:
    """A file that is not believed, with the run it still says it is of."""
    from pkt_bench import durable

    try:
        digest = durable.file_digest(path)
    except OSError:
        digest = "unreadable"
    promised = path.name.split(".")[1]
    if digest == promised:
        yield _fault(row or {}, str(error), str(path), digest, "a table of pkt-bench", scored=False)
        return
    row = row or next(iter(_rows_of_damaged(path)), {})
    what = "its bytes are not those its name promises"
    if path.parent.parent.name in {ITEMS_FOLDER, CELLS}:
        what += f", cell {path.name[:32]}"
    yield _fault(row, what, str(path), f"digest {digest}", f"digest {promised}", scored=False)


def _rows_of_damaged(path: Path) -> list[dict[str, Any]]:
    """The first row of a file that cannot be believed, for its name alone."""
    import pyarrow as pa

    try:
        table = pa.ipc.open_file(pa.py_buffer(path.read_bytes())).read_all()
        rows: list[dict[str, Any]] = table.slice(0, 1).to_pylist()
    except (pa.ArrowException, OSError, ValueError):
        return []
    return rows


# ---------------------------------------------------------------- rows


def _comparability(rows: Sequence[Mapping[str, Any]], unchecked: list[str]) -> Iterator[Fault]:
    known: dict[tuple[Any, ...], str] = {}
    for row in rows:
        compared = tuple(row[name] for name in schema.COMPARED)
        if compared not in known:
            known[compared] = digest_of(dict(zip(schema.COMPARED, compared, strict=True)))
        if row["comparability"] == known[compared]:
            continue
        if all(row[name] is None for name in _SINCE_SCHEMA_2):
            # the first rows had fewer columns to compare
            unchecked.append(f"{_label(row)}: comparability is not checkable, the row is of an older pkt-bench")
            continue
        yield _fault(
            row, "the digest of what it may be compared with", "comparability", row["comparability"], known[compared]
        )


@dataclass(frozen=True)
class _Answers:
    """The answers behind one figure."""

    documents: NDArray[Any]
    values: NDArray[np.float64]

    @property
    def mean(self) -> float:
        return math.fsum(self.values) / len(self.values)

    @property
    def stderr(self) -> float | None:
        if len(self.values) < 2:
            return None
        return float(self.values.std(ddof=1)) / len(self.values) ** 0.5


def _figures(rows: Sequence[Mapping[str, Any]], items: pa.Table, unchecked: list[str]) -> Iterator[Fault]:
    """Value, n, stderr and documents_hash of each row, from the items behind it."""
    answers = dict(_grouped(items))
    hashes = _documents_hashes(items)
    by_key = {_key(row): row for row in rows}
    agreeing = {
        key[2:]
        for key, row in by_key.items()
        if key in answers and row["value"] is not None and _near(row["value"], answers[key].mean)
    }
    for key, row in by_key.items():
        found = answers.get(key)
        if found is None:
            if row["outcome"] == Outcome.DONE and not _came_without_answers(row):
                yield _fault(row, "the answers behind a score are gone", "items", "no answers", f"{row['n']} answers")
                continue
            unchecked.append(f"{_label(row)}: {row['task']} {row['metric']} is not checkable, its answers are not kept")
            continue
        yield from _counted(row, found)
        yield from _valued(row, found, key[2:] in agreeing, unchecked)
        expected = hashes.get((key[0], key[2]))
        if row["documents_hash"] is not None and row["documents_hash"] != expected:
            yield _fault(row, "the digest of its documents", "documents_hash", row["documents_hash"], str(expected))
    for key in answers.keys() - by_key.keys():
        named = dict(zip(("run_id", "cell_key", "task", "metric", "filter"), key, strict=True))
        yield _fault(named, f"answers of cell {key[1]} that no score is made of", "items", "answers", "a row")


def _came_without_answers(row: Mapping[str, Any]) -> bool:
    return row["distribution"] == IMPORTED and row["documents_hash"] is None


def _counted(row: Mapping[str, Any], found: _Answers) -> Iterator[Fault]:
    import numpy as np

    if row["n"] != len(found.values):
        yield _fault(row, "the number of documents", "n", str(row["n"]), str(len(found.values)))
    documents, counts = np.unique(found.documents, return_counts=True)
    for document in documents[counts > 1]:
        yield _fault(row, "a document is answered more than once", "items", "twice", "once", document=int(document))


def _valued(row: Mapping[str, Any], found: _Answers, agreeing: bool, unchecked: list[str]) -> Iterator[Fault]:  # noqa: FBT001 - one caller
    import numpy as np

    label = f"{_label(row)}: {row['task']} {row['metric']}"
    missing = np.isnan(found.values)
    if missing.any():
        if row["metric"] in MEANS:
            document = int(found.documents[missing][0])
            yield _fault(row, "an answer is worth nothing known", "items", "null", "0 or 1", document=document)
        elif row["value"] is not None:
            unchecked.append(f"{label} is not checkable: it is no mean over documents")
        return
    mean = found.mean
    if row["value"] is None or not _near(row["value"], mean):
        if row["metric"] == "perplexity" and row["value"] is not None and _near(row["value"], math.exp(-mean)):
            return
        if row["metric"] not in MEANS and not agreeing:
            unchecked.append(f"{label} is not checkable: it is no mean over documents")
            return
        words = f"{mean!r}, the mean of its {len(found.values)} answers"
        yield _fault(row, "a score is not what its answers say", "value", repr(row["value"]), words)
        return
    expected = found.stderr
    if row["stderr"] is not None and expected is not None and not _near(row["stderr"], expected):
        yield _fault(row, "a standard error is not what its answers say", "stderr", repr(row["stderr"]), repr(expected))


def _near(stored: float, worked_out: float) -> bool:
    return math.isclose(stored, worked_out, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


def _grouped(items: pa.Table) -> Iterator[tuple[Key, _Answers]]:
    import numpy as np

    if items.num_rows == 0:
        return
    documents = items["doc_id"].to_numpy()
    values = items["value"].to_numpy().astype(np.float64)
    names = ("run_id", "cell_key", "task", "metric", "filter")
    for rows in _slices(items, names):
        first = int(rows[0])
        key = tuple(str(items[name][first].as_py()) for name in names)
        yield key, _Answers(documents[rows], values[rows])  # type: ignore[misc]


def _slices(items: pa.Table, names: Sequence[str]) -> Iterator[NDArray[np.int64]]:
    """The numbers of the rows that agree in all of `names`, group by group."""
    import numpy as np

    codes = np.zeros(items.num_rows, dtype=np.int64)
    for name in names:
        column = items[name].combine_chunks().dictionary_encode()
        column = column.combine_chunks() if hasattr(column, "combine_chunks") else column
        these = column.indices.to_numpy().astype(np.int64)
        _, codes = np.unique(codes * (int(these.max()) + 1) + these, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order])) + 1
    yield from np.split(order, starts)


def _documents_hashes(items: pa.Table) -> dict[tuple[str, str], str]:
    """The digest of the documents of each run and task, as `rows` makes it."""
    if items.num_rows == 0:
        return {}
    documents = items["doc_id"].to_numpy()
    column = items["doc_hash"].combine_chunks().dictionary_encode()
    column = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    codes, words = column.indices.to_numpy(), column.dictionary.to_pylist()
    known: dict[tuple[str, bytes, bytes], str] = {}
    found = {}
    for rows in _slices(items, ("run_id", "task")):
        run_id, task = (str(items[name][int(rows[0])].as_py()) for name in ("run_id", "task"))
        same = (task, documents[rows].tobytes(), codes[rows].tobytes())
        if same not in known:
            pairs = {(task, int(documents[row]), words[codes[row]]) for row in rows}
            known[same] = digest_of({"documents": sorted(pairs)})
        found[run_id, task] = known[same]
    return found


# ---------------------------------------------------------------- the board


def _board(root: Path, runs: pa.Table, unchecked: list[str]) -> Iterator[Fault]:
    """Whether `board.arrow`, which has no digest, says what the cells say."""
    import pyarrow as pa

    path = root / BOARD
    try:
        with pa.OSFile(str(path)) as source:
            board = schema.conform(pa.ipc.open_file(source).read_all(), schema.runs_schema())
    except FileNotFoundError:
        unchecked.append(f"{path} is not there: pkt-bench run writes it at its end")
        return
    except (pa.ArrowException, OSError, ValueError) as error:
        yield Fault("it cannot be read", str(path), str(error), "the rows of all cells")
        return
    cells = {_key(row): row for row in runs.to_pylist()}
    seen = set()
    for row in board.to_pylist():
        key = _key(row)
        seen.add(key)
        if key not in cells:
            yield _fault(row, "a row that no cell has", str(path), f"value {row['value']!r}", "no row")
            continue
        for name, value in row.items():
            if value != cells[key][name]:
                what = f"{name} is not that of the cell"
                yield _fault(row, what, str(path), repr(value), repr(cells[key][name]))
    if lacking := cells.keys() - seen:
        unchecked.append(f"{path} lacks {len(lacking):,} rows that the cells have: it is older than they are")


def _key(row: Mapping[str, Any]) -> Key:
    return row["run_id"], row["cell_key"], row["task"], row["metric"], row["filter"]


def _label(row: Mapping[str, Any]) -> str:
    return f"{row['method']}, {row['suite']}, seed {row['seed']} (run {row['run_id']})"


def _fault(
    row: Mapping[str, Any],
    what: str,
    where: str,
    stored: str | None,
    should_be: str,
    *,
    document: int | None = None,
    scored: bool = True,
) -> Fault:
    named = {name: row.get(name) for name in (_NAMED if scored else _NAMED[:4])}
    return Fault(what, where, str(stored), should_be, document=document, **named)

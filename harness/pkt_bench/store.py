"""The only writer of runs: one Arrow file per attempt at a cell, its digest in its name; the board file is derived.

    <root>/pkt-bench.json                          says that the folder is ours, and which schema it speaks
    <root>/items/<k0k1>/<cell key>.<digest>.arrow  what the model answered to each document; written first
    <root>/cells/<k0k1>/<cell key>.<digest>.arrow  the rows of the run: once it is there, the run is recorded
    <root>/compacted/                              the same of many runs in few files, see `compaction`
    <root>/board.arrow                             all rows in one file for people; rebuilt at will

A file is made in memory, written aside, synced, renamed and its folder synced, so it is whole or absent, whatever
kills us. How files are read, and what is not believed, is in `tables`.

Readers take no lock. A compaction puts the file that holds many runs in place before it removes those that held one:
who finds the names in `compacted/` the same before and after has missed none, and who does not looks again.
"""

from __future__ import annotations

import errno
import json
import statistics
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pkt_bench import __version__, durable, tables
from pkt_bench.domain import Item, Outcome, Run
from pkt_bench.errors import RequestError, StorageError
from pkt_bench.rows import item_rows, run_rows, timestamp
from pkt_bench.tables import CELLS, COMPACTED, INDEX, ITEMS, ITEMS_FOLDER, UnreadableError
from pkt_bench_leaderboards import schema

if TYPE_CHECKING:
    import pyarrow as pa

    from pkt_bench.tables import CellFile

T = TypeVar("T")

MARKER = "pkt-bench.json"
BOARD = "board.arrow"
FORMAT = "pkt-bench runs"
# what may be in a run folder before its first run is recorded
OUR_NAMES = frozenset({MARKER, BOARD, CELLS, ITEMS_FOLDER, COMPACTED, "stages", "artifacts", "logs", "work"})
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_LOOKS = 5

# what a cell is asked to do: method, pair, suite
Kind = tuple[str, str, str]


@dataclass(frozen=True)
class Attempts:
    """What is recorded of each cell: its outcome, where any `done` attempt outweighs the latest one.

    `expected_seconds` is the median wall time of the done attempts by method, pair and suite.
    """

    outcomes: Mapping[str, Outcome]
    problems: tuple[str, ...]
    expected_seconds: Mapping[Kind, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Contents:
    """Everything recorded: the runs table, the items table, and in words what had to be stepped over."""

    runs: pa.Table
    items: pa.Table
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Store:
    """A run folder. Making one touches nothing; several processes may use the same folder at once."""

    root: Path

    # ------------------------------------------------------------ before a run

    def check_writable(self) -> None:
        """Finds out before the expensive work whether runs can be recorded here. Makes the folder, and leaves it.

        Really writes, syncs and removes a file, because permission bits do not stop root and say nothing of a full
        disk. The folder stays, because another run that starts beside this one may be writing in it already. Removes
        what writers that died left aside.

        Raises:
            RequestError: the path is a file, a folder of something else, or made by a newer pkt-bench.
            StorageError: it cannot be written.
        """
        self._check_ours()
        try:
            durable.make_folder(self.root)
            with durable.aside(self.root) as aside:
                durable.write_synced(aside, b"\0" * 65536)
        except OSError as error:
            raise self.unwritable(error) from None
        durable.sweep((*self.root.glob(".tmp-*"), *self.root.glob("*/.tmp-*"), *self.root.glob("*/*/.tmp-*")))

    def create(self) -> None:
        """Makes the folder ours, and its mark that of the rows we write; nothing happens where it is so.

        Raises:
            RequestError: the path is a file, a folder of something else, or made by a newer pkt-bench.
            StorageError: it cannot be written.
        """
        if self._check_ours() == schema.SCHEMA_VERSION:
            return
        marker = {"format": FORMAT, "schema_version": schema.SCHEMA_VERSION, "pkt_bench_version": __version__}
        self._publish(self.root / MARKER, (json.dumps(marker, indent=1) + "\n").encode())

    # ------------------------------------------------------------ writing

    def record(self, run: Run, items: Sequence[Item] = ()) -> Path:
        """Records a run with its items, durably: once this returns, a power cut does not lose it. Gives its file.

        Raises:
            RequestError: the folder is not ours to write in.
            StorageError: it cannot be written; nothing recorded before is lost.
        """
        self.create()
        metadata = {
            "cell_key": run.cell.key,
            "run_id": run.run_id,
            "outcome": str(run.outcome),
            "created_at": timestamp(run.created_at).isoformat(),
        }
        if items:
            table = tables.table_of(item_rows(run, items), schema.items_schema())
            metadata[ITEMS] = self._publish_named(ITEMS_FOLDER, run.cell.key, table, metadata).name
        table = tables.table_of(run_rows(run, items), schema.runs_schema())
        return self._publish_named(CELLS, run.cell.key, table, metadata)

    def write_board(self) -> Path:
        """Derives `board.arrow`, all rows in one compressed file, from what is recorded.

        Raises:
            RequestError: there is no run folder.
            StorageError: it cannot be written.
        """
        table = self.read(items=False).runs.sort_by([("created_at", "ascending"), ("run_id", "ascending")])
        return self._publish(self.root / BOARD, tables.serialise(table, {}, compress=True))

    # ------------------------------------------------------------ reading

    def outcomes(self) -> dict[str, Outcome]:
        """The outcome of every cell that was tried; empty where there is no folder yet. See `attempts`."""
        return dict(self.attempts().outcomes)

    def is_done(self, cell_key: str) -> bool:
        """Whether a cell has a `done` attempt: reads that cell's files, and what is compacted once per process."""
        return self._settled(lambda names: self._is_done(cell_key, names))

    def attempts(self) -> Attempts:
        """What was tried, for a run that goes on where another stopped: files that cannot be trusted do not count.

        Raises:
            RequestError: the path is a file, a folder of something else, or made by a newer pkt-bench.
        """
        if not self._check_ours():
            return Attempts({}, ())
        return self._settled(self._attempts)

    def expected_seconds(self) -> Mapping[Kind, float]:
        """See `Attempts`. Raises what `attempts` raises."""
        return self.attempts().expected_seconds

    def runs_table(self) -> pa.Table:
        """All rows recorded here, `schema.RUNS`. Raises what `read` raises."""
        return self.read(items=False).runs

    def items_table(self) -> pa.Table:
        """All items of the runs recorded here, `schema.ITEMS`. Raises what `read` raises."""
        return self.read().items

    def read(self, *, items: bool = True, item_columns: Collection[str] = ()) -> Contents:
        """Everything recorded here, digests checked; `item_columns` spares the rest of the items table.

        Raises:
            RequestError: there is no run folder, or nothing is recorded in it, or it is not ours.
            StorageError: it cannot be read.
        """
        if not self.root.exists():
            raise RequestError(
                f"there is no run folder {self.root}."
                f"\n  Make one with: pkt-bench run --methods all --out {self.root}, or name another folder."
            )
        ours = self._check_ours(remedy="Name a folder that pkt-bench run has made.")
        wanted = tables.subset(schema.items_schema(), item_columns) if items else None
        found = self._settled(lambda names: self._read(names, wanted)) if ours else None
        if found is None or found.runs.num_rows == 0:
            said = "".join(f"\n  {problem}" for problem in (found.problems if found else ()))
            raise RequestError(
                f"{self.root} holds no recorded runs.{said}"
                f"\n  Record some with: pkt-bench run --methods all --out {self.root}, or name another folder."
            )
        return found

    # ------------------------------------------------------------ what it is made of

    def _check_ours(self, remedy: str = "Name another folder with --out.") -> int:
        """The schema our mark on the folder names; 0 where there is nothing, or nothing of anybody else."""
        try:
            marker = json.loads((self.root / MARKER).read_text(encoding="utf-8"))
            version = marker["schema_version"] if marker["format"] == FORMAT else None
        except FileNotFoundError:
            self._check_nobody_elses(remedy)
            return 0
        except NotADirectoryError:
            raise self._is_a_file(remedy) from None
        except OSError as error:
            raise StorageError(f"{self.root} cannot be read: {error.strerror}.") from None
        except (ValueError, KeyError, TypeError):
            version = None
        if not isinstance(version, int) or version < 1:
            raise RequestError(
                f"{self.root / MARKER} is not a mark of pkt-bench, so {self.root} may belong to something else."
                f"\n  {remedy}"
            )
        if version > schema.SCHEMA_VERSION:
            raise RequestError(
                f"{self.root} was made by a newer pkt-bench: its rows have schema {version}, this one reads up to"
                f" {schema.SCHEMA_VERSION}.\n  Upgrade pkt-bench. Or: {remedy}"
            )
        return version

    def _check_nobody_elses(self, remedy: str) -> None:
        if self.root.exists() and not self.root.is_dir():
            raise self._is_a_file(remedy)
        try:
            foreign = sorted({path.name for path in self.root.iterdir()} - OUR_NAMES)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"{self.root} cannot be read: {error.strerror}.") from None
        foreign = [name for name in foreign if not name.startswith(".")]
        if foreign:
            listing = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
            raise RequestError(f"{self.root} is not a run folder: it holds {listing} and no {MARKER}.\n  {remedy}")

    def _is_a_file(self, remedy: str = "Name another folder with --out.") -> RequestError:
        file = next((path for path in (self.root, *self.root.parents) if path.is_file()), self.root)
        return RequestError(f"{file} is a file, and runs are kept in a folder.\n  {remedy}")

    def unwritable(self, error: OSError) -> RequestError | StorageError:
        """What is said of an error while writing here."""
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            return self._is_a_file()
        if error.errno in _FULL:
            return StorageError(
                f"{self.root} cannot be written: the disk is full.\n  Free some space and give the same command"
                " again: what is recorded is kept, the rest is run."
            )
        if error.errno in _REFUSED:
            return StorageError(
                f"{self.root} cannot be written: {error.strerror}.\n  Allow it, or name another folder with --out."
            )
        return StorageError(
            f"{self.root} cannot be written: {error.strerror or error}.\n  Look after the disk and give the same"
            " command again: what is recorded is kept, the rest is run."
        )

    def _publish_named(self, kind: str, key: str, table: pa.Table, metadata: Mapping[str, str]) -> Path:
        data = tables.serialise(table, metadata)
        return self._publish(self.root / kind / key[:2] / f"{key}.{durable.digest(data)}.arrow", data)

    def _publish(self, path: Path, data: bytes) -> Path:
        try:
            durable.publish(path, data)
        except OSError as error:
            raise self.unwritable(error) from None
        return path

    def _settled(self, look: Callable[[tuple[str, ...]], T]) -> T:
        """What `look` finds while the names of the compacted files, which it is given, stay the same."""
        for _ in range(_LOOKS):
            before = tables.compacted_names(self.root)
            found = look(before)
            if tables.compacted_names(self.root) == before:
                return found
        # one compaction after another: let none begin while we look
        try:
            with durable.locked(self.root / COMPACTED / ".lock"):
                return look(tables.compacted_names(self.root))
        except OSError:
            return look(tables.compacted_names(self.root))

    def _is_done(self, cell_key: str, names: Sequence[str]) -> bool:
        for path in tables.compacted_files(self.root, names, "runs", []):
            try:
                if cell_key in tables.read_index(path).done:
                    return True
            except (UnreadableError, FileNotFoundError):
                continue
        own = sorted((self.root / CELLS / cell_key[:2]).glob(f"{cell_key}.*.arrow"))
        return any(file.metadata["outcome"] == Outcome.DONE for file in _cells(own, []))

    def _attempts(self, names: Sequence[str]) -> Attempts:
        import pyarrow as pa

        problems: list[str] = []
        seen: set[tuple[str, str]] = set()
        found = []
        for path in tables.compacted_files(self.root, names, "runs", problems):
            index = _or_none(lambda path=path: tables.read_index(path).runs, problems)  # type: ignore[misc]
            if index is not None:
                known = tables.known_outcomes(index, path, problems)
                found.append(tables.unseen(known, seen).select(INDEX))
        wanted = tables.subset(schema.runs_schema(), INDEX)
        ones = _new(_cells(tables.cell_files(self.root / CELLS, problems), problems), seen)
        found.append(tables.gather((file.table.select(INDEX).slice(0, 1) for file in ones), wanted))
        index = pa.concat_tables(found)
        return Attempts(_outcomes(index), tuple(problems), _expected_seconds(index))

    def _read(self, names: Sequence[str], wanted: pa.Schema | None) -> Contents:
        """All there is now, items with the columns `wanted`, or none of them."""
        problems: list[str] = []
        seen: set[tuple[str, str]] = set()
        owed: dict[str, set[str]] = {}
        parts = self._compacted(names, seen, owed, problems)
        parts += self._ones(seen, owed, problems)
        runs = tables.gather(parts, schema.runs_schema())
        problems += _divergent(runs)
        found: Iterable[pa.Table] = ()
        if wanted is not None:
            found = self._items(owed, wanted, problems)
        return Contents(runs, tables.gather(found, wanted or schema.items_schema()), tuple(problems))

    def _compacted(
        self, names: Sequence[str], seen: set[tuple[str, str]], owed: dict[str, set[str]], problems: list[str]
    ) -> list[pa.Table]:
        """The rows of compacted files; adds what their runs are known by, and which items files hold whose items."""
        import pyarrow.compute as pc

        found = []
        for path in tables.compacted_files(self.root, names, "runs", problems):
            table = _or_none(
                lambda path=path: tables.read_compacted(path, tables.compacted_schema()),  # type: ignore[misc]
                problems,
            )
            if table is None:
                continue
            table = tables.unseen(tables.known_outcomes(table, path, problems), seen)
            with_items = table.filter(pc.is_valid(table[ITEMS]))
            for name, run_id in set(zip(with_items[ITEMS].to_pylist(), with_items["run_id"].to_pylist(), strict=True)):
                owed.setdefault(name, set()).add(run_id)
            found.append(table.drop_columns([ITEMS]).cast(schema.runs_schema()))
        return found

    def _ones(self, seen: set[tuple[str, str]], owed: dict[str, set[str]], problems: list[str]) -> list[pa.Table]:
        """The rows of files of one run whose run is not among `seen`."""

        def own() -> Iterator[pa.Table]:
            for file in _new(_cells(tables.cell_files(self.root / CELLS, problems), problems), seen):
                if ITEMS in file.metadata:
                    owed.setdefault(file.metadata[ITEMS], set()).add(file.metadata["run_id"])
                yield file.table

        # at once, for what it adds to `owed`; piece by piece, for the memory
        return [tables.gather(own(), schema.runs_schema())]

    def _items(self, owed: Mapping[str, set[str]], wanted: pa.Schema, problems: list[str]) -> Iterator[pa.Table]:
        """The items files that are `owed`, each with no other items than those of the runs named."""
        import pyarrow as pa
        import pyarrow.compute as pc

        for name, run_ids in owed.items():
            path = tables.items_file(self.root, name)
            try:
                if path.parent.name == COMPACTED:
                    table = tables.read_compacted(path, tables.subset(schema.items_schema(), {*wanted.names, "run_id"}))
                    if set(table["run_id"].unique().to_pylist()) > run_ids:
                        table = table.filter(pc.is_in(table["run_id"], pa.array(sorted(run_ids))))
                    table = table.select(wanted.names)
                else:
                    table = tables.read_cell(path, wanted).table
            except UnreadableError as error:
                problems.append(str(error))
            except FileNotFoundError:
                whose = "that cell" if len(run_ids) == 1 else f"{len(run_ids)} runs"
                problems.append(f"{path} is missing: the items of {whose} cannot be compared.")
            else:
                yield table


# ---------------------------------------------------------------- what is made of rows


def _or_none(read: Callable[[], T], problems: list[str]) -> T | None:
    """What `read` gives; None where the file is gone, or cannot be believed, which is a problem."""
    try:
        return read()
    except UnreadableError as error:
        problems.append(str(error))
    except FileNotFoundError:
        pass  # a compaction tidied up while we read: the names are not the same any more
    return None


def _cells(paths: Iterable[Path], problems: list[str]) -> Iterator[CellFile]:
    for path in paths:
        file = _or_none(lambda path=path: tables.read_run(path), problems)  # type: ignore[misc]
        if file is not None:
            yield file


def _new(files: Iterable[CellFile], seen: set[tuple[str, str]]) -> Iterator[CellFile]:
    """The files of runs that are not in `seen`, to which they are added."""
    for file in files:
        if file.run not in seen:
            seen.add(file.run)
            yield file


def _outcomes(index: pa.Table) -> dict[str, Outcome]:
    # the last one counts: done before others, then the newest
    merit = index.append_column("done", tables.are_done(index))
    merit = merit.sort_by([("done", "ascending"), ("created_at", "ascending"), ("run_id", "ascending")])
    words = {str(outcome): outcome for outcome in Outcome}
    pairs = zip(merit["cell_key"].to_pylist(), merit["outcome"].to_pylist(), strict=True)
    return {key: words[word] for key, word in pairs}


def _expected_seconds(index: pa.Table) -> dict[Kind, float]:
    done = index.filter(tables.are_done(index))
    taken: dict[Kind, list[float]] = {}
    for *kind, seconds in zip(
        *(done[name].to_pylist() for name in ("method", "pair", "suite", "seconds")), strict=True
    ):
        if seconds is not None:
            taken.setdefault((kind[0], kind[1], kind[2]), []).append(seconds)
    return {kind: statistics.median(each) for kind, each in taken.items()}


def _divergent(runs: pa.Table) -> list[str]:
    """Cells with several done attempts that do not agree on every score: a result that does not repeat."""
    import pyarrow as pa
    import pyarrow.compute as pc

    done = runs.filter(tables.are_done(runs))
    if pc.count_distinct(done["cell_key"]).as_py() == pc.count_distinct(done["run_id"]).as_py():
        return []  # no cell was done twice
    counts = Counter(key for key, _ in set(tables.runs_of(done)))
    repeated = [key for key, count in counts.items() if count > 1]
    if not repeated:
        return []
    attempts: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in done.filter(pc.is_in(done["cell_key"], pa.array(repeated))).to_pylist():
        attempts.setdefault(row["cell_key"], {}).setdefault(row["run_id"], []).append(row)
    problems = []
    for key, runs_of_cell in sorted(attempts.items()):
        several = sorted(runs_of_cell.values(), key=lambda rows: rows[0]["created_at"])
        scores = [{(row["task"], row["metric"], row["filter"]): row["value"] for row in rows} for rows in several]
        if all(each == scores[0] for each in scores):
            continue
        first = several[0][0]
        where = f"{first['method']}, {first['pair']}, {first['suite']}, seed {first['seed']}"
        differing = sorted(name for name in scores[0] if len({each.get(name) for each in scores}) > 1)
        figures = "; ".join(f"{' '.join(name)} {', '.join(str(s.get(name)) for s in scores)}" for name in differing)
        problems.append(
            f"{where} (cell {key}): its {len(several)} attempts do not agree ({figures}; oldest first)."
            " The board uses the newest."
        )
    return problems

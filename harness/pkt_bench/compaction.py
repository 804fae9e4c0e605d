"""Folds the many files of one run into few of many runs, while others write and read.

What is folded is put in place, whole and read back, before a file that held it is removed. So a kill at any moment
loses nothing, and leaves at worst a run in two places, of which readers count one and the next compaction removes one.
What cannot be believed is neither folded nor removed. A compacted file that is full stays as it is; the last one, which
is not, is folded with what came after it.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pkt_bench import durable, tables
from pkt_bench.errors import RequestError
from pkt_bench.store import MARKER, Store
from pkt_bench.tables import CELLS, COMPACTED, ITEMS, ITEMS_FOLDER, CellFile, UnreadableError
from pkt_bench_leaderboards import schema

if TYPE_CHECKING:
    import pyarrow as pa

LOCK = ".lock"
RUNS_PER_FILE = 25_000
ITEMS_BYTES_PER_FILE = 256 * 2**20
_BATCH_ROWS = 65536
_BATCH_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Compacted:
    """What a compaction did: runs that had files of their own and have none now, files before and after, in words."""

    folded: int
    files_before: int
    files_after: int
    problems: tuple[str, ...]


def compact(store: Store, *, runs_per_file: int = RUNS_PER_FILE) -> Compacted:
    """Folds what has a file of its own into files of at most `runs_per_file` runs. Waits for one that is under way.

    Raises:
        RequestError: there is no run folder, or it is not ours.
        StorageError: it cannot be written; nothing recorded is lost.
    """
    if not (store.root / MARKER).exists():
        raise RequestError(
            f"there is no run folder {store.root} to compact."
            "\n  Name one that pkt-bench run has made: pkt-bench compact RUN_DIR"
        )
    # the mark says version 2 from here on: an older pkt-bench would not see what is compacted
    store.create()
    try:
        durable.make_folder(store.root / COMPACTED)
        with durable.locked(store.root / COMPACTED / LOCK):
            durable.sweep((store.root / COMPACTED).glob(".tmp-*"))
            return _Compaction(store.root, runs_per_file).run()
    except OSError as error:
        raise store.unwritable(error) from None


@dataclass
class _Part:
    """Runs that go into one compacted file, with the files they come from."""

    rows: list[pa.Table] = field(default_factory=list)
    sources: list[Path] = field(default_factory=list)
    runs: int = 0


@dataclass
class _Compaction:
    """One compaction, under the lock."""

    root: Path
    runs_per_file: int
    problems: list[str] = field(default_factory=list)
    seen: set[tuple[str, str]] = field(default_factory=set)
    # files whose runs are in another file that was read: they can go once that one is known to be in place
    spare: list[Path] = field(default_factory=list)
    # items files that a run which stays where it is refers to
    kept: set[str] = field(default_factory=set)
    # items files of runs that were folded
    emptied: set[str] = field(default_factory=set)
    # compacted rows that could not be read may be those of any compacted items
    unread: bool = False
    folded: int = 0
    number: int = 0

    def run(self) -> Compacted:
        names = tables.compacted_names(self.root)
        before = len(names) + self._count_ones()
        self.number = max((tables.number_of(Path(name)) for name in names), default=0)
        unfinished = self._unfinished(names)
        ones = self._ones()
        first = next(ones, None)
        if first is not None or unfinished.runs > self.runs_per_file or len(unfinished.sources) > 1:
            parts = self._parts(unfinished, itertools.chain([first] if first else [], ones))
            for part in parts:
                self._write(part)
        else:
            for table in unfinished.rows:
                self.kept.update(_items_of(table))
        self._remove()
        self._forget_unowned(names)
        after = len(tables.compacted_names(self.root)) + self._count_ones()
        return Compacted(self.folded, before, after, tuple(self.problems))

    # ------------------------------------------------------------ what there is

    def _count_ones(self) -> int:
        return sum(1 for folder in (CELLS, ITEMS_FOLDER) for _ in tables.cell_files(self.root / folder, []))

    def _unfinished(self, names: tuple[str, ...]) -> _Part:
        """The runs of compacted files that are not full; notes the runs of all."""
        unfinished = _Part()
        for path in tables.compacted_files(self.root, names, "runs", self.problems):
            try:
                table = tables.read_compacted(path, tables.compacted_schema())
            except UnreadableError as error:
                self.problems.append(str(error))
                self.unread = True
                continue
            if tables.known_outcomes(table, path, self.problems).num_rows < table.num_rows:
                self.kept.update(_items_of(table))
                continue
            new = tables.unseen(table, self.seen)
            runs = len(set(tables.runs_of(new)))
            if new.num_rows == 0:
                self.spare.append(path)
                self.emptied.update(_items_of(table))
            elif runs >= self.runs_per_file and new.num_rows == table.num_rows:
                self.kept.update(_items_of(table))
            else:
                unfinished.rows.append(new)
                unfinished.sources.append(path)
                unfinished.runs += runs
        return unfinished

    def _ones(self) -> Iterator[CellFile]:
        """Files of one run whose run is in no compacted file."""
        for path in tables.cell_files(self.root / CELLS, self.problems):
            try:
                file = tables.read_run(path)
            except UnreadableError as error:
                self.problems.append(str(error))
                continue
            except FileNotFoundError:
                continue
            items = file.metadata.get(ITEMS)
            if file.run in self.seen:
                self.spare.append(path)
                self.emptied.update({items} if items else ())
                continue
            self.seen.add(file.run)
            yield file

    def _parts(self, unfinished: _Part, ones: Iterable[CellFile]) -> Iterator[_Part]:
        """What goes into each new file; never more than one of them is in memory."""
        part = unfinished
        while part.runs > self.runs_per_file:
            whole, part = _split(part, self.runs_per_file)
            yield whole
        fresh: list[CellFile] = []
        for file in ones:
            fresh.append(file)
            part.sources.append(file.path)
            part.runs += 1
            self.folded += 1
            if len(fresh) == 1000 or part.runs == self.runs_per_file:
                part.rows.append(_together(fresh))
                fresh.clear()
            if part.runs == self.runs_per_file:
                yield part
                part = _Part()
        if fresh:
            part.rows.append(_together(fresh))
        if part.runs:
            yield part

    # ------------------------------------------------------------ writing

    def _write(self, part: _Part) -> None:
        """Puts the items of a part in place, then its rows."""
        import pyarrow as pa

        table = tables.gather(part.rows, tables.compacted_schema())
        part.rows.clear()
        self.number += 1
        owed = [name for name in dict.fromkeys(table[ITEMS].to_pylist()) if name is not None]
        moved = dict(self._fold_items(owed))
        self.emptied.update(moved)
        self.kept.update(set(owed) - moved.keys())
        names = [moved.get(name, name) for name in table[ITEMS].to_pylist()]
        position = table.schema.get_field_index(ITEMS)
        table = table.set_column(position, table.schema.field(ITEMS), pa.array(names, pa.string()))
        data = tables.serialise(table, {}, compress=True)
        path = self.root / COMPACTED / f"runs-{self.number:06d}.{durable.digest(data)}.arrow"
        durable.publish(path, data)
        # what removes the only other copy has seen this one
        if tables.read_compacted(path, tables.compacted_schema()).num_rows != table.num_rows:
            raise OSError(f"{path.name} is not what was written")
        self.spare += part.sources

    def _fold_items(self, owed: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Puts items files together; gives the old name of each with the new one. What cannot be read stays."""
        waiting = iter(owed)
        while True:
            with durable.aside(self.root / COMPACTED) as aside:
                old = self._write_items(aside, waiting)
                if not old:
                    return
                durable.sync(aside)
                path = self.root / COMPACTED / f"items-{self.number:06d}.{durable.file_digest(aside)}.arrow"
                durable.put_in_place(aside, path)
            self.number += 1
            for each in old:
                yield each, path.name

    def _write_items(self, aside: Path, waiting: Iterator[str]) -> list[str]:
        """Writes items files one after another until the new one is full, or all are in it; gives their names."""
        import pyarrow as pa

        wanted = schema.items_schema()
        old: list[str] = []
        batch: list[pa.Table] = []
        rows = size = 0
        with (
            pa.OSFile(str(aside), "wb") as sink,
            pa.ipc.new_file(sink, wanted, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer,
        ):
            for name in waiting:
                table = self._items(name)
                if table is None:
                    continue
                old.append(name)
                batch.append(table)
                rows, size = rows + table.num_rows, size + table.nbytes
                if rows > _BATCH_ROWS or size > _BATCH_BYTES:
                    writer.write_table(tables.gather(batch, wanted), max_chunksize=_BATCH_ROWS)
                    batch.clear()
                    rows = size = 0
                if sink.tell() > ITEMS_BYTES_PER_FILE:
                    break
            if batch:
                writer.write_table(tables.gather(batch, wanted), max_chunksize=_BATCH_ROWS)
        return old

    def _items(self, name: str) -> pa.Table | None:
        """The items in a file; None where they stay in it, because it is large enough or cannot be believed."""
        path = tables.items_file(self.root, name)
        with contextlib.suppress(FileNotFoundError):
            try:
                if path.parent.name != COMPACTED:
                    return tables.read_cell(path, schema.items_schema()).table
                if path.stat().st_size <= ITEMS_BYTES_PER_FILE // 2:
                    return tables.read_compacted(path, schema.items_schema())
            except UnreadableError as error:
                self.problems.append(str(error))
        return None

    def _remove(self) -> None:
        """Removes what is in another place; items first, so that a run that is still found twice leads to them."""
        for name in sorted(self.emptied - self.kept):
            tables.items_file(self.root, name).unlink(missing_ok=True)
        for path in self.spare:
            path.unlink(missing_ok=True)

    def _forget_unowned(self, names: tuple[str, ...]) -> None:
        """Removes compacted items that a compaction which was killed put in place for rows that it did not."""
        if self.unread:
            return
        for path in tables.compacted_files(self.root, names, "items", []):
            with contextlib.suppress(OSError):
                old = time.time() - path.stat().st_mtime > durable.ABANDONED_SECONDS
                if old and path.name not in self.kept:
                    path.unlink()


def _items_of(table: pa.Table) -> set[str]:
    return {name for name in table[ITEMS].unique().to_pylist() if name is not None}


def _together(files: Sequence[CellFile]) -> pa.Table:
    """Files of one run as a compacted file has them."""
    import pyarrow as pa

    rows = tables.gather((file.table for file in files), schema.runs_schema())
    names = [name for file in files for name in [file.metadata.get(ITEMS)] * file.table.num_rows]
    ours = tables.compacted_schema()
    return pa.table([*rows.columns, pa.array(names, pa.string())], schema=ours)


def _split(part: _Part, runs: int) -> tuple[_Part, _Part]:
    """The first `runs` runs of a part, and the rest, which keeps the files they all come from."""
    table = tables.gather(part.rows, tables.compacted_schema())
    names = tables.runs_of(table)
    # the rows of a run follow one another
    end = names.index(list(dict.fromkeys(names))[runs])
    whole = _Part([table.slice(0, end)], [], runs)
    rest = _Part([table.slice(end)], part.sources, part.runs - runs)
    return whole, rest

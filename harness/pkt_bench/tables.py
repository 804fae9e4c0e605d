"""Arrow files whose names carry the digest of their bytes: of one run, or compacted ones of many.

    cells/<k0k1>/<cell key>.<digest>.arrow    the rows of one run; what its schema says of it is `CELL_METADATA`
    items/<k0k1>/<cell key>.<digest>.arrow    the items of one run
    compacted/runs-<number>.<digest>.arrow    the rows of many runs, each with the name of its items file in `ITEMS`
    compacted/items-<number>.<digest>.arrow   the items of many runs

Arrow files have no checksum of their own: a flipped bit would be a wrong score. So no reader believes a file before its
digest agrees. A run is known by its cell and its id; of a run found twice, in a file of its own and in a compacted one
or in two of those, the compacted one with the highest number counts.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench import durable
from pkt_bench.domain import Outcome
from pkt_bench_leaderboards import schema

if TYPE_CHECKING:
    import pyarrow as pa

CELLS, ITEMS_FOLDER, COMPACTED = "cells", "items", "compacted"
ITEMS = "items"
"""In the metadata of a cell file, and as a column of a compacted one: the name of the file with the run's items."""
CELL_METADATA = frozenset({"cell_key", "run_id", "outcome", "created_at"})
OUTCOMES = frozenset(str(outcome) for outcome in Outcome)
# what is to be known of every run without reading its scores
INDEX = ("cell_key", "run_id", "outcome", "created_at", "method", "pair", "suite", "seconds")
_ONE = re.compile(r"(?P<key>[0-9a-f]{32})\.(?P<digest>[0-9a-f]{32})\.arrow")
_MANY = re.compile(r"(?P<kind>runs|items)-(?P<number>\d{6,})\.(?P<digest>[0-9a-f]{32})\.arrow")
_BATCH_ROWS = 65536


class UnreadableError(Exception):
    """A file that is left out; its text is what the user is told."""


@dataclass(frozen=True)
class CellFile:
    """A file of one run whose digest was right."""

    path: Path
    table: pa.Table
    metadata: Mapping[str, str]

    @property
    def run(self) -> tuple[str, str]:
        """What the run is known by."""
        return self.metadata["cell_key"], self.metadata["run_id"]


@dataclass(frozen=True)
class Index:
    """What is to be known of the runs of a compacted file without their scores: a row a run, `INDEX` and `ITEMS`."""

    runs: pa.Table

    @functools.cached_property
    def done(self) -> frozenset[str]:
        """Keys of the cells that have a done run here."""
        return frozenset(self.runs.filter(are_done(self.runs))["cell_key"].to_pylist())


# ---------------------------------------------------------------- finding


def cell_files(folder: Path, problems: list[str]) -> Iterator[Path]:
    """The files of one run below `folder`, in the order of their names; what else is there is a problem."""
    try:
        shards = sorted(entry.path for entry in os.scandir(folder) if not entry.name.startswith("."))
    except FileNotFoundError:
        return
    for shard in shards:
        try:
            names = sorted(name for name in os.listdir(shard) if not name.startswith("."))  # noqa: PTH208 - 3x faster
        except NotADirectoryError:
            problems.append(f"{shard} is not ours; it is left out.")
            continue
        for name in names:
            if _ONE.fullmatch(name):
                yield Path(shard, name)
            else:
                problems.append(f"{Path(shard, name)} is not ours; it is left out.")


def compacted_names(root: Path) -> tuple[str, ...]:
    """What is in the folder of compacted files: as long as it stays the same, no compaction got in between."""
    try:
        names = os.listdir(root / COMPACTED)  # noqa: PTH208 - it is asked for before and after every look
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple(sorted(name for name in names if not name.startswith(".")))


def compacted_files(root: Path, names: Sequence[str], kind: str, problems: list[str]) -> list[Path]:
    """The compacted files among `names`, the newest first; what else is there is a problem."""
    found = []
    for name in names:
        match = _MANY.fullmatch(name)
        if match is None:
            problems.append(f"{root / COMPACTED / name} is not ours; it is left out.")
        elif match["kind"] == kind:
            found.append((int(match["number"]), name))
    return [root / COMPACTED / name for _, name in sorted(found, reverse=True)]


def number_of(path: Path) -> int:
    """The number in the name of a compacted file."""
    match = _MANY.fullmatch(path.name)
    return int(match["number"]) if match else 0


def items_file(root: Path, name: str) -> Path:
    """Where the items file called `name` is: of one run or compacted."""
    return root / COMPACTED / name if _MANY.fullmatch(name) else root / ITEMS_FOLDER / name[:2] / name


# ---------------------------------------------------------------- reading


def read_cell(path: Path, wanted: pa.Schema) -> CellFile:
    """A file of one run: its digest checked, its table as `wanted`.

    Raises:
        FileNotFoundError: it is not there any more.
        UnreadableError: it is damaged, foreign, or of a newer pkt-bench.
    """
    import pyarrow as pa

    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableError(f"{path} cannot be read ({error.strerror}); it is left out.") from None
    if durable.digest(data) != _promised(path):
        raise _damaged(path)
    try:
        table = pa.ipc.open_file(pa.py_buffer(data)).read_all()
        return CellFile(path, schema.conform(table, wanted), _metadata(path, table.schema))
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise _foreign(path, error) from None


def read_run(path: Path) -> CellFile:
    """The rows of one run, with metadata that says which.

    Raises:
        FileNotFoundError: it is not there any more.
        UnreadableError: it is damaged, foreign, or of a newer pkt-bench.
    """
    file = read_cell(path, schema.runs_schema())
    if file.metadata.get("cell_key") != path.name[:32] or not file.metadata.keys() >= CELL_METADATA:
        raise UnreadableError(f"{path} is not a cell of pkt-bench; it is left out.")
    outcome = file.metadata["outcome"]
    if outcome not in OUTCOMES or file.table.num_rows == 0:
        raise UnreadableError(f"{path} has an outcome nobody knows, '{outcome}'; it is left out.")
    return file


def read_compacted(path: Path, wanted: pa.Schema) -> pa.Table:
    """A compacted file, its digest checked, with no more columns read than `wanted` has.

    Raises:
        FileNotFoundError: it is not there any more.
        UnreadableError: it is damaged, foreign, or of a newer pkt-bench.
    """
    import pyarrow as pa

    try:
        # no memory map: whoever cut the file short while we read would kill us
        if durable.file_digest(path) != _promised(path):
            raise _damaged(path)
        with pa.OSFile(str(path)) as source:
            found = pa.ipc.open_file(source).schema
            _metadata(path, found)
            fields = [found.get_field_index(name) for name in wanted.names if name in found.names]
            options = pa.ipc.IpcReadOptions(included_fields=fields)
            table = pa.ipc.open_file(source, options=options).read_all()
        return schema.conform(table, wanted)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableError(f"{path} cannot be read ({error}); it is left out.") from None
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise _foreign(path, error) from None


def read_index(path: Path) -> Index:
    """What is to be known of the runs of a compacted file; kept for the life of the process.

    Raises:
        FileNotFoundError: it is not there any more.
        UnreadableError: it is damaged, foreign, or of a newer pkt-bench.
    """
    state = path.stat()
    found = _index(path, state.st_size, state.st_mtime_ns, state.st_ino)
    if isinstance(found, str):
        raise UnreadableError(found)
    return found


@functools.lru_cache(maxsize=64)
def _index(path: Path, *_state: int) -> Index | str:
    import pyarrow as pa
    import pyarrow.compute as pc

    ours = compacted_schema()
    try:
        table = read_compacted(path, pa.schema([ours.field(name) for name in (*INDEX, ITEMS)], ours.metadata))
    except UnreadableError as error:
        return str(error)
    if table.num_rows == 0:
        return Index(table)
    # the rows of a run follow one another
    this, before = table.slice(1), table.slice(0, table.num_rows - 1)
    first = pc.or_(*(pc.not_equal(this[name], before[name]) for name in ("cell_key", "run_id")))
    return Index(pa.concat_tables([table.slice(0, 1), this.filter(first)]).combine_chunks())


@functools.cache
def compacted_schema() -> pa.Schema:
    """The runs table with the column that a compacted file has beside it."""
    import pyarrow as pa

    ours = schema.runs_schema()
    return ours.append(pa.field(ITEMS, pa.string(), metadata={"description": "File that holds the run's items."}))


def runs_of(table: pa.Table) -> list[tuple[str, str]]:
    """For each row what its run is known by."""
    return list(zip(table["cell_key"].to_pylist(), table["run_id"].to_pylist(), strict=True))


def are_done(table: pa.Table) -> pa.ChunkedArray:
    """For each row whether its run is done."""
    import pyarrow.compute as pc

    # not `equal`: whatever makes a scalar or an array of Python's imports pandas, which takes longer than a board
    return pc.match_substring_regex(table["outcome"], f"^{Outcome.DONE}$")


def known_outcomes(table: pa.Table, path: Path, problems: list[str]) -> pa.Table:
    """The rows whose outcome is a word we know; those of a newer pkt-bench are reported."""
    import pyarrow as pa
    import pyarrow.compute as pc

    words = set(table["outcome"].unique().to_pylist())
    if strange := sorted(str(word) for word in words - OUTCOMES):
        problems.append(f"{path} has outcomes nobody knows, {', '.join(strange)}; runs with one are left out.")
        table = table.filter(pc.is_in(table["outcome"], pa.array(sorted(OUTCOMES))))
    return table


def unseen(table: pa.Table, seen: set[tuple[str, str]]) -> pa.Table:
    """The rows of runs that are not in `seen`, to which they are added."""
    import pyarrow as pa

    names = runs_of(table)
    here = set(names)
    if twice := here & seen:
        table = table.filter(pa.array([name not in twice for name in names]))
    seen |= here
    return table


def gather(tables: Iterable[pa.Table], wanted: pa.Schema) -> pa.Table:
    """All rows in one table; the files that the tables came from are let go of as it grows."""
    import pyarrow as pa

    whole: list[pa.Table] = []
    parts: list[pa.Table] = []
    for table in tables:
        parts.append(table)
        if len(parts) == 1000:
            whole.append(pa.concat_tables(parts).combine_chunks())
            parts.clear()
    found = [*whole, *parts]
    return pa.concat_tables(found).combine_chunks() if found else pa.Table.from_batches([], wanted)


# ---------------------------------------------------------------- writing


def table_of(rows: Sequence[Mapping[str, Any]], wanted: pa.Schema) -> pa.Table:
    """Rows as a table; what a row lacks is null."""
    import pyarrow as pa

    return pa.Table.from_pylist(list(rows), schema=wanted)


def serialise(table: pa.Table, metadata: Mapping[str, str], *, compress: bool = False) -> bytes:
    """The bytes of an Arrow file with `metadata` beside the schema's own."""
    import pyarrow as pa

    said = {key.encode(): value.encode() for key, value in metadata.items()}
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **said})
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd" if compress else None)
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=_BATCH_ROWS)
    return bytes(sink.getvalue())


def subset(wanted: pa.Schema, names: Collection[str]) -> pa.Schema:
    """A schema with no other columns than `names`; all of them where there are no names."""
    import pyarrow as pa

    return pa.schema([wanted.field(name) for name in names], wanted.metadata) if names else wanted


# ---------------------------------------------------------------- what it is made of


def _promised(path: Path) -> str:
    return path.name.split(".")[1]


def _metadata(path: Path, found: pa.Schema) -> dict[str, str]:
    metadata = {k.decode(): v.decode() for k, v in (found.metadata or {}).items()}
    if int(metadata["schema_version"]) > schema.SCHEMA_VERSION:
        raise UnreadableError(f"{path} was made by a newer pkt-bench; it is left out. Upgrade pkt-bench to read it.")
    return metadata


def _damaged(path: Path) -> UnreadableError:
    again = "the cells it held are" if _MANY.fullmatch(path.name) else "the cell is"
    return UnreadableError(
        f"{path} is damaged: its bytes are not those its name promises. It is left out; delete it, and"
        f" {again} run again by the next run."
    )


def _foreign(path: Path, error: Exception) -> UnreadableError:
    return UnreadableError(f"{path} is not a table of pkt-bench ({error}); it is left out.")

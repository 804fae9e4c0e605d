"""The only writer of runs: one Arrow file per attempt at a cell, its digest in its name; the board file is derived.

    <root>/pkt-bench.json                          says that the folder is ours, and which schema it speaks
    <root>/items/<k0k1>/<cell key>.<digest>.arrow  what the model answered to each document; written first
    <root>/cells/<k0k1>/<cell key>.<digest>.arrow  the rows of the run: once it is there, the run is recorded
    <root>/board.arrow                             all rows in one file for people; rebuilt at will

A file is made in memory, written aside, synced, renamed and its folder synced, so it is whole or absent, whatever
kills us. Arrow files have no checksum of their own: a flipped bit would be a wrong score. So the BLAKE2b digest of
the bytes is part of the name, and no reader believes a file before it agrees. A cell file names its items file in the
metadata of its schema.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench import __version__
from pkt_bench.domain import Item, Outcome, Run
from pkt_bench.errors import RequestError, StorageError
from pkt_bench.rows import item_rows, run_rows, timestamp
from pkt_bench_leaderboards import schema

if TYPE_CHECKING:
    import pyarrow as pa

MARKER = "pkt-bench.json"
BOARD = "board.arrow"
FORMAT = "pkt-bench runs"
# what may be in a run folder before its first run is recorded
OUR_NAMES = frozenset({MARKER, BOARD, "cells", "items", "stages", "artifacts", "logs", "work"})
_NAME = re.compile(r"(?P<key>[0-9a-f]{32})\.(?P<digest>[0-9a-f]{32})\.arrow")
_ASIDE = re.compile(r"\.tmp-(?P<host>.+)-(?P<pid>\d+)-[0-9a-f]+")
_ABANDONED_SECONDS = 24 * 3600
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class Attempts:
    """What is recorded of each cell: its outcome, where any `done` attempt outweighs the latest one."""

    outcomes: Mapping[str, Outcome]
    problems: tuple[str, ...]


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
            _make_folder(self.root)
            aside = self.root / _aside_name()
            try:
                _write_synced(aside, b"\0" * 65536)
            finally:
                aside.unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from None
        self._sweep()

    def create(self) -> None:
        """Makes the folder ours; nothing happens where it is.

        Raises:
            RequestError: the path is a file, a folder of something else, or made by a newer pkt-bench.
            StorageError: it cannot be written.
        """
        if self._check_ours():
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
            table = _table(item_rows(run, items), schema.items_schema())
            metadata["items"] = self._publish_named("items", run.cell.key, table, metadata).name
        table = _table(run_rows(run, items), schema.runs_schema())
        return self._publish_named("cells", run.cell.key, table, metadata)

    def write_board(self) -> Path:
        """Derives `board.arrow`, all rows in one compressed file, from what is recorded.

        Raises:
            RequestError: there is no run folder.
            StorageError: it cannot be written.
        """
        import pyarrow as pa

        table = self.read(items=False).runs.sort_by([("created_at", "ascending"), ("run_id", "ascending")])
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        path = self.root / BOARD
        self._publish(path, _serialise(table, {}, options))
        return path

    # ------------------------------------------------------------ reading

    def outcomes(self) -> dict[str, Outcome]:
        """The outcome of every cell that was tried; empty where there is no folder yet. See `attempts`."""
        return dict(self.attempts().outcomes)

    def is_done(self, cell_key: str) -> bool:
        """Whether a cell has a `done` attempt: reads that cell's files alone."""
        found = (self.root / "cells" / cell_key[:2]).glob(f"{cell_key}.*.arrow")
        files = (_read(path, schema.runs_schema(), []) for path in found)
        return any(file is not None and file.metadata.get("outcome") == Outcome.DONE for file in files)

    def attempts(self) -> Attempts:
        """What was tried, for a run that goes on where another stopped: files that cannot be trusted do not count.

        Raises:
            RequestError: the path is a file, a folder of something else, or made by a newer pkt-bench.
        """
        if not self._check_ours():
            return Attempts({}, ())
        problems: list[str] = []
        latest: dict[str, tuple[bool, str, Outcome]] = {}
        for file in self._cells(problems):
            outcome = Outcome(file.metadata["outcome"])
            merit = (outcome is Outcome.DONE, file.metadata["created_at"], outcome)
            key = file.metadata["cell_key"]
            if key not in latest or merit[:2] > latest[key][:2]:
                latest[key] = merit
        return Attempts({key: merit[2] for key, merit in latest.items()}, tuple(problems))

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
        import pyarrow as pa

        if not self.root.exists():
            raise RequestError(
                f"there is no run folder {self.root}."
                f"\n  Make one with: pkt-bench run --methods all --out {self.root}, or name another folder."
            )
        ours = self._check_ours(remedy="Name a folder that pkt-bench run has made.")
        problems: list[str] = []
        cells = list(self._cells(problems)) if ours else []
        if not cells:
            said = "".join(f"\n  {problem}" for problem in problems)
            raise RequestError(
                f"{self.root} holds no recorded runs.{said}"
                f"\n  Record some with: pkt-bench run --methods all --out {self.root}, or name another folder."
            )
        runs = _gather((file.table for file in cells), schema.runs_schema())
        problems += _divergent(cells)
        wanted = schema.items_schema()
        if item_columns:
            wanted = pa.schema([wanted.field(name) for name in item_columns], wanted.metadata)
        found = self._items(cells, wanted, problems) if items else ()
        return Contents(runs, _gather(found, wanted), tuple(problems))

    # ------------------------------------------------------------ what it is made of

    def _check_ours(self, remedy: str = "Name another folder with --out.") -> bool:
        """Whether the folder carries our mark; False where there is nothing, or nothing of anybody else."""
        try:
            marker = json.loads((self.root / MARKER).read_text(encoding="utf-8"))
            version = marker["schema_version"] if marker["format"] == FORMAT else None
        except FileNotFoundError:
            self._check_nobody_elses(remedy)
            return False
        except NotADirectoryError:
            raise self._is_a_file(remedy) from None
        except OSError as error:
            raise StorageError(f"{self.root} cannot be read: {error.strerror}.") from None
        except (ValueError, KeyError, TypeError):
            version = None
        if not isinstance(version, int):
            raise RequestError(
                f"{self.root / MARKER} is not a mark of pkt-bench, so {self.root} may belong to something else."
                f"\n  {remedy}"
            )
        if version > schema.SCHEMA_VERSION:
            raise RequestError(
                f"{self.root} was made by a newer pkt-bench: its rows have schema {version}, this one reads up to"
                f" {schema.SCHEMA_VERSION}.\n  Upgrade pkt-bench. Or: {remedy}"
            )
        return True

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

    def _unwritable(self, error: OSError) -> RequestError | StorageError:
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
        data = _serialise(table, metadata)
        return self._publish(self.root / kind / key[:2] / f"{key}.{_digest(data)}.arrow", data)

    def _publish(self, path: Path, data: bytes) -> Path:
        """Puts a file in place, whole and for good."""
        aside = path.parent / _aside_name()
        try:
            _make_folder(path.parent)
            try:
                _write_synced(aside, data)
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)
            _sync_folder(path.parent)
        except OSError as error:
            raise self._unwritable(error) from None
        return path

    def _sweep(self) -> None:
        """Removes what writers left aside that died on this machine, or, on another, a day ago."""
        for aside in (*self.root.glob(".tmp-*"), *self.root.glob("*/*/.tmp-*")):
            name = _ASIDE.fullmatch(aside.name)
            if name is None:
                continue
            with contextlib.suppress(OSError):
                here = name["host"] == _host()
                old = time.time() - aside.stat().st_mtime > _ABANDONED_SECONDS
                if old or (here and not _is_alive(int(name["pid"]))):
                    aside.unlink()

    def _cells(self, problems: list[str]) -> Iterator[_File]:
        for path in _files(self.root / "cells", problems):
            file = _read(path, schema.runs_schema(), problems)
            if file is None:
                continue
            if file.metadata.get("cell_key") != path.name[:32] or not file.metadata.keys() >= _CELL_METADATA:
                problems.append(f"{path} is not a cell of pkt-bench; it is left out.")
                continue
            yield file

    def _items(self, cells: Iterable[_File], wanted: pa.Schema, problems: list[str]) -> Iterator[pa.Table]:
        for file in cells:
            name = file.metadata.get("items")
            if name is None:
                continue
            path = self.root / "items" / name[:2] / name
            try:
                found = _read(path, wanted, problems, missing_ok=False)
            except FileNotFoundError:
                problems.append(f"{path} is missing: the items of that cell cannot be compared.")
                continue
            if found is not None:
                yield found.table


# ---------------------------------------------------------------- files


_CELL_METADATA = frozenset({"cell_key", "run_id", "outcome", "created_at"})


@dataclass(frozen=True)
class _File:
    """A file whose digest was right."""

    path: Path
    table: pa.Table
    metadata: Mapping[str, str]


def _files(folder: Path, problems: list[str]) -> Iterator[Path]:
    """The Arrow files below `folder`, in the order of their names; what else is there is a problem."""
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
            if _NAME.fullmatch(name):
                yield Path(shard, name)
            else:
                problems.append(f"{Path(shard, name)} is not ours; it is left out.")


def _read(path: Path, wanted: pa.Schema, problems: list[str], *, missing_ok: bool = True) -> _File | None:
    import pyarrow as pa

    try:
        data = path.read_bytes()
    except FileNotFoundError:
        # another process may tidy up while we read
        if not missing_ok:
            raise
        return None
    except OSError as error:
        problems.append(f"{path} cannot be read ({error.strerror}); it is left out.")
        return None
    if _digest(data) != path.name.split(".")[1]:
        problems.append(
            f"{path} is damaged: its bytes are not those its name promises. It is left out; delete it, and"
            " the cell is run again by the next run."
        )
        return None
    try:
        table = pa.ipc.open_file(pa.py_buffer(data)).read_all()
        metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        if int(metadata["schema_version"]) > schema.SCHEMA_VERSION:
            problems.append(f"{path} was made by a newer pkt-bench; it is left out. Upgrade pkt-bench to read it.")
            return None
        return _File(path, schema.conform(table, wanted), metadata)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, KeyError, ValueError) as error:
        problems.append(f"{path} is not a table of pkt-bench ({error}); it is left out.")
        return None


def _gather(tables: Iterable[pa.Table], wanted: pa.Schema) -> pa.Table:
    import pyarrow as pa

    found = list(tables)
    return pa.concat_tables(found).combine_chunks() if found else wanted.empty_table()


def _serialise(table: pa.Table, metadata: Mapping[str, str], options: Any = None) -> bytes:  # noqa: ANN401
    import pyarrow as pa

    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **metadata})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=65536)
    return bytes(sink.getvalue())


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _aside_name() -> str:
    return f".tmp-{_host()}-{os.getpid()}-{secrets.token_hex(4)}"


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname()) or "unknown"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb", buffering=0) as file:
        rest = memoryview(data)
        # a nearly full disk takes part of a write before it refuses
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())


def _make_folder(folder: Path) -> None:
    """Makes a folder and those above it, each synced into the one that holds it."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _table(rows: Sequence[Mapping[str, Any]], wanted: pa.Schema) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist(list(rows), schema=wanted)


def _divergent(cells: Iterable[_File]) -> list[str]:
    """Cells with several done attempts that do not agree on every score: a result that does not repeat."""
    attempts: dict[str, list[_File]] = {}
    for file in cells:
        if file.metadata["outcome"] == Outcome.DONE:
            attempts.setdefault(file.metadata["cell_key"], []).append(file)
    problems = []
    for key, files in sorted(attempts.items()):
        if len(files) == 1:
            continue
        files.sort(key=lambda file: file.metadata["created_at"])
        scores = [_scores_of(file.table) for file in files]
        if all(each == scores[0] for each in scores):
            continue
        first = files[0].table.slice(0, 1).to_pylist()[0]
        where = f"{first['method']}, {first['pair']}, {first['suite']}, seed {first['seed']}"
        differing = sorted(name for name in scores[0] if len({each.get(name) for each in scores}) > 1)
        figures = "; ".join(f"{' '.join(name)} {', '.join(str(s.get(name)) for s in scores)}" for name in differing)
        problems.append(
            f"{where} (cell {key}): its {len(files)} attempts do not agree ({figures}; oldest first)."
            " The board uses the newest."
        )
    return problems


def _scores_of(table: pa.Table) -> dict[tuple[str, str, str], float | None]:
    names = [table[name].to_pylist() for name in ("task", "metric", "filter")]
    return dict(zip(zip(*names, strict=True), table["value"].to_pylist(), strict=True))

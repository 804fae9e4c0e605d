"""What a reader names when it asks for recorded runs: a run folder, a published board, a board file, a git revision.

    runs                        a run folder
    tiny-0.1.0, published/...   a board that came with the package: a run folder too
    runs/board.arrow            a board file by itself: scores without the answers behind them
    HEAD~3:runs                 a run folder or board file as it was in a git revision; PATH counts from the top of the
                                repository we are in, ./PATH from here, /PATH finds its own repository

What is on the disk wins over a published board of that name, and that over a revision.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import re
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pkt_bench import tables
from pkt_bench.errors import PktBenchError, RequestError, StorageError, UnavailableError
from pkt_bench.store import BOARD, MARKER, Contents, Store
from pkt_bench_leaderboards import schema

if TYPE_CHECKING:
    import pyarrow as pa

PUBLISHED = Path(schema.__file__).parent / "published"
"""The boards that came with the package: run folders, each named after its slug."""

_PREFIX = "published/"
# REV:PATH, where the revision may have colons in braces only: HEAD@{2026-01-31 18:00}:runs
_REVISION = re.compile(r"(?P<revision>(?:[^:{}]|\{[^{}]*\})+):(?P<path>.*)", re.DOTALL)
# of a folder in a revision, what a reader needs
_READ = frozenset({MARKER, tables.CELLS, tables.ITEMS_FOLDER, tables.COMPACTED})
_ARROW = b"ARROW1"
_POINTER = b"version https://git-lfs"


def read(name: str | Path, *, items: bool = True, item_columns: Collection[str] = ()) -> Contents:
    """The runs and items behind `name`; `item_columns` spares the rest of the items table.

    Raises:
        RequestError: there is nothing of that name, or nothing is recorded in it.
        UnavailableError: it is in a git revision, and git is not installed.
        StorageError: it cannot be read.
    """
    path = Path(name)
    if _is(path, "dir"):
        return Store(path).read(items=items, item_columns=item_columns)
    if _is(path, "file"):
        return _board_file(path, str(name), items=items)
    if (slug := _slug(str(name))) is not None:
        return Store(PUBLISHED / slug).read(items=items, item_columns=item_columns)
    if found := _REVISION.fullmatch(str(name)):
        return _revision(str(name), found["revision"], found["path"], items=items, item_columns=item_columns)
    raise _nothing(str(name))


def exists(name: str | Path) -> bool:
    """Whether `name` is a path or a published board; of a revision nothing is known before it is read."""
    path = Path(name)
    return _is(path, "dir") or _is(path, "file") or _slug(str(name)) is not None


def names_a_revision(name: str) -> bool:
    """Whether `name` is written like REV:PATH."""
    return _REVISION.fullmatch(name) is not None


def published() -> list[str]:
    """The slugs of the boards that came with the package, in order."""
    try:
        return sorted(folder.name for folder in PUBLISHED.iterdir() if (folder / MARKER).is_file())
    except (FileNotFoundError, NotADirectoryError):
        return []


def folder(name: str | Path) -> Path:
    """The folder of a run folder or of a published board; whoever reads it says what is wrong with any other name."""
    path, slug = Path(name), _slug(str(name))
    return PUBLISHED / slug if slug is not None and not path.exists() else path


def _slug(name: str) -> str | None:
    plain = name.removeprefix(_PREFIX).rstrip("/")
    return plain if plain in published() else None


def _is(path: Path, kind: str) -> bool:
    try:
        return path.is_dir() if kind == "dir" else path.is_file()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from None


def _nothing(name: str) -> RequestError:
    said = (
        f"there is no run folder {name}."
        f"\n  Make one with: pkt-bench run --methods all --out {name}, or name another folder."
    )
    slugs = published()
    asked = name.removeprefix(_PREFIX)
    if "/" not in asked:
        near = difflib.get_close_matches(asked, slugs, n=1, cutoff=0.5)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        said += f"\n  No published board is called so either.{hint} Published: {', '.join(slugs) or 'none'}"
    return RequestError(said)


# ---------------------------------------------------------------- a board file


def _board_file(path: Path, name: str, *, items: bool) -> Contents:
    """The rows of a loose board file, whose bytes nothing vouches for: what it holds is checked instead."""
    import pyarrow as pa

    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"{name} cannot be read: {error.strerror}.") from None
    if data.startswith(_POINTER):
        raise RequestError(f"{name} is a pointer of git LFS, not the file itself.\n  Fetch it with: git lfs pull")
    if not data.startswith(_ARROW):
        raise RequestError(
            f"{name} is a file, and runs are kept in a folder."
            f"\n  Name a run folder, or the board file of one: runs/{BOARD}"
        )
    problems: list[str] = []
    try:
        table = pa.ipc.open_file(pa.py_buffer(data)).read_all()
        table.validate(full=True)
        metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        if metadata.get("table") != "runs":
            kind = f"holds {metadata['table']}" if "table" in metadata else "does not say what it holds"
            raise RequestError(
                f"{name} is no board: it {kind}.\n  Name a run folder, or the board file of one: runs/{BOARD}"
            )
        version = int(metadata["schema_version"])
        if version > schema.SCHEMA_VERSION:
            raise RequestError(
                f"{name} was made by a newer pkt-bench: its rows have schema {version}, this one reads up to"
                f" {schema.SCHEMA_VERSION}.\n  Upgrade pkt-bench."
            )
        runs = _whole(tables.known_outcomes(schema.conform(table, schema.runs_schema()), path, problems))
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise RequestError(
            f"{name} cannot be read as a board: {error}\n  Make it anew with: pkt-bench board RUN_DIR, or name the"
            " run folder."
        ) from None
    if runs.num_rows == 0:
        raise RequestError(f"{name} holds no recorded runs.\n  Name another board.")
    lacks = "the answers behind its scores, so nothing can be tested on the same items, and " if items else ""
    problems.append(
        f"{name} is a board file: it lacks {lacks}a digest that would show a flipped bit."
        f" The run folder it was made from has {'both' if items else 'one'}."
    )
    return Contents(runs, schema.items_schema().empty_table(), tuple(problems))


def _whole(runs: pa.Table) -> pa.Table:
    import pyarrow as pa

    lacking = [field.name for field in runs.schema if not field.nullable and runs[field.name].null_count]
    if lacking:
        raise pa.ArrowInvalid(f"column '{lacking[0]}' lacks values")
    return runs


# ---------------------------------------------------------------- a git revision


def _revision(name: str, revision: str, path: str, *, items: bool, item_columns: Collection[str]) -> Contents:
    """What a revision holds, copied into a folder that is gone afterwards; digests are checked there as anywhere."""
    top, inside = _repository(name, path)
    if revision.startswith("-") or any(ord(letter) < 32 for letter in revision):
        raise RequestError(f"'{revision}' in {name!r} is no git revision.\n  Write one such as HEAD~3, main or v0.1.0.")
    commit = _ask(top, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if commit is None:
        raise RequestError(
            f"there is no run folder {name}, and no git revision '{revision}' in {top}."
            "\n  Name a folder, a published board, or REV:PATH with a revision that git log shows."
        )
    found = _ask(top, "rev-parse", "--verify", "--quiet", f"{commit}:{inside}")
    if found is None:
        raise RequestError(
            f"revision '{revision}' ({commit[:12]}) of {top} holds no '{inside}'."
            f"\n  What it holds: git -C {top} ls-tree --name-only {commit[:12]}"
        )
    with tempfile.TemporaryDirectory(prefix="pkt-bench-") as folder:
        copy = Path(folder) / "runs"
        problems: list[str] = []
        with _said_of(copy, name):
            if _ask(top, "cat-file", "-t", found) == "blob":
                copy = copy.with_suffix(".arrow")
                _extract(top, {found: [copy]})
                contents = _board_file(copy, name, items=items)
            else:
                files = _files(top, found, copy)
                if copy / MARKER not in files:
                    raise RequestError(
                        f"{name} is not a run folder: it holds no {MARKER}.\n  Name the folder that does, or a"
                        f" board file."
                    )
                wanted: dict[str, list[Path]] = {}
                for file, blob in files.items():
                    wanted.setdefault(blob, []).append(file)
                _extract(top, wanted)
                contents = Store(copy).read(items=items, item_columns=item_columns)
        problems += [problem.replace(str(copy), name) for problem in contents.problems]
    return Contents(contents.runs, contents.items, tuple(problems))


@contextlib.contextmanager
def _said_of(copy: Path, name: str) -> Iterator[None]:
    """What is said of the copy is said of what was asked for."""
    try:
        yield
    except PktBenchError as error:
        raise type(error)(str(error).replace(str(copy), name)) from None


def _repository(name: str, path: str) -> tuple[Path, str]:
    """The top of the repository, and the path in it as git writes it."""
    written = Path(path)
    here = Path.cwd()
    if written.is_absolute():
        here = next(folder for folder in written.parents if folder.is_dir())
    done = _git(here, "rev-parse", "--show-toplevel")
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        why = said[0].removeprefix("fatal: ") if said else "git failed"
        raise RequestError(
            f"there is no run folder {name}, and it cannot be a git revision: {why}."
            "\n  Name a run folder, a published board, a board file, or REV:PATH inside a git repository."
        )
    top = Path(done.stdout.decode().rstrip("\n"))
    if written.is_absolute():
        inside = os.path.relpath(here.resolve() / written.relative_to(here), top)
    elif path.startswith(("./", "../")) or path in {".", ".."}:
        inside = os.path.relpath(here.resolve() / written, top)
    else:
        inside = path
    inside = os.path.normpath(inside) if inside else "."
    if inside.startswith(".."):
        raise RequestError(f"'{path}' in {name!r} is outside the git repository {top}.\n  Name a path inside it.")
    return top, "" if inside == "." else inside


def _files(top: Path, tree: str, copy: Path) -> dict[Path, str]:
    """Where each file of a run folder goes, and the blob it is; links and what is not ours are left out."""
    listed = _git(top, "ls-tree", "-r", "-z", "--full-tree", tree)
    if listed.returncode:
        raise StorageError(f"{top}: git cannot list {tree}: {listed.stderr.decode(errors='replace').strip()}")
    files = {}
    for line in listed.stdout.decode(errors="surrogateescape").split("\0"):
        if not line:
            continue
        state, _, relative = line.partition("\t")
        mode, _, blob = state.split(" ")[:3]
        parts = PurePosixPath(relative).parts
        if mode.startswith("100") and parts[0] in _READ and ".." not in parts:
            files[copy.joinpath(*parts)] = blob
    return files


def _extract(top: Path, wanted: dict[str, list[Path]]) -> None:
    """Writes blobs as they are: no filter of the repository and no attribute changes a byte."""
    with tempfile.TemporaryFile() as asked:
        asked.write("".join(f"{blob}\n" for blob in wanted).encode())
        asked.seek(0)
        with subprocess.Popen(
            ["git", "-C", str(top), "cat-file", "--batch"],
            stdin=asked,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        ) as process:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            for blob, files in wanted.items():
                header = process.stdout.readline().split()
                if len(header) != 3 or header[1] != b"blob":
                    raise StorageError(f"{top}: git cannot read object {blob}; see: git -C {top} fsck")
                data = process.stdout.read(int(header[2]))
                process.stdout.read(1)
                if data.startswith(_POINTER):
                    raise RequestError(
                        f"{files[0].name} is a pointer of git LFS in that revision, not the file itself."
                        "\n  Check the revision out and fetch it with: git lfs pull"
                    )
                for file in files:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(data)


def _ask(top: Path, *arguments: str) -> str | None:
    done = _git(top, *arguments)
    return done.stdout.decode().strip() if done.returncode == 0 else None


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, check=False, env=_environment()
        )
    except FileNotFoundError:
        raise UnavailableError(
            "runs of a git revision need git, which is not installed.\n  Install it, or name a run folder."
        ) from None


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}

"""What can be named where recorded runs are asked for: folders, published boards, board files, git revisions."""

import os
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest

from boards import record_board
from pkt_bench import sources
from pkt_bench.compaction import compact
from pkt_bench.errors import RequestError, StorageError, UnavailableError
from pkt_bench.store import Store
from pkt_bench_leaderboards import schema
from recorded import cell_files, make_cell, make_item, make_run

VERSION_1 = Path(__file__).parent / "data" / "runs-v1"


def record(root, *methods):
    """A run folder with one small run of each method; the board file too."""
    store = Store(root)
    for minute, method in enumerate(methods):
        store.record(make_run(make_cell(method), minute=minute, run_id=f"{method} {minute}"), (make_item(),))
    store.write_board()
    return store


def methods_in(name, **options):
    return sorted(sources.read(name, **options).runs["method"].to_pylist())


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A place of published boards with one in it, compacted as they are."""
    folder = tmp_path / "package" / "published"
    compact(record(folder / "tiny-0.1.0", "lora", "kd"))
    (folder / "tiny-0.1.0" / "README.md").write_text("about it")
    (folder / "no board").mkdir()
    monkeypatch.setattr(sources, "PUBLISHED", folder)
    return folder


def git(folder, *arguments):
    names = {f"GIT_{who}_{what}": "somebody" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environ = {**os.environ, **names, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(["git", "-C", folder, *arguments], env=environ, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A git repository: lora in the first revision, lora and kd in the second, nothing checked out any more."""
    top = tmp_path_factory.mktemp("repository")
    git(top, "init", "-q", "-b", "main")
    (top / ".gitattributes").write_text("*.arrow export-ignore\n")
    store = record(top / "boards" / "runs", "lora")
    (store.root / "notes").symlink_to("/etc")
    git(top, "add", "-A")
    git(top, "commit", "-q", "-m", "one")
    record(store.root, "lora", "kd")
    git(top, "add", "-A")
    git(top, "commit", "-q", "-m", "two")
    shutil.rmtree(top / "boards" / "runs")
    return top


# ---------------------------------------------------------------- folders and published boards


def test_a_run_folder_is_read_as_its_store_reads_it(tmp_path):
    store = record(tmp_path / "runs", "lora")

    found = sources.read(tmp_path / "runs", item_columns=("run_id", "value"))

    assert found.runs.equals(store.read().runs)
    assert found.items.column_names == ["run_id", "value"]
    assert found.items.num_rows == 1


@pytest.mark.parametrize("name", ["tiny-0.1.0", "published/tiny-0.1.0"])
def test_a_published_board_has_its_answers(published, name):
    found = sources.read(name)

    assert sorted(found.runs["method"].to_pylist()) == ["kd", "lora"]
    assert (found.items.num_rows, found.problems) == (2, ())
    assert sources.published() == ["tiny-0.1.0"]
    assert sources.exists(name)


def test_a_folder_wins_over_a_published_board_of_its_name(published, tmp_path, monkeypatch):
    record(tmp_path / "tiny-0.1.0", "mine")
    monkeypatch.chdir(tmp_path)

    assert methods_in("tiny-0.1.0") == ["mine"]
    assert methods_in("published/tiny-0.1.0") == ["kd", "lora"]


def test_an_unknown_name_is_refused_with_the_nearest_published_one(published):
    with pytest.raises(RequestError) as refused:
        sources.read("tiny-0.2.0")

    assert str(refused.value) == (
        "there is no run folder tiny-0.2.0."
        "\n  Make one with: pkt-bench run --methods all --out tiny-0.2.0, or name another folder."
        "\n  No published board is called so either. Did you mean 'tiny-0.1.0'? Published: tiny-0.1.0"
    )


@pytest.mark.parametrize("name", ["published/../../etc", "published/", "published/no board"])
def test_nothing_but_a_published_board_is_found_among_them(published, name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(RequestError, match="there is no run folder"):
        sources.read(name)


def test_a_name_longer_than_any_file_is_one_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(RequestError, match="there is no run folder xxx"):
        sources.read("x" * 5000)


# ---------------------------------------------------------------- board files


def test_a_board_file_has_the_runs_without_answers_and_says_so(tmp_path):
    store = record(tmp_path / "runs", "lora", "kd")

    found = sources.read(tmp_path / "runs" / "board.arrow")

    order = [("run_id", "ascending")]
    assert found.runs.sort_by(order).equals(store.read().runs.sort_by(order))
    assert found.items.num_rows == 0
    assert found.items.schema.equals(schema.items_schema())
    assert "nothing can be tested on the same items" in found.problems[0]
    assert sources.read(tmp_path / "runs" / "board.arrow", items=False).problems == ()


def test_a_board_file_of_version_1_opens_with_nulls_for_what_it_did_not_know(tmp_path):
    old = pa.concat_tables(pa.ipc.open_file(path).read_all() for path in cell_files(Store(VERSION_1)))
    write(tmp_path / "old.arrow", old)

    found = sources.read(tmp_path / "old.arrow", items=False)

    assert "host" not in old.column_names
    assert found.runs.schema.equals(schema.runs_schema())
    assert sorted(found.runs["run_id"].to_pylist()) == sorted(old["run_id"].to_pylist())
    assert set(found.runs["host"].to_pylist()) == {None}


def write(path, table, **metadata):
    said = {key.encode(): value.encode() for key, value in metadata.items()}
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **said})
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)


def spoiled_board(kind, folder):
    store = record(folder / "runs", "lora")
    board = folder / "spoiled.arrow"
    whole = (store.root / "board.arrow").read_bytes()
    runs = store.read().runs
    if kind == "cut short":
        board.write_bytes(whole[: len(whole) // 2])
    elif kind == "text":
        board.write_text("method,value\n")
    elif kind == "pointer":
        board.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    elif kind == "newer":
        write(board, runs, schema_version="99")
    elif kind == "items":
        write(board, store.read().items)
    elif kind == "stranger":
        write(board, pa.table({"x": [1]}))
    elif kind == "holes":
        write(board, runs.set_column(0, "run_id", pa.array([None], pa.string())))
    elif kind == "nothing":
        write(board, runs.slice(0, 0))
    elif kind == "strange":
        outcome = pa.array(["exploded"])
        write(board, runs.set_column(runs.column_names.index("outcome"), runs.schema.field("outcome"), outcome))
    return board


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cut short", "cannot be read as a board"),
        ("text", "is a file, and runs are kept in a folder"),
        ("pointer", "is a pointer of git LFS"),
        ("newer", "was made by a newer pkt-bench: its rows have schema 99"),
        ("items", "is no board: it holds items"),
        ("stranger", "is no board: it does not say what it holds"),
        ("holes", "column 'run_id' lacks values"),
        ("nothing", "holds no recorded runs"),
        ("strange", "holds no recorded runs"),
    ],
)
def test_a_file_that_is_no_board_is_refused(tmp_path, kind, message):
    board = spoiled_board(kind, tmp_path)

    with pytest.raises(RequestError, match=message) as refused:
        sources.read(board)

    assert str(refused.value).startswith(str(board))


# ---------------------------------------------------------------- git revisions


@pytest.mark.parametrize(
    ("name", "methods"), [("HEAD:boards/runs", ["kd", "lora", "lora"]), ("main~1:boards/runs", ["lora"])]
)
def test_a_run_folder_is_read_as_it_was_in_a_revision(repository, monkeypatch, name, methods):
    monkeypatch.chdir(repository)

    found = sources.read(name)

    assert sorted(set(found.runs["method"].to_pylist())) == sorted(set(methods))
    assert found.items.num_rows > 0
    assert found.problems == ()


def test_a_board_file_is_read_as_it_was_in_a_revision(repository, monkeypatch):
    monkeypatch.chdir(repository)

    found = sources.read("HEAD~1:boards/runs/board.arrow")

    assert found.runs["method"].to_pylist() == ["lora"]
    assert found.problems[0].startswith("HEAD~1:boards/runs/board.arrow is a board file")


@pytest.mark.parametrize(
    "name", ["HEAD~1:./runs", "HEAD~1:../boards/runs/", "HEAD~1:{top}/boards/runs", "@{{0}}~1:boards/runs"]
)
def test_the_path_counts_from_the_top_or_from_here_or_is_whole(repository, monkeypatch, name):
    monkeypatch.chdir(repository / "boards")

    assert methods_in(name.format(top=repository)) == ["lora"]


def test_a_whole_path_finds_its_own_repository(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert methods_in(f"HEAD~1:{repository}/boards/runs") == ["lora"]


def test_a_path_with_a_colon_wins_over_a_revision(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "HEAD:boards" / "runs", "mine")

    assert methods_in("HEAD:boards/runs") == ["mine"]


def test_a_damaged_file_of_a_revision_is_left_out_under_the_name_that_was_asked_for(tmp_path, monkeypatch):
    store = record(tmp_path / "runs", "lora", "kd")
    damaged = cell_files(store)[0]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "one")
    monkeypatch.chdir(tmp_path)

    found = sources.read("HEAD:runs")

    assert found.runs.num_rows == 1
    assert found.problems[0].startswith(f"HEAD:runs/{damaged.relative_to(store.root)} is damaged")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("HEAD~9:boards/runs", r"no git revision 'HEAD~9' in "),
        ("HEAD:boards/walks", r"revision 'HEAD' \([0-9a-f]{12}\) of .* holds no 'boards/walks'"),
        ("HEAD:boards", r"HEAD:boards is not a run folder: it holds no pkt-bench.json"),
        ("HEAD:", r"HEAD: is not a run folder: it holds no pkt-bench.json"),
        ("HEAD:.gitattributes", r"HEAD:.gitattributes is a file, and runs are kept in a folder"),
        ("HEAD:../elsewhere", r"'../elsewhere' in 'HEAD:../elsewhere' is outside the git repository"),
        ("--output=stolen:boards/runs", r"'--output=stolen' in .* is no git revision"),
        ("-h:boards/runs", r"'-h' in '-h:boards/runs' is no git revision"),
        ("HE\nAD:boards/runs", r"is no git revision"),
    ],
)
def test_what_a_revision_does_not_hold_is_refused(repository, monkeypatch, name, message):
    monkeypatch.chdir(repository)

    with pytest.raises(RequestError, match=message):
        sources.read(name)

    assert not (repository / "stolen").exists()


def test_a_revision_outside_a_repository_is_refused_with_what_git_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    with pytest.raises(RequestError, match=r"there is no run folder HEAD:runs, and .*: not a git repository"):
        sources.read("HEAD:runs")


def test_without_git_a_revision_cannot_be_had(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(UnavailableError, match="need git, which is not installed"):
        sources.read("HEAD:runs")


def test_nothing_of_a_revision_is_left_behind(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(repository)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    sources.read("HEAD:boards/runs")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_a_storage_error(tmp_path):
    (tmp_path / "locked").mkdir(mode=0)

    with pytest.raises(StorageError):
        sources.read(tmp_path / "locked" / "runs")


def test_a_whole_sweep_is_the_same_from_the_folder_and_from_a_revision(tmp_path, monkeypatch):
    store = record_board(tmp_path / "runs", methods=("student", "lora"), documents=5)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "one")
    monkeypatch.chdir(tmp_path)

    found = sources.read("HEAD:runs")

    assert found.runs.equals(store.read().runs)
    assert found.items.equals(store.read().items)

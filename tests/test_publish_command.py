"""`pkt-bench publish`: what is published is what was recorded, the same bytes each time."""

import json
import re

import pytest

from boards import record_board
from pkt_bench import integrity, publishing
from pkt_bench.cli.publish import publish as command
from pkt_bench.errors import IntegrityError, RequestError, UnavailableError
from pkt_bench.store import Store
from recorded import cell_files


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record_board(
        tmp_path_factory.mktemp("recorded") / "runs", methods=("student", "teacher", "lora"), documents=12
    )


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_published_board_is_a_sound_run_folder_with_every_run(recorded, tmp_path):
    done = publishing.publish(recorded.root, "a-board", to=tmp_path)

    found = Store(done.folder).read()
    assert set(found.runs["run_id"].to_pylist()) == set(recorded.read().runs["run_id"].to_pylist())
    assert found.items.num_rows == recorded.read().items.num_rows
    assert found.problems == ()
    assert integrity.check(done.folder).faults == ()


def test_the_same_runs_give_the_same_bytes(recorded, tmp_path):
    once = publishing.publish(recorded.root, "a-board", to=tmp_path / "one")
    elsewhere = publishing.publish(recorded.root, "a-board", to=tmp_path / "two")
    again = publishing.publish(once.folder, "a-board", to=tmp_path / "three")

    assert content(once.folder) == content(elsewhere.folder) == content(again.folder)


def test_publishing_again_writes_nothing(recorded, tmp_path):
    first = publishing.publish(recorded.root, "a-board", to=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")}

    second = publishing.publish(recorded.root, "a-board", to=tmp_path)

    assert (first.written, second.written) == (True, False)
    assert {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")} == before


def test_another_board_is_replaced_by_force_alone(recorded, tmp_path):
    other = record_board(tmp_path / "runs", methods=("student",), documents=5)
    folder = publishing.publish(recorded.root, "a-board", to=tmp_path).folder
    before = content(folder)

    with pytest.raises(RequestError, match="holds another board"):
        publishing.publish(other.root, "a-board", to=tmp_path)

    assert content(folder) == before
    publishing.publish(other.root, "a-board", to=tmp_path, force=True)
    assert Store(folder).read().items.num_rows == other.read().items.num_rows


def test_every_score_of_the_readme_is_that_of_the_board(recorded, tmp_path, warm):
    folder = publishing.publish(recorded.root, "a-board", to=tmp_path).folder
    (board,) = json.loads(warm("board", recorded.root, "--format", "json").out)["boards"]

    lines = [line for line in (folder / "README.md").read_text(encoding="utf-8").splitlines() if line.count("|") > 6]

    scores = [
        (row["label"], square["text"]["score"])
        for row in board["rows"]
        for square in row["suites"].values()
        if square["value"] is not None
    ]
    assert len(scores) == 9
    for label, score in scores:
        (line,) = [line for line in lines if re.match(rf"\|[^|]*\| \W*{label}\W", line)]
        assert score in line
    assert json.loads((folder / "board.json").read_text(encoding="utf-8"))["boards"] == [board]


def test_names_of_machines_stay_at_home_unless_kept(recorded, tmp_path):
    without = publishing.publish(recorded.root, "without", to=tmp_path).folder
    kept = publishing.publish(recorded.root, "kept", to=tmp_path, keep_host=True).folder

    assert Store(without).read().runs["host"].unique().to_pylist() == [None]
    assert "here" in Store(kept).read().runs["host"].to_pylist()
    assert "a processor" in (without / "README.md").read_text(encoding="utf-8")


def test_what_was_changed_is_not_published(tmp_path):
    store = record_board(tmp_path / "runs", methods=("student",), documents=5)
    path = cell_files(store)[0]
    path.write_bytes(path.read_bytes()[:-9] + b"\0" * 9)

    with pytest.raises(IntegrityError, match=re.escape(str(path))):
        publishing.publish(store.root, "a-board", to=tmp_path)

    assert not (tmp_path / "a-board").exists()


@pytest.mark.parametrize("slug", ["", "../up", "A Board", "-x"])
def test_a_slug_that_is_no_name_for_a_folder_is_refused(recorded, tmp_path, slug):
    with pytest.raises(RequestError, match="--slug"):
        command(recorded.root, slug=slug, to=tmp_path)


def test_an_upload_needs_consent_and_a_hub(recorded, tmp_path, monkeypatch):
    with pytest.raises(RequestError, match="--yes"):
        command(recorded.root, slug="a-board", to=tmp_path, hub="org/name")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(UnavailableError, match="org/name cannot be uploaded"):
        command(recorded.root, slug="a-board", to=tmp_path, hub="org/name", yes=True)

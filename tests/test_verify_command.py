"""`pkt-bench verify`: whatever was changed is refused and named."""

import json

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from boards import record_board
from pkt_bench import durable, integrity, merging
from pkt_bench.cli.verify import verify
from pkt_bench.compaction import compact
from pkt_bench.domain import digest_of
from pkt_bench.errors import IntegrityError
from pkt_bench.store import Store
from pkt_bench_leaderboards import schema
from recorded import cell_files


@pytest.fixture
def store(tmp_path):
    return record_board(tmp_path / "runs", methods=("student", "lora"), documents=12)


def rewrite(path, column, change, *, rename=True):
    """Changes one column of an Arrow file's first row with pyarrow, as whoever wants another result would."""
    table = pa.ipc.open_file(pa.py_buffer(path.read_bytes())).read_all()
    rows = table.to_pylist()
    rows[0][column] = change(rows[0][column])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=table.schema))
    data = sink.getvalue().to_pybytes()
    path.unlink()
    if rename:
        first, _, last = path.name.split(".")
        path = path.with_name(f"{first}.{durable.digest(data)}.{last}")
    path.write_bytes(data)
    return rows[0]


def test_a_board_as_it_was_recorded_has_no_fault(store):
    found = integrity.check(store.root)

    assert found.faults == ()
    assert found.scores == 2 * 3 * 3 * 3


@pytest.mark.parametrize("rename", [True, False])
def test_a_score_that_was_rewritten_is_named_with_what_it_should_be(store, rename):
    row = rewrite(cell_files(store)[-1], "value", lambda value: value + 0.25, rename=rename)
    (store.root / "board.arrow").unlink()

    fault = integrity.check(store.root).faults[0]

    named = (row["run_id"], row["method"], row["suite"], row["seed"])
    assert (fault.run_id, fault.method, fault.suite, fault.seed) == named
    if rename:
        assert (fault.where, fault.task, float(fault.stored)) == ("value", row["task"], row["value"])
        assert float(fault.should_be.split(",")[0]) == pytest.approx(row["value"] - 0.25)
    else:
        assert "not those its name promises" in fault.what


def test_a_flipped_byte_is_refused_with_the_name_of_its_file(store):
    path = cell_files(store)[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    faults = integrity.check(store.root).faults

    assert any(fault.where == str(path) and durable.digest(bytes(data)) in fault.stored for fault in faults)


def test_a_score_changed_in_the_board_file_alone_is_named(store):
    path = store.root / "board.arrow"
    row = rewrite(path, "value", lambda value: value + 0.5, rename=False)

    (fault,) = integrity.check(store.root).faults

    assert (fault.run_id, fault.task, fault.where) == (row["run_id"], row["task"], str(path))
    assert float(fault.stored) - float(fault.should_be) == pytest.approx(0.5)


def test_an_answer_that_was_flipped_no_longer_makes_the_score(store):
    compact(store)
    path = next((store.root / "compacted").glob("items-*"))
    table = pa.ipc.open_file(pa.py_buffer(path.read_bytes())).read_all()
    flipped = table.set_column(
        table.schema.get_field_index("value"),
        table.schema.field("value"),
        pa.array([1 - table["value"][0].as_py(), *table["value"].to_pylist()[1:]]),
    )
    path.unlink()
    runs = Store(store.root).read(items=False).runs
    for old in (store.root / "compacted").iterdir():
        old.unlink()
    merging.add(store, runs, flipped.replace_schema_metadata(table.schema.metadata))

    faults = integrity.check(store.root).faults

    assert {(fault.where, fault.run_id) for fault in faults} >= {("value", table["run_id"][0].as_py())}


def scored_file(store):
    """The first file of a run that has scores: files come in the order of their digests."""
    done = set(store.read().items["run_id"].to_pylist())
    return next(path for path in cell_files(store) if pa.ipc.open_file(path).read_all()["run_id"][0].as_py() in done)


@pytest.mark.parametrize("column", ["settings", "comparability", "documents_hash", "n", "dtype"])
def test_changed_conditions_are_found_by_their_digests_or_the_board(store, column):
    row = rewrite(scored_file(store), column, lambda value: value + 1 if column == "n" else f"{value}0")

    faults = integrity.check(store.root).faults

    assert row["run_id"] in {fault.run_id for fault in faults}


def rewrite_all(store, change_runs, change_items=lambda items: items):
    """The whole folder written anew by someone who knows how, with every digest right."""
    found = Store(store.root).read()
    for path in sorted(store.root.rglob("*.arrow")):
        path.unlink()
    rows = [row | change_runs(row) for row in found.runs.to_pylist()]
    merging.add(store, pa.Table.from_pylist(rows, schema=found.runs.schema), change_items(found.items))
    store.write_board()


def test_a_score_whose_answers_were_taken_away_is_a_fault_and_refused(store, tmp_path):
    gone = store.read().items["run_id"][0].as_py()
    rewrite_all(store, lambda _: {}, lambda items: items.filter(pc.not_equal(items["run_id"], gone)))

    faults = integrity.check(store.root).faults

    assert {(fault.where, fault.run_id) for fault in faults} == {("items", gone)}
    with pytest.raises(IntegrityError, match="the answers behind a score are gone"):
        merging.merge([store.root], tmp_path / "all")


def test_scores_imported_without_answers_are_no_fault_and_that_is_said(store):
    def imported(row):
        changed = {"distribution": "imported", "documents_hash": None}
        compared = {name: (row | changed)[name] for name in schema.COMPARED}
        return changed | {"comparability": digest_of(compared)}

    rewrite_all(store, lambda row: imported(row) if row["task"] else {}, lambda items: items.slice(0, 0))

    found = integrity.check(store.root)

    assert found.faults == ()
    assert any("its answers are not kept" in words for words in found.unchecked)


def test_a_wrong_comparability_is_a_fault_however_little_the_row_says_it_knew(store):
    rewrite_all(store, lambda row: {"documents_hash": None} if row["task"] else {})

    faults = integrity.check(store.root).faults

    assert {fault.where for fault in faults} == {"comparability"}


def test_the_first_rows_compared_fewer_columns_and_that_is_said(store):
    lacking = dict.fromkeys(("documents_hash", "pass_tokens", "budget", "host"))
    rewrite_all(store, lambda row: lacking if row["task"] else {})

    found = integrity.check(store.root)

    assert found.faults == ()
    assert any("comparability is not checkable" in words for words in found.unchecked)


def test_the_command_ends_with_5_and_lists_each_fault_as_json(store, capsys):
    row = rewrite(cell_files(store)[-1], "value", lambda _: 0.999)

    with pytest.raises(BaseException) as ended:  # noqa: PT011 - typer has its own class under several names
        verify(store.root, sample=0, format="json")

    assert ended.value.exit_code == 5
    faults = json.loads(capsys.readouterr().out)
    assert row["run_id"] in {fault["run_id"] for fault in faults}


def test_answers_to_made_up_documents_are_not_scored_again_and_that_is_said(store, capsys):
    verify(store.root, sample=5, seed=1)

    said = capsys.readouterr()
    assert "judged by other task files or code than those installed here" in said.err
    assert "0 of them scored again, 0 asked again: no faults" in said.err


def test_a_merge_counts_a_run_once_and_can_be_given_again(store, tmp_path):
    other = record_board(tmp_path / "other", methods=("student", "full"), documents=12)
    out = tmp_path / "all"

    first = merging.merge([store.root, other.root], out)
    again = merging.merge([store.root, other.root], out)

    together = set(Store(store.root).read().runs["run_id"].to_pylist()) | set(other.read().runs["run_id"].to_pylist())
    assert first.added == len(together)
    assert again.added == 0
    assert set(Store(out).read().runs["run_id"].to_pylist()) == together
    assert integrity.check(out).faults == ()
    kept = Store(out).read().runs
    assert pc.count(kept["hardware"]).as_py() == sum(
        1
        for row in {(r["run_id"], r["task"]): r for s in (store, other) for r in s.read().runs.to_pylist()}.values()
        if row["hardware"]
    )


def test_a_tampered_source_is_refused_and_nothing_is_written(store, tmp_path):
    row = rewrite(cell_files(store)[-1], "value", lambda _: 0.999)

    with pytest.raises(IntegrityError, match=row["run_id"]):
        merging.merge([store.root], tmp_path / "all")

    assert not (tmp_path / "all").exists()


def test_two_copies_of_a_run_that_differ_are_refused(store, tmp_path):
    other = record_board(tmp_path / "other", methods=("student", "lora"), documents=12)
    row = rewrite(cell_files(other)[0], "seconds", lambda _: 1234.5)
    other.write_board()

    with pytest.raises(IntegrityError, match=f"run {row['run_id']} .* differ in seconds"):
        merging.merge([store.root, other.root], tmp_path / "all")

    assert not (tmp_path / "all").exists()

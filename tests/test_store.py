"""The store: what is recorded stays recorded, and what is damaged is never believed."""

import contextlib
import errno
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pkt_bench.compaction import compact
from pkt_bench.domain import Cost, Health, Knobs, Outcome, digest_of
from pkt_bench.errors import RequestError, StorageError
from pkt_bench.store import Store
from pkt_bench_leaderboards import schema
from recorded import cell_files, make_cell, make_item, make_run, make_score


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


# ---------------------------------------------------------------- what a row says


def test_a_run_comes_back_as_it_was_recorded(store):
    run = make_run(
        make_cell(limit=20),
        cost=Cost(transfer_seconds=1.5, payload_bytes=7, stage_seconds={"tune": 1.25}),
        health=Health(delta_over_weight=0.25, changed_tensors=3, notes={"layers": [1, 2]}),
        environment={"python": "3.11.7", "torch": "2.13", "lm_eval": "0.4.13", "hardware": "a CPU"},
        seconds=2.5,
    )

    store.record(run)

    (row,) = store.runs_table().to_pylist()
    expected = {
        "run_id": "run 0",
        "cell_key": run.cell.key,
        "method": "lora",
        "method_version": "2",
        "paradigm": "language",
        "control_of": None,
        "settings": '{"rank":8}',
        "pair": "tiny",
        "teacher_revision": "t1",
        "teacher_hash": "a" * 32,
        "student_hash": "b" * 32,
        "suite": "code",
        "task": "tiny_code",
        "metric": "acc",
        "filter": "none",
        "limit": 20,
        "seed": 0,
        "headline": True,
        "chance": 0.25,
        "value": 0.5,
        "stderr": 0.05,
        "n": 100,
        "seconds": 2.5,
        "transfer_seconds": 1.5,
        "payload_bytes": 7,
        "peak_rss_bytes": None,
        "stage_seconds": '{"tune":1.25}',
        "delta_over_weight": 0.25,
        "logit_change": None,
        "changed_tensors": 3,
        "notes": '{"layers":[1,2]}',
        "outcome": "done",
        "reason": "",
        "python": "3.11.7",
        "libraries": '{"lm_eval":"0.4.13","torch":"2.13"}',
        "scorer": "lm-eval 0.4.13",
        "dtype": "float32",
        "batch_size": 16,
    }
    assert {name: row[name] for name in expected} == expected
    assert row["created_at"].isoformat() == "2026-01-01T00:00:00+00:00"


def test_there_is_one_row_for_each_task_metric_and_filter(store):
    scores = (make_score(), make_score(metric="f1", headline=False), make_score(task="tiny_facts"))

    store.record(make_run(scores=scores))

    rows = store.runs_table().select(["task", "metric", "headline"]).to_pylist()
    # a suite is ranked by its first task alone, even where others have a headline of their own
    assert [tuple(row.values()) for row in rows] == [
        ("tiny_code", "acc", True),
        ("tiny_code", "f1", False),
        ("tiny_facts", "acc", False),
    ]


def test_a_run_that_is_not_done_is_one_row_without_a_task(store):
    store.record(make_run(outcome=Outcome.FAILED))

    (row,) = store.runs_table().to_pylist()

    assert (row["outcome"], row["reason"], row["task"], row["value"], row["comparability"]) == (
        "failed",
        "it could not be",
        None,
        None,
        None,
    )
    assert row["scorer"] == "lm-eval 0.4.13"


@pytest.mark.parametrize("not_a_number", [float("nan"), float("inf")])
def test_what_is_no_number_is_null(store, not_a_number):
    health = Health(logit_change=not_a_number, notes={"loss": not_a_number})

    store.record(make_run(value=not_a_number, health=health), [make_item(value=not_a_number)])

    (row,) = store.runs_table().to_pylist()
    assert (row["value"], row["logit_change"], row["notes"]) == (None, None, '{"loss":null}')
    assert store.items_table()["value"].to_pylist() == [None]


@pytest.mark.parametrize(
    "other",
    [
        make_cell(limit=5),
        make_cell(data_hash="0" * 32),
        make_cell(student={"digest": "0" * 32}),
        make_cell(knobs=Knobs(device="cuda")),
        make_cell(knobs=Knobs(threads=2)),
        make_cell(knobs=Knobs(batch_size=8)),
        make_cell(scorer={"lm_eval": "0.4.14"}),
        make_cell(suite={"name": "code", "code": "0" * 32, "task_files": "2" * 32}),
        make_cell(suite={"name": "code", "code": "1" * 32, "task_files": "0" * 32}),
        make_score(task_hash="0" * 32),
        make_score(shots=4),
        make_score(n=99),
        make_item(doc_hash="doc 0 with another answer"),
    ],
    ids=[
        *("limit", "records", "student", "device", "threads", "batch", "scorer", "suite code", "task files"),
        *("task", "shots", "documents", "right answer"),
    ],
)
def test_what_moves_the_number_moves_the_comparability_key(tmp_path, other):
    cell, score, item = (
        other if isinstance(other, type(usual)) else usual for usual in (make_cell(), make_score(), make_item())
    )
    keys = []
    for name, run, items in (("a", make_run(), [make_item()]), ("b", make_run(cell, scores=(score,)), [item])):
        Store(tmp_path / name).record(run, items)
        keys += Store(tmp_path / name).runs_table()["comparability"].to_pylist()

    assert keys[0] != keys[1]


def test_method_seed_and_settings_do_not_move_the_comparability_key(store):
    store.record(make_run(make_cell("lora", seed=0)))
    store.record(make_run(make_cell("nuggets", seed=1), minute=1))

    assert len(store.runs_table()["comparability"].unique()) == 1


def test_the_documents_hash_is_of_task_number_and_hash_of_each_document_once(store):
    items = [make_item(1), make_item(0), make_item(0, metric="f1")]

    store.record(make_run(), items)

    (row,) = store.runs_table().to_pylist()
    # BLAKE2b-128 of the canonical JSON
    expected = b'{"documents":[["tiny_code",0,"doc 0"],["tiny_code",1,"doc 1"]]}'
    assert row["documents_hash"] == hashlib.blake2b(expected, digest_size=16).hexdigest()


def test_where_the_plan_knew_nothing_of_what_judges_the_hash_of_it_is_null(store):
    store.record(make_run(make_cell(suite={"name": "code"})))

    (row,) = store.runs_table().to_pylist()
    assert (row["scoring_hash"], row["documents_hash"]) == (None, None)


VARIANT_METHOD = {"name": "lora", "version": "2", "code": "9" * 32}


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({"seed": 1}, True),
        ({"limit": 5}, True),
        ({"suite": "facts"}, True),
        ({"suite": {"name": "code", "code": "0" * 32}}, True),
        ({"pair": "another name of the same models"}, True),
        ({"method": VARIANT_METHOD | {"code": "8" * 32}}, False),
        ({"libraries": {"torch": "2.14"}}, False),
        ({"knobs": Knobs(threads=2)}, False),
        ({"student": {"digest": "0" * 32}}, False),
    ],
    ids=["seed", "limit", "suite", "suite code", "pair name", "method code", "libraries", "threads", "student"],
)
def test_a_variant_is_all_that_can_move_a_result_but_suite_seed_limit_and_names(store, other, same):
    store.record(make_run(make_cell(**({"method": VARIANT_METHOD} | other)), minute=1))
    store.record(make_run(make_cell(method=VARIANT_METHOD)))

    variants = store.runs_table()["variant"].to_pylist()

    assert (len(set(variants)) == 1) is same


# ---------------------------------------------------------------- files


def test_a_file_is_named_after_its_cell_and_the_digest_of_its_bytes(store):
    run = make_run()

    path = store.record(run, [make_item()])

    key, digest, suffix = path.name.split(".")
    assert (key, suffix, path.parent.name) == (run.cell.key, "arrow", run.cell.key[:2])
    assert hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() == digest


def test_the_cell_file_names_the_items_that_were_written_before_it(store):
    path = store.record(make_run(), [make_item(0), make_item(1, 0.0)])

    metadata = pa.ipc.open_file(path).schema.metadata
    items = store.root / "items" / path.parent.name / metadata[b"items"].decode()
    assert items.stat().st_mtime_ns <= path.stat().st_mtime_ns
    assert store.items_table()["doc_id"].to_pylist() == [0, 1]


def test_recording_the_same_run_twice_is_recording_it_once(store):
    store.record(make_run(), [make_item()])
    store.record(make_run(), [make_item()])

    assert len(cell_files(store)) == 1


def test_duckdb_reads_the_rows_without_pkt_bench(store):
    store.record(make_run(value=0.25))
    board = store.write_board()

    database = duckdb.connect()
    database.register("runs", pa.ipc.open_file(board).read_all())
    (found,) = database.sql("select method, suite, value, year(created_at) from runs where headline").fetchall()

    assert found == ("lora", "code", 0.25, 2026)


def test_the_board_file_holds_all_rows_compressed_with_the_documented_schema(store):
    for minute in range(30):
        store.record(make_run(make_cell(seed=minute), minute=minute))

    path = store.write_board()

    table = pa.ipc.open_file(path).read_all()
    assert table.schema.equals(schema.runs_schema(), check_metadata=True)
    assert sorted(table["seed"].to_pylist()) == list(range(30))
    assert path.stat().st_size < sum(file.stat().st_size for file in cell_files(store)) / 10


def test_opening_a_store_creates_nothing(tmp_path):
    store = Store(tmp_path / "a" / "runs")

    outcomes = store.outcomes()

    assert outcomes == {}
    assert list(tmp_path.iterdir()) == []


def test_trying_the_folder_leaves_it_empty_for_a_run_that_starts_beside(tmp_path):
    store = Store(tmp_path / "a" / "runs")

    store.check_writable()
    store.check_writable()

    assert list(store.root.iterdir()) == []


def test_two_runs_that_start_at_once_both_find_the_folder(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        for number in range(50):
            store = Store(tmp_path / str(number) / "runs")
            trials = [pool.submit(store.check_writable), pool.submit(store.check_writable)]

            refusals = [trial.exception() for trial in trials]

            assert refusals == [None, None]


# ---------------------------------------------------------------- resume


def test_done_outweighs_a_later_failure_and_among_others_the_latest_counts(store):
    a, b = make_cell("a"), make_cell("b")
    store.record(make_run(a, minute=0))
    store.record(make_run(a, minute=1, outcome=Outcome.FAILED))
    store.record(make_run(b, minute=0, outcome=Outcome.FAILED))
    store.record(make_run(b, minute=1, outcome=Outcome.INTERRUPTED))

    assert store.outcomes() == {a.key: Outcome.DONE, b.key: Outcome.INTERRUPTED}


def test_times_of_other_zones_are_compared_as_times(store):
    store.record(make_run(outcome=Outcome.FAILED, created_at="2026-01-01T12:00:00+02:00"))
    store.record(make_run(outcome=Outcome.SKIPPED, created_at="2026-01-01T11:00:00+00:00", run_id="later"))

    assert list(store.outcomes().values()) == [Outcome.SKIPPED]


def test_done_attempts_that_do_not_agree_are_reported(store):
    store.record(make_run(value=0.5, minute=0))
    store.record(make_run(value=0.625, minute=1))

    (problem,) = store.read().problems

    assert problem.startswith("lora, tiny, code, seed 0")
    assert "tiny_code acc none 0.5, 0.625; oldest first" in problem


def test_done_attempts_that_agree_are_no_problem(store):
    store.record(make_run(value=0.5, minute=0, seconds=1.0))
    store.record(make_run(value=0.5, minute=1, seconds=2.0))

    assert store.read().problems == ()


def test_what_a_cell_will_take_is_the_median_of_done_attempts_at_its_like(store):
    for minute, seconds in enumerate((10.0, 30.0, 20.0)):
        store.record(make_run(make_cell(seed=minute), minute=minute, seconds=seconds))
    store.record(make_run(make_cell("slow"), minute=4, seconds=90.0))
    store.record(make_run(make_cell("broken"), minute=5, seconds=1.0, outcome=Outcome.FAILED))
    store.record(make_run(make_cell("unknown"), minute=6, seconds=None))

    expected = store.expected_seconds()

    assert expected == {("lora", "tiny", "code"): 20.0, ("slow", "tiny", "code"): 90.0}
    assert store.attempts().expected_seconds == expected


def test_where_nothing_is_recorded_nothing_is_expected(store):
    assert store.expected_seconds() == {}


# ---------------------------------------------------------------- damage


def test_no_flipped_bit_is_believed(store):
    store.record(make_run(make_cell("good")))
    path = store.record(make_run())
    whole = path.read_bytes()
    random.seed(0)

    for _ in range(40):
        data = bytearray(whole)
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        path.write_bytes(data)
        contents = store.read()

        assert contents.runs["method"].to_pylist() == ["good"]
        assert [str(path) in problem and "damaged" in problem for problem in contents.problems] == [True]
        assert list(store.outcomes()) == [make_cell("good").key]


@pytest.fixture(scope="module")
def two_hundred(tmp_path_factory):
    """A folder of 201 cells, each with its file."""
    store = Store(tmp_path_factory.mktemp("many") / "runs")
    for seed in range(201):
        store.record(make_run(make_cell(seed=seed), value=seed / 200, run_id=str(seed)))
    return store, cell_files(store)


def spoil(path, damage):
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    return whole


def test_each_of_200_files_cut_short_anywhere_is_found_out_and_its_cell_is_run_again(two_hundred):
    store, files = two_hundred
    random.seed(1)
    kept = [spoil(path, lambda data: data[: random.randrange(len(data))]) for path in files[:200]]

    contents, attempts = store.read(), store.attempts()

    for path, whole in zip(files, kept, strict=False):
        path.write_bytes(whole)
    assert contents.runs["cell_key"].to_pylist() == [files[200].name[:32]]
    for problems in (contents.problems, attempts.problems):
        assert {problem.split(" ")[0] for problem in problems} == {str(path) for path in files[:200]}
    assert set(attempts.outcomes) == {files[200].name[:32]}
    assert len(store.attempts().outcomes) == 201


def test_each_of_300_flipped_bits_is_found_out_and_its_cell_is_run_again(two_hundred):
    store, files = two_hundred
    random.seed(2)

    def flip(data):
        changed = bytearray(data)
        changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
        return changed

    for first in range(0, 300, 100):
        chosen = files[first % 200 : first % 200 + 100]
        kept = [spoil(path, flip) for path in chosen]

        contents, attempts = store.read(), store.attempts()

        for path, whole in zip(chosen, kept, strict=True):
            path.write_bytes(whole)
        for problems in (contents.problems, attempts.problems):
            assert {problem.split(" ")[0] for problem in problems} == {str(path) for path in chosen}
        keys = {path.name[:32] for path in files} - {path.name[:32] for path in chosen}
        assert set(attempts.outcomes) == set(contents.runs["cell_key"].to_pylist()) == keys
        assert contents.runs["value"].to_pylist() == [seed / 200 for seed in contents.runs["seed"].to_pylist()]


def test_a_flipped_bit_in_the_items_leaves_the_scores_and_says_so(store):
    path = store.record(make_run(), [make_item()])
    items = next((store.root / "items").glob("*/*.arrow"))
    data = bytearray(items.read_bytes())
    data[len(data) // 2] ^= 4
    items.write_bytes(data)

    contents = store.read()

    assert contents.runs.num_rows == 1
    assert contents.items.num_rows == 0
    assert [str(items) in problem for problem in contents.problems] == [True]
    assert path.exists()


def test_missing_items_are_reported(store):
    store.record(make_run(), [make_item()])
    next((store.root / "items").glob("*/*.arrow")).unlink()

    assert ["is missing" in problem for problem in store.read().problems] == [True]


def test_torn_and_foreign_files_are_reported_and_stepped_over(store):
    path = store.record(make_run())
    torn = path.with_name(f"{'0' * 32}.{'1' * 32}.arrow")
    torn.write_bytes(path.read_bytes()[:1000])
    honest = b"this is no table, but its name is right"
    foreign = path.with_name(f"{'0' * 32}.{hashlib.blake2b(honest, digest_size=16).hexdigest()}.arrow")
    foreign.write_bytes(honest)
    (path.parent / "notes.txt").write_text("mine")
    (store.root / "cells" / "stray").write_text("mine")

    contents = store.read()

    assert contents.runs.num_rows == 1
    named = {torn, foreign, path.parent / "notes.txt", store.root / "cells" / "stray"}
    assert {problem.split(" ")[0] for problem in contents.problems} == set(map(str, named))


def test_a_cell_file_renamed_to_another_cell_is_not_believed(store):
    path = store.record(make_run())
    digest = path.name.split(".")[1]
    path.rename(path.with_name(f"{'0' * 32}.{digest}.arrow"))
    store.record(make_run(make_cell("other")))

    assert store.read().runs["method"].to_pylist() == ["other"]
    assert list(store.outcomes()) == [make_cell("other").key]


NURSERY = """
import json, os, random, signal, sys, time
sys.path.insert(0, sys.argv[2])
from pathlib import Path
import pyarrow as pa
from recorded import Store, make_cell, make_item, make_run
store, items = Store(Path(sys.argv[1])), [make_item(number) for number in range(50)]
pa.array([1])  # imports what pyarrow imports late, once for all writers
random.seed(1)
acknowledged = []
for writer in range(60):
    reader, written = os.pipe()
    pid = os.fork()
    if pid == 0:
        for seed in range(1000 * writer, 1000 * writer + 1000):
            store.record(make_run(make_cell(seed=seed), run_id=str(seed)), items)
            os.write(written, b"%d\\n" % seed)
        os._exit(0)
    os.close(written)
    lines = os.fdopen(reader)
    seen = [lines.readline() for _ in range(random.randrange(4))]
    time.sleep(random.uniform(0, 0.02))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    acknowledged += map(int, [*seen, *lines])
print(json.dumps(acknowledged))
"""


def test_nothing_acknowledged_is_lost_when_writers_are_killed(store):
    nursery = [sys.executable, "-c", NURSERY, str(store.root), str(Path(__file__).parent)]

    answer = subprocess.run(nursery, capture_output=True, text=True, check=True)

    acknowledged = set(json.loads(answer.stdout))
    contents = store.read()
    found = set(contents.runs["seed"].to_pylist())
    assert len(acknowledged) > 50
    assert contents.problems == ()
    assert acknowledged <= found
    assert contents.items.num_rows == 50 * len(found)
    store.check_writable()
    assert list(store.root.glob("*/*/.tmp-*")) == []


RECORDER = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from recorded import Store, make_cell, make_run
for seed in range(50):
    Store(Path(sys.argv[1])).record(make_run(make_cell(seed=seed), run_id=str(seed)))
"""


def test_each_of_50_runs_is_on_the_disk_before_it_has_its_name_and_its_folder_after(store, tmp_path):
    if not shutil.which("strace"):
        pytest.skip("needs strace to see the order of system calls")
    trace = tmp_path / "trace"
    strace = ["strace", "-y", "-e", "trace=fsync,rename,renameat2", "-o", str(trace)]

    subprocess.run([*strace, sys.executable, "-c", RECORDER, str(store.root), str(Path(__file__).parent)], check=True)

    calls = [line for line in trace.read_text().splitlines() if f"{store.root}/cells/" in line]
    renamed = [number for number, call in enumerate(calls) if call.startswith("rename")]
    assert len(renamed) == 50
    for number in renamed:
        aside = calls[number].split('"')[1]
        assert re.match(rf"fsync\(\d+<{aside}>\)", calls[number - 1])
        assert re.match(rf"fsync\(\d+<{Path(aside).parent}>\)", calls[number + 1])


TORN = """
import resource, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from recorded import Store, make_cell, make_item, make_run
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
Store(Path(sys.argv[1])).record(make_run(make_cell("torn")), [make_item()])
"""


@pytest.mark.parametrize("written", [1, 5_000, 20_000])
def test_a_writer_killed_in_the_middle_of_a_file_leaves_nothing_to_be_read(store, written):
    # the kernel kills a process at the very byte that would make a file longer than it may be
    store.record(make_run(make_cell("before")))
    writer = [sys.executable, "-c", TORN, str(store.root), str(Path(__file__).parent), str(written)]

    answer = subprocess.run(writer, check=False, capture_output=True)

    assert answer.returncode == -signal.SIGXFSZ
    assert [aside.stat().st_size for aside in store.root.glob("*/*/.tmp-*")] == [written]
    contents = store.read()
    assert (contents.runs["method"].to_pylist(), contents.problems) == (["before"], ())
    store.check_writable()
    assert list(store.root.glob("*/*/.tmp-*")) == []


def test_what_dead_writers_left_is_swept_and_what_living_ones_write_is_not(store):
    path = store.record(make_run())
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = os.uname().nodename
    dead, alive = (path.with_name(f".tmp-{host}-{pid}-0123abcd") for pid in (ended.pid, os.getpid()))
    elsewhere, abandoned = (path.with_name(f".tmp-another.host-1-{name}") for name in ("aa", "bb"))
    for aside in (dead, alive, elsewhere, abandoned):
        aside.write_bytes(b"half a file")
    os.utime(abandoned, (0, 0))

    store.check_writable()

    assert [aside.exists() for aside in (dead, alive, elsewhere, abandoned)] == [False, True, True, False]
    assert store.read().problems == ()


# ---------------------------------------------------------------- folders that will not do


def test_a_file_in_the_place_of_the_folder_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")

    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        for attempt in (Store(root).check_writable, lambda root=root: Store(root).record(make_run())):
            with pytest.raises(RequestError) as caught:
                attempt()
            assert str(caught.value) == (
                f"{tmp_path / 'file'} is a file, and runs are kept in a folder.\n  Name another folder with --out."
            )


def test_a_folder_of_somebody_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")

    with pytest.raises(RequestError) as caught:
        Store(tmp_path).check_writable()

    assert str(caught.value) == (
        f"{tmp_path} is not a run folder: it holds thesis.tex and no pkt-bench.json.\n  Name another folder with --out."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_that_died_before_its_first_record_can_be_resumed(store):
    (store.root / "stages").mkdir(parents=True)
    (store.root / "artifacts").mkdir()

    store.check_writable()
    store.record(make_run())

    assert store.runs_table().num_rows == 1


def test_a_folder_of_a_newer_pkt_bench_is_refused(store):
    store.create()
    marker = json.loads((store.root / "pkt-bench.json").read_text())
    (store.root / "pkt-bench.json").write_text(json.dumps(marker | {"schema_version": 99}))

    for attempt in (store.check_writable, store.outcomes, store.read):
        with pytest.raises(RequestError, match="made by a newer pkt-bench: its rows have schema 99"):
            attempt()


@pytest.mark.parametrize("content", ["", "[]", '{"format": "something else", "schema_version": 1}'])
def test_a_mark_that_is_not_ours_is_refused(store, content):
    store.create()
    (store.root / "pkt-bench.json").write_text(content)

    with pytest.raises(RequestError, match="is not a mark of pkt-bench"):
        store.check_writable()


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "Read-only file system"), (errno.EIO, "Input/output error")],
)
def test_a_disk_that_refuses_is_a_storage_error_that_says_what_to_do(store, monkeypatch, number, words):
    store.record(make_run(make_cell("before")))

    def refuse(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    again = make_run(make_cell("before"), minute=1)
    for attempt in (store.check_writable, lambda: store.record(again)):
        with pytest.raises(StorageError, match=words):
            attempt()
    monkeypatch.undo()

    assert store.read().runs["method"].to_pylist() == ["before"]
    assert list(store.root.rglob(".tmp-*")) == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("needs root to mount a small file system")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_says_so_and_costs_nothing_that_is_recorded(small_disk):
    store = Store(small_disk / "runs")
    ballast = small_disk / "runs" / "logs" / "ballast"
    ballast.parent.mkdir(parents=True)
    ballast.write_bytes(bytes(300_000))
    seeds = []

    def fill():
        for seed in range(1000):
            store.record(make_run(make_cell(seed=seed), run_id=str(seed)), [make_item(number) for number in range(50)])
            seeds.append(seed)

    with pytest.raises(StorageError) as caught:
        fill()

    recorded = len(seeds)
    assert "cannot be written: the disk is full.\n  Free some space" in str(caught.value)
    assert caught.value.exit_code == 4
    assert recorded > 10
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(512))
    for attempt in (store.write_board, lambda: compact(store), store.check_writable):
        with pytest.raises(StorageError, match="the disk is full"):
            attempt()
    contents = store.read()
    assert contents.problems == ()
    assert sorted(contents.runs["seed"].to_pylist()) == list(range(recorded))
    assert contents.items.num_rows == 50 * recorded
    assert list(store.root.rglob(".tmp-*")) == []
    ballast.unlink()
    store.record(make_run(make_cell(seed=recorded), run_id=str(recorded)))
    assert sorted(store.read().runs["seed"].to_pylist()) == list(range(recorded + 1))
    assert compact(store).folded == recorded + 1
    assert store.read().items.num_rows == 50 * recorded


def test_a_place_where_nothing_can_be_made_is_a_storage_error():
    # not even root can make a folder in /proc
    with pytest.raises(StorageError, match="/proc/runs cannot be written"):
        Store(Path("/proc/runs")).check_writable()


@pytest.mark.parametrize("prepare", [lambda store: None, lambda store: store.create()], ids=["missing", "empty"])
def test_reading_where_nothing_was_recorded_says_how_to_record(store, prepare):
    prepare(store)

    with pytest.raises(RequestError, match=f"pkt-bench run --methods all --out {store.root}"):
        store.read()


def test_the_key_of_a_cell_is_the_digest_of_its_identity():
    cell = make_cell()

    assert cell.key == digest_of(cell.identity)

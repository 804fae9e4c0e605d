"""Compaction: the same runs in few files, whoever writes, reads or dies meanwhile."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from pkt_bench import compaction, durable, tables
from pkt_bench.compaction import compact
from pkt_bench.domain import Outcome
from pkt_bench.errors import RequestError
from pkt_bench.store import Store
from recorded import cell_files, make_cell, make_item, make_run, make_score

HERE = str(Path(__file__).parent)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


def record(store, seeds, items=2):
    for seed in seeds:
        run = make_run(make_cell(seed=seed), run_id=f"r{seed}", seconds=float(seed))
        store.record(run, [make_item(number) for number in range(items)])


def compacted(store, kind="runs"):
    return sorted((store.root / "compacted").glob(f"{kind}-*.arrow"))


def ordered(table):
    keys = [name for name in ("run_id", "doc_id") if name in table.column_names]
    return table.sort_by([(key, "ascending") for key in keys])


def assert_same(contents, before):
    assert ordered(contents.runs).equals(ordered(before.runs))
    assert ordered(contents.items).equals(ordered(before.items))
    assert contents.problems == before.problems


def flip(path, where=0.5):
    data = bytearray(path.read_bytes())
    data[int(len(data) * where)] ^= 4
    path.write_bytes(data)


# ---------------------------------------------------------------- what is in it


def test_whoever_asks_finds_the_same_runs_after_a_compaction(store):
    record(store, range(20))
    store.record(make_run(make_cell("bad"), outcome=Outcome.TIMEOUT, run_id="bad"))
    before, attempts = store.read(), store.attempts()

    done = compact(store)

    assert (done.folded, done.files_before, done.files_after, done.problems) == (21, 41, 2, ())
    assert cell_files(store) == []
    assert_same(store.read(), before)
    assert store.attempts() == attempts
    assert store.is_done(make_cell(seed=7).key)
    assert not store.is_done(make_cell("bad").key)
    assert not store.is_done(make_cell(seed=99).key)
    assert pa.ipc.open_file(store.write_board()).read_all().num_rows == 21


def test_all_that_a_cell_file_says_of_its_run_is_in_the_compacted_file(store):
    path = store.record(make_run(seconds=2.0), [make_item()])
    said = {k.decode(): v.decode() for k, v in pa.ipc.open_file(path).schema.metadata.items()}

    compact(store)

    (row,) = pa.ipc.open_file(compacted(store)[0]).read_all().to_pylist()
    assert {name: row[name] for name in ("cell_key", "run_id", "outcome")} == {
        name: said[name] for name in ("cell_key", "run_id", "outcome")
    }
    assert row["created_at"].isoformat() == said["created_at"]
    assert row["items"] == compacted(store, "items")[0].name


def test_the_name_of_a_compacted_file_carries_the_digest_of_its_bytes(store):
    record(store, range(3))

    compact(store)

    for path in (*compacted(store), *compacted(store, "items")):
        assert hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() == path.name.split(".")[1]


def test_compacting_again_folds_what_came_since_and_nothing_twice(store):
    for first in range(0, 30, 10):
        record(store, range(first, first + 10))
        before = store.read()

        done = compact(store)

        assert done.folded == 10
        assert_same(store.read(), before)
        assert (len(compacted(store)), len(compacted(store, "items"))) == (1, 1)
    files = compacted(store)
    assert compact(store).folded == 0
    assert compacted(store) == files


def test_a_full_file_is_left_as_it_is(store):
    record(store, range(25))
    before = store.read()
    compact(store, runs_per_file=10)
    full = compacted(store)[:2]
    record(store, range(25, 27))
    before = store.read()

    compact(store, runs_per_file=10)

    assert set(full) < set(compacted(store))
    assert len(compacted(store)) == 3
    assert_same(store.read(), before)


def test_files_that_are_small_for_a_new_limit_are_put_together_and_split(store):
    record(store, range(12))
    before = store.read()
    compact(store, runs_per_file=6)

    compact(store, runs_per_file=10)

    assert [pa.ipc.open_file(path).read_all().num_rows for path in compacted(store)] == [10, 2]
    assert_same(store.read(), before)


def test_items_are_spread_over_files_of_bounded_size(store, monkeypatch):
    monkeypatch.setattr(compaction, "ITEMS_BYTES_PER_FILE", 4000)
    monkeypatch.setattr(compaction, "_BATCH_ROWS", 1)
    record(store, range(10), items=20)
    before = store.read()

    compact(store)

    assert len(compacted(store, "items")) > 2
    assert_same(store.read(), before)
    record(store, [10])
    before = store.read()
    compact(store)
    assert_same(store.read(), before)


def test_runs_without_items_and_with_several_scores_are_kept_apart(store):

    store.record(
        make_run(scores=(make_score(), make_score(metric="f1"), make_score(task="tiny_facts")), run_id="three")
    )
    store.record(make_run(make_cell("other"), run_id="one"), [make_item()])
    before = store.read()

    compact(store)

    assert_same(store.read(), before)
    assert len(store.outcomes()) == 2


# ---------------------------------------------------------------- damage


def test_a_damaged_file_of_one_run_is_neither_folded_nor_removed(store):
    record(store, range(5))
    damaged = cell_files(store)[2]
    flip(damaged)

    done = compact(store)

    assert [str(damaged) in problem for problem in done.problems] == [True]
    assert cell_files(store) == [damaged]
    assert len(store.outcomes()) == 4
    assert [str(damaged) in problem for problem in store.read().problems] == [True]


def test_damaged_items_stay_and_their_scores_are_folded(store):
    record(store, range(5))
    damaged = min((store.root / "items").glob("*/*.arrow"))
    flip(damaged)

    done = compact(store)

    assert done.folded == 5
    assert list((store.root / "items").glob("*/*.arrow")) == [damaged]
    contents = store.read()
    assert (contents.runs.num_rows, contents.items.num_rows) == (5, 8)
    assert [str(damaged) in problem for problem in contents.problems] == [True]


@pytest.mark.parametrize("spoil", [flip, lambda path: path.write_bytes(path.read_bytes()[:1000])], ids=["bit", "torn"])
def test_a_damaged_compacted_file_is_reported_and_stepped_over(store, spoil):
    record(store, range(20))
    compact(store, runs_per_file=10)
    record(store, [20])
    damaged = compacted(store)[0]
    spoil(damaged)

    contents, attempts = store.read(), store.attempts()

    assert contents.runs.num_rows == len(attempts.outcomes) == 11
    for problems in (contents.problems, attempts.problems):
        assert [f"{damaged} is damaged" in problem for problem in problems] == [True]
    lost = {make_cell(seed=seed).key for seed in range(20)} - attempts.outcomes.keys()
    assert len(lost) == 10
    assert not any(store.is_done(key) for key in lost)
    compact(store)
    assert damaged.exists()
    assert store.read().runs.num_rows == 11


def test_damaged_compacted_items_leave_the_scores(store):
    record(store, range(4))
    compact(store)
    flip(compacted(store, "items")[0])

    contents = store.read()

    assert (contents.runs.num_rows, contents.items.num_rows) == (4, 0)
    assert ["is damaged" in problem for problem in contents.problems] == [True]
    compacted(store, "items")[0].unlink()
    assert ["the items of 4 runs cannot be compared" in problem for problem in store.read().problems] == [True]


def test_a_foreign_file_among_the_compacted_is_reported(store):
    record(store, range(2))
    compact(store)
    honest = b"this is no table, but its name is right"
    foreign = store.root / "compacted" / f"runs-000009.{durable.digest(honest)}.arrow"
    foreign.write_bytes(honest)
    (store.root / "compacted" / "notes.txt").write_text("mine")

    contents = store.read()

    assert contents.runs.num_rows == 2
    assert {problem.split(" ")[0] for problem in contents.problems} == {
        str(foreign),
        str(store.root / "compacted" / "notes.txt"),
    }
    assert len(store.outcomes()) == 2


# ---------------------------------------------------------------- the same run in two places


def test_a_run_in_a_file_of_its_own_and_in_a_compacted_one_counts_once(store, tmp_path):
    record(store, range(5))
    before = store.read()
    shutil.copytree(store.root, tmp_path / "kept")
    compact(store)
    for kind in ("cells", "items"):
        shutil.copytree(tmp_path / "kept" / kind, store.root / kind, dirs_exist_ok=True)

    assert_same(store.read(), before)
    assert len(store.attempts().outcomes) == 5

    done = compact(store)

    assert (done.folded, cell_files(store), list((store.root / "items").glob("*/*.arrow"))) == (0, [], [])
    assert_same(store.read(), before)


def test_a_run_in_two_compacted_files_counts_once(store, tmp_path):
    record(store, range(5))
    compact(store)
    shutil.copytree(store.root / "compacted", tmp_path / "kept")
    record(store, range(5, 8))
    before = store.read()
    compact(store)
    shutil.copytree(tmp_path / "kept", store.root / "compacted", dirs_exist_ok=True)

    assert len(compacted(store)) == 2
    assert_same(store.read(), before)
    compact(store)
    assert (len(compacted(store)), len(compacted(store, "items"))) == (1, 1)
    assert_same(store.read(), before)


# ---------------------------------------------------------------- others at work


def test_a_compaction_between_listing_and_opening_loses_a_reader_nothing(store, monkeypatch):
    # not by chance: every file is listed, then all of them are folded and removed, then they are opened
    listed = tables.cell_files
    forced = 0

    def meddled(folder, problems):
        nonlocal forced
        names = list(listed(folder, problems))
        if folder.name == "cells" and names and not inside:
            forced += 1
            inside.append(True)
            compact(store)
            inside.clear()
        return iter(names)

    inside = []
    monkeypatch.setattr(tables, "cell_files", meddled)
    ask = [
        lambda: store.read().runs.num_rows,
        lambda: store.read().items.num_rows // 2,
        lambda: len(store.attempts().outcomes),
    ]
    for seed in range(100):
        record(store, [seed])

        assert ask[seed % 3]() == seed + 1
    assert forced == 100
    assert store.read().problems == ()


def test_is_done_holds_while_a_cell_is_folded(store, monkeypatch):
    record(store, range(3))
    listing = tables.compacted_names
    calls = []

    def meddled(root):
        names = listing(root)
        calls.append(names)
        if len(calls) == 1:
            compact(store)
        return names

    monkeypatch.setattr(tables, "compacted_names", meddled)

    assert store.is_done(make_cell(seed=1).key)


WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from recorded import Store, make_cell, make_item, make_run
store, first = Store(Path(sys.argv[1])), int(sys.argv[3])
for seed in range(first, first + 100):
    store.record(make_run(make_cell(seed=seed), run_id=f"r{seed}"), [make_item(0), make_item(1)])
    print(seed, flush=True)
"""


@pytest.mark.slow
def test_nothing_is_lost_or_seen_twice_while_three_processes_record_and_one_compacts(store):
    store.create()
    command = [sys.executable, "-c", WRITER, str(store.root), HERE]
    writers = [subprocess.Popen([*command, first], stdout=subprocess.PIPE, text=True) for first in ("0", "100", "200")]
    compactions = [subprocess.Popen([sys.executable, "-c", COMPACTOR, str(store.root)]) for _ in range(2)]
    seen, reads = 0, 0
    while any(writer.poll() is None for writer in writers):
        try:
            contents = store.read()
        except RequestError:
            continue  # nothing is recorded yet
        ids = contents.runs["run_id"].to_pylist()
        assert len(ids) == len(set(ids))
        assert len(ids) >= seen
        assert contents.items.num_rows == 2 * len(ids)
        assert contents.problems == ()
        seen, reads = len(ids), reads + 1
    for process in compactions:
        process.kill()
        process.wait()

    acknowledged = {int(line) for writer in writers for line in writer.communicate()[0].split()}
    assert acknowledged == set(range(300))
    assert set(store.read().runs["seed"].to_pylist()) == acknowledged
    assert reads > 5
    compact(store)
    assert cell_files(store) == []
    assert sorted(store.read().runs["seed"].to_pylist()) == sorted(acknowledged)


COMPACTOR = """
import sys
from pathlib import Path
from pkt_bench.compaction import compact
from pkt_bench.store import Store
while True:
    compact(Store(Path(sys.argv[1])), runs_per_file=120)
"""


KILLED = """
import json, os, random, signal, sys, time
sys.path.insert(0, sys.argv[2])
from pathlib import Path
import pyarrow as pa, pyarrow.compute
from pkt_bench.compaction import compact
from recorded import Store, make_cell, make_item, make_run
store = Store(Path(sys.argv[1]))
random.seed(int(sys.argv[3]))
pa.array([1])
seed, short, twice, problems, unfinished = 0, 0, 0, 0, 0
for kill in range(60):
    for _ in range(8):
        store.record(make_run(make_cell(seed=seed), run_id=f"r{seed}"), [make_item(0), make_item(1)])
        seed += 1
    pid = os.fork()
    if pid == 0:
        compact(store, runs_per_file=50)
        os._exit(0)
    time.sleep(random.uniform(0, 0.06))
    os.kill(pid, signal.SIGKILL)
    unfinished += os.waitpid(pid, 0)[1] != 0
    contents = store.read()
    ids = contents.runs["run_id"].to_pylist()
    short += len(set(ids)) != seed or contents.items.num_rows != 2 * seed
    twice += len(ids) != len(set(ids))
    problems += len(contents.problems)
print(json.dumps([seed, short, twice, problems, unfinished]))
"""


@pytest.mark.slow
def test_a_compaction_killed_at_any_moment_loses_nothing_and_doubles_nothing(store):
    command = [sys.executable, "-c", KILLED, str(store.root), HERE, "3"]

    answer = subprocess.run(command, capture_output=True, text=True, check=True)

    seeds, short, twice, problems, unfinished = json.loads(answer.stdout)
    assert (short, twice, problems) == (0, 0, 0)
    assert unfinished > 20
    compact(store)
    assert cell_files(store) == []
    assert sorted(store.read().runs["seed"].to_pylist()) == list(range(seeds))
    assert list((store.root / "compacted").glob(".tmp-*")) == []


def test_a_second_compaction_waits_for_the_first(store):
    record(store, range(3))
    (store.root / "compacted").mkdir()
    with durable.locked(store.root / "compacted" / ".lock") as held:
        second = subprocess.Popen(
            [sys.executable, "-m", "pkt_bench", "compact", str(store.root)], stdout=subprocess.PIPE
        )
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(2)

        assert held
        assert len(cell_files(store)) == 3
    assert b"3 runs folded" in second.communicate(timeout=30)[0]
    assert cell_files(store) == []


def test_compacted_items_that_nothing_refers_to_go_after_a_day(store, monkeypatch):
    record(store, range(3))
    compact(store)
    young, old = (store.root / "compacted" / f"items-{number:06d}.{'0' * 32}.arrow" for number in (90, 91))
    for path in (young, old):
        path.write_bytes(b"")
    os.utime(old, (0, 0))
    before = store.read()
    record(store, [3])

    compact(store)

    assert (young.exists(), old.exists()) == (True, False)
    assert store.read().items.num_rows == before.items.num_rows + 2


# ---------------------------------------------------------------- the command


def test_the_command_says_what_it_did_and_the_board_stays_the_same(store, pkt_bench):
    random.seed(0)
    for seed in range(3):
        for method in ("student", "lora"):
            store.record(make_run(make_cell(method, seed=seed), random.random(), run_id=f"{method} {seed}"))
    before = pkt_bench("board", store.root, "--format", "json").out

    answer = pkt_bench("compact", store.root)

    assert (answer.code, answer.out) == (0, f"{store.root}: 6 runs folded, 6 files before, 1 after\n")
    assert pkt_bench("board", store.root, "--format", "json").out == before


def test_a_folder_that_is_no_run_folder_is_refused(tmp_path, pkt_bench):
    (tmp_path / "thesis.tex").write_text("precious")

    answer = pkt_bench("compact", tmp_path)

    assert answer.code == 2
    assert answer.err.startswith(f"pkt-bench: there is no run folder {tmp_path} to compact.")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

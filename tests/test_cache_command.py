"""`pkt-bench cache`: what can be made again is listed and removed, what is in use or recorded never is."""

import csv
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pkt_bench import durable
from pkt_bench.domain import Outcome
from pkt_bench.stages import StageCache
from pkt_bench.store import Store
from recorded import make_cell, make_run

DAY = 86400


@pytest.fixture
def runs(tmp_path):
    """A run folder with a done and a failed cell."""
    store = Store(tmp_path / "runs")
    store.record(make_run(make_cell("done"), run_id="a"))
    store.record(make_run(make_cell("failed"), run_id="b", outcome=Outcome.FAILED))
    return store.root


def add(runs, stage, number, days, size=1000):
    """A stage result last used so many days ago. Removing it is up to others: this process does not use it."""
    script = (
        "import sys, pathlib; from pkt_bench.stages import StageCache\n"
        "save = lambda folder: (folder / 'data').write_bytes(bytes(int(sys.argv[4])))\n"
        "print(StageCache(pathlib.Path(sys.argv[1])).files(sys.argv[2], {'number': sys.argv[3]}, save)[0])"
    )
    command = [sys.executable, "-c", script, str(runs / "stages"), stage, str(number), str(size)]
    folder = Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
    then = time.time() - days * DAY
    os.utime(folder, (then, then))
    return folder


def left(runs):
    return {entry.folder for entry in StageCache(runs / "stages").entries()}


# ---------------------------------------------------------------- ls


def test_every_stage_is_listed_with_its_entries_bytes_and_last_use(runs, warm):
    for number, days in enumerate((3, 1)):
        add(runs, "factors", number, days)
    add(runs, "scores", 0, 2, size=50)
    sizes = {"factors": 0, "scores": 0}
    for entry in StageCache(runs / "stages").entries():
        sizes[entry.stage] += sum(path.stat().st_size for path in entry.folder.iterdir())

    answer = warm("cache", "ls", runs, "--format", "json")

    listed = json.loads(answer.out)
    assert [(row["stage"], row["entries"], row["bytes"]) for row in listed] == [
        ("factors", 2, sizes["factors"]),
        ("scores", 1, sizes["scores"]),
    ]
    day_ago = time.strftime("%Y-%m-%d", time.gmtime(time.time() - DAY))
    assert listed[0]["last used"].startswith(day_ago)
    as_csv = list(csv.DictReader(io.StringIO(warm("cache", "ls", runs, "--format", "csv").out)))
    assert [{key: str(value) for key, value in row.items()} for row in listed] == as_csv
    for form in ("table", "md"):
        assert "factors" in warm("cache", "ls", runs, "--format", form).out


def test_a_folder_without_stage_results_says_so(runs, warm):
    assert warm("cache", "ls", runs).out == f"{runs} holds no stage results\n"
    assert warm("cache", "ls", runs, "--format", "json").out == "[]\n"


# ---------------------------------------------------------------- gc


def test_results_not_used_for_so_long_go(runs, warm):
    old, young = add(runs, "factors", 0, 8), add(runs, "factors", 1, 6)

    answer = warm("cache", "gc", runs, "--older-than", "7d")

    assert answer.code == 0
    assert left(runs) == {young}
    assert answer.out.splitlines()[0].startswith(f"removed {old} (stage result, ")
    assert answer.out.splitlines()[-1].startswith("freed ")


def test_those_used_longest_ago_go_until_no_more_than_asked_is_left(runs, warm):
    folders = [add(runs, "factors", number, days, size=10_000) for number, days in enumerate((1, 4, 2, 3))]

    warm("cache", "gc", runs, "--keep", "25kB")

    assert left(runs) == {folders[0], folders[2]}


def test_a_dry_run_says_the_same_and_removes_nothing(runs, warm):
    add(runs, "factors", 0, 8)
    (add(runs, "factors", 1, 9) / "data").unlink()
    (runs / "stages" / "factors" / f"{'0' * 32}.lock").touch()
    before = sorted(runs.rglob("*"))

    said = warm("cache", "gc", runs, "--older-than", "7d", "--dry-run").out
    after = sorted(runs.rglob("*"))
    done = warm("cache", "gc", runs, "--older-than", "7d").out

    assert before == after
    assert said.replace("would remove", "removed").replace("would free", "freed") == done
    assert left(runs) == set()


def test_without_limits_leftovers_alone_go(runs, warm):
    whole, torn = add(runs, "factors", 0, 100), add(runs, "factors", 1, 0)
    (torn / "data").unlink()
    stage = runs / "stages" / "factors"
    dead = stage / f".{'0' * 32}.{durable.host()}-999999"
    dead.mkdir()
    (dead / "data").write_bytes(b"half")
    orphan = stage / f"{'1' * 32}.lock"
    orphan.touch()

    answer = warm("cache", "gc", runs)

    assert left(runs) == {whole}
    assert not dead.exists()
    assert not orphan.exists()
    assert "(torn stage result, " in answer.out
    assert f"removed {dead} (left by a dead process, 4 bytes)" in answer.out
    assert f"removed {orphan} (lock nobody holds, 0 bytes)" in answer.out


USER = """
import pathlib, sys
from pkt_bench.stages import StageCache
StageCache(pathlib.Path(sys.argv[1])).files("factors", {"number": "0"}, None)
print("mine", flush=True)
sys.stdin.read()
"""


def test_what_a_process_uses_or_computes_stays(runs, warm):
    used, computed = add(runs, "factors", 0, 9), add(runs, "factors", 1, 9)
    command = [sys.executable, "-c", USER, str(runs / "stages")]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as user,
        durable.locked(runs / "stages" / "factors" / f"{computed.name}.lock"),
    ):
        user.stdout.readline()
        answer = warm("cache", "gc", runs, "--keep", "0B")
        kept = left(runs)
        user.kill()

    assert kept == {used, computed}
    assert answer.out == "freed 0 bytes in 0 places\n"


def test_saved_students_of_done_cells_go_where_that_is_asked(runs, warm):
    done, failed = (runs / "artifacts" / make_cell(name).key for name in ("done", "failed"))
    busy = runs / "artifacts" / make_cell("busy").key
    Store(runs).record(make_run(make_cell("busy"), run_id="c"))
    for folder in (done, failed, busy):
        folder.mkdir(parents=True)
        (folder / "student").write_bytes(bytes(100))
        folder.with_name(f".{folder.name}.lock").touch()
    warm("cache", "gc", runs)
    assert done.exists()

    with durable.locked(busy.with_name(f".{busy.name}.lock")):
        answer = warm("cache", "gc", runs, "--artifacts")

    assert answer.out.splitlines() == [
        f"removed {done} (saved student, 100 bytes)",
        "freed 100 bytes in 1 places",
    ]
    assert (failed.exists(), busy.exists()) == (True, True)
    assert not done.with_name(f".{done.name}.lock").exists()
    assert failed.with_name(f".{failed.name}.lock").exists()
    assert len(Store(runs).outcomes()) == 3


@pytest.mark.parametrize(
    ("flags", "phrase"),
    [
        (["--older-than", "7 parsecs"], "--older-than '7 parsecs' will not do.\n  Write a number with s, m, h, d or w"),
        (["--older-than", "soon"], "--older-than 'soon' will not do."),
        (["--keep", "10"], "--keep '10' will not do."),
        (["--keep", "-1GB"], "--keep '-1GB' will not do."),
    ],
)
def test_an_amount_that_is_none_is_refused_before_anything_goes(runs, warm, flags, phrase):
    torn = add(runs, "factors", 0, 9)
    (torn / "data").unlink()

    answer = warm("cache", "gc", runs, *flags)

    assert answer.code == 2
    assert phrase in answer.err
    assert torn.exists()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path, warm):
    (tmp_path / "thesis.tex").write_text("precious")
    (tmp_path / "stages" / "one").mkdir(parents=True)
    (tmp_path / "stages" / "one" / "mine.lock").touch()

    answer = warm("cache", "gc", tmp_path, "--keep", "0B")

    assert answer.code == 2
    assert f"{tmp_path} is not a run folder" in answer.err
    assert (tmp_path / "stages" / "one" / "mine.lock").exists()

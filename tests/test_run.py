"""`pkt-bench run` from plan to board on a pico pair: real processes, real lm-eval, real faults."""

import json
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pytest

GOOD = "pico-student,scale,noise"
BAD = "idle,raises,segfault,leaves,spoils-teacher,poisons,patches,choosy"


def arguments(pico, out, methods, *more):
    return (
        "run",
        "--plugin",
        pico.plugin,
        "--pair",
        "pico",
        "--suite",
        "pico",
        "--methods",
        methods,
        "--out",
        out,
        *more,
    )


def rows_of(out):
    table = pa.concat_tables(
        [pa.ipc.open_file(file).read_all() for file in sorted((out / "cells").rglob("*.arrow"))],
        promote_options="permissive",
    )
    return {row["method"]: row for row in table.to_pylist()}


def items_of(out):
    table = pa.concat_tables([pa.ipc.open_file(file).read_all() for file in sorted((out / "items").rglob("*.arrow"))])
    return sorted(
        (row["cell_key"], row["task"], row["doc_id"], row["metric"], row["response"], row["value"])
        for row in table.to_pylist()
    )


@pytest.fixture(scope="module")
def first(pkt_bench, pico, tmp_path_factory):
    """One run with every method that behaves and every one that does not."""
    out = tmp_path_factory.mktemp("run") / "runs"
    return pkt_bench(*arguments(pico, out, f"{GOOD},{BAD}", "--json")), out


@pytest.mark.slow
def test_bad_cells_are_rows_with_reasons_and_good_ones_are_done(first):
    answer, out = first

    rows = rows_of(out)
    outcomes = {method: row["outcome"] for method, row in rows.items()}
    assert answer.code == 1
    assert outcomes == {
        "pico-student": "done",
        "scale": "done",
        "noise": "done",
        "patches": "failed",
        "idle": "no-effect",
        "raises": "failed",
        "segfault": "crashed",
        "leaves": "failed",
        "spoils-teacher": "contract",
        "poisons": "diverged",
        "choosy": "skipped",
    }
    assert rows["raises"]["reason"] == "ValueError in transfer: the moon is in the wrong phase"
    assert rows["segfault"]["reason"].startswith("the transfer process was ended by SIGSEGV")
    assert "ended with exit code 0 and without a result" in rows["leaves"]["reason"]
    assert "changed the teacher in place" in rows["spoils-teacher"]["reason"]
    assert rows["poisons"]["reason"] == "the new student's lm_head.weight holds NaN or infinity"
    assert rows["idle"]["reason"] == "idle claims to change the student and moved no byte"
    assert rows["choosy"]["reason"] == "it is Monday"


@pytest.mark.slow
def test_stdout_under_json_is_one_record_per_line_and_nothing_else(first):
    answer, _ = first

    records = answer.lines()

    kinds = [record["record"] for record in records]
    assert kinds[0] == "plan"
    assert kinds[-1] == "done"
    assert kinds.count("cell") == 10
    assert records[-1]["outcomes"] == {
        "done": 3,
        "no-effect": 1,
        "failed": 3,
        "crashed": 1,
        "contract": 1,
        "diverged": 1,
    }


@pytest.mark.slow
def test_a_student_that_only_works_in_the_process_that_made_it_is_refused(first):
    """The method `patches` breaks nn.Linear for its whole process: what it returns is not what it saved."""
    _, out = first

    reason = rows_of(out)["patches"]["reason"]

    assert "the saved student is not the one the method returned: its logits differ by" in reason


@pytest.mark.slow
def test_the_row_holds_what_the_change_was_and_what_it_cost(first):
    _, out = first

    row = rows_of(out)["scale"]

    assert row["changed_tensors"] == 1
    # W -> 1.5 W: the change is half the weight
    assert row["delta_over_weight"] == pytest.approx(0.5, rel=1e-6)
    # two rows of a 48-wide float32 teacher matrix
    assert row["payload_bytes"] == 2 * 48 * 4
    assert row["reload_difference"] == 0.0
    assert json.loads(row["stage_seconds"])["scale"] > 0
    assert row["peak_rss_bytes"] > 50e6
    assert json.loads(row["settings"]) == {"factor": 1.5}


@pytest.mark.slow
def test_what_is_done_is_not_done_again_and_another_setting_is_another_cell(first, warm, pico):
    _, out = first

    again = warm(*arguments(pico, out, GOOD, "--json"))
    other = warm(*arguments(pico, out, GOOD, "--json", "--set", "scale.factor=2"))

    assert again.code == 0
    assert [r["state"] for r in again.lines()[0]["cells"]] == ["done"] * 3
    assert sorted(r["state"] for r in other.lines()[0]["cells"]) == ["done", "done", "to run"]


@pytest.mark.slow
def test_two_runs_with_one_seed_agree_item_by_item_and_two_seeds_do_not_share_random_numbers(warm, pico, tmp_path):
    warm(*arguments(pico, tmp_path / "a", GOOD, "--seeds", "2", "--slots", "1"))
    warm(*arguments(pico, tmp_path / "b", GOOD, "--seeds", "2", "--executor", "inline"))

    assert items_of(tmp_path / "a") == items_of(tmp_path / "b")
    assert set(items_of(tmp_path / "a")) <= set(items_of(tmp_path / "b"))
    saved = {p.read_bytes() for p in (tmp_path / "a" / "artifacts").glob("*/changed.safetensors")}
    assert len(saved) == 3  # scale gives one student for both seeds, noise gives two


@pytest.mark.slow
def test_ctrl_c_twice_ends_with_130_keeps_what_is_done_and_leaves_no_process(pico, tmp_path):
    started = pico.folder / "slow-started"
    started.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pkt_bench", *map(str, arguments(pico, tmp_path / "runs", "scale,slow"))]
    # as a shell without job control starts it in the background: with SIGINT ignored
    command = ["bash", "-c", 'trap "" INT; exec "$@"', "bash", *command]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (
        started.exists() and len(list((tmp_path / "runs").glob("cells/*/*.arrow"))) == 1
    ):
        time.sleep(0.1)

    sent = time.monotonic()
    os.kill(run.pid, signal.SIGINT)
    time.sleep(1)
    # the first one waits for the stage to end, which takes two minutes
    assert run.poll() is None
    os.kill(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=60)

    rows = rows_of(tmp_path / "runs")
    assert run.returncode == 130
    assert time.monotonic() - sent < 10
    assert rows["scale"]["outcome"] == "done"
    assert rows["slow"]["outcome"] == "interrupted"
    assert "Run the same command again to go on" in said
    assert "Traceback" not in said
    left = subprocess.run(["pgrep", "-f", str(pico.plugin)], capture_output=True, text=True, check=False).stdout
    assert left == ""


@pytest.mark.slow
def test_sigterm_ends_with_143(pico, tmp_path):
    started = pico.folder / "slow-started"
    started.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pkt_bench", *map(str, arguments(pico, tmp_path / "runs", "slow"))]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not started.exists():
        time.sleep(0.1)

    run.terminate()
    run.communicate(timeout=60)

    assert run.returncode == 143
    assert rows_of(tmp_path / "runs")["slow"]["outcome"] == "interrupted"


@pytest.mark.slow
def test_a_run_that_is_stopped_while_its_first_process_is_being_made_ends_soon(pico, tmp_path):
    command = [sys.executable, "-m", "pkt_bench", *map(str, arguments(pico, tmp_path / "runs", "slow"))]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    line = ""
    while "started slow" not in line:
        line = run.stderr.readline()

    sent = time.monotonic()
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)

    assert run.returncode == 130
    assert time.monotonic() - sent < 20


@pytest.mark.slow
def test_two_runs_on_one_folder_share_the_work(pico, tmp_path):
    out = tmp_path / "runs"
    methods = "pico-student,scale,noise,patches"
    command = [sys.executable, "-m", "pkt_bench", *map(str, arguments(pico, out, methods, "--seeds", "2"))]

    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [run.communicate(timeout=240) for run in runs]

    cells = [path.name[:32] for path in (out / "cells").rglob("*.arrow")]
    tables = [pa.ipc.open_file(path).read_all().to_pylist() for path in sorted((out / "cells").rglob("*.arrow"))]
    done = [row["cell_key"] for rows in tables for row in rows if row["outcome"] == "done"]
    assert all("is not a saved student" not in err for _, err in said)
    # `patches` never gets done, so each run tries it; what is done is done once
    assert len(done) == len(set(done)) == 6
    assert len(set(cells)) == 8
    assert [run.returncode for run in runs] == [1, 1]


@pytest.mark.slow
def test_what_another_attempt_cost_is_not_taken_for_a_failed_ones(pico, warm, tmp_path):
    """The method fails in its second attempt: its row must know nothing of what the first one changed."""
    plugin = tmp_path / "moody.py"
    plugin.write_text(
        "import os\nfrom pkt_bench import Method, Settings, Transferred, hookimpl\n\n\n"
        "def transfer(context):\n"
        "    if os.environ.get('MOOD') == 'bad':\n        raise ValueError('no')\n"
        "    context.pair.student.lm_head.weight.data *= 2\n"
        "    largest = context.pair.student.lm_head.weight.max()\n"
        "    return Transferred(context.pair.student, notes={'scalar': largest})\n\n\n"
        "@hookimpl\ndef pkt_bench_methods():\n"
        "    yield Method('moody', 'm', 'control', transfer, Settings)\n"
    )
    more = ("--plugin", plugin, "--executor", "inline", "--fresh")

    good = warm(*arguments(pico, tmp_path / "runs", "moody", *more))
    bad = warm(*arguments(pico, tmp_path / "runs", "moody", *more), MOOD="bad")

    tables = [pa.ipc.open_file(path).read_all().to_pylist()[0] for path in (tmp_path / "runs").rglob("cells/*/*.arrow")]
    by_outcome = {row["outcome"]: row for row in tables}
    assert (good.code, bad.code) == (0, 1)
    assert by_outcome["done"]["changed_tensors"] == 1
    assert isinstance(json.loads(by_outcome["done"]["notes"])["scalar"], float)
    assert by_outcome["failed"]["changed_tensors"] is None
    assert by_outcome["failed"]["transfer_seconds"] is None
    assert by_outcome["done"]["payload_bytes"] is None


@pytest.mark.slow
def test_a_cell_s_processor_time_is_its_own_where_several_share_a_process(pico, warm, tmp_path):
    answer = warm(*arguments(pico, tmp_path / "runs", "scale,noise", "--seeds", "3", "--executor", "inline"))

    tables = [pa.ipc.open_file(path).read_all().to_pylist()[0] for path in (tmp_path / "runs").rglob("cells/*/*.arrow")]
    spent = sum(row["transfer_cpu_seconds"] + row["score_cpu_seconds"] for row in tables)
    assert answer.code == 0
    # a process cannot have spent more than the wall time of its one thread, here that of all six cells
    assert spent <= 1.2 * sum(row["seconds"] for row in tables)


@pytest.mark.slow
def test_ctrl_c_ends_a_run_that_computes_in_its_own_process(pico, tmp_path):
    started = pico.folder / "slow-started"
    started.unlink(missing_ok=True)
    more = ("--seeds", "2", "--executor", "inline")
    command = [sys.executable, "-m", "pkt_bench", *map(str, arguments(pico, tmp_path / "runs", "slow", *more))]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not started.exists():
        time.sleep(0.1)

    os.kill(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=60)

    tables = [pa.ipc.open_file(path).read_all() for path in (tmp_path / "runs").rglob("cells/*/*.arrow")]
    assert run.returncode == 130, said
    # the other cell was not begun
    assert [table["outcome"].to_pylist() for table in tables] == [["interrupted"]]

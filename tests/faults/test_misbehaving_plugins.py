"""Eight plugins that do what plugins should not: each costs its own cell, with its own word, and no other a digit."""

import json
import shutil
import time

import psutil
import pyarrow as pa
import pytest

GOOD = "pico-student,scale,noise"


def sweep(pkt_bench, pico, out, methods, *more, **env):
    chosen = ("--plugin", pico.plugin, "--pair", "pico", "--suite", "pico", "--methods", methods, "--seeds", "2")
    return pkt_bench("run", *chosen, "--out", out, "--json", *more, **env)


def rows_of(out):
    files = sorted((out / "cells").rglob("*.arrow"))
    return [row for file in files for row in pa.ipc.open_file(file).read_all().to_pylist()]


def answers_of(out):
    files = sorted((out / "items").rglob("*.arrow"))
    rows = [row for file in files for row in pa.ipc.open_file(file).read_all().to_pylist()]
    return sorted((row["cell_key"], row["doc_id"], row["response"], row["value"]) for row in rows)


@pytest.fixture(scope="module")
def calm(warm, pico, tmp_path_factory):
    """The good cells alone, undisturbed."""
    out = tmp_path_factory.mktemp("calm") / "runs"
    assert sweep(warm, pico, out, GOOD).code == 0
    return out


@pytest.fixture(scope="module")
def wild(pkt_bench, pico, misbehaving, tmp_path_factory):
    """The same cells among eight misbehaving plugins."""
    out = tmp_path_factory.mktemp("wild") / "runs"
    mixed = ",".join((*misbehaving.methods, *GOOD.split(",")))
    limits = ("--cell-seconds", "12", "--cell-memory", "2GB")
    answer = sweep(pkt_bench, pico, out, mixed, *limits, PYTHONPATH=str(misbehaving.path))
    return answer, out


@pytest.mark.slow
def test_each_misbehaving_plugin_has_its_own_outcome_and_reason(wild):
    answer, out = wild

    found = {}
    for row in rows_of(out):
        found.setdefault(row["method"], {(row["outcome"], row["reason"])}).add((row["outcome"], row["reason"]))
    said = {method: next(iter(pairs)) for method, pairs in found.items() if len(pairs) == 1}
    assert answer.code == 1
    assert said["raiser"] == ("failed", "ValueError in transfer: no such layer: 7")
    assert said["hanger"] == (
        "timeout",
        "the cell took more than 12 s and was ended in transfer. Raise --cell-seconds, or leave it be.",
    )
    assert {outcome for outcome, _ in found["segfaulter"]} == {"crashed"}
    assert all("the transfer process was ended by SIGSEGV" in reason for _, reason in found["segfaulter"])
    assert {outcome for outcome, _ in found["glutton"]} == {"out-of-memory"}
    assert all("Raise --cell-memory, or lower --slots." in reason for _, reason in found["glutton"])
    assert said["vandal"] == (
        "contract",
        "the method changed the teacher in place; work on `pair.student`, or put back every weight you touch",
    )
    assert said["poisoner"] == ("diverged", "the new student's lm_head.weight holds NaN or infinity")
    assert said["litterer"] == ("done", "")


@pytest.mark.slow
def test_all_other_cells_are_done_with_unchanged_answers(wild, calm):
    _, out = wild

    good = {row["cell_key"] for row in rows_of(calm)}
    assert len(good) == 6
    assert [row for row in rows_of(out) if row["cell_key"] in good and row["outcome"] != "done"] == []
    assert [answer for answer in answers_of(out) if answer[0] in good] == answers_of(calm)


@pytest.mark.slow
def test_what_a_method_left_behind_in_its_process_is_in_its_row_and_nowhere_else(wild, pico):
    _, out = wild

    rows = [row for row in rows_of(out) if row["method"] == "litterer"]
    left = json.loads(rows[0]["notes"])["left_behind"]
    assert "environment LITTER" in left
    assert "environment HF_HOME" in left
    assert "threads 1 -> 3" in left
    assert "default dtype torch.float32 -> torch.float64" in left
    assert any(each.startswith("working directory") for each in left)
    assert all("left_behind" not in json.loads(row["notes"]) for row in rows_of(out) if row["method"] == "scale")
    assert not list((out / "work" / "scratch").iterdir())


@pytest.mark.slow
def test_nothing_that_a_plugin_started_outlives_its_cell(wild, misbehaving):
    time.sleep(1)

    alive = [p for p in psutil.process_iter(["cmdline"]) if str(misbehaving.path) in " ".join(p.info["cmdline"] or ())]
    environments = []
    for process in psutil.process_iter():
        try:
            if str(misbehaving.path) in process.environ().get("PYTHONPATH", ""):
                environments.append(process)
        except psutil.Error:
            continue
    assert alive == []
    assert environments == []


@pytest.mark.slow
def test_a_plugin_that_cannot_be_imported_is_listed_with_its_reason_and_refused_where_it_is_asked_for(
    pkt_bench, misbehaving
):
    listed = pkt_bench("plugins", "list", "--format", "json", PYTHONPATH=str(misbehaving.path))
    asked = pkt_bench("plan", "--methods", "import-error", PYTHONPATH=str(misbehaving.path))

    broken = next(row for row in json.loads(listed.out) if row["distribution"] == "import-error")
    assert broken["status"] == "broken"
    assert broken["reason"] == "cannot be imported: RuntimeError: the library it stands on is broken"
    assert asked.code == 2
    assert "no method is called 'import-error'." in asked.err
    assert (
        "The plugin 'misbehaving_import_error' of import-error cannot be used: cannot be imported: RuntimeError:"
        " the library it stands on is broken.\n" in asked.err
    )
    assert "1 plugin could not be loaded and may offer it: pkt-bench plugins list" in asked.err


GRABBER = """
    def transfer(context):
        from pathlib import Path
        out = Path(context.cache.root).parent
        tried = []
        for path in [*out.glob("cells/*/*.arrow"), *out.glob("items/*/*.arrow"), out / "pkt-bench.json"]:
            for crime in (lambda: path.write_bytes(b"x"), path.unlink, lambda: path.rename(path.with_suffix(".gone"))):
                try:
                    crime()
                    tried.append(f"{path.name} was in reach")
                except OSError:
                    pass
        for path in (out / "cells" / "ab", out / "mine", out.parent / "beside"):
            try:
                path.mkdir()
                tried.append(f"{path} could be made")
            except OSError:
                pass
        (out / "stages" / "mine").mkdir(parents=True, exist_ok=True)
        Path("scratch.txt").write_text("allowed")
        student = scaled(context)
        return Transferred(student.student, notes={"tried": tried})
    """


@pytest.mark.slow
def test_a_plugin_cannot_write_into_the_rows(warm, pico, tmp_path, install):
    from pkt_bench.sandbox.inside import landlock

    try:
        landlock.abi()
    except OSError:
        pytest.skip("this kernel has no Landlock")
    site = tmp_path / "site"
    site.mkdir()
    install(site, "grabber", GRABBER)
    sweep(warm, pico, tmp_path / "runs", "pico-student")
    before = {file: file.read_bytes() for file in (tmp_path / "runs").rglob("*.arrow") if file.name != "board.arrow"}

    answer = sweep(warm, pico, tmp_path / "runs", "grabber", "--plugin", site / "misbehaving_grabber.py")

    assert answer.code == 0
    rows = [row for row in rows_of(tmp_path / "runs") if row["method"] == "grabber"]
    assert [json.loads(row["notes"])["tried"] for row in rows] == [[], []]
    assert {file: file.read_bytes() for file in before} == before


@pytest.mark.slow
def test_what_is_left_behind_in_a_process_is_put_back_where_all_cells_share_one(
    pkt_bench, pico, misbehaving, tmp_path, calm
):
    """First `litterer`, then the good cells: its threads, dtype, seeds and environment must not reach them."""
    site = {"PYTHONPATH": str(misbehaving.path)}

    answer = sweep(pkt_bench, pico, tmp_path / "runs", f"litterer,{GOOD}", "--executor", "inline", **site)

    good = {row["cell_key"] for row in rows_of(calm)}
    assert answer.code == 0
    assert [each for each in answers_of(tmp_path / "runs") if each[0] in good] == answers_of(calm)
    assert all("left_behind" not in row["notes"] for row in rows_of(tmp_path / "runs") if row["method"] != "litterer")


FORGER = """
    def transfer(context):
        from pathlib import Path
        file = Path(context.pair.pair.teacher.path) / "model.safetensors"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(bytes(content))
        return scaled(context)
    """


@pytest.mark.slow
def test_a_plugin_that_changes_a_checkpoint_on_the_disk_is_named(warm, pico, tmp_path, install):
    site = tmp_path / "site"
    site.mkdir()
    install(site, "forger", FORGER)
    shutil.copytree(pico.folder / "pico", tmp_path / "pico")
    given = ("--pair", f"{tmp_path / 'pico' / 'teacher'}:{tmp_path / 'pico' / 'student'}", "--suite", "pico")

    answer = warm(
        *("run", "--plugin", pico.plugin, "--plugin", site / "misbehaving_forger.py", *given),
        *("--methods", "forger", "--out", tmp_path / "runs", "--json"),
    )

    (row,) = rows_of(tmp_path / "runs")
    assert answer.code == 1
    assert row["outcome"] == "contract"
    assert "the teacher's files in" in row["reason"]
    assert row["reason"].endswith("They were as planned before forger began: it changed them.")


LEAVES = '''"""Leaves a process behind, in a session of its own, and is over before anybody looks."""
import subprocess

from pkt_bench import Method, Settings, Transferred, hookimpl


def transfer(context):
    subprocess.Popen(["sleep", "61.25"], start_new_session=True)
    context.pair.student.lm_head.weight.data *= 1.5
    return Transferred(context.pair.student)


@hookimpl
def pkt_bench_methods():
    yield Method("leaver", "leaves a process", "control", transfer, Settings, uses="nothing")
'''


@pytest.mark.slow
def test_a_process_in_a_session_of_its_own_ends_with_its_phase_however_short_that_was(warm, pico, tmp_path):
    (tmp_path / "leaver.py").write_text(LEAVES, encoding="utf-8")

    answer = warm(
        *("run", "--plugin", pico.plugin, "--plugin", tmp_path / "leaver.py", "--pair", "pico", "--suite", "pico"),
        *("--methods", "leaver", "--seeds", "2", "--out", tmp_path / "runs", "--json"),
    )

    alive = [process for process in psutil.process_iter(["cmdline"]) if "61.25" in (process.info["cmdline"] or ())]
    assert answer.code == 0
    assert alive == []

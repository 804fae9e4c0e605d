"""A cell's key changes with everything that can change its result, and with nothing else."""

import dataclasses
import json
import os
import shutil

import pytest
from safetensors.torch import load_file, save_file

import pkt_bench
from pkt_bench import planning, plugins
from pkt_bench.data import data_digest
from pkt_bench.domain import Budget, CellLimits, ModelRef, Outcome, PromptSpec, Record, Run, digest_of
from pkt_bench.errors import RequestError, UnavailableError
from pkt_bench.pipeline import new_run_id, now
from pkt_bench.request import build
from pkt_bench.store import Store

BASE = {"methods": ["scale"], "pairs": ["pico"], "suites": ["pico"]}


@pytest.fixture
def folder(pico, tmp_path):
    """A copy of the pico pair and its plugin, to be edited."""
    copy = tmp_path / "copy"
    shutil.copytree(pico.folder, copy)
    return copy


def forget():
    for cached in (data_digest, planning._folder_digest):
        cached.cache_clear()


def plan_of(folder, registry=None, assignments=(), **flags):
    forget()
    given = {**BASE, "plugins": [folder / "pico_plugin.py"], "out": folder / "runs", **flags}
    request = build(given, None, assignments)
    return planning.make_plan(request, registry or plugins.load(request.plugins), Store(request.out))


def key_of(folder, registry=None, assignments=(), **flags):
    return plan_of(folder, registry, assignments, **flags).jobs[-1].cell.key


@pytest.mark.parametrize(
    "change",
    [
        {"limit": 2},
        {"batch_size": 8},
        {"threads": 2},
        {"dtype": "bfloat16"},
        {"dtype": "float16"},
        {"seeds": 2},
        {"assignments": ["scale.factor=2"]},
        {"assignments": ["scale.factor=1.5000001"]},
        {"methods": ["noise"]},
        {"methods": ["patches"]},
        {"methods": ["scale:shuffled"]},
        {"budget": ["tokens=1e6"]},
        {"budget": ["tokens=2e6"]},
        {"budget": ["steps=200"]},
        {"budget": ["trainable=500000"]},
        {"budget": ["seconds=60"]},
        {"budget": ["tokens=1e6,seconds=60"]},
    ],
    ids=str,
)
def test_a_flag_that_can_move_a_number_changes_the_key(folder, change):
    assert key_of(folder, **change) != key_of(folder)


def test_every_such_flag_gives_a_key_of_its_own(folder):
    changes = [
        *({"budget": [text]} for text in ("tokens=1e6", "tokens=2e6", "steps=1e6", "trainable=1e6", "seconds=1e6")),
        *({"limit": number} for number in (1, 2, 3)),
        *({"batch_size": number} for number in (1, 2, 3)),
        *({"threads": number} for number in (2, 3)),
        *({"assignments": [f"scale.factor={number}"]} for number in (1, 2, 3)),
    ]

    assert len({key_of(folder, **change) for change in changes}) == len(changes)


@pytest.mark.parametrize(
    "change",
    [
        {"slots": 3},
        {"executor": "inline"},
        {"fresh": True},
        {"assignments": ["scale.factor=1.5"]},
        {"assignments": ["scale.factor=15e-1"]},
        {"methods": ["scale", "scale"]},
        {"methods": ["pico_plugin.py/scale"]},
        {"methods": ["noise", "scale"]},
        {"suites": ["pico_plugin.py/pico"]},
        {"pairs": ["pico,pico"]},
        {"seeds": "1"},
        {"retry": ["none"]},
        {"retry": ["failed,timeout"]},
        {"cell_seconds": "2h"},
        {"cell_memory": "8GB"},
        {"cell_disk": "2GB"},
        {"allow_small_teacher": True},
        {"assignments": ["process.anything=1"]},
    ],
    ids=str,
)
def test_a_flag_that_cannot_move_a_number_leaves_the_key(folder, change):
    assert key_of(folder, **change) == key_of(folder)


def test_a_budget_of_nothing_is_no_part_of_what_a_key_is_made_of(folder):
    plain = plan_of(folder).jobs[0].cell.identity
    spent = plan_of(folder, budget=["steps=1e3"]).jobs[0].cell.identity

    assert "budget" not in plain["knobs"]
    assert spent["knobs"] == plain["knobs"] | {"budget": {"steps": 1000}}


def test_which_of_several_devices_it_was_is_no_part_of_the_key(folder, monkeypatch):
    monkeypatch.setattr(planning.preflight, "check_device", lambda device: None)

    keys = {key_of(folder, device=device) for device in ("cuda", "cuda:0", "cuda:1")}

    assert len(keys) == 1
    assert key_of(folder) not in keys
    job = plan_of(folder, device="cuda:1").jobs[0]
    assert (job.cell.knobs.device, job.device) == ("cuda", "cuda:1")


def test_a_checkpoint_is_the_same_however_its_path_is_written(folder, monkeypatch, tmp_path):
    teacher, student = folder / "pico" / "teacher", folder / "pico" / "student"
    (tmp_path / "link").symlink_to(folder / "pico")
    monkeypatch.chdir(folder)

    keys = {
        key_of(folder, pairs=[f"{teacher}:{student}"]),
        key_of(folder, pairs=["pico/teacher:pico/student"]),
        key_of(folder, pairs=["./pico/../pico/teacher:pico//student/"]),
        key_of(folder, pairs=[f"{tmp_path}/link/teacher:{tmp_path}/link/student"]),
    }

    assert len(keys) == 1


def test_limits_of_a_cell_are_in_its_job(folder):
    (job,) = plan_of(folder, cell_seconds="10m", cell_memory="8GiB", cell_disk="2GB").jobs

    assert job.limits == CellLimits(600, 8 << 30, 2 * 10**9)
    assert job.cell.knobs.budget == Budget()
    assert plan_of(folder, budget=["steps=5"]).jobs[0].cell.knobs.budget == Budget(steps=5)


def test_the_out_folder_and_the_order_of_methods_leave_the_keys(folder, tmp_path):
    one = {job.cell.key for job in plan_of(folder, methods=["scale", "noise"]).jobs}
    other = {job.cell.key for job in plan_of(folder, methods=["noise", "scale"], out=tmp_path / "elsewhere").jobs}

    assert one == other


def edit_weight(path):
    tensors = load_file(path / "model.safetensors")
    tensors["model.norm.weight"][0] += 1e-3
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def flip_last_bit(path):
    content = bytearray(path.read_bytes())
    content[-4] ^= 1
    path.write_bytes(bytes(content))


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def edit_json(path, **more):
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


@pytest.mark.parametrize(
    "edit",
    [
        lambda folder: edit_weight(folder / "pico" / "teacher"),
        lambda folder: edit_weight(folder / "pico" / "student"),
        lambda folder: flip_last_bit(folder / "pico" / "student" / "model.safetensors"),
        lambda folder: flip_last_bit(folder / "pico" / "teacher" / "model.safetensors"),
        lambda folder: edit_json(folder / "pico" / "student" / "config.json", rms_norm_eps=1e-3),
        lambda folder: edit_json(folder / "pico" / "teacher" / "config.json", rope_theta=5e5),
        lambda folder: edit_json(folder / "pico" / "student" / "tokenizer_config.json", padding_side="left"),
        lambda folder: append(folder / "pico" / "student" / "tokenizer.json", " "),
        lambda folder: (folder / "pico" / "student" / "chat_template.jinja").write_text("{{ messages }}"),
    ],
    ids=[
        "teacher weight",
        "student weight",
        "student bit",
        "teacher bit",
        "student configuration",
        "teacher configuration",
        "tokenizer setting",
        "tokenizer byte",
        "chat template",
    ],
)
def test_a_changed_checkpoint_changes_the_key(folder, edit):
    before = key_of(folder)

    edit(folder)

    assert key_of(folder) != before


def test_what_is_not_the_checkpoint_leaves_the_key(folder):
    before = key_of(folder)

    (folder / "pico" / "student" / "README.md").write_text("new words")
    os.utime(folder / "pico" / "student" / "model.safetensors", (1, 1))

    assert key_of(folder) == before


def edited_suite(folder, **fields):
    registry = plugins.load([folder / "pico_plugin.py"])
    offer = registry.suites.get("pico")
    changed = dataclasses.replace(offer, item=dataclasses.replace(offer.item, **fields))
    registry.suites.offers["pico"] = [changed]
    return registry


def test_a_changed_record_prompt_or_test_document_changes_the_key(folder):
    plain = plugins.load([folder / "pico_plugin.py"]).suites.get("pico").item

    keys = {
        key_of(folder, edited_suite(folder)),
        key_of(folder, edited_suite(folder, records=lambda split: [*plain.records(split), Record.of("a", "b")])),
        key_of(folder, edited_suite(folder, prompt=PromptSpec(user="Q: {content}"))),
        key_of(folder, edited_suite(folder, test_prompts=lambda: ["other"])),
    }

    assert len(keys) == 4


def test_an_edited_task_file_changes_the_key(folder):
    before = key_of(folder, edited_suite(folder))
    path = folder / "edited-tasks"
    shutil.copytree(folder / "pico-tasks", path)
    same = key_of(folder, edited_suite(folder, task_path=path))
    with (path / "pico.yaml").open("a") as file:
        file.write("description: 'Think.'\n")

    assert same == before
    assert key_of(folder, edited_suite(folder, task_path=path)) != before


def test_a_pair_in_another_place_under_another_name_has_another_key_only_for_its_name(folder, tmp_path):
    shutil.copytree(folder / "pico", tmp_path / "moved")
    pair = f"{tmp_path}/moved/teacher:{tmp_path}/moved/student"

    here = plan_of(folder).jobs[0].cell.identity
    there = plan_of(folder, pairs=[pair]).jobs[0].cell.identity

    assert {**there, "pair": here["pair"]} == here


def edited_method(folder, **fields):
    registry = plugins.load([folder / "pico_plugin.py"])
    offer = registry.methods.get("scale")
    registry.methods.offers["scale"] = [dataclasses.replace(offer, item=dataclasses.replace(offer.item, **fields))]
    return registry


@pytest.mark.parametrize(
    "fields",
    [{"version": "2"}, {"paradigm": "language"}, {"control_of": "noise"}],
    ids=lambda fields: next(iter(fields)),
)
def test_what_a_method_says_it_is_is_part_of_the_key(folder, fields):
    assert key_of(folder, edited_method(folder, **fields)) != key_of(folder, edited_method(folder))


@pytest.mark.parametrize("fields", [{"summary": "other words"}, {"paper": "https://example.org"}], ids=str)
def test_what_is_said_about_a_method_is_not(folder, fields):
    assert key_of(folder, edited_method(folder, **fields)) == key_of(folder, edited_method(folder))


@pytest.mark.parametrize("fields", [{"shots": 1}, {"limit": 2}, {"chance": 0.5}], ids=str)
def test_every_knob_of_a_task_is_part_of_the_key(folder, fields):
    suite = plugins.load([folder / "pico_plugin.py"]).suites.get("pico").item
    changed = edited_suite(folder, tasks=(dataclasses.replace(suite.tasks[0], **fields),))

    assert key_of(folder, changed) != key_of(folder, edited_suite(folder))


@pytest.mark.parametrize("name", ["torch", "transformers", "lm_eval"])
def test_another_release_of_a_library_changes_the_key(folder, monkeypatch, name):
    before = key_of(folder)
    versions = planning.library_versions() | {name: "99.1"}
    monkeypatch.setattr(planning, "library_versions", lambda: versions)

    assert key_of(folder) != before


def attempted(folder, outcome):
    plan = plan_of(folder)
    Store(plan.request.out).record(Run(new_run_id(), plan.jobs[0].cell, outcome, "", now()))


@pytest.mark.parametrize(
    ("outcome", "retry", "state"),
    [
        (Outcome.FAILED, ["all"], "jobs"),
        (Outcome.FAILED, ["failed"], "jobs"),
        (Outcome.FAILED, ["timeout,failed"], "jobs"),
        (Outcome.FAILED, ["timeout"], "left"),
        (Outcome.FAILED, ["none"], "left"),
        (Outcome.TIMEOUT, ["failed", "killed"], "left"),
        (Outcome.OUT_OF_MEMORY, ["out-of-memory"], "jobs"),
        (Outcome.INTERRUPTED, ["none"], "jobs"),
        (Outcome.SKIPPED, ["none"], "jobs"),
        (Outcome.DONE, ["all"], "done"),
        (Outcome.DONE, ["none"], "done"),
    ],
)
def test_what_was_tried_before_runs_again_if_its_outcome_is_named(folder, outcome, retry, state):
    attempted(folder, outcome)

    plan = plan_of(folder, retry=retry)

    assert {name: len(getattr(plan, name)) for name in ("jobs", "done", "left", "skips")} == {
        **dict.fromkeys(("jobs", "done", "left", "skips"), 0),
        state: 1,
    }
    assert len(plan.cells) == 1


def test_a_cell_that_is_left_says_how_it_ended_and_what_would_run_it(folder):
    attempted(folder, Outcome.TIMEOUT)

    (left,) = plan_of(folder, retry=["none"]).left

    assert (left.cell.method, left.outcome) == ("scale", "timeout")
    assert left.reason == "ended as timeout before; --retry timeout runs it again"


def test_never_tried_cells_run_whatever_is_retried_and_fresh_wins(folder):
    assert plan_of(folder, retry=["none"]).jobs
    attempted(folder, Outcome.FAILED)

    assert plan_of(folder, retry=["none"], fresh=True).jobs


def test_only_done_counts_as_done(folder):
    plan = plan_of(folder)
    store = Store(plan.request.out)
    cell = plan.jobs[0].cell

    states = []
    for outcome in (Outcome.FAILED, Outcome.INTERRUPTED, Outcome.NO_EFFECT, Outcome.SKIPPED, Outcome.DONE):
        store.record(Run(new_run_id(), cell, outcome, "", now()))
        states.append(len(plan_of(folder).done))

    assert states == [0, 0, 0, 0, 1]


def test_records_that_are_test_documents_are_reported(folder):
    suite = plugins.load([folder / "pico_plugin.py"]).suites.get("pico").item
    leaking = edited_suite(folder, records=lambda split: [Record.of(p, " x") for p in suite.test_prompts()[:3]])

    plan = plan_of(folder, leaking)

    assert "suite 'pico': 3 train records have the prompt of a test document" in plan.warnings


def test_a_teacher_no_larger_than_the_student_is_refused_unless_allowed(folder):
    teacher, student = folder / "pico" / "teacher", folder / "pico" / "student"

    with pytest.raises(RequestError, match="is not larger than the student"):
        plan_of(folder, pairs=[f"{student}:{teacher}"])
    with pytest.raises(RequestError, match="are the same checkpoint"):
        plan_of(folder, pairs=[f"{student}:{student}"])
    assert plan_of(folder, pairs=[f"{student}:{student}"], allow_small_teacher=True).jobs


def test_a_key_does_not_depend_on_the_order_of_a_mapping():
    assert digest_of({"a": 1, "b": {"c": 2, "d": 3}}) == digest_of({"b": {"d": 3, "c": 2}, "a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest_of({"a": float("nan")})


def test_a_model_reference_is_labelled_by_its_name_and_size(folder):
    cell = plan_of(folder).jobs[0].cell

    assert cell.teacher.startswith("teacher (0.")
    assert ModelRef(folder, name="x") != ModelRef(folder)


def test_a_changed_answer_beside_the_task_changes_the_key(folder):
    before = key_of(folder, edited_suite(folder))
    path = folder / "edited-tasks"
    shutil.copytree(folder / "pico-tasks", path)
    documents = json.loads((path / "documents.json").read_text())
    documents[0]["gold"] = 3
    (path / "documents.json").write_text(json.dumps(documents))

    assert key_of(folder, edited_suite(folder, task_path=path)) != before


def test_an_edited_plugin_changes_the_key_of_its_methods(folder):
    before = key_of(folder)
    plugin = folder / "pico_plugin.py"
    plugin.write_text(plugin.read_text() + "\n# edited\n")

    assert key_of(folder) != before


def test_generation_settings_of_a_checkpoint_are_part_of_it(folder):
    before = key_of(folder)

    (folder / "pico" / "student" / "generation_config.json").write_text('{"repetition_penalty": 1.6}')

    assert key_of(folder) != before


def test_a_skip_that_raises_skips_its_own_cell_and_names_its_author(folder):
    plugin = folder / "pico_plugin.py"
    plugin.write_text(
        plugin.read_text().replace('lambda question: "it is Monday"', "lambda question: question.nothing")
    )

    plan = plan_of(folder, methods=["choosy", "scale"])

    assert [job.cell.method for job in plan.jobs] == ["scale"]
    assert plan.skips[0].reason.startswith("the skip of pico_plugin.py/choosy raised AttributeError")


def test_records_that_cannot_be_had_are_an_error_that_names_the_suite(folder):
    def broken(split):
        raise KeyError(split)

    with pytest.raises(UnavailableError, match=r"suite pico_plugin\.py/pico: its records cannot be had: KeyError"):
        plan_of(folder, edited_suite(folder, records=broken))


def test_the_code_of_every_room_that_methods_compute_with_is_in_the_key():
    # errors, hooks, trackers and executors move nothing, settings are in the key as values, the sandbox as a folder
    silent = {"errors", "hookspecs", "settings", "sandbox", "tracking"}

    rooms = {room for room in pkt_bench._ROOMS if not room.startswith("executors.")}
    assert rooms - silent <= set(planning.MOVES_NUMBERS)

"""What a run would stumble over is found before it starts: the machine, the data, and, with the libraries, the rest."""

import dataclasses
import json
import shutil
import subprocess

import pytest
import torch
from safetensors.torch import load_file, save_file

from pkt_bench import models, planning, plugins, preflight
from pkt_bench.data import data_digest
from pkt_bench.domain import CellLimits, ModelRef, Pair
from pkt_bench.errors import IntegrityError, RequestError, StorageError, UnavailableError
from pkt_bench.preflight import Findings
from pkt_bench.request import build
from pkt_bench.store import Store
from pkt_bench.testing import pico_pair, pico_suite


@pytest.fixture
def folder(pico, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(pico.folder, copy)
    return copy


def plan_of(folder, free_bytes=None, **flags):
    for cached in (data_digest, planning._folder_digest):
        cached.cache_clear()
    given = {"methods": ["scale"], "pairs": ["pico"], "suites": ["pico"], "plugins": [folder / "pico_plugin.py"]}
    request = build(given | {"out": folder / "runs"} | flags, None)
    registry = plugins.load(request.plugins, {"PKT_BENCH_LOAD_PLUGINS": ""})
    return planning.make_plan(request, registry, Store(request.out), free_bytes=free_bytes)


# ---------------------------------------------------------------- all at once


@pytest.mark.parametrize(
    ("kinds", "worst"),
    [
        ([RequestError], RequestError),
        ([RequestError, UnavailableError], UnavailableError),
        ([IntegrityError, UnavailableError, RequestError], IntegrityError),
        ([StorageError, UnavailableError], StorageError),
    ],
)
def test_what_is_found_is_raised_together_as_the_worst_of_it(kinds, worst):
    findings = Findings()
    for number, kind in enumerate(kinds):
        with findings.gathered():
            raise kind(f"this {number}.\n  Do that.")

    with pytest.raises(worst) as caught:
        findings.raise_all()

    assert type(caught.value) is worst
    assert all(f"this {number}." in str(caught.value) for number in range(len(kinds)))


def test_several_findings_are_numbered_and_each_is_said_once():
    findings = Findings()
    for text in ("one.\n  Do it.", "two.", "one.\n  Do it."):
        with findings.gathered():
            raise RequestError(text)

    with pytest.raises(RequestError) as caught:
        findings.raise_all()

    assert str(caught.value) == "2 problems, and nothing was started:\n  1. one.\n     Do it.\n  2. two."


def test_nothing_found_is_nothing_raised():
    Findings().raise_all()


# ---------------------------------------------------------------- what a plan says


HEADS = "heads 6 of 8 to 4 of 8"


def test_a_plan_says_how_the_vocabularies_stand_and_what_the_records_give_away(folder):
    assert plan_of(folder).notes == (
        "pair 'pico': vocabularies: same tokenizer",
        f"pair 'pico': shapes: layers 3 to 2, hidden size 48 to 32, feed-forward neurons 96 to 64, {HEADS}",
        "suite 'pico': overlap with test documents: none (exact prompts; 13-grams of words)",
    )


def rename_tokens(path, names, **more):
    """Gives tokens other texts, by their id, or new ones."""
    file = path / "tokenizer.json"
    content = json.loads(file.read_text())
    texts = {number: text for text, number in content["model"]["vocab"].items()}
    content["model"]["vocab"] = {names.get(number, text): number for number, text in texts.items()} | more
    file.write_text(json.dumps(content))


def test_vocabularies_are_the_same_a_beginning_or_a_share(tmp_path):
    pair = pico_pair(tmp_path)

    def relation():
        return models.vocabulary_relation(pair.teacher, pair.student)

    assert relation() == "same tokenizer"
    (pair.student.path / "tokenizer_config.json").write_text("{}")
    assert relation() == "same vocabulary (257 tokens), other tokenizer settings"
    rename_tokens(pair.teacher.path, {}, **{"more": 300, "still more": 301})
    assert relation() == "different tokenizers; the student's 257 tokens have the same ids in the teacher's 259"
    rename_tokens(pair.student.path, {number: f"other {number}" for number in range(57)})
    assert relation() == "different tokenizers; 200 of the student's 257 tokens (77 %) are tokens of the teacher too"


def test_splits_without_records_and_tests_nobody_knows_are_said(tmp_path):
    suite = pico_suite(tmp_path)
    poor = dataclasses.replace(
        suite, records=lambda split: suite.records(split) if split == "train" else [], test_prompts=list
    )

    assert list(preflight.missing_data(suite)) == []
    assert list(preflight.missing_data(poor)) == [
        "suite 'pico' has no extract and no align and no validation records; methods that need them are skipped",
        "suite 'pico' offers no test prompts, so its records cannot be compared with its test",
    ]


# ---------------------------------------------------------------- the machine


def test_a_disk_without_room_is_refused_with_figures(folder):
    student = 150_480  # bytes of the pico student with its header

    with pytest.raises(StorageError) as caught:
        plan_of(folder, free_bytes=1_000_000, seeds=3)

    assert str(caught.value).startswith(f"{folder}/runs has 1 MB free, and this run may need 67.6 MB: 3 students of up")
    assert models.weight_bytes(ModelRef(folder / "pico" / "student")) < student


def test_the_room_needed_is_that_of_the_students_that_are_saved(folder):
    student = models.weight_bytes(ModelRef(folder / "pico" / "student"))
    needed, one = (int(count * student * 1.2) + (64 << 20) for count in (3, 1))

    assert plan_of(folder, free_bytes=needed, seeds=3).jobs
    with pytest.raises(StorageError):
        plan_of(folder, free_bytes=one - 1, seeds=3)
    (said,) = [each for each in plan_of(folder, free_bytes=needed - 1, seeds=3).warnings if "may need" in each]
    assert said.endswith("adapters take far less")
    assert plan_of(folder, free_bytes=64 << 20, methods=["pico-student"], seeds=3).jobs


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with 8 MiB, where one may be made."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_real_disk_without_room_is_refused_before_any_work(warm, pico, small_disk):
    given = ("--plugin", pico.plugin, "--pair", "pico", "--suite", "pico", "--methods", "scale")

    answer = warm("run", *given, "--out", small_disk / "runs")

    assert answer.code == 4
    assert "has 8.39 MB free, and this run may need 67.3 MB: 1 students of up to 148 kB each" in answer.err
    assert not list(small_disk.rglob("*.arrow"))


def test_a_temporary_folder_that_is_not_there_is_found(pkt_bench, pico, tmp_path):
    given = ("--plugin", pico.plugin, "--pair", "pico", "--suite", "pico", "--methods", "scale")

    answer = pkt_bench("plan", *given, cwd=tmp_path, TMPDIR=str(tmp_path / "absent"))

    assert answer.code == 3
    assert answer.err == (
        f"pkt-bench: temporary files cannot be written to {tmp_path}/absent: No such file or directory.\n"
        "  Make room there, or name another folder: TMPDIR=FOLDER pkt-bench ...\n"
    )


def test_a_model_larger_than_the_memory_is_a_warning(tmp_path):
    pair = pico_pair(tmp_path)
    count = models.parameter_count(pair.teacher)

    def warnings(dtype="float32", machine=1 << 40, **limits):
        return list(preflight.memory_warnings([pair], dtype, CellLimits(**limits), machine))

    assert warnings(machine=4 * count) == []
    assert warnings(machine=4 * count - 1) == [
        (
            f"pair 'pico': teacher takes {4 * count / 1000:.3g} kB in float32, and this machine has"
            f" {(4 * count - 1) / 1000:.3g} kB; methods that read it layer by layer may do"
        )
    ]
    assert warnings("bfloat16", machine=2 * count) == []
    assert warnings(memory_bytes=1000) == [
        f"pair 'pico': teacher takes {4 * count / 1000:.3g} kB in float32, and --cell-memory allows 1 kB"
    ]


def test_a_device_that_is_not_there_is_refused_with_what_is():
    if torch.cuda.is_available():
        pytest.skip("this machine has one")

    with pytest.raises(UnavailableError, match=r"(?s)^--device cuda:7: .*Seen: cpu\. Use --device cpu"):
        preflight.check_device("cuda:7")
    preflight.check_device("cpu")


# ---------------------------------------------------------------- checkpoints, without torch


def rewritten(ref, change):
    file = ref.path / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_found_in_every_type(tmp_path, dtype, value):
    ref = pico_pair(tmp_path).student
    rewritten(ref, lambda tensors: tensors.update({name: each.to(dtype) for name, each in tensors.items()}))
    models.check_finite(ref)
    rewritten(ref, lambda tensors: tensors["model.norm.weight"][3:4].fill_(value))

    with pytest.raises(IntegrityError, match=r"model\.norm\.weight holds NaN or infinity"):
        models.check_finite(ref)


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
@pytest.mark.parametrize(
    "sizes", [{}, {"num_key_value_heads": 2, "tie_word_embeddings": True}], ids=["plain", "grouped"]
)
def test_a_whole_checkpoint_has_the_layout_its_configuration_says(tmp_path, family, sizes):
    pair = pico_pair(tmp_path, family=family, teacher={**sizes, "num_key_value_heads": 3}, student=sizes)

    models.check_layout(pair.student)
    models.check_layout(pair.teacher)


def test_every_family_that_a_test_builds_is_known_and_a_made_up_one_is_not():
    known = models.known_families()

    assert {"llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"} <= known
    assert "minichat" not in known


# ---------------------------------------------------------------- with the libraries


def heavy(folder, **flags):
    return preflight.problems(plan_of(folder, **flags).jobs)


def test_what_is_in_order_gives_no_problem(folder):
    assert heavy(folder) == []
    assert preflight.problems([]) == []


def test_an_unexpected_weight_is_found_without_loading_one(folder):
    rewritten(ModelRef(folder / "pico" / "student"), lambda tensors: tensors.update(extra=torch.zeros(2)))
    jobs = plan_of(folder).jobs

    assert preflight.problems(jobs) == [
        (
            f"{folder}/pico/student: unexpected keys in the checkpoint: extra.\n"
            "  Configuration and weights do not fit; fetch the whole checkpoint."
        )
    ]
    with pytest.raises(IntegrityError, match="unexpected keys"):
        preflight.check_heavy(jobs)


def test_missing_and_misshapen_weights_are_found_in_every_family(folder):
    pair = pico_pair(folder, name="gem", family="gemma2")

    def spoil(tensors):
        tensors.pop("model.layers.1.mlp.up_proj.weight")
        tensors["model.norm.weight"] = torch.zeros(7)

    plan = plan_of(folder, pairs=[f"{pair.teacher.path}:{pair.student.path}"])
    rewritten(pair.student, spoil)

    assert preflight.problems(plan.jobs) == [
        (
            f"{pair.student.path}: missing keys in the checkpoint: model.layers.1.mlp.up_proj.weight.\n"
            "  Configuration and weights do not fit; fetch the whole checkpoint."
        )
    ]


def test_a_tokenizer_that_cannot_be_made_is_found(folder):
    (folder / "pico" / "student" / "tokenizer.json").write_text('{"model": {"type": "BPE", "vocab": {"a": 0}}}')

    (problem,) = heavy(folder)

    assert problem.startswith(f"{folder}/pico/student: transformers cannot make its tokenizer: ")
    assert problem.endswith("Fetch the whole checkpoint again, or use one that the installed transformers knows.")


def test_code_beside_a_task_that_raises_is_found(folder):
    plugin = folder / "pico_plugin.py"
    plugin.write_text(plugin.read_text().replace("yield pico_suite(HERE)", "yield broken_suite()") + BROKEN)

    plan = plan_of(folder)

    assert preflight.problems(plan.jobs) == [
        (
            "suite pico_plugin.py/pico: lm-eval cannot load its task 'pico': RuntimeError: no documents today\n"
            "  Leave the suite out with --suite, or tell its author."
        )
    ]


BROKEN = """

def broken_suite():
    import dataclasses, shutil

    suite = pico_suite(HERE)
    path = HERE / "broken-tasks"
    shutil.copytree(suite.task_path, path, dirs_exist_ok=True)
    (path / "documents.py").write_text("def test(**_):\\n    raise RuntimeError('no documents today')\\n")
    return dataclasses.replace(suite, task_path=path)
"""


def test_metrics_and_filters_are_those_that_lm_eval_has(tmp_path):
    findings = Findings()
    suite = pico_suite(tmp_path)
    (task,) = suite.tasks
    for changed in (task, dataclasses.replace(task, metric="f1"), dataclasses.replace(task, filter="strict")):
        preflight._load_tasks(dataclasses.replace(suite, tasks=(changed,)), "mine", findings)

    first, second = (str(error).partition("\n")[0] for error in findings.errors)
    assert first == "suite mine: its task 'pico' has no metric 'f1' (it has: acc)."
    assert second == "suite mine: its task 'pico' has no filter 'strict' (it has: none)."


def test_a_test_prompt_longer_than_the_positions_is_refused(tmp_path):
    suite, pair = pico_suite(tmp_path), pico_pair(tmp_path)
    long = dataclasses.replace(suite, test_prompts=lambda: ["short", "x" * 255])

    preflight._check_lengths(pair.student, dataclasses.replace(suite, test_prompts=lambda: ["x" * 254]))
    with pytest.raises(RequestError, match=r"a test prompt has 256 tokens, and .* has 256 positions"):
        preflight._check_lengths(pair.student, long)


def test_a_pair_of_one_checkpoint_is_found_under_two_names(tmp_path):
    pair = pico_pair(tmp_path)
    shutil.copytree(pair.student.path, tmp_path / "copy")
    findings = Findings()

    preflight.check_pair(
        Pair("twins", "", ModelRef(tmp_path / "copy"), pair.student), findings, typed=True, allow_small_teacher=False
    )

    assert "are the same checkpoint" in str(findings.errors[0])


@pytest.mark.parametrize(("memory", "documents"), [(10**12, 16), (10**3, 1)])
def test_an_automatic_batch_is_at_least_one_document_and_no_more_than_pays(tmp_path, monkeypatch, memory, documents):
    monkeypatch.setattr(preflight, "device_bytes", lambda _device: memory)

    assert preflight.fitting_batch(pico_pair(tmp_path), "cpu", "float32") == documents


def test_an_automatic_batch_is_a_power_of_two_that_half_the_memory_holds(tmp_path, monkeypatch):
    pair = pico_pair(tmp_path)
    shape = models.architecture(pair.teacher)
    # 1024 tokens of keys, values, two copies of hidden and feed-forward states, and logits, 4 bytes each
    document = 1024 * 4 * (2 * shape.layers * shape.kv_heads * shape.head_dim + 2 * (2 * shape.hidden + shape.ffn))
    document += 1024 * 4 * shape.vocabulary
    monkeypatch.setattr(preflight, "device_bytes", lambda _device: 2 * (7 * document + 4 * shape.parameters))

    assert preflight.fitting_batch(pair, "cpu", "float32") == 4

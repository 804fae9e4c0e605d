"""Every installed method, through the real command line, on pairs that are laid out differently."""

import json
from dataclasses import dataclass, field

import pyarrow as pa
import pytest

from pkt_bench import plugins
from pkt_bench.testing import pico_pair

BUILT_IN = sorted(
    offer.item.name
    for offer in plugins.load().methods
    if offer.distribution == "pkt-bench" and ":" not in offer.item.name
)
REFERENCES = {"student", "teacher"}
GROUPED = {"num_key_value_heads": 2}


@dataclass(frozen=True)
class Layout:
    """How a pair is laid out, and which methods are not defined for it: a word of the reason for each."""

    family: str = "llama"
    teacher: dict[str, object] = field(default_factory=dict)
    student: dict[str, object] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    methods: tuple[str, ...] = tuple(BUILT_IN)

    @property
    def tied(self):
        return self.student.get("tie_word_embeddings", self.family.startswith("gemma"))


SOFT_CAPPED = {"laten": "family"}
# what depends on how a family is laid out; the others go through the same loop as these
BY_FAMILY = ("kd", "laten", "lora", "nuggets", "pissa", "postpkt", "student", "teacher")
LAYOUTS = {
    "grouped-query and tied": Layout(
        teacher={**GROUPED, "tie_word_embeddings": True}, student={**GROUPED, "tie_word_embeddings": True}
    ),
    "multi-head and untied": Layout(teacher={"tie_word_embeddings": False}, student={"tie_word_embeddings": False}),
    "deeper student": Layout(
        student={"num_hidden_layers": 4}, skipped=dict.fromkeys(("laten", "nuggets", "postpkt"), "layers")
    ),
    "tied student of an untied teacher": Layout(
        teacher={"tie_word_embeddings": False}, student={"tie_word_embeddings": True}
    ),
    "mistral": Layout("mistral", GROUPED, GROUPED, methods=BY_FAMILY),
    "qwen2": Layout("qwen2", GROUPED, GROUPED, methods=BY_FAMILY),
    "qwen3": Layout("qwen3", GROUPED, GROUPED, methods=BY_FAMILY),
    "gemma": Layout("gemma", GROUPED, GROUPED, methods=BY_FAMILY),
    "gemma2": Layout("gemma2", GROUPED, GROUPED, SOFT_CAPPED, BY_FAMILY),
    "gemma3_text": Layout("gemma3_text", GROUPED, GROUPED, SOFT_CAPPED, BY_FAMILY),
}
TUNED = ("full", "gkd", "kd", "lora", "lora-matched", "nuggets", "pissa", "postpkt", "seqkd")
ADAPTED = tuple(name for name in TUNED if name != "full")
# a teacher of random weights ends an answer by chance alone, so it has to draw, and for long
QUICK = {
    **{f"{name}.epochs": 1 for name in TUNED},
    **{f"{name}.rank": 4 for name in (*ADAPTED, "lora-gaussian")},
    "lora-matched.steps": 3,
    "seqkd.temperature": 2,
    "seqkd.max_new_tokens": 200,
    "laten.steps": 3,
    "laten.inject_steps": "2,3",
}


@dataclass(frozen=True)
class Ran:
    """What a run of all methods left."""

    layout: Layout
    answer: object
    rows: dict[str, dict[str, object]]
    folder: object
    pair: object

    def among(self, *methods):
        """Those of `methods` that were run."""
        return [name for name in methods if name in self.rows and name not in self.layout.skipped]

    def adapter(self, method):
        return self.folder / "artifacts" / self.rows[method]["cell_key"]


# these differ from a layout beside them by what other tests look at: Mistral from Llama, Qwen2 from 3, Gemma 2 from 1
ALIKE = ("mistral", "qwen2", "gemma2")


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.long] if name in ALIKE else []) for name in LAYOUTS],
    ids=lambda name: name.replace(" ", "-"),
)
def ran(request, tmp_path_factory, pico, pkt_bench):
    layout = LAYOUTS[request.param]
    folder = tmp_path_factory.mktemp("methods")
    pair = pico_pair(folder, family=layout.family, teacher=layout.teacher, student=layout.student)
    settings = [
        part
        for name, value in QUICK.items()
        if name.partition(".")[0] in layout.methods
        for part in ("--set", f"{name}={value}")
    ]
    answer = pkt_bench(
        *("run", "--plugin", pico.plugin, "--pair", f"{pair.teacher.path}:{pair.student.path}", "--suite", "pico"),
        *(
            "--allow-small-teacher",
            "--methods",
            ",".join(layout.methods),
            "--out",
            folder / "runs",
            "--json",
            *settings,
        ),
    )
    table = pa.ipc.open_file(folder / "runs" / "board.arrow").read_all()
    rows = {row["method"]: row for row in table.to_pylist()}
    return Ran(layout, answer, rows, folder / "runs", pair)


def test_the_built_in_methods_are_these():
    assert set(BUILT_IN) == {*REFERENCES, *TUNED, "laten", "lora-gaussian"}


@pytest.mark.slow
def test_every_method_is_done_and_scored_or_skipped_with_a_reason(ran):
    assert ran.answer.code == 0, ran.answer.err
    assert sorted(ran.rows) == sorted(ran.layout.methods)
    for name, row in ran.rows.items():
        if name in ran.layout.skipped:
            assert row["outcome"] == "skipped", name
            assert ran.layout.skipped[name] in row["reason"]
        else:
            assert row["outcome"] == "done", (name, row["reason"])
            assert row["value"] is not None


@pytest.mark.slow
def test_the_saved_student_is_the_one_the_method_returned(ran):
    for name in ran.among(*BUILT_IN):
        assert ran.rows[name]["reload_difference"] < 1e-5, name


@pytest.mark.slow
def test_what_a_row_says_of_the_change_fits_the_method(ran):
    rows, layers = ran.rows, ran.layout.student.get("num_hidden_layers", 2)

    for name in REFERENCES:
        assert (rows[name]["changed_tensors"], rows[name]["payload_bytes"], rows[name]["tokens_trained"]) == (0, 0, 0)
    for name in ran.among(*TUNED, "lora-gaussian"):
        assert rows[name]["tokens_trained"] > 0, name
        assert rows[name]["selection"] == "validation", name
    for name in ran.among("lora", "lora-gaussian", "lora-matched", "pissa", "full"):
        assert rows[name]["payload_bytes"] == 0
    for name in ran.among("kd", "gkd", "seqkd", "nuggets", "postpkt", "laten"):
        assert rows[name]["payload_bytes"] > 0
    for name in ran.among("lora", "lora-gaussian", "kd", "pissa", "nuggets"):
        # seven modules in each layer, and the embedding and the head where they are two
        assert rows[name]["changed_tensors"] == 7 * layers + (0 if ran.layout.tied else 2), name
        assert rows[name]["trainable_parameters"] == rows["lora"]["trainable_parameters"]
    for name in ran.among("laten"):
        # up, down, v, o
        assert rows[name]["changed_tensors"] == 4 * layers


@pytest.mark.slow
def test_a_start_from_blocks_or_directions_is_the_untouched_student(ran):
    for name in ran.among("nuggets", "pissa", "postpkt"):
        assert ran.rows[name]["injection_change"] < 1e-3, name


@pytest.mark.slow
def test_a_saved_adapter_loads_with_plain_peft_on_the_untouched_student(ran):
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    for name in ran.among(*ADAPTED, "lora-gaussian"):
        kept = ran.adapter(name)
        probe = load_file(kept / "probe.safetensors")

        student = AutoModelForCausalLM.from_pretrained(ran.pair.student.path, dtype=torch.float32)
        plain = PeftModel.from_pretrained(student, kept / "adapter").eval()

        with torch.no_grad():
            logits = plain(input_ids=probe["ids"]).logits
        assert (logits - probe["logits"]).abs().max() < 1e-5, name
        assert not (kept / "changed.safetensors").exists()


@pytest.mark.slow
def test_settings_are_recorded_with_their_defaults_filled_in(ran):
    chosen = json.loads(ran.rows["pissa"]["settings"])

    assert (chosen["rank"], chosen["epochs"], chosen["split"]) == (4, 1, "sqrt")
    assert "max_length" in chosen

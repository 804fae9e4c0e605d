"""Every built-in method keeps its contract, and leaves what it should on pairs that are laid out differently."""

import json
from dataclasses import dataclass, field

import pyarrow as pa
import pytest

from once import once
from pkt_bench import plugins
from pkt_bench.contract.layouts import GROUPED, LAYOUTS, Layout

BUILT_IN = sorted(
    offer.item.name
    for offer in plugins.load().methods
    if offer.distribution == "pkt-bench" and ":" not in offer.item.name
)
REFERENCES = {"student", "teacher"}
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

# what depends on how a family is laid out; the others go through the same loop as these
BY_FAMILY = ("kd", "laten", "lora", "nuggets", "pissa", "student")
FAMILIES = tuple(Layout(name, name, GROUPED, GROUPED) for name in ("qwen3", "gemma", "gemma3_text"))
SOFT_CAPPED = {"laten": "family"}
# of the methods that are not defined for a layout, a word of the reason
SKIPPED = {
    "pico-gemma2": SOFT_CAPPED,
    "gemma3_text": SOFT_CAPPED,
    "pico-deeper-student": dict.fromkeys(("laten", "nuggets", "postpkt"), "layers"),
    "pico-two-tokenizers": dict.fromkeys(("gkd", "kd", "nuggets", "postpkt"), "tokenizers"),
    "pico-gpt-neox": dict.fromkeys((*ADAPTED, "laten", "lora-gaussian"), "gpt_neox"),
}


@dataclass(frozen=True)
class Ran:
    """What the cells of a layout left."""

    layout: Layout
    methods: tuple[str, ...]
    rows: dict[str, dict[str, object]]
    folder: object
    student: object
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def tied(self):
        return self.layout.student.get("tie_word_embeddings", self.layout.family.startswith("gemma"))

    def among(self, *methods):
        """Those of `methods` that were run."""
        return [name for name in methods if name in self.rows and name not in self.skipped]

    def adapter(self, method):
        return self.folder / "artifacts" / self.rows[method]["cell_key"]


def settings(*methods):
    return [
        word
        for name, value in QUICK.items()
        if name.partition(".")[0] in methods
        for word in ("--set", f"{name}={value}")
    ]


@pytest.fixture(scope="module")
def checked(tmp_path_factory, pkt_bench):
    """All of them held to the contract, by one command; its pairs and run folders are kept."""

    def make(folder):
        answer = pkt_bench(
            *("plugins", "check", *BUILT_IN, "--json", "--keep", folder / "kept"), *settings(*BUILT_IN), timeout=900
        )
        (folder / "reports").write_text(json.dumps([answer.code, answer.out, answer.err]), encoding="utf-8")

    return once(tmp_path_factory, "checked-methods", make)


@pytest.fixture(scope="module")
def families(tmp_path_factory, pkt_bench, pico):
    """Families that the contract does not try, run by one command."""

    def make(folder):
        pairs = [layout.made(folder) for layout in FAMILIES]
        tables = (
            f'[{pair.name}]\nteacher = "{pair.teacher.path}"\nstudent = "{pair.student.path}"\n' for pair in pairs
        )
        (folder / "pairs.toml").write_text("\n".join(tables), encoding="utf-8")
        answer = pkt_bench(
            *("run", "--plugin", pico.plugin, "--pairs-file", folder / "pairs.toml", "--suite", "pico", "--json"),
            *("--pair", ",".join(pair.name for pair in pairs), "--methods", ",".join(BY_FAMILY)),
            *("--allow-small-teacher", "--out", folder / "first", *settings(*BY_FAMILY)),
            timeout=900,
        )
        assert answer.code == 0, answer.err

    return once(tmp_path_factory, "method-families", make)


@pytest.fixture(scope="module", params=[layout.name for layout in (*LAYOUTS, *FAMILIES)])
def ran(request):
    (layout,) = (each for each in (*LAYOUTS, *FAMILIES) if each.name == request.param)
    folder = request.getfixturevalue("families") if layout in FAMILIES else request.getfixturevalue("checked") / "kept"
    table = pa.ipc.open_file(folder / "first" / "board.arrow").read_all().to_pylist()
    rows = {row["method"]: row for row in table if row["pair"] == layout.name}
    methods = BY_FAMILY if layout in FAMILIES else tuple(BUILT_IN)
    return Ran(layout, methods, rows, folder / "first", folder / layout.name / "student", SKIPPED.get(layout.name, {}))


@pytest.mark.slow
@pytest.mark.parametrize("method", BUILT_IN)
def test_every_method_keeps_its_contract(checked, method):
    _, out, err = json.loads((checked / "reports").read_text(encoding="utf-8"))
    reports = {report["method"]: report for report in map(json.loads, out.splitlines())}

    assert set(reports) == set(BUILT_IN), err
    broken = [finding for finding in reports[method]["findings"] if finding["standing"] in {"broken", "untried"}]
    assert broken == []


@pytest.mark.slow
def test_the_command_says_with_its_exit_code_that_nothing_is_broken(checked):
    code, _, err = json.loads((checked / "reports").read_text(encoding="utf-8"))

    assert code == 0, err


def test_the_built_in_methods_are_these():
    assert set(BUILT_IN) == {*REFERENCES, *TUNED, "laten", "lora-gaussian"}


@pytest.mark.slow
def test_every_method_is_done_and_scored_or_skipped_with_a_reason(ran):
    assert sorted(ran.rows) == sorted(ran.methods)
    for name, row in ran.rows.items():
        if name in ran.skipped:
            assert row["outcome"] == "skipped", name
            assert ran.skipped[name] in row["reason"]
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

    for name in ran.among(*REFERENCES):
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
        assert rows[name]["changed_tensors"] == 7 * layers + (0 if ran.tied else 2), name
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

        student = AutoModelForCausalLM.from_pretrained(ran.student, dtype=torch.float32)
        plain = PeftModel.from_pretrained(student, kept / "adapter").eval()

        with torch.no_grad():
            logits = plain(input_ids=probe["ids"]).logits
        assert (logits - probe["logits"]).abs().max() < 1e-5, name
        assert not (kept / "changed.safetensors").exists()


@pytest.mark.slow
def test_settings_are_recorded_with_their_defaults_filled_in(ran):
    chosen = json.loads(ran.rows["pissa"]["settings"])  # of a cell that was skipped, too

    assert (chosen["rank"], chosen["epochs"], chosen["split"]) == (4, 1, "sqrt")
    assert "max_length" in chosen

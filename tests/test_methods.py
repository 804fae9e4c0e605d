"""Every installed method, through the real command line, on pairs that are laid out differently."""

import json

import pyarrow as pa
import pytest

from pkt_bench import plugins
from pkt_bench.testing import pico_pair

SHAPES = {
    "grouped-query and tied": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "multi-head and untied": {},
}
BUILT_IN = sorted(offer.item.name for offer in plugins.load().methods if offer.distribution == "pkt-bench")
QUICK = [
    "lora.epochs=1",
    "nuggets.epochs=1",
    "lora.rank=4",
    "nuggets.rank=4",
    "laten.steps=3",
    "laten.inject_steps=2,3",
]


@pytest.fixture(scope="module", params=SHAPES, ids=lambda name: name.replace(" ", "-"))
def ran(request, tmp_path_factory, pico, pkt_bench):
    folder = tmp_path_factory.mktemp("methods")
    pair = pico_pair(folder, teacher=SHAPES[request.param], student=SHAPES[request.param])
    settings = [part for setting in QUICK for part in ("--set", setting)]
    answer = pkt_bench(
        *("run", "--plugin", pico.plugin, "--pair", f"{pair.teacher.path}:{pair.student.path}", "--suite", "pico"),
        *("--methods", ",".join(BUILT_IN), "--out", folder / "runs", "--json", *settings),
    )
    table = pa.ipc.open_file(folder / "runs" / "board.arrow").read_all()
    return answer, {row["method"]: row for row in table.to_pylist()}, folder, pair


def test_the_built_in_methods_are_these():
    assert BUILT_IN == ["laten", "lora", "nuggets", "student", "teacher"]


@pytest.mark.slow
def test_every_method_is_done_and_scored(ran):
    answer, rows, _, _ = ran

    assert answer.code == 0, answer.err
    assert {row["outcome"] for row in rows.values()} == {"done"}
    assert sorted(rows) == BUILT_IN
    assert all(row["value"] is not None for row in rows.values())


@pytest.mark.slow
def test_the_saved_student_is_the_one_the_method_returned(ran):
    _, rows, _, _ = ran

    for row in rows.values():
        assert row["reload_difference"] < 1e-5, row["method"]


@pytest.mark.slow
def test_what_a_row_says_of_the_change_fits_the_method(ran):
    _, rows, _, _ = ran

    for name in ("student", "teacher"):
        assert (rows[name]["changed_tensors"], rows[name]["payload_bytes"], rows[name]["tokens_trained"]) == (0, 0, 0)
    for name in ("lora", "nuggets"):
        # seven modules in each of two layers
        assert rows[name]["changed_tensors"] == 14
        assert rows[name]["tokens_trained"] > 0
        assert rows[name]["selection"] == "validation"
    # up, down, v, o in each of two layers
    assert rows["laten"]["changed_tensors"] == 8
    assert rows["lora"]["payload_bytes"] == 0
    assert rows["nuggets"]["payload_bytes"] > 0
    assert rows["laten"]["payload_bytes"] > 0
    assert rows["lora"]["trainable_parameters"] == rows["nuggets"]["trainable_parameters"]


@pytest.mark.slow
def test_nuggets_starts_as_the_untouched_student(ran):
    _, rows, _, _ = ran

    assert rows["nuggets"]["injection_change"] < 1e-3


@pytest.mark.slow
def test_a_saved_adapter_loads_with_plain_peft_on_the_untouched_student(ran):
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    _, rows, folder, pair = ran
    for name in ("lora", "nuggets"):
        kept = folder / "runs" / "artifacts" / rows[name]["cell_key"]
        probe = load_file(kept / "probe.safetensors")

        student = AutoModelForCausalLM.from_pretrained(pair.student.path, dtype=torch.float32)
        plain = PeftModel.from_pretrained(student, kept / "adapter").eval()

        with torch.no_grad():
            logits = plain(input_ids=probe["ids"]).logits
        assert (logits - probe["logits"]).abs().max() < 1e-5, name
        assert not (kept / "changed.safetensors").exists()


@pytest.mark.slow
def test_settings_are_recorded_with_their_defaults_filled_in(ran):
    _, rows, _, _ = ran

    chosen = json.loads(rows["nuggets"]["settings"])

    assert (chosen["rank"], chosen["epochs"], chosen["layers"]) == (4, 1, "sensitivity")
    assert "max_length" in chosen

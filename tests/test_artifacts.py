"""A student is saved as the change it is, and what is loaded again is what was in memory."""

import json

import pytest
import torch

from pkt_bench import artifacts
from pkt_bench.errors import ContractError, DivergedError
from pkt_bench.models import LoadedPair
from pkt_bench.testing import pico_pair


@pytest.fixture(params=["untied", "tied"])
def loaded(tmp_path, request):
    sizes = {"tie_word_embeddings": request.param == "tied", "num_key_value_heads": 2}
    return LoadedPair(pico_pair(tmp_path, student=sizes, teacher=sizes))


def logits(model):
    return artifacts.logits_on(model, torch.arange(24).reshape(2, 12))


def reloaded(loaded, folder):
    return artifacts.load_artifact(folder, loaded.pair, "float32", "cpu")[0]


def test_changed_tensors_alone_are_saved_and_come_back_bit_by_bit(loaded, tmp_path):
    with torch.no_grad():
        loaded.student.model.layers[1].mlp.down_proj.weight += 0.25

    saved = artifacts.save(loaded.student, loaded, tmp_path / "out")

    assert (saved.kind, saved.changed_tensors) == ("tensors", 1)
    assert torch.equal(logits(reloaded(loaded, tmp_path / "out")), logits(loaded.student))


def test_the_size_of_a_change_is_its_norm_over_the_norm_of_the_weights_it_changed(loaded, tmp_path):
    weight = loaded.student.model.layers[0].self_attn.q_proj.weight
    with torch.no_grad():
        weight *= 3

    saved = artifacts.save(loaded.student, loaded, tmp_path / "out")

    assert saved.delta_over_weight == pytest.approx(2.0, rel=1e-6)


def test_an_untouched_student_is_saved_as_no_change(loaded, tmp_path):
    saved = artifacts.save(loaded.student, loaded, tmp_path / "out")

    assert (saved.kind, saved.changed_tensors, saved.bytes) == ("student", 0, 0)
    assert torch.equal(logits(reloaded(loaded, tmp_path / "out")), logits(loaded.pristine_student))


def test_the_teacher_is_saved_by_reference(loaded, tmp_path):
    saved = artifacts.save(loaded.teacher, loaded, tmp_path / "out")

    assert saved.kind == "teacher"
    assert torch.equal(logits(reloaded(loaded, tmp_path / "out")), logits(loaded.teacher))


def adapter(loaded, **more):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM", **more)
    model = get_peft_model(loaded.student, config)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.add_(torch.randn_like(weight) * 0.05)
    return model.eval()


def test_an_adapter_is_saved_as_a_plain_peft_folder(loaded, tmp_path):
    from peft import PeftModel

    model = adapter(loaded)

    saved = artifacts.save(model, loaded, tmp_path / "out")

    plain = PeftModel.from_pretrained(LoadedPair(loaded.pair).student, tmp_path / "out" / "adapter").eval()
    assert (saved.kind, saved.changed_tensors) == ("adapter", 4)
    assert torch.equal(logits(plain), logits(model))
    assert torch.equal(logits(reloaded(loaded, tmp_path / "out")), logits(model))


def test_an_adapter_that_rewrote_its_base_comes_back_with_the_rewritten_base(loaded, tmp_path):
    """PEFT's PiSSA initialisation changes the base weights, and does it again whenever its configuration is loaded."""
    model = adapter(loaded, init_lora_weights="pissa")

    artifacts.save(model, loaded, tmp_path / "out")

    again = reloaded(loaded, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "adapter" / "adapter_config.json").read_text())["init_lora_weights"] is True
    assert (logits(again) - logits(model)).abs().max() < 1e-5
    assert (logits(again) - logits(loaded.pristine_student)).abs().max() > 1e-3


def test_a_fresh_adapter_moves_nothing(loaded, tmp_path):
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(loaded.student, LoraConfig(r=4, target_modules=["q_proj"]))

    saved = artifacts.save(model, loaded, tmp_path / "out")

    assert (saved.kind, saved.changed_tensors) == ("adapter", 0)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_student_that_is_not_finite_is_refused(loaded, tmp_path, poison):
    with torch.no_grad():
        loaded.student.model.norm.weight[3] = poison

    with pytest.raises(DivergedError, match=r"model\.norm\.weight holds NaN or infinity"):
        artifacts.save(loaded.student, loaded, tmp_path / "out")


def test_another_architecture_is_refused_and_the_tensor_named(loaded, tmp_path):
    other = pico_pair(tmp_path, name="other", student={"intermediate_size": 80})

    with pytest.raises(ContractError, match="not the student's architecture"):
        artifacts.save(LoadedPair(other).student, loaded, tmp_path / "out")

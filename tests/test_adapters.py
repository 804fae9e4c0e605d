"""Adapters on pico students: what PEFT puts where, and that a start changes no logit and leaves no trace."""

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from pkt_bench import AdapterSettings, ContractError, add_adapter, factors_of, module_path, plain_adapter
from pkt_bench.adapters import adapted_paths
from pkt_bench.models import fingerprint
from pkt_bench.testing import pico_pair

SETTINGS = AdapterSettings(rank=4, alpha=6)


@pytest.fixture(params=[{}, {"tie_word_embeddings": True, "num_key_value_heads": 2}], ids=["plain", "tied-grouped"])
def folder(request, tmp_path):
    return pico_pair(tmp_path, student=request.param).student.path


def student_of(folder):
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.tensor([[256, 7, 8, 9, 10]])).logits


def start_for(student, settings):
    """Random factors as large as the weights, for exactly the settings' modules."""
    random = torch.Generator().manual_seed(0)
    start = {}
    for path in adapted_paths(student, settings.modules):
        shape = student.get_submodule(path).weight.shape
        out, into = reversed(shape) if path == "model.embed_tokens" else shape
        a = torch.randn(settings.rank, into, generator=random) * 0.3
        start[path] = (a, torch.randn(out, settings.rank, generator=random) * 0.3)
    return start


def disturb(model):
    """Stands for training: every factor moves."""
    random = torch.Generator().manual_seed(1)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data += torch.randn(weight.shape, generator=random) * 0.1


def test_the_adapter_is_on_the_asked_modules_of_every_layer_and_nothing_else_trains(folder):
    model = add_adapter(student_of(folder), AdapterSettings(rank=4, modules=("v_proj", "down_proj")))

    trained = {name.split(".lora_")[0] for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained == {
        f"base_model.model.model.layers.{layer}.{module}"
        for layer in range(2)
        for module in ("self_attn.v_proj", "mlp.down_proj")
    }


def test_embedding_and_head_get_an_adapter_unless_they_are_tied(tmp_path):
    outside = {"model.embed_tokens", "lm_head"}
    for name, tied in (("free", False), ("tied", True)):
        student = student_of(pico_pair(tmp_path / name, student={"tie_word_embeddings": tied}).student.path)

        model = add_adapter(student, SETTINGS)

        assert set(factors_of(model)) & outside == (set() if tied else outside)


def test_an_adapter_on_tied_embeddings_alone_is_refused(tmp_path):
    student = student_of(pico_pair(tmp_path, student={"tie_word_embeddings": True}).student.path)

    with pytest.raises(ContractError, match="embedding and head of this student are tied"):
        add_adapter(student, AdapterSettings(rank=4, modules=("embed_tokens", "lm_head")))


@pytest.mark.parametrize("init", ["gaussian", "orthogonal", "olora"])
def test_every_start_of_pefts_own_preserves_the_student_and_can_be_made_plain(folder, init):
    pristine = student_of(folder)
    torch.manual_seed(0)

    model = add_adapter(student_of(folder), SETTINGS, init=init).eval()

    start = factors_of(model)
    torch.testing.assert_close(logits(model), logits(pristine), rtol=0, atol=1e-5)
    disturb(model)
    tuned = logits(model)
    assert (tuned - logits(pristine)).abs().max() > 0.1
    plain = plain_adapter(model, start, pristine)
    torch.testing.assert_close(logits(plain), tuned, rtol=0, atol=1e-4)
    assert fingerprint(plain.unload()) == fingerprint(pristine)


def test_without_a_start_the_adapter_is_pefts_own_and_changes_nothing_yet(folder):
    student = student_of(folder)
    before = logits(student)

    model = add_adapter(student, SETTINGS).eval()

    layer = student.get_submodule(module_path(0, "q_proj"))
    assert layer.lora_A["default"].weight.abs().max() > 0
    assert layer.lora_B["default"].weight.abs().max() == 0
    assert layer.scaling["default"] == pytest.approx(1.5)
    assert torch.equal(logits(model), before)


def test_the_default_start_depends_on_the_random_state_alone(folder):
    torch.manual_seed(5)
    one = add_adapter(student_of(folder), SETTINGS)
    torch.manual_seed(5)
    other = add_adapter(student_of(folder), SETTINGS)

    assert fingerprint(one) == fingerprint(other)


def test_a_start_is_subtracted_from_the_frozen_weight_so_no_logit_moves(folder):
    student, pristine = student_of(folder), student_of(folder)
    start = start_for(student, SETTINGS)

    model = add_adapter(student, SETTINGS, start).eval()

    torch.testing.assert_close(logits(model), logits(pristine), rtol=0, atol=1e-4)
    path = module_path(1, "o_proj")
    a, b = start[path]
    frozen = student.get_submodule(path).base_layer.weight
    torch.testing.assert_close(frozen, pristine.get_submodule(path).weight - 1.5 * b @ a)


def test_a_tuned_adapter_becomes_plain_with_the_same_logits_and_the_students_very_bits(folder, tmp_path):
    pristine = student_of(folder)
    before = fingerprint(pristine)
    start = start_for(pristine, SETTINGS)
    model = add_adapter(student_of(folder), SETTINGS, start).eval()
    disturb(model)
    tuned = logits(model)

    plain = plain_adapter(model, start, pristine)

    assert (tuned - logits(pristine)).abs().max() > 0.1
    torch.testing.assert_close(logits(plain), tuned, rtol=0, atol=1e-4)
    plain.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    again = PeftModel.from_pretrained(student_of(folder), tmp_path / "adapter").eval()
    assert torch.equal(logits(again), logits(plain))
    assert again.peft_config["default"].r == 8
    assert fingerprint(plain.unload()) == before
    assert fingerprint(pristine) == before


def test_the_plain_product_is_the_tuned_one_minus_the_start(folder):
    pristine = student_of(folder)
    start = start_for(pristine, SETTINGS)
    model = add_adapter(student_of(folder), SETTINGS, start)
    disturb(model)
    path = module_path(0, "up_proj")
    layer = model.get_base_model().get_submodule(path)
    tuned = layer.lora_B["default"].weight.detach() @ layer.lora_A["default"].weight.detach()

    plain = plain_adapter(model, start, pristine)

    layer = plain.get_base_model().get_submodule(path)
    product = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    torch.testing.assert_close(product.detach(), tuned - start[path][1] @ start[path][0], rtol=0, atol=1e-5)


def test_the_student_can_take_another_adapter_after_one_was_made_plain(folder):
    pristine = student_of(folder)
    start = start_for(pristine, SETTINGS)
    plain = plain_adapter(add_adapter(student_of(folder), SETTINGS, start), start, pristine)

    again = add_adapter(plain.unload(), SETTINGS).eval()

    assert torch.equal(logits(again), logits(pristine))


def test_dropout_moves_a_started_adapter_only_while_it_trains(folder):
    student, pristine = student_of(folder), student_of(folder)
    settings = AdapterSettings(rank=4, lora_dropout=0.5)

    model = add_adapter(student, settings, start_for(student, settings))

    assert (logits(model.train()) - logits(pristine)).abs().max() > 0.01
    torch.testing.assert_close(logits(model.eval()), logits(pristine), rtol=0, atol=1e-4)


def test_a_start_that_leaves_out_a_module_is_refused_by_name(folder):
    student = student_of(folder)
    start = start_for(student, SETTINGS)
    del start[module_path(1, "k_proj")]

    with pytest.raises(ContractError, match=rf"it covers {len(start)}[\s\S]*model\.layers\.1\.self_attn\.k_proj"):
        add_adapter(student, SETTINGS, start)


def test_a_start_of_the_wrong_shape_is_refused_with_the_right_one(folder):
    student = student_of(folder)
    start = start_for(student, SETTINGS)
    path = module_path(0, "q_proj")
    start[path] = (start[path][0].T, start[path][1])

    with pytest.raises(ContractError, match=r"q_proj has A \(32, 4\) .* takes A \(4, 32\) and B \(32, 4\)"):
        add_adapter(student, SETTINGS, start)


def test_a_model_of_another_layout_is_refused_with_the_missing_module():
    from transformers import GPT2Config, GPT2LMHeadModel

    student = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=8, n_layer=1, n_head=1, n_positions=16))

    with pytest.raises(
        ContractError, match=r"GPT2LMHeadModel has no linear module or embedding model\.layers\.0\.self_attn\.q_proj"
    ):
        add_adapter(student, SETTINGS)

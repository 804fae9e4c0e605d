"""A model read layer by layer computes what the whole one does, and never holds more than one layer."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from pkt_bench.errors import ContractError, IntegrityError
from pkt_bench.models import LoadedPair, StandIn, weight_files
from pkt_bench.streaming import LayerStream
from pkt_bench.testing import pico_pair

FAMILIES = {
    "llama": {},
    "tied-grouped": {"tie_word_embeddings": True, "num_key_value_heads": 2},
    "mistral": {"sliding_window": 4},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {},
    "gemma": {},
    "gemma2": {"final_logit_softcapping": 5.0, "attn_logit_softcapping": 3.0, "sliding_window": 4},
    "gemma3_text": {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]},
}


@pytest.fixture(params=FAMILIES)
def folder(request, tmp_path):
    family = "llama" if request.param == "tied-grouped" else request.param
    return pico_pair(tmp_path, family=family, student=FAMILIES[request.param]).student.path


def stream_of(folder):
    from pkt_bench.domain import ModelRef

    return LayerStream(folder, weight_files(ModelRef(folder)), "float32", "cpu")


def through(stream, ids):
    passage = stream.enter(ids)
    hidden = passage.hidden
    with torch.no_grad():
        for index in range(stream.layers):
            with stream.layer(index) as block:
                hidden = stream.step(block, index, hidden, passage)
        return stream.logits(hidden)


IDS = torch.tensor([[256, 7, 8, 9, 10, 3, 99, 100, 5], [256, 1, 2, 3, 4, 5, 6, 7, 8]])


def test_a_streamed_forward_gives_the_whole_models_logits(folder):
    whole = AutoModelForCausalLM.from_pretrained(folder).eval()

    found = through(stream_of(folder), IDS)

    with torch.no_grad():
        torch.testing.assert_close(found, whole(input_ids=IDS, use_cache=False).logits, rtol=1e-5, atol=1e-5)


def test_only_the_open_layer_has_weights(folder):
    stream = stream_of(folder)

    with stream.layer(1) as block:
        assert not any(weight.is_meta for weight in block.parameters())
        assert all(weight.is_meta for weight in stream.model.model.layers[0].parameters())
    assert all(weight.is_meta for weight in stream.model.model.layers.parameters())


def test_gradients_of_a_layers_weights_are_the_whole_models(folder):
    whole = AutoModelForCausalLM.from_pretrained(folder).eval()
    whole(input_ids=IDS, use_cache=False).logits.logsumexp(-1).sum().backward()
    stream = stream_of(folder)
    passage = stream.enter(IDS)
    with torch.no_grad(), stream.layer(0) as block:
        hidden = stream.step(block, 0, passage.hidden, passage)

    with stream.layer(1) as block:
        block.requires_grad_()
        stream.logits(stream.step(block, 1, hidden, passage)).logsumexp(-1).sum().backward()
        found = {name: weight.grad.clone() for name, weight in block.named_parameters()}

    for name, gradient in found.items():
        expected = whole.model.layers[1].get_parameter(name).grad
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_a_weight_is_read_by_name_the_tied_head_from_the_embedding(folder):
    whole = AutoModelForCausalLM.from_pretrained(folder)

    stream = stream_of(folder)

    for name in ("lm_head.weight", "model.layers.1.mlp.down_proj.weight"):
        assert torch.equal(
            stream.tensor(name), whole.get_parameter(name) if "head" not in name else whole.lm_head.weight
        )


def test_a_weight_that_is_not_there_or_not_finite_is_an_error_with_its_name(tmp_path):
    folder = pico_pair(tmp_path).student.path
    file = folder / "model.safetensors"
    weights = load_file(file)
    name = "model.layers.1.mlp.up_proj.weight"
    weights[name][0, 0] = float("nan")
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(IntegrityError, match=rf"{name} holds NaN"), stream_of(folder).layer(1):
        pass
    del weights[name]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(IntegrityError, match=f"has no {name}"), stream_of(folder).layer(1):
        pass


def test_a_layer_of_another_shape_than_the_configuration_says_is_an_error(tmp_path):
    folder = pico_pair(tmp_path).student.path
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 60}))

    with (
        pytest.raises(IntegrityError, match=r"shape \(64, 32\) in the checkpoint, \(60, 32\)"),
        stream_of(folder).layer(0),
    ):
        pass


def test_a_pair_streams_its_teacher_unless_a_control_changed_it(tmp_path):
    pair = pico_pair(tmp_path)

    loaded = LoadedPair(pair)

    assert loaded.teacher_stream().layers == 3
    assert not loaded.large_teacher
    changed = LoadedPair(pair, stand_in=StandIn("noise", lambda model: None))
    with pytest.raises(ContractError, match="cannot be read layer by layer"):
        changed.teacher_stream()

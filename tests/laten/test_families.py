"""What is read inside a model of each family adds up to what the model does, and is scored by its own norm and head."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from pkt_bench import Locating
from pkt_bench.testing import pico_pair
from pkt_bench_laten import FAMILIES
from pkt_bench_laten.anatomy import heads, linear
from pkt_bench_laten.internals import read_internals
from pkt_bench_laten.locate import score, view

SEQUENCES = ((256, 7, 8, 9, 10, 200), (256, 3), (5, 4, 3))


@pytest.fixture(params=FAMILIES)
def model(request, tmp_path):
    pair = pico_pair(tmp_path, family=request.param, teacher={"num_key_value_heads": 2})
    model = AutoModelForCausalLM.from_pretrained(
        pair.teacher.path, dtype=torch.float64, attn_implementation="eager", local_files_only=True
    )
    return model.eval().requires_grad_(False)


def test_the_halves_of_a_layer_add_up_to_the_next_layers_input(model):
    found = read_internals(model, SEQUENCES)

    following = torch.cat([found.x[:, 1:], found.last[:, None]], dim=1)
    torch.testing.assert_close(found.x + found.a + found.m, following)


def test_neurons_and_channels_add_up_to_what_their_half_adds(model):
    found = read_internals(model, SEQUENCES)

    for layer in range(found.x.shape[1]):
        down, out = linear(model, layer, "down_proj").weight, linear(model, layer, "o_proj").weight
        torch.testing.assert_close(found.c[:, layer] @ down.T, found.m[:, layer])
        torch.testing.assert_close(found.context[:, layer].flatten(1) @ out.T, found.a[:, layer])


def test_the_own_value_is_the_models_own_attention_to_itself_times_its_value(model):
    values = {}
    for layer in range(3):
        linear(model, layer, "v_proj").register_forward_hook(lambda m, a, out, at=layer: values.setdefault(at, out))
    shape = heads(model.config)

    for ids in SEQUENCES:
        values.clear()
        seen = model(torch.tensor([ids]), output_attentions=True).attentions
        for layer, probabilities in enumerate(seen):
            value = values[layer][0, -1].view(shape.kv, shape.width).repeat_interleave(shape.group, 0)
            expected = probabilities[0, :, -1, -1, None] * value
            found = read_internals(model, [ids]).self_value[0, layer]
            torch.testing.assert_close(found, expected)


def test_the_last_residual_reads_as_the_models_own_log_probability(model):
    examples = [Locating(ids, 11) for ids in SEQUENCES]

    seen = view(model, examples, norm="rms", attention="self")

    ours = seen.lens.logits(seen.internals.last).log_softmax(-1)
    for row, ids in enumerate(SEQUENCES):
        theirs = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        torch.testing.assert_close(ours[row], theirs)


def test_a_neurons_score_is_the_change_of_that_log_probability(model):
    example = Locating(SEQUENCES[0], 42)
    found = score(model, [example], norm="rms", attention="self", mode="exact")
    seen = view(model, [example], norm="rms", attention="self")

    for layer in range(3):
        base = seen.internals.r[:, layer]
        before = seen.lens.logits(base).log_softmax(-1)[0, 42]
        for neuron in (0, 17, 95):
            added = seen.internals.c[:, layer, neuron, None] * linear(model, layer, "down_proj").weight[:, neuron]
            expected = seen.lens.logits(base + added).log_softmax(-1)[0, 42] - before
            torch.testing.assert_close(found.ffn[0, layer, neuron], expected, rtol=1e-6, atol=1e-9)

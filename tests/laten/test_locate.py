"""Scores against a plain float64 evaluation of their definition, and the rules that choose neurons from them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pkt_bench import Locating, locating
from pkt_bench.data import ENDING
from pkt_bench_laten.internals import read_internals
from pkt_bench_laten.locate import (
    Lens,
    Scores,
    choose_places,
    exact_scores,
    first_order_scores,
    neuron_count,
    ranked,
    score,
)

EXAMPLES = [Locating((5, 9, 11, 3), 7), Locating((8, 2, 60, 33, 12, 4, 1), 40), Locating((3, 3), 9)]


def log_probability(model, vector, last, target, norm="rms"):
    """The definition: the head's log-softmax of gain * vector, scaled as the norm scales the last layer's output."""
    if norm == "rms":
        scale = 1 / (last.pow(2).mean() + model.model.norm.variance_epsilon).sqrt()
    else:
        scale = 1 / ((((last - last.mean()) ** 2).mean() + 1e-5).sqrt() + 1e-6).sqrt()
    logits = model.lm_head.weight @ (model.model.norm.weight * vector * scale)
    return torch.log_softmax(logits, 0)[target]


def plain_attention(model, ids):
    """Hidden states, attention weights and values of an unpadded eager forward in float64."""
    model.set_attn_implementation("eager")
    values = []
    handles = [
        block.self_attn.v_proj.register_forward_hook(lambda _m, _a, out: values.append(out[0]))
        for block in model.model.layers
    ]
    out = model.model(torch.tensor([ids]), output_attentions=True, use_cache=False)
    for handle in handles:
        handle.remove()
    model.set_attn_implementation("sdpa")
    return [weights[0] for weights in out.attentions], values


def brute_force(model, example, layer, mode, norm):
    """Scores of one layer, neuron by neuron: feed-forward, o_proj channels, v_proj channels."""
    config = model.config
    group, width = config.num_attention_heads // config.num_key_value_heads, config.head_dim
    weights, values = plain_attention(model, example.ids)
    inside = read_internals(model, [example.ids])
    x, r, c, last = inside.x[0, layer], inside.r[0, layer], inside.c[0, layer], inside.last[0]
    down = model.model.layers[layer].mlp.down_proj.weight
    out = model.model.layers[layer].self_attn.o_proj.weight

    def gain(base, added):
        return log_probability(model, base + added, last, example.target, norm) - log_probability(
            model, base, last, example.target, norm
        )

    ffn = [gain(r, c[k] * down[:, k]) for k in range(len(c))]
    added = []
    for head in range(config.num_attention_heads):
        for channel in range(width):
            value = values[layer][:, (head // group) * width + channel]
            row = weights[layer][head, -1]
            amount = row[-1] * value[-1] if mode == "self" else (row * value).sum()
            added.append(amount * out[:, head * width + channel])
    attention = [gain(x, vector) for vector in added]
    value = [
        gain(x, sum(added[(u * group + g) * width + channel] for g in range(group)))
        for u in range(config.num_key_value_heads)
        for channel in range(width)
    ]
    return [torch.stack(part) for part in (ffn, attention, value)]


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("mode", ["self", "sum"])
@pytest.mark.parametrize("norm", ["rms", "published"])
def test_every_neuron_scores_what_the_definition_gives(pico_model, kv_heads, mode, norm):
    model = pico_model(1, num_key_value_heads=kv_heads).double().requires_grad_(False)

    found = score(model, EXAMPLES, norm=norm, attention=mode, mode="exact")

    for e, example in enumerate(EXAMPLES):
        for layer in range(3):
            ffn, attention, value = brute_force(model, example, layer, mode, norm)
            for name, expected in (("ffn", ffn), ("attention", attention), ("value", value)):
                # eager attention takes its softmax in float32, whatever the model
                torch.testing.assert_close(getattr(found, name)[e, layer], expected, rtol=1e-5, atol=1e-7)


def test_the_scores_of_layers_are_those_of_their_whole_outputs(pico_model):
    model = pico_model(2).double().requires_grad_(False)

    found = score(model, EXAMPLES, norm="rms", attention="self", mode="exact")

    for e, example in enumerate(EXAMPLES):
        inside = read_internals(model, [example.ids])
        for layer in range(3):
            states = (inside.x, inside.r, inside.r + inside.m)
            x, r, h = (log_probability(model, s[0, layer], inside.last[0], example.target) for s in states)
            assert found.layer_attention[e, layer] == pytest.approx((r - x).item(), abs=1e-12)
            assert found.layer_ffn[e, layer] == pytest.approx((h - r).item(), abs=1e-12)


def test_with_the_rms_norm_the_last_layers_output_reads_as_the_models_own_log_probability(pico_model):
    model = pico_model(3).double().requires_grad_(False)
    example = EXAMPLES[1]

    inside = read_internals(model, [example.ids])
    read = log_probability(model, (inside.r + inside.m)[0, -1], inside.last[0], example.target)

    own = model(torch.tensor([example.ids])).logits[0, -1].log_softmax(-1)[example.target]
    # RMSNorm computes in float32, whatever the model
    assert read.item() == pytest.approx(own.item(), abs=1e-6)


@pytest.mark.parametrize("certainty", [0.0, 10.0, 40.0])
def test_float32_ranks_as_float64_even_where_the_target_is_already_certain(certainty):
    torch.manual_seed(0)
    head, columns = torch.randn(500, 32), torch.randn(32, 1, 300)
    base, coefficients = torch.randn(1, 32), 0.05 * torch.randn(1, 1, 300)
    target = 17
    base += certainty / head[target].square().sum() * head[target]
    lens = Lens(head, torch.ones(32), torch.ones(1), torch.tensor([target]))
    wide = Lens(head.double(), torch.ones(32).double(), torch.ones(1).double(), torch.tensor([target]))

    got = exact_scores(base, coefficients, columns, lens)

    expected = exact_scores(base.double(), coefficients.double(), columns.double(), wide)
    moved = (base.double() + coefficients[0, 0, :, None].double() * columns[:, 0].T.double()) @ head.double().T
    plain = moved.log_softmax(-1)[:, target] - (base.double() @ head.double().T).log_softmax(-1)[0, target]
    torch.testing.assert_close(expected[0], plain, rtol=1e-6, atol=1e-14)
    assert (got.double() - expected).abs().max() < 1e-5 * expected.abs().max()
    assert set(ranked(got, 30)[0].tolist()) == set(ranked(expected, 30)[0].tolist())


def test_a_neuron_that_overturns_the_prediction_has_a_finite_and_exact_score():
    head = torch.eye(3)
    base = torch.tensor([[30.0, 0.0, -60.0]])
    columns = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])[:, None]
    coefficients = torch.tensor([[[-200.0, 300.0, 150.0]]])
    lens = Lens(head, torch.ones(3), torch.ones(1), torch.tensor([0]))

    got = exact_scores(base, coefficients, columns, lens)

    # logits become (-170, 0, -60), (30, 300, -60), (30, 0, 90) with the target's 30 at log-probability 0 before
    torch.testing.assert_close(got, torch.tensor([[-170.0, -270.0, -60.0]]))


def test_a_neuron_that_makes_an_unlikely_target_certain_scores_its_whole_improbability():
    lens = Lens(torch.eye(2), torch.ones(2), torch.ones(1), torch.tensor([0]))

    got = exact_scores(torch.tensor([[-40.0, 0.0]]), torch.tensor([[[80.0]]]), torch.tensor([[[1.0]], [[0.0]]]), lens)

    assert got.item() == pytest.approx(40.0, abs=1e-5)


def test_the_first_order_score_is_the_derivative_of_the_exact_one():
    torch.manual_seed(1)
    head, columns = torch.randn(50, 8, dtype=torch.float64), torch.randn(8, 2, 20, dtype=torch.float64)
    base, coefficients = torch.randn(3, 8, dtype=torch.float64), torch.randn(3, 2, 20, dtype=torch.float64)
    gain, scale = torch.rand(8, dtype=torch.float64) + 0.5, torch.rand(3, dtype=torch.float64) + 0.5
    lens = Lens(head, gain, scale, torch.tensor([4, 0, 49]))
    step = 1e-5

    first = first_order_scores(base, coefficients, columns, lens)

    up, down = (exact_scores(base, sign * step * coefficients, columns, lens) for sign in (1, -1))
    torch.testing.assert_close(first, (up - down) / (2 * step), rtol=1e-7, atol=1e-9)


def test_examples_do_not_influence_each_others_scores(pico_model):
    model = pico_model(4).requires_grad_(False)

    together = score(model, EXAMPLES, norm="rms", attention="self", mode="exact")

    for e, example in enumerate(EXAMPLES):
        alone = score(model, [example], norm="rms", attention="self", mode="exact")
        for name, values in alone.tensors().items():
            torch.testing.assert_close(getattr(together, name)[e], values[0], rtol=1e-4, atol=2e-6)


def test_the_score_of_two_examples_is_the_sum_of_both(pico_model):
    model = pico_model(4).double().requires_grad_(False)
    a, b = EXAMPLES[:2]

    both = score(model, [a, b], norm="rms", attention="self", mode="exact").total((0, 1))

    alone = [score(model, [e], norm="rms", attention="self", mode="exact") for e in (a, b)]
    for name, values in both.tensors().items():
        expected = getattr(alone[0], name)[0] + getattr(alone[1], name)[0]
        torch.testing.assert_close(values, expected, rtol=1e-9, atol=1e-12)


def test_reading_internals_leaves_no_hook_and_no_changed_weight(pico_model):
    model = pico_model(5)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    logits = model(torch.tensor([EXAMPLES[1].ids])).logits

    score(model, EXAMPLES, norm="rms", attention="self", mode="exact")

    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.equal(model(torch.tensor([EXAMPLES[1].ids])).logits, logits)


# ---------------------------------------------------------------- the text


class Letters:
    """Reads one token per character, the end token being 0."""

    bos_token_id = 0

    def encode(self, text, add_special_tokens):
        assert not add_special_tokens
        return [ord(letter) for letter in text]


def test_the_target_is_the_last_token_before_the_answers_ending():
    found = locating("2+2=", ' "(4)."\n', Letters(), bos=True)

    assert found == Locating((0, *map(ord, '2+2= "(')), ord("4"))


@pytest.mark.parametrize("answer", ["", ENDING, " .\n"])
def test_an_answer_that_is_all_ending_cannot_be_located_on(answer):
    assert locating("2+2=", answer, Letters(), bos=True) is None


# ---------------------------------------------------------------- selection


def test_equal_scores_are_ranked_by_ascending_index():
    scores = torch.tensor([[0.0, 2.0, 1.0, 2.0, 1.0, 2.0]])

    assert ranked(scores, 5).tolist() == [[1, 3, 5, 2, 4]]


def test_thousands_of_equal_scores_keep_their_order():
    scores = torch.arange(6000) % 3

    assert ranked(scores.float(), 2000).tolist() == list(range(2, 6000, 3))


@given(size=st.integers(1, 5000), rate=st.floats(1e-6, 1))
def test_a_rate_means_at_least_one_neuron_and_never_more_than_there_are(size, rate):
    count = neuron_count(size, rate)

    assert 1 <= count <= size
    assert count <= max(1, size * rate)


def random_scores(layers, ffn, attention, value, seed):
    g = torch.Generator().manual_seed(seed)
    return Scores(
        *(torch.randn(*shape, generator=g) for shape in ((layers,), (layers,), (layers, ffn), (layers, attention))),
        torch.randn(layers, value, generator=g),
    )


@given(depth=st.integers(1, 9), more=st.integers(0, 5), rate=st.floats(0.01, 1), seed=st.integers(0, 99))
def test_every_student_layer_receives_one_of_the_teachers_best_in_order(depth, more, rate, seed):
    teacher = random_scores(depth + more, 13, 12, 4, seed)
    student = random_scores(depth, 7, 8, 8, seed + 100)

    theirs, ours = choose_places(teacher, student, rate, ("up_proj", "down_proj", "v_proj", "o_proj"))

    for module, of_layers in (("down_proj", teacher.layer_ffn), ("o_proj", teacher.layer_attention)):
        best = sorted(range(depth + more), key=lambda layer: -of_layers[layer].item())[:depth]
        assert theirs[module].layers == tuple(sorted(best))
        assert ours[module].layers == tuple(range(depth))
    for module in theirs:
        assert theirs[module].neurons.shape == ours[module].neurons.shape
    # the teacher has 4 channels in v_proj, so no more than 4 of the student's 8 can receive one
    assert theirs["v_proj"].neurons.shape[1] == min(max(1, int(8 * rate)), 4)
    assert torch.equal(ours["up_proj"].neurons, ours["down_proj"].neurons)


def test_a_student_deeper_than_its_teacher_is_refused():
    with pytest.raises(ValueError, match="the student has 3 layers, the teacher 2"):
        choose_places(random_scores(2, 4, 4, 4, 0), random_scores(3, 4, 4, 4, 1), 0.5, ("up_proj",))

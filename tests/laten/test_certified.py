"""The best neurons by bounds against all of them scored in float64."""

import pytest
import torch

from pkt_bench_laten.certified import certified_top, certified_top_each, geometry
from pkt_bench_laten.locate import Lens, exact_scores, ranked

SIZES = {"d": 24, "V": 3000, "n": 400}


def problem(seed=0, *, texts=1, members=1, certainty=0.0, dtype=torch.float32, effect=1.0):
    """A random lens, bases and neurons; `certainty` is added to the target's logit at the base."""
    g = torch.Generator().manual_seed(seed)
    d, v, n = SIZES.values()
    head = torch.randn(v, d, generator=g, dtype=torch.float64) * 0.3
    gain = 1 + 0.2 * torch.randn(d, generator=g, dtype=torch.float64)
    scale = 0.5 + torch.rand(texts, generator=g, dtype=torch.float64)
    # the longest rows of the head, so that a step along one raises no other token's logit as much
    targets = head.norm(dim=1).topk(10 * texts).indices[::10]
    base = torch.randn(texts, d, generator=g, dtype=torch.float64) * 2
    # along the target's direction its logit rises and the others' hardly
    toward = head[targets] / gain / scale[:, None]
    base += certainty * toward / (head[targets] ** 2).sum(1, keepdim=True)
    # few neurons matter, as in a trained model
    sizes = effect * torch.rand(texts, members, n, generator=g, dtype=torch.float64) ** 4
    coefficients = sizes * torch.randn(texts, members, n, generator=g, dtype=torch.float64)
    columns = torch.randn(d, members, n, generator=g, dtype=torch.float64) * 0.4
    lens = Lens(head.to(dtype), gain.to(dtype), scale.to(dtype), targets)
    return base.to(dtype), coefficients.to(dtype), columns.to(dtype), lens


def in_float64(base, coefficients, columns, lens):
    lens = Lens(lens.head.double(), lens.gain.double(), lens.scale.double(), lens.targets)
    return exact_scores(base.double(), coefficients.double(), columns.double(), lens)


@pytest.mark.parametrize("effect", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("certainty", [0.0, 5.0, 15.0, 40.0])
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("texts", [1, 4])
def test_set_and_order_are_those_of_all_scores_in_float64(texts, members, certainty, effect):
    case = problem(texts=texts, members=members, certainty=certainty, effect=effect)

    found = certified_top(*case, 40)

    expected = in_float64(*case).sum(0)
    assert torch.equal(found.neurons, ranked(expected, 40))
    torch.testing.assert_close(found.scores, expected[found.neurons], rtol=1e-4, atol=1e-30)


@pytest.mark.parametrize("certainty", [0.0, 15.0])
@pytest.mark.parametrize("members", [1, 2])
def test_each_texts_own_list_is_that_of_the_text_alone(members, certainty):
    base, coefficients, columns, lens = problem(1, texts=3, members=members, certainty=certainty)

    found = certified_top_each(base, coefficients, columns, lens, 25)

    expected = in_float64(base, coefficients, columns, lens)
    assert torch.equal(found.neurons, ranked(expected, 25))
    for text in range(3):
        alone = certified_top(
            base[text : text + 1], coefficients[text : text + 1], columns, lens.of(torch.tensor([text])), 25
        )
        assert torch.equal(alone.neurons, found.neurons[text])


@pytest.mark.parametrize("seed", range(8))
def test_saturated_layers_where_the_target_is_all_but_certain_are_ranked_as_in_float64(seed):
    case = problem(seed, texts=2, certainty=120.0)
    log_p = Lens(case[3].head.double(), case[3].gain.double(), case[3].scale.double(), case[3].targets).logits(
        case[0].double()
    )
    assert log_p.log_softmax(-1)[torch.arange(2), case[3].targets].abs().max() < 1e-9

    found = certified_top(*case, 40)

    assert torch.equal(found.neurons, ranked(in_float64(*case).sum(0), 40))


def test_models_in_float64_are_served_in_float64():
    case = problem(2, texts=2, dtype=torch.float64)

    found = certified_top(*case, 40)

    assert torch.equal(found.neurons, ranked(exact_scores(*case).sum(0), 40))


def test_equal_neurons_are_listed_by_ascending_index():
    base, coefficients, columns, lens = problem(3)
    best = int(certified_top(base, coefficients, columns, lens, 1).neurons[0])
    for twin in (5, 90, 311):
        coefficients[..., twin], columns[..., twin] = coefficients[..., best], columns[..., best]

    equal = sorted({best, 5, 90, 311})

    found = certified_top(base, coefficients, columns, lens, len(equal))

    assert found.neurons.tolist() == equal


def test_neurons_without_effect_score_zero_and_beat_those_that_harm():
    base, coefficients, columns, lens = problem(4)
    scores = in_float64(base, coefficients, columns, lens)[0]
    helpful = int((scores > 0).sum())
    coefficients[..., scores < 0] *= 1.0
    harmful = (scores < 0).nonzero()[:10, 0]
    coefficients[..., harmful] = 0

    found = certified_top(base, coefficients, columns, lens, helpful + 10)

    assert found.neurons[helpful:].tolist() == harmful.tolist()
    assert found.scores[helpful:].tolist() == [0.0] * 10


def test_all_of_the_neurons_can_be_asked_for():
    case = problem(5)

    found = certified_top(*case, SIZES["n"])

    assert torch.equal(found.neurons, ranked(in_float64(*case)[0], SIZES["n"]))


def test_most_neurons_are_never_scored_where_few_matter():
    base, coefficients, columns, lens = problem(6, effect=0.3)

    found = certified_top(base, coefficients, columns, lens, 20, known=geometry(lens))

    assert 0 < found.evaluated < 0.5


def test_a_single_neuron_on_a_flat_distribution_has_its_score():
    base, coefficients, columns, lens = problem(7)
    one = coefficients[..., :1], columns[..., :1]

    found = certified_top(base, *one, lens, 1)

    torch.testing.assert_close(found.scores, in_float64(base, *one, lens)[0], rtol=1e-5, atol=0)


@pytest.mark.parametrize("count", [0, SIZES["n"] + 1])
def test_a_count_that_is_not_there_is_refused(count):
    with pytest.raises(ValueError, match=f"count is {count}, there are 400 neurons: it may be 1 to 400"):
        certified_top(*problem(), count)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", [0, 1, 2])
def test_what_is_not_finite_is_refused(where, bad):
    case = list(problem())
    case[where][..., 0] = bad

    with pytest.raises(ValueError, match="NaN or infinity"):
        certified_top(*case, 10)

"""LaTen without one of its ingredients: what is replaced, and that nothing else is."""

import pytest
import torch

from pkt_bench_laten import pkt_bench_controls
from pkt_bench_laten.controls import cropped, noise_like, other_neurons
from pkt_bench_laten.inject import merge
from pkt_bench_laten.locate import Place
from pkt_bench_laten.located import locate
from pkt_bench_laten.settings import LatenSettings
from pkt_bench_laten.transfer import Supply, transfer

CONTROLS = {control.name: dict(control.settings) for control in pkt_bench_controls()}
SIZES = {"ffn": 48, "attention": 32, "value": 16}


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def places():
    return {
        "up_proj": Place((0, 2), torch.stack([torch.randperm(48, generator=random(i))[:7] for i in range(2)])),
        "v_proj": Place((1, 2), torch.stack([torch.randperm(16, generator=random(i))[:5] for i in range(2)])),
    }


def test_random_neurons_are_different_ones_of_the_same_layers():
    there = places()

    found = other_neurons(there, "random", SIZES, random())

    for module, place in found.items():
        assert place.layers == there[module].layers
        assert place.neurons.shape == there[module].neurons.shape
        assert not torch.equal(place.neurons, there[module].neurons)
        assert all(len(set(row)) == len(row) for row in place.neurons.tolist())
    assert found["up_proj"].neurons.max() > 15  # not v_proj's range
    assert found["v_proj"].neurons.max() < 16


def test_shuffled_neurons_are_the_located_ones_in_another_order():
    there = places()

    found = other_neurons(there, "shuffled", SIZES, random())

    for module, place in found.items():
        assert torch.equal(place.neurons.sort(1).values, there[module].neurons.sort(1).values)
    assert any(not torch.equal(found[m].neurons, there[m].neurons) for m in there)


def test_noise_has_the_norm_of_the_neuron_it_replaces_and_nothing_else_of_it():
    knowledge = {"up_proj": torch.randn(2, 40, 64, generator=random()) * torch.arange(1, 41)[:, None]}

    noise = noise_like(knowledge, random(1))["up_proj"]

    torch.testing.assert_close(noise.norm(dim=-1), knowledge["up_proj"].norm(dim=-1))
    cosine = torch.cosine_similarity(noise, knowledge["up_proj"], dim=-1)
    assert cosine.mean().abs() < 4 / (80 * 64) ** 0.5


@pytest.mark.parametrize(("width", "expected"), [(2, [1.0, 2.0]), (3, [1.0, 2.0, 3.0]), (5, [1.0, 2.0, 3.0, 0.0, 0.0])])
def test_a_cropped_neuron_is_its_first_entries_or_filled_with_zeros(width, expected):
    found = cropped({"o_proj": torch.tensor([[[1.0, 2.0, 3.0]]])}, width)

    assert found["o_proj"].tolist() == [[expected]]


@pytest.mark.parametrize("name", CONTROLS)
def test_every_control_runs_to_another_student_than_the_method(pico_contexts, name):
    make = pico_contexts()
    method = transfer(make()).student.state_dict()

    done = transfer(make(**CONTROLS[name]))

    assert any(not torch.equal(weight, method[key]) for key, weight in done.student.state_dict().items())


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_is_the_same_for_the_same_seed(pico_contexts, name):
    make = pico_contexts()

    first, second = (transfer(make(seed=4, **CONTROLS[name])).student.state_dict() for _ in range(2))

    assert all(torch.equal(first[key], second[key]) for key in first)


def test_unaligned_adds_the_teachers_neurons_as_they_are_and_trains_nothing(pico_contexts):
    context = pico_contexts()(translator="crop", selection="fixed", inject_steps=(3,), inject_rates=(0.3,))
    expected = context.pair.pristine_student
    located = locate(context)

    done = transfer(context)

    theirs, ours = located.final(0.3, context.settings.modules)
    merge(expected, ours, {module: neurons[..., :24] for module, neurons in located.knowledge(theirs).items()})
    for name, weight in expected.state_dict().items():
        assert torch.equal(weight, done.student.state_dict()[name]), name
    assert (context.ledger.tokens_trained, context.ledger.trainable_parameters) == (0, 0)
    assert done.notes["translator"] == "crop"
    assert all(neurons.shape[-1] == 24 for neurons in done.payload.values())


def test_what_moved_under_noise_is_the_norms_alone(pico_contexts):
    done = transfer(pico_contexts()(knowledge="noise"))

    assert set(done.payload) == {f"teacher.{m}.norms" for m in ("up_proj", "down_proj", "v_proj", "o_proj")}
    assert all(norms.ndim == 2 for norms in done.payload.values())


def test_the_injected_neurons_are_those_that_were_looked_at_when_the_rate_was_chosen(pico_contexts):
    context = pico_contexts()(neurons="random", knowledge="noise")
    located = locate(context)

    first, between, again = (Supply(context, located).final(rate) for rate in (0.2, 0.5, 0.2))

    for module in context.settings.modules:
        assert torch.equal(first.neurons[module], again.neurons[module])
        assert first.neurons[module].shape[1] < between.neurons[module].shape[1]


def test_controls_are_settings_that_the_method_does_not_have_by_default():
    default = LatenSettings()

    for settings in CONTROLS.values():
        for field, value in settings.items():
            assert getattr(default, field) != value

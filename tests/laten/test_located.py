"""Pairing of layers, and a teacher that is read from its files."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pkt_bench.models import fingerprint
from pkt_bench_laten.locate import paired_layers
from pkt_bench_laten.located import locate
from pkt_bench_laten.transfer import transfer

MODULES = ("up_proj", "down_proj", "v_proj", "o_proj")


@pytest.mark.parametrize(
    ("there", "depth", "expected"),
    [(3, 3, (0, 1, 2)), (5, 3, (0, 2, 4)), (6, 3, (0, 2, 5)), (2, 4, (0, 0, 1, 1)), (3, 1, (2,)), (1, 3, (0, 0, 0))],
)
def test_by_depth_a_layer_meets_the_one_at_its_relative_depth(there, depth, expected):
    assert paired_layers(torch.randn(there), depth, "depth") == expected


@given(there=st.integers(1, 60), depth=st.integers(2, 60))
def test_by_depth_the_first_meets_the_first_and_the_last_the_last_in_order(there, depth):
    layers = paired_layers(torch.zeros(there), depth, "depth")

    assert (layers[0], layers[-1], len(layers)) == (0, there - 1, depth)
    assert list(layers) == sorted(layers)
    for layer, theirs in enumerate(layers):
        assert abs(theirs - layer * (there - 1) / (depth - 1)) <= 0.5


def test_at_random_the_layers_are_the_cells_and_the_same_in_every_step(pico_contexts):
    make = pico_contexts()

    seen = set()
    for seed in range(12):
        located = locate(make(seed=seed, pairing="random"))
        layers = {located.places([i], 0.2, MODULES)[0]["o_proj"].layers for i in range(4)}
        assert len(layers) == 1
        seen |= layers
        assert len(set(*layers)) == 3
    assert len(seen) > 1


@pytest.mark.parametrize("ranking", ["table", "bounds"])
@pytest.mark.parametrize("shape", [{}, {"num_key_value_heads": 2}], ids=["multi-head", "grouped"])
def test_a_streamed_teacher_gives_the_student_of_the_resident_one(pico_contexts, shape, ranking):
    make = pico_contexts(shape, shape)

    resident, streamed = make(ranking=ranking, stream=False), make(ranking=ranking, stream=True)
    expected, found = transfer(resident), transfer(streamed)

    assert fingerprint(found.student) == fingerprint(expected.student)
    assert found.notes["teacher_streamed"]
    assert "teacher" not in streamed.pair.load_seconds
    assert "teacher" in resident.pair.load_seconds
    for name, neurons in expected.payload.items():
        assert torch.equal(found.payload[name], neurons)


def test_with_scores_in_the_cache_the_teacher_is_not_loaded(pico_contexts):
    make = pico_contexts()
    transfer(make())

    again = make(learning_rate=1e-3, seed=5)
    transfer(again)

    assert "teacher" not in again.pair.load_seconds


def test_a_student_deeper_than_its_teacher_is_served_by_depth(pico_contexts):
    context = pico_contexts({"num_hidden_layers": 2}, {"num_hidden_layers": 4})(pairing="depth")
    before = {name: weight.clone() for name, weight in context.pair.student.state_dict().items()}

    done = transfer(context)

    assert done.notes["teacher_layers"]["up_proj"] == [0, 0, 1, 1]
    changed = [name for name, weight in done.student.state_dict().items() if not torch.equal(weight, before[name])]
    assert len(changed) == 4 * 4

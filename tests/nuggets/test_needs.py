"""The estimates are the formulas on the sizes of Llama-2, worked out by hand."""

import dataclasses

import pytest

from pkt_bench_nuggets import pkt_bench_methods

METHODS = {method.name: method for method in pkt_bench_methods()}
N_S, N_T = 6_738_149_376, 13_015_449_600  # the matrices of Llama-2 7B and 13B
LAYER_T = 4 * 5120 * 5120 + 3 * 5120 * 13_824
TABLE_T = 32_000 * 5120
RECORDS = 16  # of each split of the pico suite


@pytest.fixture
def needs_of(llama_2_needs):
    return lambda name, **settings: llama_2_needs(METHODS[name], **settings)


def test_a_resident_teacher_needs_its_weights_a_running_sum_and_one_gradient(needs_of):
    found = needs_of("nuggets", stream=False, max_length=256)

    assert found["locate: memory, teacher resident"].amount == 4 * (2 * N_T + 5120 * 13_824)
    assert found["locate"].amount == 6 * N_T * 256 * RECORDS


def test_a_large_teacher_is_streamed_and_needs_a_layer_the_tables_and_the_inputs(needs_of):
    found = needs_of("nuggets", max_length=256)

    inputs = 4 * RECORDS * 256 * 41 * 5120
    expected = 4 * (3 * LAYER_T + 4 * TABLE_T + 5120 * 13_824) + inputs
    assert found["locate: memory, teacher streamed"].amount == expected
    # a second forward, layer by layer
    assert found["locate"].amount == 8 * N_T * 256 * RECORDS


def test_the_adapters_of_llama_2_7b_are_the_published_41_and_24_million(needs_of):
    assert needs_of("nuggets")["tune: adapters"].amount == 4 * 41_132_032
    four = 16 * 32 * ((4096 + 11_008) * 2 + (4096 + 4096) * 2)
    assert needs_of("postpkt")["tune: adapters"].amount == 4 * four
    assert round(four / 1e6, 1) == 23.9


def test_tuning_is_four_operations_per_weight_and_token(needs_of):
    found = needs_of("postpkt", preset="paper", max_length=256)

    assert found["tune"].amount == 4 * N_S * 5 * RECORDS * 256
    assert found["tune: memory"].amount == 8 * N_S + 16 * found["tune: adapters"].amount / 4


def test_random_layers_and_blocks_locate_nothing(needs_of):
    found = needs_of("nuggets", layers="random", structure="random")

    assert not any(what.startswith("locate") for what in found)


def test_a_start_of_the_students_own_asks_nothing_of_the_teacher(needs_of):
    found = needs_of("postpkt", init="gaussian")

    assert all(what.startswith("tune") for what in found)


def test_the_alignments_records_are_counted_and_not_the_train_split(needs_of):
    one = needs_of("postpkt", data="align", align_steps=2, align_batch=3, learning_rate=1e-3, max_length=256)

    assert one["tune"].amount == 4 * N_S * 3 * 6 * 256


def test_every_amount_is_finite_and_positive_and_in_a_unit(needs_of):
    for name in METHODS:
        for need in needs_of(name).values():
            assert 0 < need.amount < 1e30
            assert dataclasses.asdict(need)["unit"] in {"bytes", "FLOP"}

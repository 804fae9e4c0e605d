"""The estimates are the formulas on the sizes of Llama-2, worked out by hand."""

import pytest

from pkt_bench_laten import pkt_bench_methods

(METHOD,) = pkt_bench_methods()
N_S, N_T = 6_738_149_376, 13_015_449_600  # the matrices of Llama-2 7B and 13B
LAYER_T = 4 * 5120 * 5120 + 3 * 5120 * 13_824
RECORDS = 16  # of each split of the pico suite


@pytest.fixture
def needs_of(llama_2_needs):
    return lambda **settings: llama_2_needs(METHOD, **settings)


def test_exact_scores_multiply_every_neuron_with_the_head_once(needs_of):
    found = needs_of()["locate: exact scores"]

    product = sum(2 * layers * (f + 2 * d) * 32_000 * d for layers, d, f in ((40, 5120, 13_824), (32, 4096, 11_008)))
    lens = sum(6 * RECORDS * layers * (f + 2 * d) * 32_000 for layers, d, f in ((40, 5120, 13_824), (32, 4096, 11_008)))
    assert found.amount == product + lens
    # section 9.3 of the specification: 181 + 67 TFLOP for the teacher, 92 + 34 for the student, o_proj's channels once
    assert product == pytest.approx((181 + 2 * 67 + 92 + 2 * 34) * 1e12, rel=0.01)


def test_first_order_scores_cost_a_few_passes_of_the_head(needs_of):
    found = needs_of(scores="first-order")

    assert "locate: exact scores" not in found
    assert found["locate: first-order scores"].amount < 0.1 * needs_of()["locate: exact scores"].amount


def test_a_large_teacher_is_streamed_and_needs_a_layer_and_the_tables(needs_of):
    found = needs_of(max_length=256)

    held = 40 * (6 * 5120 + 3 * 13_824 + 4 * 5120)
    expected = 4 * (2 * LAYER_T + 3.25 * 32_000 * 5120 + RECORDS * (256 * 5120 + held + 6 * 32_000))
    assert found["locate: memory, teacher streamed"].amount == expected
    assert needs_of(stream=False)["locate: memory, teacher resident"].amount == 4 * (
        N_T + LAYER_T + RECORDS * (held + 6 * 32_000)
    )


def test_the_published_networks_have_189_million_weights(needs_of):
    found = needs_of(inject_steps=(8,))["align: networks"]

    network = 4 * 5120 * (5120 + 4096)
    assert round(network / 1e6, 1) == 188.7
    assert found.amount == (16 + 4) * network


def test_ten_percent_of_the_neurons_are_the_published_knowledge(needs_of):
    found = needs_of(inject_rates=(0.1,))["align: knowledge"]

    # in half precision 0.99 GB
    assert found.amount == 4 * 32 * 2 * (1100 + 409) * 5120
    assert found.amount / 2 == pytest.approx(0.99e9, rel=0.01)


def test_translating_and_stepping_cost_what_the_formulas_say(needs_of):
    found = needs_of(inject_steps=(1,), max_length=768, rate=0.1)

    # 9.1 TFLOP forward, three times that with backward
    assert found["align: translate"].amount == pytest.approx(27e12, rel=0.02)
    assert found["align"].amount == 4 * N_S * 16 * 768
    assert found["align"].amount / 16 == pytest.approx(21e12, rel=0.02)


def test_every_amount_is_finite_and_positive(needs_of):
    for need in needs_of().values():
        assert 0 < need.amount < 1e30
        assert need.unit in {"bytes", "FLOP"}

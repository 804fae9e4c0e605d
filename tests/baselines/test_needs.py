"""The estimates are the formulas on the sizes of Llama-2, worked out by hand."""

import pytest

from pkt_bench.known_models import KNOWN_MODELS
from pkt_bench_baselines import needs, pkt_bench_methods, writing
from pkt_bench_baselines.needs import adapter_parameters

METHODS = {method.name: method for method in pkt_bench_methods()}
N_S, N_T = 6_738_149_376, 13_015_449_600  # the matrices of Llama-2 7B and 13B
P = 41_132_032  # its adapter of rank 16 on nine modules: 16 sum (in + out)
RECORDS, VALIDATION = 16, 16


@pytest.fixture
def needs_of(llama_2_needs):
    return lambda name, **settings: llama_2_needs(METHODS[name], **settings)


def test_the_adapter_of_nine_modules_on_llama_2_7b_has_the_published_41_million_parameters():
    attention = 4 * (4096 + 4096)
    feed_forward = 3 * (4096 + 11_008)
    outside = 2 * (4096 + 32_000)

    counted = adapter_parameters(KNOWN_MODELS["llama-2-7b"].architecture, METHODS["lora"].settings())

    assert counted == 16 * (32 * (attention + feed_forward) + outside) == P


def test_lora_needs_the_student_twice_its_adapter_and_four_operations_per_weight_and_token(needs_of):
    found = needs_of("lora", learning_rate=1e-3, max_length=256)

    assert found["tune: memory"].amount == 8 * N_S + 16 * P
    assert found["tune"].amount == 4 * N_S * 3 * RECORDS * 256
    assert found["tune"].unit == "FLOP"


def test_three_rates_cost_three_trainings_three_validations_and_two_copies_of_the_adapter(needs_of):
    found = needs_of("lora", max_length=256)

    assert found["tune: memory"].amount == 8 * N_S + 24 * P
    assert found["tune"].amount == 3 * (4 * N_S * 3 * RECORDS * 256 + 2 * N_S * VALIDATION * 256)


def test_a_record_has_no_more_tokens_than_the_student_has_positions(needs_of):
    assert needs_of("lora", max_length=100_000)["tune"].amount == needs_of("lora", max_length=4096)["tune"].amount


def test_full_tuning_keeps_seven_copies_of_the_student_with_several_rates_and_five_with_one(needs_of):
    assert needs_of("full")["tune: memory"].amount == 28 * N_S
    assert needs_of("full", learning_rate=1e-3)["tune: memory"].amount == 20 * N_S


def test_the_matched_control_reads_steps_times_batch_records(needs_of):
    found = needs_of("lora-matched", learning_rate=1e-3, steps=10, align_batch=4, max_length=100)

    assert found["tune"].amount == 4 * N_S * 10 * 4 * 100


def test_the_teacher_tells_its_logits_once_where_they_are_kept_and_at_every_step_where_not(needs_of):
    kept = needs_of("kd", max_length=256)
    again = needs_of("kd", max_length=256, kept_bytes=0)

    assert kept["teach"].amount == 2 * N_T * RECORDS * 256
    assert kept["teach: logits"].amount == 4 * 32_000 * RECORDS * 256
    assert again["teach"].amount == 9 * kept["teach"].amount
    assert again["teach: logits"].amount == 0


def test_on_policy_steps_cost_the_student_writing_and_the_teacher_reading(needs_of):
    found = needs_of("gkd", max_length=256, lmbda=0.25)

    assert found["own answers"].amount == 0.25 * 9 * 2 * (N_S + N_T) * RECORDS * 256


def test_the_teacher_answers_each_prompt_once(needs_of):
    found = needs_of("seqkd", max_length=256)

    assert found["answer"].amount == 2 * N_T * RECORDS * 256
    # keys and values of one record are 0.42 GB, of all sixteen more than the 4 GiB that a batch may take
    assert found["answer: memory"].amount == 4 * N_T + 4 * 2**30
    assert needs_of("seqkd", max_length=64)["answer: memory"].amount == 4 * N_T + 2 * 4 * RECORDS * 64 * 40 * 5120


def test_the_estimate_knows_the_batches_that_are_written():
    assert (needs.ROWS, needs.CACHE_BYTES) == (writing.ROWS, writing.CACHE_BYTES)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_would_need(needs_of, name):
    found = needs_of(name)

    assert found
    assert all(need.amount > 0 and need.formula for need in found.values())

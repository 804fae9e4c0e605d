"""|weight * gradient| against a plain backward pass, and what it leaves behind."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from pkt_bench import Encoded
from pkt_bench.models import fingerprint
from pkt_bench.testing import pico_pair
from pkt_bench_nuggets.sensitivity import sensitivity

RECORDS = [Encoded((256, 5, 6, 7, 8, 256), 3), Encoded((256, 9, 10, 11), 2)]


@pytest.fixture
def teacher(tmp_path):
    pair = pico_pair(tmp_path, teacher={"tie_word_embeddings": True, "num_key_value_heads": 2})
    return AutoModelForCausalLM.from_pretrained(pair.teacher.path).eval().requires_grad_(False)


def by_formula(teacher, records):
    """sum over records of |theta * d mean-CE(answer) / d theta|, with transformers' own loss."""
    sums = {name: torch.zeros_like(weight) for name, weight in teacher.named_parameters()}
    teacher.requires_grad_(True)
    for record in records:
        teacher.zero_grad()
        teacher(input_ids=torch.tensor([record.ids]), labels=torch.tensor([record.labels])).loss.backward()
        for name, weight in teacher.named_parameters():
            sums[name] += (weight * weight.grad).abs().detach()
    teacher.zero_grad()
    teacher.requires_grad_(False)
    return sums


def test_it_is_the_sum_over_records_of_weight_times_gradient(teacher):
    names = [name for name, _ in teacher.named_parameters()]
    expected = by_formula(teacher, RECORDS)

    found = sensitivity(teacher, RECORDS, names)

    for name in names:
        torch.testing.assert_close(found.sums[name], expected[name], rtol=1e-4, atol=1e-6)


def test_only_the_wanted_parameters_are_measured_and_to_the_same_numbers(teacher):
    name = "model.layers.1.mlp.up_proj.weight"
    everything = sensitivity(teacher, RECORDS, [name for name, _ in teacher.named_parameters()])

    found = sensitivity(teacher, RECORDS, [name])

    assert set(found.sums) == {name}
    torch.testing.assert_close(found.sums[name], everything.sums[name])


def test_records_without_an_answer_token_are_counted_and_contribute_nothing(teacher):
    name = "model.layers.0.self_attn.k_proj.weight"
    alone = sensitivity(teacher, RECORDS, [name])

    found = sensitivity(teacher, [*RECORDS, Encoded((256, 1, 2), 3)], [name])

    assert found.unsupervised == 1
    assert torch.equal(found.sums[name], alone.sums[name])


def test_the_model_is_left_as_it_was(teacher):
    before = fingerprint(teacher)

    sensitivity(teacher, RECORDS, [name for name, _ in teacher.named_parameters()])

    assert fingerprint(teacher) == before
    assert all(weight.grad is None and not weight.requires_grad for weight in teacher.parameters())


def test_the_model_is_left_as_it_was_when_a_record_fails(teacher):
    with pytest.raises(IndexError):
        sensitivity(teacher, [Encoded((256, 999_999, 3), 1)], ["model.norm.weight"])

    assert not any(weight.requires_grad for weight in teacher.parameters())
    assert sensitivity(teacher, RECORDS, ["model.norm.weight"]).unsupervised == 0

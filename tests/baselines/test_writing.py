"""Answers are those of transformers' generate, whatever else is in the batch; samples follow the tempered softmax."""

import pytest
import torch
from transformers import GenerationConfig

from pkt_bench.models import load, load_tokenizer
from pkt_bench_baselines import writing
from pkt_bench_baselines.writing import end_tokens, key_value_bytes, next_tokens, write

PROMPTS = [(256, 7, 8, 9), (256, 70), (256, *range(40, 60)), (256, 3, 5)]
LAYOUTS = ["llama", "gqa", "qwen2", "qwen3", "gemma2", "gemma3"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_greedy_answers_of_a_padded_batch_are_those_of_generate_for_each_prompt_alone(pair_of, layout):
    model = load(pair_of(layout).student, "float32", "cpu")
    plain = GenerationConfig(max_new_tokens=12, do_sample=False, eos_token_id=256, pad_token_id=256)
    expected = []
    for prompt in PROMPTS:
        ids = torch.tensor([prompt])
        whole = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=plain)
        expected.append(tuple(whole[0, len(prompt) :].tolist()))

    got = write(model, PROMPTS, [12] * 4, frozenset({256}))

    assert got == expected


def test_an_answer_ends_with_its_end_token_or_at_its_own_limit(pair_of):
    model = load(pair_of().student, "float32", "cpu")
    free = write(model, PROMPTS, [12] * 4, frozenset())
    end = free[0][4]

    got = write(model, PROMPTS, [12, 3, 7, 12], frozenset({end}))

    for answer, whole, limit in zip(got, free, [12, 3, 7, 12], strict=True):
        stop = whole.index(end) + 1 if end in whole else len(whole)
        assert answer == whole[: min(stop, limit)]
    assert got[0][-1] == end
    assert len(got[0]) <= 5


def test_a_sampled_answer_depends_on_the_random_state_and_not_on_the_rest_of_the_batch_ending_early(pair_of):
    model = load(pair_of().student, "float32", "cpu")
    torch.manual_seed(1)
    whole = write(model, PROMPTS, [10] * 4, frozenset(), temperature=1.0)

    torch.manual_seed(1)
    cut = write(model, PROMPTS, [10, 2, 3, 10], frozenset(), temperature=1.0)
    torch.manual_seed(2)
    other = write(model, PROMPTS, [10] * 4, frozenset(), temperature=1.0)

    assert cut == [whole[0], whole[1][:2], whole[2][:3], whole[3]]
    assert other != whole


def test_tokens_are_drawn_as_often_as_the_tempered_softmax_says():
    logits = torch.tensor([2.0, 1.0, 0.0, -float("inf"), 0.5])
    expected = torch.softmax(logits / 0.5, 0)
    chance = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000

    drawn = next_tokens(logits.expand(10_000, 5), 0.5, chance)

    shares = torch.bincount(drawn, minlength=5) / 10_000
    assert torch.allclose(shares, expected, atol=2e-4)
    assert shares[3] == 0


def test_texts_end_where_tokenizer_and_generation_configuration_say(pair_of):
    ref = pair_of().student
    model = load(ref, "float32", "cpu")
    model.generation_config.eos_token_id = [3, 4]

    ends = end_tokens(model, load_tokenizer(ref))

    assert ends == {3, 4, 256}


def test_smaller_batches_answer_the_same(pair_of, monkeypatch):
    model = load(pair_of("gqa").student, "float32", "cpu")
    whole = write(model, PROMPTS, [8] * 4, frozenset())

    # room for one and a half of the longest prompts with its answer
    monkeypatch.setattr(writing, "CACHE_BYTES", 43 * key_value_bytes(model))
    parts = write(model, PROMPTS, [8] * 4, frozenset())

    assert parts == whole


def test_a_token_costs_its_keys_and_values_in_every_layer(pair_of):
    model = load(pair_of("gqa").student, "float32", "cpu")

    # keys and values, 2 layers, 2 shared heads of 8 channels, 4 bytes
    assert key_value_bytes(model) == 2 * 2 * 2 * 8 * 4

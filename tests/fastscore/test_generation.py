"""Generated strings are those of stock lm-eval with batches of one."""

import copy

import pytest

from fastscore.asked import FAMILIES, ask, ragged

pytestmark = pytest.mark.filterwarnings("default")  # lm-eval and datasets warn about their own dependencies

GREEDY = {"until": ["\n", "é", "ab"], "max_gen_toks": 12, "do_sample": False}


def contexts(count, seed=0):
    return [context or "q" for context, _ in ragged(count, seed)]


def both(scorers, model, tokenizer, requests, **more):
    stock, fast = scorers(model, tokenizer, **more)
    return (
        stock.generate_until(requests, disable_tqdm=True),
        fast.generate_until(requests, disable_tqdm=True),
        fast.count,
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_says_what_it_says_to_stock_lm_eval(family, of_family, scorers, monkeypatch):
    from pkt_bench.fastscore import lm
    from pkt_bench.fastscore.engine import Engine

    side_by_side = []
    plain = Engine.run_rows
    monkeypatch.setattr(Engine, "run_rows", lambda *given: side_by_side.append(1) or plain(*given))
    requests = ask("generate_until", *((context, dict(GREEDY)) for context in contexts(16)))
    stock, together = scorers(*of_family(family))
    _, apart = scorers(*of_family(family), batch_size=16)

    expected = stock.generate_until(requests, disable_tqdm=True)
    with monkeypatch.context() as narrow:
        # no room for sequences with a context of their own
        narrow.setattr(lm, "COLUMNS_PER_DOCUMENT", 40)
        in_one_buffer = together.generate_until(requests, disable_tqdm=True)
    assert not side_by_side
    in_rows = apart.generate_until(requests, disable_tqdm=True)

    assert side_by_side
    assert in_one_buffer == expected
    assert in_rows == expected
    assert (apart.count.fast, apart.count.stock, apart.count.parity_requests) == (16, 0, 1)
    assert len(set(expected)) > 3


def test_a_stop_string_ends_a_generation_wherever_its_tokens_are_cut(of_family, scorers):
    model, tokenizer = of_family("llama")
    stock, _ = scorers(model, tokenizer)
    prompts = contexts(12, seed=3)
    plain = stock.generate_until(
        ask("generate_until", *((each, {"until": [], "max_gen_toks": 12}) for each in prompts))
    )
    # of each generation three letters of its middle, and letters that never come
    stops = [[said[4:7] or "x", "never", said[5:6] or "y"] for said in plain]
    requests = ask(
        "generate_until",
        *((prompt, {"until": stop, "max_gen_toks": 12}) for prompt, stop in zip(prompts, stops, strict=True)),
    )

    expected, found, count = both(scorers, model, tokenizer, requests)

    assert found == expected
    assert any(len(short) < len(long) for short, long in zip(found, plain, strict=True))
    assert count.fast == 12


def test_a_stop_string_of_several_tokens_is_looked_for_in_the_last_tokens_only():
    from pkt_bench.fastscore.stops import Stops
    from pkt_bench.testing import byte_tokenizer

    tokenizer = byte_tokenizer()
    stops = Stops(tokenizer, ["\n\n"], [256])

    # a stop of two tokens is looked for in the last four
    assert stops(tokenizer.encode("x\n\n"))
    assert stops(tokenizer.encode("x\n\nab"))
    assert not stops(tokenizer.encode("x\n\nabc"))
    assert stops([1, 256])
    assert not stops([256, 1])


def test_contexts_too_long_for_the_window_lose_their_beginning(of_family, scorers):
    prompts = ["the cat sat on the mat " * count for count in (1, 2, 4)]
    requests = ask("generate_until", *((prompt, dict(GREEDY)) for prompt in prompts))

    expected, found, count = both(scorers, *of_family("llama"), requests, max_length=40)

    assert found == expected
    assert count.fast == 3


def test_a_model_that_ends_its_answers_ends_them_here_too(of_family, scorers):
    model, tokenizer = of_family("llama")
    model = copy.deepcopy(model)
    stock, _ = scorers(model, tokenizer)
    (said,) = stock.generate_until(ask("generate_until", ("the cat", {"until": [], "max_gen_toks": 12})))
    model.generation_config.eos_token_id = [256, tokenizer.encode(said[3:4] or "x")[0]]
    requests = ask(
        "generate_until", ("the cat", {"until": [], "max_gen_toks": 12}), ("a dog", {"until": [], "max_gen_toks": 12})
    )

    expected, found, count = both(scorers, model, tokenizer, requests)

    assert found == expected
    assert count.fast == 2


def test_settings_of_each_request_are_its_own(of_family, scorers):
    requests = ask(
        "generate_until",
        ("the cat", {"until": ["\n"], "max_gen_toks": 3}),
        ("the cat", {"until": ["\n"], "max_gen_toks": 1}),
        ("the cat", {"until": "a", "max_gen_toks": 9, "temperature": 0.0}),
        ("the cat", {"until": ["\n"], "max_gen_toks": 3}),
    )

    expected, found, _ = both(scorers, *of_family("llama"), requests)

    assert found == expected


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"do_sample": True, "temperature": 0.8}, "generations that are drawn at random"),
        ({"num_beams": 2}, "generations with num_beams"),
        ({"repetition_penalty": 1.3}, "generations with repetition_penalty"),
    ],
)
def test_what_is_not_greedy_is_left_to_stock_lm_eval(settings, reason, of_family, scorers):
    import torch

    requests = ask("generate_until", ("the cat", {**GREEDY, "do_sample": None, **settings}))
    stock, fast = scorers(*of_family("llama"))
    torch.manual_seed(0)
    expected = stock.generate_until(requests, disable_tqdm=True)
    torch.manual_seed(0)

    found = fast.generate_until(requests, disable_tqdm=True)

    assert found == expected
    assert (fast.count.fast, fast.count.stock, fast.count.reasons) == (0, 1, [reason])


def test_a_model_with_settings_of_its_own_is_left_to_stock_lm_eval(of_family, scorers):
    model, tokenizer = of_family("llama")
    model = copy.deepcopy(model)
    model.generation_config.repetition_penalty = 1.3
    requests = ask("generate_until", *((context, dict(GREEDY)) for context in contexts(3)))

    expected, found, count = both(scorers, model, tokenizer, requests)

    assert found == expected
    assert count.reasons == ["the model's own generation settings (repetition_penalty)"]


def test_each_token_is_computed_once_however_many_contexts_share_it(of_family, scorers):
    _, fast = scorers(*of_family("llama"))
    shots = "the cat sat on the mat. " * 5
    prompts = [f"{shots}{letter}" for letter in "abcdefgh"]

    fast.generate_until(ask("generate_until", *((each, {"until": [], "max_gen_toks": 1}) for each in prompts)))

    # the begin token is put in front by this tokenizer only if it has such a rule; it has none
    assert fast.count.tokens_computed == len(shots.encode()) + 8
    assert fast.count.tokens_distinct == len(shots.encode()) + 8

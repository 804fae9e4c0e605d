"""Log-likelihoods and greedy flags are stock lm-eval's, request by request."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastscore.asked import FAMILIES, ask, ragged, worst

pytestmark = pytest.mark.filterwarnings("default")  # lm-eval and datasets warn about their own dependencies


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_the_numbers_of_stock_lm_eval(family, of_family, scorers):
    stock, fast = scorers(*of_family(family))
    requests = ask("loglikelihood", *ragged(60))

    expected = stock.loglikelihood(requests, disable_tqdm=True)
    found = fast.loglikelihood(requests, disable_tqdm=True)

    assert worst(found, expected) < 1e-5
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert (fast.count.fast, fast.count.stock, fast.count.reasons) == (60, 0, [])
    assert fast.count.parity_max_dloglik < 1e-3


def test_a_greedy_continuation_is_known_as_one(of_family, scorers):
    model, tokenizer = of_family("llama")
    stock, fast = scorers(model, tokenizer)
    (said,) = stock.generate_until(ask("generate_until", ("the cat", {"until": [], "max_gen_toks": 5})))
    requests = ask("loglikelihood", ("the cat", said), ("the cat", said + "!"), ("the cat", "!" + said))

    expected = stock.loglikelihood(requests, disable_tqdm=True)
    found = fast.loglikelihood(requests, disable_tqdm=True)

    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert found[0][1] or "�" in said


@pytest.mark.parametrize("bos", [True, False])
def test_a_begin_token_is_put_where_stock_lm_eval_puts_it(bos, of_family, scorers):
    model, tokenizer = of_family("llama")
    stock, fast = scorers(model, tokenizer, bos=bos)
    requests = ask(
        "loglikelihood", ("<|end|>the", " cat"), ("the", " cat"), ("", "<|end|>x"), ("a  ", " b"), ("a", "  b")
    )

    expected = stock.loglikelihood(requests, disable_tqdm=True)
    found = fast.loglikelihood(requests, disable_tqdm=True)

    assert worst(found, expected) < 1e-5


def test_requests_longer_than_the_window_are_left_to_stock_lm_eval(of_family, scorers):
    stock, fast = scorers(*of_family("llama"), max_length=24)
    requests = ask(
        "loglikelihood", ("the cat sat on " * 3, "mat"), ("the cat", " sat"), ("x" * 22, "yz"), ("x" * 22, "yzz")
    )

    expected = stock.loglikelihood(requests, disable_tqdm=True)
    found = fast.loglikelihood(requests, disable_tqdm=True)

    assert worst(found, expected) < 1e-5
    assert (fast.count.fast, fast.count.stock) == (3, 1)
    assert fast.count.reasons == ["requests longer than the model's window, or of no tokens"]


def test_one_text_cut_in_two_places_is_left_to_stock_lm_eval(of_family, scorers):
    stock, fast = scorers(*of_family("llama"))
    requests = ask("loglikelihood", ("the cat", " sat"), ("the", " cat sat"), ("the cat", " was"))

    expected = stock.loglikelihood(requests, disable_tqdm=True)
    found = fast.loglikelihood(requests, disable_tqdm=True)

    assert worst(found, expected) < 1e-5
    assert (fast.count.fast, fast.count.stock) == (1, 2)


def test_whole_texts_are_left_to_stock_lm_eval(of_family, scorers):
    stock, fast = scorers(*of_family("llama"))
    requests = ask("loglikelihood_rolling", ("the cat sat on the mat " * 20,), ("x",))

    assert fast.loglikelihood_rolling(requests) == stock.loglikelihood_rolling(requests)
    assert fast.count.fast == 0


def test_an_adapter_is_computed_with(of_family, scorers, tmp_path):
    import copy

    import torch
    from peft import LoraConfig, get_peft_model

    model, tokenizer = of_family("llama")
    adapted = get_peft_model(copy.deepcopy(model), LoraConfig(r=4, target_modules=["q_proj", "down_proj"]))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    stock, fast = scorers(adapted, tokenizer)
    _, plain = scorers(model, tokenizer)
    requests = ask("loglikelihood", *ragged(12))

    expected = stock.loglikelihood(requests, disable_tqdm=True)
    found = fast.loglikelihood(requests, disable_tqdm=True)

    assert worst(found, expected) < 1e-5
    assert worst(plain.loglikelihood(requests, disable_tqdm=True), expected) > 1e-2
    assert fast.count.fast == 12


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_within_what_it_can_hold(dtype, of_family, scorers):
    import copy

    import torch

    model, tokenizer = of_family("qwen2")
    stock, fast = scorers(copy.deepcopy(model).to(getattr(torch, dtype)), tokenizer)
    requests = ask("loglikelihood", *ragged(16))

    expected = stock.loglikelihood(requests, disable_tqdm=True)
    found = fast.loglikelihood(requests, disable_tqdm=True)

    assert worst(found, expected) < {"bfloat16": 2e-2, "float16": 3e-3}[dtype]
    assert fast.count.fast == 16


pieces = st.sampled_from(["a", "b", "ab", " ", "é", "\n", "abcabcabc", "<|end|>"])
texts = st.lists(pieces, max_size=8).map("".join)
# stock lm-eval refuses contexts of nothing but space, and texts that are their own context
contexts = texts.filter(lambda each: not each or each.strip())
pairs = st.tuples(contexts, texts.filter(lambda each: each and each != "<|end|>"))


@settings(max_examples=15, deadline=None)
@given(st.lists(pairs, min_size=1, max_size=12), st.sampled_from([1, 2, 40]))
def test_any_set_of_requests_is_answered_as_by_stock_lm_eval(of_family, scorers, given_, batch_size):
    model, tokenizer = of_family("llama")
    stock, fast = scorers(model, tokenizer, batch_size=batch_size)
    requests = ask("loglikelihood", *given_)

    expected = stock.loglikelihood(requests, disable_tqdm=True)
    found = fast.loglikelihood(requests, disable_tqdm=True)

    assert worst(found, expected) < 1e-5
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]

"""A scorer that computes something else is found out, and replaced by stock lm-eval's own."""

import copy

import pytest

from fastscore.asked import ask, ragged, worst
from pkt_bench.fastscore import parity

pytestmark = pytest.mark.filterwarnings("default")  # lm-eval and datasets warn about their own dependencies


def test_the_sample_costs_a_hundredth_of_the_work_or_is_a_single_request():
    assert parity.sample([7]) == [0]
    assert len(parity.sample([100] * 99)) == 1
    assert len(parity.sample([100] * 1000)) == 10
    assert len(parity.sample([100] * 100_000)) == parity.MOST


def test_the_sample_is_spread_over_all_lengths():
    lengths = list(range(1, 1001))

    chosen = parity.sample(lengths)

    assert min(chosen) < 250
    assert max(chosen) > 750
    assert sum(lengths[number] for number in chosen) <= 0.01 * sum(lengths)


def test_log_likelihoods_that_are_off_are_replaced_by_stock_ones_with_the_reason(of_family, scorers, monkeypatch):
    from pkt_bench.fastscore import lm

    plain = lm.log_likelihoods
    off = lambda *arguments: [(value + 0.01, greedy) for value, greedy in plain(*arguments)]  # noqa: E731
    monkeypatch.setattr(lm, "log_likelihoods", off)
    stock, fast = scorers(*of_family("llama"))
    requests = ask("loglikelihood", *ragged(12))

    expected = stock.loglikelihood(requests, disable_tqdm=True)
    found = fast.loglikelihood(requests, disable_tqdm=True)

    assert worst(found, expected) < 1e-6
    assert (fast.count.fast, fast.count.stock) == (0, 12)
    assert fast.count.parity_max_dloglik == pytest.approx(0.01, abs=1e-4)
    assert "came out as" in fast.count.reasons[0]


def test_a_generation_that_is_another_is_replaced_by_stock_ones(of_family, scorers, monkeypatch):
    from pkt_bench.fastscore import lm

    monkeypatch.setattr(lm, "generate", lambda _engine, contexts, *_: [[65] for _ in contexts])
    stock, fast = scorers(*of_family("llama"))
    requests = ask(
        "generate_until", *((context or "q", {"until": ["\n"], "max_gen_toks": 5}) for context, _ in ragged(4))
    )

    assert fast.generate_until(requests) == stock.generate_until(requests)
    assert (fast.count.fast, fast.count.stock, fast.count.reasons) == (0, 4, ["a generation is another one"])


def test_a_family_nobody_checked_is_left_to_stock_lm_eval(of_family, scorers):
    model, tokenizer = of_family("olmo2")
    stock, fast = scorers(model, tokenizer)
    requests = ask("loglikelihood", *ragged(6))

    assert fast.loglikelihood(requests) == stock.loglikelihood(requests)
    assert fast.count.reasons == ["models of the family 'olmo2' are not known to compute alike"]
    assert (fast.count.fast, fast.count.stock, fast.count.tokens_computed) == (0, 6, 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"_attn_implementation": "flash_attention_2"}, "attention 'flash_attention_2' takes no mask of branches"),
        (
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
            "its positions (dynamic) depend on the longest sequence of a batch",
        ),
    ],
)
def test_a_model_that_takes_no_branches_says_why(change, reason, of_family):
    from pkt_bench.fastscore.families import why_not

    model, _ = of_family("llama")
    model = copy.copy(model)
    model.config = copy.deepcopy(model.config)
    for name, value in change.items():
        setattr(model.config, name, value)

    assert why_not(model) == reason


def test_prompts_that_are_learnt_are_left_to_stock_lm_eval(of_family):
    from peft import PromptTuningConfig, get_peft_model

    from pkt_bench.fastscore.families import why_not

    model, _ = of_family("llama")
    adapted = get_peft_model(copy.deepcopy(model), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))

    assert why_not(adapted) == "adapter 'default' is PROMPT_TUNING, and only LoRA adapters are known to compute alike"

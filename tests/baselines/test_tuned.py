"""Tuning without a teacher: what is handed over loads again, repeats bit for bit, and starts where it should."""

from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from pkt_bench import Record, add_adapter
from pkt_bench.models import fingerprint
from pkt_bench.starts import principal_factors, principal_start
from pkt_bench_baselines import pkt_bench_methods
from pkt_bench_baselines.settings import FullSettings, LoraSettings, MatchedSettings, PissaSettings

METHODS = {method.name: method for method in pkt_bench_methods()}
LAYOUTS = ["llama", "gqa", "qwen2", "gemma2"]
IDS = torch.tensor([[256, 7, 8, 9]])
ADAPTERS = {
    "lora": {"rank": 4},
    "lora-gaussian": {"rank": 4},
    "lora-matched": {"rank": 4, "steps": 2, "align_batch": 4},
    "pissa": {"rank": 4},
    "lora, orthogonal": {"rank": 4, "init": "orthogonal"},
    "lora, olora": {"rank": 4, "init": "olora"},
}


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def run(context_of, name, layout="llama", seed=0, **more):
    method = METHODS[name.partition(",")[0]]
    settings = method.settings(learning_rate=1e-2, **{**ADAPTERS.get(name, {}), **more})
    context = context_of(settings, seed, layout)
    return context, method.transfer(context)


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_a_reference_hands_over_that_very_model_and_claims_no_change(context_of, role):
    method = METHODS[role]
    context = context_of(method.settings())

    result = method.transfer(context)

    assert result.student is getattr(context.pair, role)
    assert not result.payload
    assert not method.changes_student


@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_saved_adapter_loads_on_the_untouched_student_with_the_same_logits(context_of, tmp_path, name, layout):
    context, result = run(context_of, name, layout)

    result.student.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    fresh = AutoModelForCausalLM.from_pretrained(context.pair.pair.student.path)
    again = PeftModel.from_pretrained(fresh, tmp_path / "adapter").eval()

    assert torch.allclose(logits(result.student), logits(again), atol=1e-5)
    assert (logits(result.student) - logits(context.pair.pristine_student)).abs().max() > 0.01
    assert fingerprint(result.student.unload()) == fingerprint(context.pair.pristine_student)
    assert "teacher" not in vars(context.pair)


@pytest.mark.parametrize("name", [*ADAPTERS, "full"])
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(context_of, name):
    prints = [fingerprint(run(context_of, name, seed=seed)[1].student) for seed in (0, 0, 1)]

    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("init", ["kaiming", "gaussian"])
def test_the_two_random_starts_have_the_published_spread(context_of, init):
    context = context_of(LoraSettings(rank=8, init=init))
    torch.manual_seed(0)

    model = add_adapter(context.pair.student, context.settings, init=context.settings.init)

    rows = [w.flatten() for n, w in model.named_parameters() if "lora_A" in n and "q_proj" in n]
    spread = torch.cat(rows).detach().std()
    # Kaiming-uniform with a = sqrt 5: uniform within 1 / sqrt(in); Gaussian: N(0, 1 / r^2)
    expected = {"kaiming": (1 / 32) ** 0.5 / 3**0.5, "gaussian": 1 / 8}[init]
    assert float(spread) == pytest.approx(expected, rel=0.15)


# ---------------------------------------------------------------- pissa


@pytest.mark.parametrize("split", ["left", "sqrt"])
@pytest.mark.parametrize("alpha", [None, 8.0])
def test_the_start_is_the_best_rank_r_part_of_the_weight_whatever_the_scaling(split, alpha):
    weight = torch.randn(24, 40, generator=torch.Generator().manual_seed(0))
    u, s, v = torch.linalg.svd(weight.double(), full_matrices=False)
    scaling = 1.0 if alpha is None else alpha / 4

    a, b = principal_factors(weight, 4, scaling, split)

    torch.testing.assert_close((scaling * b @ a).double(), u[:, :4] @ s[:4].diag() @ v[:4], atol=1e-5, rtol=1e-5)
    if split == "sqrt":
        torch.testing.assert_close(a.double() @ a.double().T, (s[:4] / scaling).diag(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pissa_starts_where_pefts_own_pissa_does_and_the_student_computes_what_it_did(context_of, layout):
    modules = ("q_proj", "v_proj", "down_proj")
    context = context_of(PissaSettings(rank=4, alpha=8, modules=modules), layout=layout)
    plain = logits(context.pair.pristine_student)
    config = LoraConfig(r=4, lora_alpha=8, init_lora_weights="pissa", target_modules=list(modules))
    theirs = get_peft_model(AutoModelForCausalLM.from_pretrained(context.pair.pair.student.path), config).eval()

    start = principal_start(context, context.settings, context.settings.split)
    ours = add_adapter(context.pair.student, context.settings, start).eval()

    assert torch.allclose(logits(ours), plain, atol=1e-4)
    assert torch.allclose(logits(ours), logits(theirs), atol=1e-4)
    for path, (a, b) in start.items():
        peft = theirs.get_base_model().get_submodule(path)
        product = peft.lora_B["default"].weight @ peft.lora_A["default"].weight
        torch.testing.assert_close(b @ a, product.detach(), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            context.pair.student.get_submodule(path).base_layer.weight, peft.base_layer.weight, atol=1e-4, rtol=1e-4
        )


def test_the_directions_are_found_once_for_all_seeds_and_again_for_another_rank(context_of):
    first, _ = run(context_of, "pissa")
    again, _ = run(context_of, "pissa", seed=1)
    wider, _ = run(context_of, "pissa", rank=6)

    reused = ["pissa-start (reused)" in c.ledger.stage_seconds for c in (first, again, wider)]
    assert reused == [False, True, False]


# ---------------------------------------------------------------- full


@pytest.mark.parametrize("layout", LAYOUTS)
def test_full_tuning_moves_every_matrix_and_leaves_the_copy_alone(context_of, layout):
    context = context_of(FullSettings(learning_rate=1e-2), layout=layout)

    result = METHODS["full"].transfer(context)

    before = context.pair.pristine_student.state_dict()
    after = result.student.state_dict()
    assert result.student is context.pair.student
    assert [name for name in after if after[name].ndim == 2 and torch.equal(after[name], before[name])] == []
    assert context.ledger.trainable_parameters == sum(w.numel() for w in result.student.parameters())
    if context.pair.student.config.tie_word_embeddings:
        assert torch.equal(after["lm_head.weight"], after["model.embed_tokens.weight"])


def test_full_tuning_chooses_its_rate_on_the_validation_split(context_of):
    context = context_of(FullSettings(learning_rate=(1e-6, 1e-2)))

    result = METHODS["full"].transfer(context)

    tried = result.notes["validation_loss_by_rate"]
    assert result.selection == "validation"
    assert tried["0.01"] < tried["1e-06"]
    assert result.notes["learning_rate"] == 1e-2


# ---------------------------------------------------------------- lora-matched


def test_the_matched_control_learns_from_the_records_of_the_alignment_steps_as_often_as_they_occur(context_of):
    context, result = run(context_of, "lora-matched", steps=5, align_batch=4)
    batches = context.alignment_batches(5, 4, context.records("extract")[:32])
    records = [record for batch in batches for record in batch]
    tokens = sum(len(encoded.ids) for encoded in context.encoded(records, 768))

    assert context.ledger.tokens_trained == tokens
    assert result.notes["records_seen"] == 20
    assert result.notes["distinct_records"] == len(set(records)) < 20


def test_the_matched_control_reads_as_many_tokens_per_rate_as_laten_does(context_of):
    laten = pytest.importorskip("pkt_bench_laten")
    (method,) = laten.pkt_bench_methods()
    theirs = context_of(method.settings(steps=6, align_batch=4, inject_steps=(6,)))
    method.transfer(theirs)

    ours, _ = run(context_of, "lora-matched", steps=6, align_batch=4)

    assert ours.ledger.tokens_trained == theirs.ledger.tokens_trained


def test_a_record_that_cannot_be_located_on_leaves_laten_and_its_control_with_the_same_records(context_of):
    laten = pytest.importorskip("pkt_bench_laten")
    (method,) = laten.pkt_bench_methods()

    def with_one_more(context):
        plain = context.suite.records

        def records(split):
            # an answer of nothing but punctuation; of another length than the others, so that it would be noticed
            extra = [Record.of("what is this?", "." * 40)] if split == "extract" else []
            return [*plain(split)[:2], *extra, *plain(split)[2:]]

        return replace(context, suite=replace(context.suite, records=records))

    theirs = with_one_more(context_of(method.settings(steps=6, align_batch=4, inject_steps=(6,))))
    ours = with_one_more(context_of(MatchedSettings(rank=4, steps=6, align_batch=4, learning_rate=1e-3)))

    left_out = method.transfer(theirs).notes["records_left_out"]
    seen = METHODS["lora-matched"].transfer(ours).notes["records_seen"]

    assert (left_out, seen) == (1, 24)
    assert ours.ledger.tokens_trained == theirs.ledger.tokens_trained
    usable = [record for record, _, _ in ours.locating_records(32, 768)]
    assert len(usable) == 16
    assert ours.alignment_batches(6, 4, usable) == theirs.alignment_batches(6, 4, usable)


def test_the_defaults_of_the_matched_control_are_latens():
    laten = pytest.importorskip("pkt_bench_laten").LatenSettings()

    ours = MatchedSettings()

    shared = ("steps", "align_batch", "extract_records", "max_length")
    assert {n: getattr(ours, n) for n in shared} == {n: getattr(laten, n) for n in shared}

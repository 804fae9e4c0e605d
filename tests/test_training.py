"""The fine-tuning loop against formulas and against transformers' own loss."""

import math

import pytest
import torch

from pkt_bench import (
    ContractError,
    DivergedError,
    Encoded,
    FinetuneSettings,
    Record,
    TransferContext,
    finetune,
    mean_loss,
    training,
)
from pkt_bench.domain import TrainingKnobs
from pkt_bench.models import LoadedPair, fingerprint
from pkt_bench.stages import StageCache
from pkt_bench.testing import pico_pair, pico_suite

RECORDS = [Record.of("a", "bc"), Record.of("defgh", "i"), Record.of("jk", "lmnopqrs"), Record.of("t", "uvw")]


@pytest.fixture
def context_of(tmp_path):
    pair = pico_pair(tmp_path)
    suite = pico_suite(tmp_path)

    def build(seed=0, stages=None):
        return TransferContext(
            pair=LoadedPair(pair),
            suite=suite,
            settings=None,
            seed=seed,
            device="cpu",
            cache=StageCache(tmp_path / "cache"),
            report=lambda stage, fraction: None if stages is None else stages.append((stage, fraction)),
        )

    return build


def token_mean(model, data):
    """Mean cross-entropy over all supervised tokens, one unpadded record at a time, by transformers' own loss."""
    total = count = 0.0
    for record in data:
        tokens = len(record.ids) - record.prompt_length
        loss = model(input_ids=torch.tensor([record.ids]), labels=torch.tensor([record.labels])).loss
        total, count = total + loss * tokens, count + tokens
    return total / count


def test_a_steps_loss_and_update_are_those_of_the_token_mean_over_the_batch(context_of):
    context, other = context_of(), context_of()
    settings = FinetuneSettings(epochs=1, batch_size=4, learning_rate=1e-2, warmup_ratio=0, max_grad_norm=0.5)
    reference = other.pair.student
    optimizer = torch.optim.AdamW(reference.parameters(), lr=1e-2, weight_decay=0)
    loss = token_mean(reference, other.encoded(RECORDS, 64))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(reference.parameters(), 0.5)
    optimizer.step()

    trained = finetune(context, context.pair.student, settings, RECORDS)

    assert trained.losses == (pytest.approx(float(loss.detach()), rel=1e-5),)
    for ours, theirs in zip(context.pair.student.parameters(), reference.parameters(), strict=True):
        # AdamW's first step is the gradient's sign: entries whose gradient is rounding noise may go either way
        wrong = (ours - theirs).abs() > 1e-4
        assert wrong.float().mean() < 0.01


@pytest.mark.parametrize("budget", [1, 24, 10_000])
def test_how_a_batch_is_split_into_passes_does_not_change_its_gradient(context_of, budget):
    context = context_of()
    student = context.pair.student
    data = context.encoded(RECORDS, 64)
    expected = torch.autograd.grad(token_mean(student, data), list(student.parameters()))

    training._backward(student, data, descent(budget))

    for weight, gradient in zip(student.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-4, atol=1e-6)


def descent(pass_tokens=10_000, **knobs):
    settings = FinetuneSettings(learning_rate=1e-2)
    return training.Descent(settings, 1e-2, 4, pass_tokens, training.cross_entropy, TrainingKnobs(**knobs))


def test_passes_hold_every_record_once_within_the_budget():
    data = [Encoded(tuple(range(length)), 1) for length in (9, 300, 2, 700, 40, 40, 41)]

    groups = training.passes(data, 512)

    assert sorted(len(r.ids) for group in groups for r in group) == [2, 9, 40, 40, 41, 300, 700]
    assert all(len(group) == 1 or len(group) * len(group[-1].ids) <= 512 for group in groups)


def test_validation_loss_is_the_token_mean_and_leaves_the_model_alone(context_of):
    context = context_of()
    student = context.pair.student.train()
    before = fingerprint(student)

    found = mean_loss(context, student, RECORDS, 64)

    assert found == pytest.approx(float(token_mean(student, context.encoded(RECORDS, 64)).detach()), rel=1e-5)
    assert fingerprint(student) == before
    assert student.training


def test_a_prompt_without_a_token_supervises_all_but_the_first_token(context_of):
    student = context_of().pair.student
    record = Encoded((5, 6, 7), 0)

    found = training.cross_entropy(student, [record])

    theirs = student(input_ids=torch.tensor([record.ids]), labels=torch.tensor([record.ids])).loss
    assert float(found.detach()) == pytest.approx(2 * float(theirs.detach()), rel=1e-5)


@pytest.mark.parametrize(
    ("steps", "ratio", "expected"),
    [
        (4, 0.0, [1.0, 0.75, 0.5, 0.25]),
        (5, 0.2, [0.5, 1.0, 0.75, 0.5, 0.25]),
        (1, 0.03, [0.5]),
        (2, 1.0, [1 / 3, 2 / 3]),
    ],
)
def test_the_rate_warms_up_and_decays_linearly_and_is_never_zero(steps, ratio, expected):
    factors = [training.schedule(step, steps, ratio) for step in range(steps)]

    assert factors == pytest.approx(expected)


def test_the_same_seed_trains_the_same_bits_and_another_seed_others(context_of):
    settings = FinetuneSettings(epochs=2, batch_size=2)
    prints = []

    for seed in (0, 0, 1):
        context = context_of(seed)
        finetune(context, context.pair.student, settings, RECORDS)
        prints.append(fingerprint(context.pair.student))

    assert prints[0] == prints[1] != prints[2]


def test_the_order_of_records_does_not_depend_on_random_numbers_drawn_before(context_of):
    settings = FinetuneSettings(epochs=1, batch_size=1, learning_rate=1e-6)
    one, other = context_of(), context_of()

    first = finetune(one, one.pair.student, settings, RECORDS)
    torch.manual_seed(123)
    torch.rand(7)
    second = finetune(other, other.pair.student, settings, RECORDS)

    assert first.losses == second.losses


def test_it_learns_a_handful_of_records_by_heart(context_of):
    context = context_of()
    settings = FinetuneSettings(epochs=40, batch_size=4, learning_rate=1e-2)

    finetune(context, context.pair.student, settings, RECORDS)

    assert mean_loss(context, context.pair.student, RECORDS, 64) < 0.1


def test_the_ledger_and_the_live_view_are_told(context_of):
    stages = []
    context = context_of(stages=stages)
    student = context.pair.student.requires_grad_(False)
    student.model.norm.weight.requires_grad_(True)

    trained = finetune(context, student, FinetuneSettings(epochs=3, batch_size=3, learning_rate=1e-3), RECORDS)

    # each record is its letters, one begin and one end token
    tokens = 3 * sum(len(record.prompt) + len(record.answer) + 2 for record in RECORDS)
    assert len(trained.losses) == 6
    assert (context.ledger.trainable_parameters, context.ledger.tokens_trained) == (32, tokens)
    assert stages == [("tune", None), *(("tune", pytest.approx(n / 6)) for n in range(1, 7))]
    assert context.ledger.stage_seconds["tune"] > 0
    assert not student.training


def test_only_the_first_train_records_are_used_when_told_so(context_of):
    context = context_of()

    trained = finetune(context, context.pair.student, FinetuneSettings(epochs=1, batch_size=1, train_records=3))

    assert len(trained.losses) == 3


def test_records_without_room_for_an_answer_are_left_out_and_counted(context_of):
    context = context_of()
    records = [*RECORDS, Record.of("a prompt longer than the window", "x")]

    trained = finetune(
        context,
        context.pair.student,
        FinetuneSettings(epochs=1, batch_size=1, max_length=12, learning_rate=1e-3),
        records,
    )

    assert (len(trained.losses), trained.left_out) == (4, 1)


def test_no_record_with_room_for_an_answer_is_an_error_that_names_suite_and_window(context_of):
    context = context_of()

    with pytest.raises(ContractError, match=r"suite 'pico': none of 1 records has a token to learn within 8 tokens"):
        finetune(context, context.pair.student, FinetuneSettings(max_length=8), [Record.of("far too long", "x")])


def test_the_window_never_exceeds_the_models_positions(context_of):
    context = context_of()
    long = Record.of("a" * 300, "x")

    with pytest.raises(ContractError, match="within 256 tokens"):
        finetune(context, context.pair.student, FinetuneSettings(max_length=2048), [long])


def test_a_diverging_loss_is_an_error_with_step_and_rate(context_of):
    context = context_of()
    student = context.pair.student
    student.lm_head.weight.data[3, 3] = math.nan

    with pytest.raises(
        DivergedError, match=r"diverged at step 1 of 2: loss nan[\s\S]*Lower the method's learning_rate"
    ):
        finetune(context, student, FinetuneSettings(epochs=2, batch_size=4), RECORDS)


def test_a_model_with_nothing_to_train_is_an_error(context_of):
    context = context_of()

    with pytest.raises(ContractError, match="no weight of LlamaForCausalLM requires a gradient"):
        finetune(context, context.pair.student.requires_grad_(False), FinetuneSettings(), RECORDS)


def test_of_several_rates_the_one_with_the_lowest_validation_loss_is_kept_with_its_weights(context_of):
    rates = (1e-6, 1e-2, 0.9)
    alone = {}
    for rate in rates:
        context = context_of()
        student = context.pair.student
        finetune(context, student, FinetuneSettings(epochs=4, batch_size=4, learning_rate=rate), RECORDS)
        loss = mean_loss(context, student, context.records("validation"), 64)
        alone[rate] = (loss, fingerprint(student))
    context = context_of()
    student = context.pair.student

    trained = finetune(context, student, FinetuneSettings(epochs=4, batch_size=4, learning_rate=rates), RECORDS)

    best = min(rates, key=lambda rate: alone[rate][0])
    assert trained.tried == {rate: loss for rate, (loss, _) in alone.items()}
    assert (trained.learning_rate, trained.selection) == (best, "validation")
    assert fingerprint(student) == alone[best][1]


def test_the_tokens_of_every_try_are_counted(context_of):
    one, several = context_of(), context_of()

    finetune(one, one.pair.student, FinetuneSettings(epochs=1, learning_rate=1e-3), RECORDS)
    finetune(several, several.pair.student, FinetuneSettings(epochs=1, learning_rate=(1e-3, 2e-3)), RECORDS)

    assert several.ledger.tokens_trained == 2 * one.ledger.tokens_trained


def test_a_rate_that_diverges_is_out_of_the_choice(context_of, monkeypatch):
    context = context_of()
    plain = training._backward
    calls = []

    def diverges_at_first(*arguments):
        calls.append(1)
        return math.nan if len(calls) == 1 else plain(*arguments)

    monkeypatch.setattr(training, "_backward", diverges_at_first)

    trained = finetune(
        context, context.pair.student, FinetuneSettings(epochs=1, batch_size=4, learning_rate=(1e-1, 1e-3)), RECORDS
    )

    assert trained.tried[1e-1] is None
    assert trained.learning_rate == 1e-3


def test_a_validation_loss_that_is_no_number_never_wins(context_of, monkeypatch):
    context = context_of()
    plain = training.mean_loss
    monkeypatch.setattr(
        training, "mean_loss", lambda *given: math.nan if len(calls) == 0 and not calls.append(1) else plain(*given)
    )
    calls = []

    trained = finetune(
        context, context.pair.student, FinetuneSettings(epochs=1, batch_size=4, learning_rate=(1e-1, 1e-3)), RECORDS
    )

    assert (trained.learning_rate, trained.tried[1e-1]) == (1e-3, None)


def test_how_far_the_start_is_from_the_untouched_student_is_booked_before_the_first_step(context_of):
    context = context_of()
    settings = FinetuneSettings(epochs=1, batch_size=4, learning_rate=1e-2)
    record = context.encoded(RECORDS[:1], 64)[0]
    ids = torch.tensor([record.ids])
    student = context.pair.student
    with torch.no_grad():
        before = student(ids).logits
        student.lm_head.weight[7] += 1
        after = student(ids).logits

    finetune(context, student, settings, RECORDS[:1])

    # where the answer's tokens are predicted
    expected = (after - before)[0, record.prompt_length - 1 : -1].abs().max()
    assert context.ledger.injection_change == pytest.approx(float(expected), rel=1e-4)
    assert expected > 0


def test_an_untouched_start_has_no_injection_change(context_of):
    context = context_of()

    finetune(context, context.pair.student, FinetuneSettings(epochs=1, learning_rate=1e-2), RECORDS)

    assert context.ledger.injection_change == 0


def adapted(student, checkpointing):
    """The losses of three steps of LoRA with dropout on a frozen base, and the adapter's weights after them."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    model = get_peft_model(student, LoraConfig(r=4, lora_dropout=0.1, target_modules=["q_proj", "down_proj"]))
    parameters = [weight for weight in model.parameters() if weight.requires_grad]
    data = [Encoded(tuple(range(3, 40)), 5), Encoded(tuple(range(50, 70)), 4)]
    how = descent(gradient_checkpointing=checkpointing)
    torch.manual_seed(1)
    losses = list(training.descend(model, parameters, [data] * 3, how))
    return losses, parameters, model


def test_gradient_checkpointing_changes_no_loss_and_leaves_no_trace(context_of):
    plain, weights, _ = adapted(context_of().pair.student, checkpointing=False)

    losses, same, model = adapted(context_of().pair.student, checkpointing=True)

    assert losses == pytest.approx(plain, rel=1e-6)
    for ours, theirs in zip(same, weights, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert not model.is_gradient_checkpointing
    assert not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    assert not model.training


def test_gradient_checkpointing_computes_each_layer_twice_a_step(context_of):
    counts = []
    for checkpointing in (False, True):
        student = context_of().pair.student
        calls = []
        student.model.layers[0].self_attn.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        data = [Encoded(tuple(range(3, 40)), 5)]
        list(
            training.descend(student, list(student.parameters()), [data], descent(gradient_checkpointing=checkpointing))
        )
        counts.append(len(calls))

    assert counts == [1, 2]


def test_autocast_multiplies_in_bfloat16_and_keeps_weights_in_float32(context_of):
    student = context_of().pair.student
    seen = set()
    student.model.layers[0].mlp.down_proj.register_forward_hook(lambda _m, _i, out: seen.add(out.dtype))
    data = [Encoded(tuple(range(3, 40)), 5)]

    (loss,) = training.descend(student, list(student.parameters()), [data], descent(autocast="bfloat16"))

    other = context_of().pair.student
    (exact,) = training.descend(other, list(other.parameters()), [data], descent())
    assert seen == {torch.bfloat16}
    assert {weight.dtype for weight in student.parameters()} == {torch.float32}
    # bfloat16 has 8 bits of precision
    assert loss != exact
    assert loss == pytest.approx(exact, rel=2**-6)


def test_train_records_cut_what_every_reader_of_the_suite_sees(tmp_path):
    from pkt_bench.data import cut, data_digest

    suite = pico_suite(tmp_path)

    short = cut(suite, 2)

    assert short.records("train") == suite.records("train")[:2]
    assert short.records("align") == suite.records("align")
    assert data_digest(short) != data_digest(suite)
    assert cut(suite, 2) is short
    assert cut(suite, None) is suite

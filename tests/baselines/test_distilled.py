"""Distillation learns what the teacher says and nothing else, asks it once, and leaves it as it was."""

import dataclasses

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from pkt_bench import Encoded, PktBenchError, PromptSpec, Record
from pkt_bench.models import fingerprint, load_tokenizer
from pkt_bench.testing import pico_suite
from pkt_bench_baselines import pkt_bench_methods
from pkt_bench_baselines.distilled import OwnAnswers
from pkt_bench_baselines.settings import GkdSettings, KdSettings, SeqKdSettings
from pkt_bench_baselines.teacher_answers import finished_text, teacher_answers
from pkt_bench_baselines.teacher_logits import teacher_logits
from pkt_bench_baselines.writing import write

METHODS = {method.name: method for method in pkt_bench_methods()}
LAYOUTS = ["llama", "gqa", "qwen2", "gemma2", "gemma3"]
IDS = torch.tensor([[256, 7, 8, 9]])


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def run(context_of, name, layout="llama", seed=0, suite=None, **more):
    # a random teacher ends no answer by itself; a suite whose answers end in a letter it writes does
    settings = METHODS[name].settings(**{"learning_rate": 1e-2, "rank": 4, "epochs": 1, **more})
    context = context_of(settings, seed, layout, suite)
    return context, METHODS[name].transfer(context)


@pytest.fixture
def suite_that_ends(context_of, tmp_path):
    """The pico suite under a prompt whose answers are closed by the letter a layout's teacher writes most often."""

    def build(layout="llama"):
        context = context_of(SeqKdSettings(max_new_tokens=16), layout=layout)
        suite = pico_suite(tmp_path)
        prompts = [e.ids[: e.prompt_length] for e in context.encoded(context.records("train"), 64)]
        written = [token for answer in write(context.pair.teacher, prompts, [16] * 16, frozenset()) for token in answer]
        letters = [token for token in written if token < 94]  # printable in this alphabet, one byte each
        common = max(set(letters), key=letters.count)
        close = context.pair.tokenizer.decode([common])
        return dataclasses.replace(suite, prompt=PromptSpec(close_answer=close))

    return build


# ---------------------------------------------------------------- all three


@pytest.mark.parametrize("name", ["seqkd", "kd", "gkd"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_adapter_loads_with_the_same_logits_and_the_teacher_is_as_it_was(
    context_of, suite_that_ends, tmp_path, name, layout
):
    suite = suite_that_ends(layout) if name == "seqkd" else None
    context, result = run(context_of, name, layout, suite=suite)

    result.student.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    fresh = AutoModelForCausalLM.from_pretrained(context.pair.pair.student.path)
    again = PeftModel.from_pretrained(fresh, tmp_path / "adapter").eval()

    assert torch.allclose(logits(result.student), logits(again), atol=1e-5)
    assert not torch.equal(logits(result.student), logits(context.pair.pristine_student))
    context.pair.check_untouched()
    assert "teacher" in context.pair.prints
    assert all(weight.grad is None for weight in context.pair.teacher.parameters())
    assert result.payload


@pytest.mark.parametrize("name", ["kd", "gkd"])
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(context_of, name):
    prints = [fingerprint(run(context_of, name, seed=seed)[1].student) for seed in (0, 0, 1)]

    assert prints[0] == prints[1] != prints[2]


def test_what_is_cached_and_what_is_computed_give_the_same_bits(context_of, tmp_path):
    _, first = run(context_of, "kd")
    second_context, second = run(context_of, "kd")

    assert "teacher" not in vars(second_context.pair)
    assert "teacher-logits (reused)" in second_context.ledger.stage_seconds
    assert fingerprint(first.student) == fingerprint(second.student)


@pytest.mark.parametrize("name", ["lora", "seqkd", "kd", "gkd"])
def test_a_distillation_trains_the_modules_of_lora_on_its_schedule(name):
    lora = METHODS["lora"].settings().model_dump()

    ours = METHODS[name].settings().model_dump()

    assert {field: ours[field] for field in lora} == lora


# ---------------------------------------------------------------- seqkd


def test_the_teacher_answers_each_prompt_greedily_up_to_the_end_of_the_answer(context_of, suite_that_ends):
    suite = suite_that_ends()
    context = context_of(SeqKdSettings(max_new_tokens=16), suite=suite)
    tokenizer, close = load_tokenizer(context.pair.pair.teacher), suite.prompt.close_answer
    expected = []
    for record in suite.records("train"):
        ids = torch.tensor([[256, *tokenizer.encode(record.prompt)]])
        whole = context.pair.teacher.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=16, do_sample=False
        )
        text = tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True)
        if close in text:
            expected.append((record.prompt, text.partition(close)[0]))

    answers = teacher_answers(context)

    assert [(record.prompt, record.answer) for record in answers.records] == expected
    assert answers.unfinished == len(suite.records("train")) - len(expected)
    assert answers.bytes == sum(len(text.encode()) for _, text in expected)


def test_the_student_learns_the_teachers_answers_as_it_would_learn_a_suites(context_of, suite_that_ends):
    suite = suite_that_ends()
    context, result = run(context_of, "seqkd", suite=suite)
    own = teacher_answers(context).records
    taught = dataclasses.replace(suite, records=lambda split: own if split == "train" else suite.records(split))

    _, plain = run(context_of, "lora", suite=taught)

    assert fingerprint(result.student) == fingerprint(plain.student)


def test_answers_are_written_once_for_all_seeds_unless_they_are_sampled(context_of, suite_that_ends):
    suite = suite_that_ends()
    run(context_of, "seqkd", suite=suite)
    again, _ = run(context_of, "seqkd", seed=1, suite=suite)
    sampled, _ = run(context_of, "seqkd", suite=suite, temperature=1.0, max_new_tokens=64)
    sampled_again, _ = run(context_of, "seqkd", suite=suite, temperature=1.0, max_new_tokens=64)
    other_seed, _ = run(context_of, "seqkd", seed=1, suite=suite, temperature=1.0, max_new_tokens=64)

    loaded = ["teacher" in vars(c.pair) for c in (again, sampled, sampled_again, other_seed)]
    assert loaded == [False, True, False, True]


def test_a_teacher_that_finishes_no_answer_is_an_error_that_says_what_to_do(context_of):
    context = context_of(SeqKdSettings(max_new_tokens=1))

    with pytest.raises(PktBenchError, match=r"finished none of 16 answers(.|\n)*Raise seqkd\.max_new_tokens"):
        teacher_answers(context)


def test_a_finished_text_has_no_end_token_and_an_unfinished_one_is_none(context_of):
    tokenizer = context_of(SeqKdSettings()).pair.tokenizer
    prompt, answer = tokenizer.encode("Q:"), tokenizer.encode(" yes.\nmore")
    spec = PromptSpec()
    closed = PromptSpec(close_answer="\n")
    ends = frozenset({256})

    assert finished_text(tokenizer, prompt, [*answer, 256], ends, spec) == " yes.\nmore"
    assert finished_text(tokenizer, prompt, answer, ends, spec) is None
    assert finished_text(tokenizer, prompt, answer, ends, closed) == " yes."


# ---------------------------------------------------------------- kd


def test_kept_logits_are_those_of_the_teacher_reading_each_record_alone(context_of):
    context = context_of(KdSettings())
    record = context.encoded(context.records("train"), 64)[5]
    with torch.no_grad():
        expected = context.pair.teacher(input_ids=torch.tensor([record.ids])).logits[0, record.prompt_length - 1 : -1]

    got = teacher_logits(context).of([record])

    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_logits_that_do_not_fit_are_computed_at_every_step_and_teach_the_same(context_of):
    kept, first = run(context_of, "kd", epochs=2)
    _, second = run(context_of, "kd", epochs=2, kept_bytes=0)

    tokens = sum(len(record.ids) for record in kept.encoded(kept.records("train"), 64))
    assert first.notes["tokens_read_by_teacher"] == tokens
    assert second.notes["tokens_read_by_teacher"] == 2 * tokens
    assert not second.notes["teacher_logits_kept"]
    assert torch.allclose(logits(first.student), logits(second.student), atol=1e-3)


def test_kd_counts_the_tokens_it_trains_on_and_the_logits_that_moved(context_of):
    context, result = run(context_of, "kd", epochs=2)
    records = context.encoded(context.records("train"), 64)

    assert context.ledger.tokens_trained == 2 * sum(len(record.ids) for record in records)
    moved = sum(tensor.numel() * tensor.element_size() for tensor in result.payload.values())
    assert moved == 4 * 257 * sum(record.supervised for record in records)


def test_vocabularies_of_two_lengths_are_compared_over_what_both_have(context_of, pair_of):
    ref = pair_of().student
    padded = AutoModelForCausalLM.from_pretrained(ref.path)
    padded.resize_token_embeddings(300)
    context = context_of(KdSettings(learning_rate=1e-2, rank=4, epochs=1))
    padded.save_pretrained(ref.path)

    told = teacher_logits(context)
    result = METHODS["kd"].transfer(context)

    assert told.vocabulary == 257
    assert logits(result.student).shape[-1] == 300


def test_a_student_comes_closer_to_its_teacher_by_kd_than_by_the_records(context_of):
    context, taught = run(context_of, "kd", epochs=8)
    _, tuned = run(context_of, "lora", epochs=8)
    record = context.encoded(context.records("train"), 64)[0]
    teacher = teacher_logits(context).of([record]).log_softmax(-1)

    distances = []
    for student in (taught.student, tuned.student):
        with torch.no_grad():
            own = student(input_ids=torch.tensor([record.ids])).logits[0, record.prompt_length - 1 : -1]
        distances.append(float((teacher.exp() * (teacher - own.log_softmax(-1))).sum()))

    assert distances[0] < distances[1]


# ---------------------------------------------------------------- gkd


def test_gkd_that_never_answers_itself_is_kd_bit_for_bit(context_of):
    _, word_level = run(context_of, "kd", beta=0.5)
    _, on_policy = run(context_of, "gkd", beta=0.5, lmbda=0)

    assert fingerprint(word_level.student) == fingerprint(on_policy.student)
    assert on_policy.notes["steps_on_own_answers"] == 0


def test_a_share_of_the_steps_learns_from_the_students_own_answers(context_of):
    always, result = run(context_of, "gkd", lmbda=1, epochs=2, batch_size=4)
    _, half = run(context_of, "gkd", lmbda=0.5, epochs=10, batch_size=1)

    assert result.notes["steps_on_own_answers"] == 8
    assert result.notes["steps_on_records"] == 0
    prompts = 2 * sum(e.prompt_length for e in always.encoded(always.records("train"), 64))
    assert always.ledger.tokens_trained == prompts + result.notes["tokens_written"]
    # 160 throws of a fair coin: three standard deviations are 19
    assert abs(half.notes["steps_on_own_answers"] - 80) < 19


def test_own_answers_keep_the_prompt_stay_in_the_window_and_are_drawn_from_the_student_as_it_is(context_of):
    context = context_of(GkdSettings(lmbda=1, max_new_tokens=6, max_length=12))
    own = OwnAnswers(context)
    batch = context.encoded(context.records("train")[:3], 12)
    torch.manual_seed(0)

    drawn = own.redraw(context.pair.student, batch)

    for before, after in zip(batch, drawn, strict=True):
        assert isinstance(after, Encoded)
        assert after.ids[: after.prompt_length] == before.ids[: before.prompt_length]
        assert 1 <= after.supervised <= 6
        assert len(after.ids) <= 12
    assert own.tokens == sum(record.supervised for record in drawn)
    assert [record.ids for record in drawn] != [record.ids for record in batch]


def test_a_prompt_of_no_tokens_keeps_its_record(context_of):
    context = context_of(GkdSettings(lmbda=1))
    batch = [Encoded((5, 6, 7), 0)]

    drawn = OwnAnswers(context).redraw(context.pair.student, batch)

    assert drawn == batch


def test_the_longest_own_answer_is_by_default_as_long_as_the_longest_of_the_records(context_of, tmp_path):
    suite = pico_suite(tmp_path)
    longer = dataclasses.replace(suite, records=lambda split: [*suite.records(split), Record.of("b:", "123456789")])
    context = context_of(GkdSettings(), suite=longer)

    assert OwnAnswers(context).longest == 10  # nine letters and the end token

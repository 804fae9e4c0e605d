"""PostPKT on pico pairs: its modules, presets, starts, the restricted-data arm, and where it is not defined."""

import re

import pytest
import torch
from peft import PeftModel
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from pkt_bench import Control, Question
from pkt_bench.adapters import adapted_paths
from pkt_bench.models import architecture
from pkt_bench.settings import parse_settings
from pkt_bench.testing import pico_pair, pico_suite
from pkt_bench_nuggets.settings import NuggetsSettings, PostPktSettings
from pkt_bench_nuggets.skips import skip_postpkt
from pkt_bench_nuggets.transfer import aligned_records, from_blocks, postpkt_transfer

QUICK = {"rank": 4, "epochs": 1, "learning_rate": 1e-3}
STARTS = ("nuggets", "pissa", "gaussian")


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.tensor([(256, 7, 8, 9, 10)])).logits


# ---------------------------------------------------------------- presets


def test_by_default_it_is_tuned_as_all_methods_are():
    ours, common = PostPktSettings(), NuggetsSettings()

    for name in ("epochs", "batch_size", "learning_rate", "rank", "alpha", "warmup_ratio"):
        assert getattr(ours, name) == getattr(common, name)


@pytest.mark.parametrize(("preset", "epochs", "rate"), [("paper", 5, 3e-4), ("paper-humaneval", 3, 3e-5)])
def test_a_preset_is_the_papers_schedule(preset, epochs, rate):
    chosen = PostPktSettings(preset=preset)

    assert (chosen.epochs, chosen.batch_size, chosen.learning_rate) == (epochs, 64, (rate,))
    assert (chosen.rank, chosen.alpha) == (16, 16)


def test_what_is_set_by_hand_goes_before_the_preset():
    chosen = parse_settings(
        "postpkt", PostPktSettings, {"preset": "paper", "epochs": "1", "learning_rate": "1e-3,2e-3"}
    )

    assert (chosen.epochs, chosen.learning_rate, chosen.batch_size) == (1, (1e-3, 2e-3), 64)


def test_a_preset_that_does_not_exist_is_refused():
    with pytest.raises(ValidationError, match="'common', 'paper' or 'paper-humaneval'"):
        PostPktSettings(preset="papers")


# ---------------------------------------------------------------- starts


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3_text"])
def test_every_start_keeps_the_students_function_and_loads_with_plain_peft(context_of, tmp_path, family, start):
    pair = pico_pair(tmp_path, family=family)
    context = context_of(pair=pair, settings=PostPktSettings(init=start, **QUICK))

    result = postpkt_transfer(context)
    result.student.save_pretrained(tmp_path / "adapter")

    assert context.ledger.injection_change < 1e-3
    fresh = AutoModelForCausalLM.from_pretrained(pair.student.path)
    again = PeftModel.from_pretrained(fresh, tmp_path / "adapter").eval()
    torch.testing.assert_close(logits(again), logits(result.student), rtol=0, atol=1e-5)
    assert (logits(again) - logits(context.pair.pristine_student)).abs().max() > 1e-4


def test_it_adapts_up_down_value_and_output_projections_of_every_layer(context_of):
    context = context_of(settings=PostPktSettings(**QUICK))

    result = postpkt_transfer(context)

    adapted = {
        name.removeprefix("base_model.model.") for name, m in result.student.named_modules() if hasattr(m, "lora_A")
    }
    assert adapted == set(adapted_paths(context.pair.pristine_student, ("up_proj", "down_proj", "v_proj", "o_proj")))
    assert len(adapted) == 8


def test_from_blocks_it_is_nuggets_on_four_modules(context_of):
    settings = PostPktSettings(**QUICK)
    as_nuggets = NuggetsSettings(**QUICK, modules=settings.modules)

    ours = postpkt_transfer(context_of(settings=settings, cache="a"))
    theirs = from_blocks(context_of(settings=as_nuggets, cache="b"))

    assert torch.equal(logits(ours.student), logits(theirs.student))
    assert ours.payload.keys() == theirs.payload.keys() != set()


@pytest.mark.parametrize("start", ["pissa", "gaussian"])
def test_the_other_starts_take_nothing_from_the_teacher_and_do_not_load_it(context_of, start):
    context = context_of(settings=PostPktSettings(init=start, **QUICK))

    result = postpkt_transfer(context)

    assert result.payload == {}
    assert "teacher" not in context.pair.load_seconds


def test_the_three_starts_give_three_students(context_of):
    students = [postpkt_transfer(context_of(settings=PostPktSettings(init=start, **QUICK))).student for start in STARTS]

    seen = [logits(student) for student in students]
    assert all(not torch.equal(seen[a], seen[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


# ---------------------------------------------------------------- the restricted-data arm


def test_with_data_align_it_learns_the_records_of_the_alignment_each_once_an_epoch(context_of):
    settings = PostPktSettings(init="gaussian", data="align", align_steps=3, align_batch=4, extract_records=2, **QUICK)
    context = context_of(settings=settings)

    result = postpkt_transfer(context)

    batches = context.alignment_batches(3, 4, context.records("extract")[:2])
    seen = {record for batch in batches for record in batch}
    assert set(aligned_records(context)) == seen
    assert len(aligned_records(context)) == len(seen) == result.notes["records_of_the_alignment"]
    assert context.ledger.tokens_trained == sum(len(each.ids) for each in context.encoded(list(seen), 2048))
    assert seen.isdisjoint(context.records("train"))


# ---------------------------------------------------------------- skips


@pytest.fixture
def question(tmp_path):
    def ask(settings, *, name="pico", control=None, **student):
        pair = pico_pair(tmp_path, student=student)
        return Question(
            pair=pair,
            teacher=architecture(pair.teacher),
            student=architecture(pair.student),
            same_tokenizer=True,
            suite=pico_suite(tmp_path, name=name),
            settings=PostPktSettings(**settings),
            control=control,
        )

    return ask


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("pico", {}, None),
        ("pico", {"rank": 33}, "rank 33 is too large for the student's up_proj .*postpkt.rank"),
        ("pico", {"rank": 33, "init": "gaussian"}, None),
        ("humaneval_instruct", {"preset": "paper"}, "--set postpkt.preset=paper-humaneval"),
        ("humaneval_instruct", {"preset": "paper-humaneval"}, None),
        ("humaneval_instruct", {}, None),
    ],
)
def test_what_it_cannot_do_is_skipped_with_the_reason(question, name, settings, reason):
    said = skip_postpkt(question(settings, name=name))

    assert said is None if reason is None else re.search(reason, said or "")


@pytest.mark.parametrize(
    ("start", "settings", "skipped"),
    [("pissa", {"structure": "random"}, True), ("pissa", {"init": "gaussian"}, False), ("nuggets", {}, False)],
)
def test_a_control_of_what_the_start_does_not_use_is_skipped(question, start, settings, skipped):
    control = Control("some", "without something", ("postpkt",), settings)

    said = skip_postpkt(question({"init": start, **settings}, control=control))

    assert (said is not None and "nothing comes from the teacher" in said) == skipped


@pytest.mark.parametrize(("start", "skipped"), [("nuggets", True), ("pissa", False), ("gaussian", False)])
def test_a_student_deeper_than_its_teacher_can_start_from_itself_alone(question, start, skipped):
    asked = question({"init": start}, num_hidden_layers=4)

    assert (skip_postpkt(asked) is not None) == skipped

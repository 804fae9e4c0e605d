"""LaTen end to end on pico pairs saved to disk: what it changes, what it leaves alone, what it says about itself."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from pkt_bench import PktBenchError, PromptSpec, Question, Record
from pkt_bench.models import architecture, fingerprint
from pkt_bench.settings import parse_settings
from pkt_bench_laten import LatenSettings, pkt_bench_methods, skip
from pkt_bench_laten.located import locate
from pkt_bench_laten.transfer import Supply, teach, transfer

GQA = {"num_key_value_heads": 2}


def changed_rows(before, after, name):
    """Which neurons of a weight differ."""
    rows = name.split(".")[-2] in ("up_proj", "v_proj")
    difference = (before[name] != after[name]).any(dim=1 if rows else 0)
    return set(difference.nonzero().flatten().tolist())


@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        ({}, {}),
        (GQA, GQA),
        (GQA, {}),
        ({}, {"num_key_value_heads": 1}),
        ({"tie_word_embeddings": True}, {"tie_word_embeddings": True}),
        ({"num_hidden_layers": 3}, {}),
    ],
    ids=["plain", "grouped", "grouped-teacher", "one-kv-head-student", "tied", "equal-depth"],
)
def test_exactly_the_selected_rows_and_columns_differ_from_the_base(pico_contexts, teacher, student):
    context = pico_contexts(teacher, student)(selection="fixed", inject_steps=(3,), inject_rates=(0.3,))
    teacher_before = fingerprint(context.pair.teacher)
    before = {n: w.clone() for n, w in context.pair.pristine_student.state_dict().items()}

    done = transfer(context)

    after = done.student.state_dict()
    _, places = locate(context).final(0.3, context.settings.modules)
    for module, place in places.items():
        part = "mlp" if module in ("up_proj", "down_proj") else "self_attn"
        for layer, neurons in zip(place.layers, place.neurons.tolist(), strict=True):
            name = f"model.layers.{layer}.{part}.{module}.weight"
            assert changed_rows(before, after, name) == set(neurons), name
    touched = {f"{m}.weight" for m in places}
    for name, weight in after.items():
        if ".".join(name.split(".")[-2:]) not in touched:
            assert torch.equal(weight, before[name]), name
        assert torch.isfinite(weight).all()
    assert fingerprint(context.pair.teacher) == teacher_before
    assert done.notes["neurons"] == {
        "up_proj": 12,
        "down_proj": 12,
        "v_proj": int(6 * student.get("num_key_value_heads", 4) * 0.3),
        "o_proj": 7,
    }


def test_the_payload_is_the_teachers_neurons_and_the_ledger_counts_what_was_spent(pico_contexts):
    context = pico_contexts()(selection="fixed", inject_steps=(3,), inject_rates=(0.3,))

    done = transfer(context)

    shapes = {name: tuple(tensor.shape) for name, tensor in done.payload.items()}
    assert shapes == {
        "teacher.up_proj": (3, 12, 32),
        "teacher.down_proj": (3, 12, 32),
        "teacher.v_proj": (3, 7, 32),
        "teacher.o_proj": (3, 7, 32),
    }
    weight = context.pair.teacher.model.layers[done.notes["teacher_layers"]["down_proj"][0]].mlp.down_proj.weight
    assert any(torch.equal(done.payload["teacher.down_proj"][0, 0], column) for column in weight.T)
    assert context.ledger.trainable_parameters == 4 * 32 * (32 + 24)
    own = context.encoded(context.records("extract"), 768)
    shortest = min(len(record.ids) for record in own)
    assert context.ledger.tokens_trained >= 3 * 4 * shortest
    assert set(context.ledger.stage_seconds) == {"locate", "align", "inject"}
    assert done.selection == "fixed"


def test_the_same_seed_gives_the_same_student_and_another_seed_another(pico_contexts):
    make = pico_contexts()

    first, again, other = (fingerprint(transfer(make(seed=seed)).student) for seed in (0, 0, 1))

    assert first == again
    assert first != other


def test_what_one_setting_injects_does_not_depend_on_another_having_run_before(pico_contexts, tmp_path):
    make = pico_contexts()
    alone = fingerprint(transfer(make(inject_rates=(0.5,), attention="sum")).student)
    for left in (tmp_path / "cache").rglob("data.safetensors"):
        left.unlink()

    transfer(make(inject_rates=(0.2,)))
    after_another = fingerprint(transfer(make(inject_rates=(0.5,), attention="sum")).student)

    assert after_another == alone


def test_validation_injects_the_candidate_with_the_lowest_loss_and_records_all(pico_contexts):
    make = pico_contexts()

    done = transfer(make())

    losses = done.notes["validation_losses"]
    assert done.selection == "validation"
    assert [(step, rate) for step, rate, _ in losses] == [(2, 0.2), (3, 0.2), (2, 0.5), (3, 0.5)]
    best = min(losses, key=lambda row: row[2])
    assert [done.notes["step"], done.notes["rate"], done.notes["validation_loss_injected"]] == best
    same = transfer(make(selection="fixed", inject_steps=(best[0],), inject_rates=(best[1],), steps=3))
    assert fingerprint(same.student) == fingerprint(done.student)
    assert same.notes["validation_loss_injected"] == best[2]


def test_the_oracle_injects_the_candidate_with_the_best_test_score_and_says_so(pico_contexts):
    scores = iter([0.25, 0.75, 0.5, 0.75])
    seen = []

    def test_score(student):
        seen.append(fingerprint(student))
        return next(scores)

    done = transfer(replace(pico_contexts()(selection="oracle"), test_score=test_score))

    assert done.selection == "oracle"
    assert done.notes["test_scores"] == [[2, 0.2, 0.25], [3, 0.2, 0.75], [2, 0.5, 0.5], [3, 0.5, 0.75]]
    assert (done.notes["step"], done.notes["rate"]) == (3, 0.2)
    assert len(seen) == 4


def test_a_candidate_whose_loss_is_no_number_never_wins(pico_contexts, monkeypatch):
    losses = iter([5.9, math.nan, 5.5, math.inf, 5.7])
    monkeypatch.setattr("pkt_bench_laten.choose.mean_loss", lambda *_: next(losses))

    done = transfer(pico_contexts()())

    assert done.notes["validation_loss_injected"] == 5.5


def test_no_candidate_with_a_number_is_an_error_that_names_the_rate(pico_contexts, monkeypatch):
    monkeypatch.setattr("pkt_bench_laten.choose.mean_loss", lambda *_: math.nan)

    with pytest.raises(PktBenchError, match=r"is no number.\n  Lower laten.learning_rate"):
        transfer(pico_contexts()())


def test_a_transfer_that_does_not_help_is_injected_all_the_same_and_says_so(pico_contexts):
    # labels nobody can learn from these six records: any change of the student is noise on the validation records
    done = transfer(pico_contexts()(learning_rate=1.0, magnitude_penalty=0.0, inject_steps=(3,), inject_rates=(1.0,)))

    assert done.notes["validation_loss_injected"] > done.notes["validation_loss_student"]
    assert done.notes["validation_verdict"].startswith("no candidate is better than the untouched student")
    assert all(ratio > 0 for ratio in done.notes["delta_over_weight"].values())


def test_scores_are_read_from_the_cache_by_every_seed_and_rate(pico_contexts, monkeypatch):
    make = pico_contexts()
    transfer(make())

    def no_forward(*_args, **_kwargs):
        raise AssertionError("a model was scored again")

    monkeypatch.setattr("pkt_bench_laten.located.score_views", no_forward)
    transfer(make(seed=3, inject_rates=(0.4,), learning_rate=1e-2))

    with pytest.raises(AssertionError, match="scored again"):
        transfer(make(attention="sum"))


def test_scores_in_the_cache_belong_to_the_records_that_were_asked_for(pico_contexts):
    make = pico_contexts()

    six, four = (locate(make(extract_records=count)) for count in (6, 4))

    assert len(six.records) == six.teacher.ffn.shape[0] == 6
    assert len(four.records) == four.student.ffn.shape[0] == 4
    torch.testing.assert_close(four.teacher.ffn, six.teacher.ffn[:4], rtol=1e-3, atol=1e-5)


def test_a_step_locates_on_one_record_and_learns_from_it_and_from_draws(pico_contexts, monkeypatch):
    context = pico_contexts()(align_batch=4, rate=0.25, steps=7)
    located = locate(context)
    lessons = []

    def first_steps(_student, _network, lesson, **_settings):
        lessons.extend(lesson(step) for step in range(7))
        return {}, []

    monkeypatch.setattr("pkt_bench_laten.transfer.align", first_steps)
    teach(context, located, Supply(context, located), lambda _fraction: None)

    align, own = (context.encoded(context.records(split), 768) for split in ("align", "extract"))
    assert sorted(located.order) == list(range(6))
    for step, lesson in enumerate(lessons):
        example = located.order[step % 6]
        # the published rule: random.seed(step); random.sample(range(n), batch - 1)
        drawn = random.Random(step).sample(range(6), 3)
        assert list(lesson.records) == [own[example], *(align[i] for i in drawn)]
        best = located.student.ffn[example].argsort(dim=-1, descending=True, stable=True)[:, :10]
        assert torch.equal(lesson.places["down_proj"].neurons, best)
    assert context.ledger.tokens_trained == sum(len(r.ids) for lesson in lessons for r in lesson.records)


def test_only_the_asked_modules_change(pico_contexts):
    done = transfer(pico_contexts()(modules=("o_proj",)))

    assert set(done.payload) == {"teacher.o_proj"}
    assert set(done.notes["delta_over_weight"]) == {"o_proj"}


def test_first_order_scores_are_declared_in_the_row(pico_contexts):
    done = transfer(pico_contexts()(scores="first-order", norm="published"))

    assert (done.notes["scores"], done.notes["norm"], done.notes["attention"]) == ("first-order", "published", "self")


def test_a_suite_without_a_record_to_locate_on_is_told_what_to_do(pico_contexts, without_records):
    suite = replace(without_records("none"), records=lambda _split: [Record.of("2 plus 2 is", " .")])

    with pytest.raises(PktBenchError, match=r"laten: none of 1 extract records of 'sums' .*\n.*Raise laten.max_length"):
        transfer(pico_contexts()(suite=suite))


def test_records_that_cannot_be_located_on_are_left_out_and_counted(pico_contexts, without_records):
    whole = without_records("none")
    suite = replace(
        whole,
        records=lambda s: [*whole.records(s), Record.of("2 plus 2 is", ".")] if s == "extract" else whole.records(s),
    )

    done = transfer(pico_contexts()(suite=suite))

    assert done.notes["records_left_out"] == 1


def test_locating_and_training_read_the_suites_prompt_alike(pico_contexts, without_records):
    suite = replace(without_records("none"), prompt=PromptSpec(user="Q: {content}\n", open_answer="A:", bos=False))
    context = pico_contexts()(suite=suite)
    text = context.encoded(context.records("extract"), 768)[0]

    located = locate(context)

    tokenizer = context.pair.tokenizer
    assert located.records[0].prompt == "0 plus 3 is"
    assert tokenizer.decode(text.ids[: text.prompt_length]) == "Q: 0 plus 3 is\nA:"


# ---------------------------------------------------------------- what it is asked before anything is loaded


def question(pico_contexts, suite, teacher=None, student=None, **settings):
    pair = pico_contexts(teacher, student)().pair.pair
    return Question(
        pair, architecture(pair.teacher), architecture(pair.student), True, suite, LatenSettings(**settings)
    )


def test_a_usual_pair_is_not_skipped(pico_contexts, without_records):
    assert skip(question(pico_contexts, without_records("none"))) is None


def test_a_deeper_student_is_skipped_with_both_depths(pico_contexts, without_records):
    asked = question(pico_contexts, without_records("none"), teacher={"num_hidden_layers": 2})

    assert skip(asked).startswith("the student has 3 layers and the teacher 2;")
    assert "--set laten.pairing=depth" in skip(asked)
    by_depth = question(pico_contexts, without_records("none"), {"num_hidden_layers": 2}, pairing="depth")
    assert skip(by_depth) is None


@pytest.mark.parametrize("family", ["gemma2", "gemma3_text"])
def test_families_whose_layers_norm_what_they_add_are_skipped_with_the_reason(pico_contexts, without_records, family):
    asked = question(pico_contexts, without_records("none"))
    asked = replace(asked, student=replace(asked.student, family=family))

    assert f"the student is of family '{family}'" in skip(asked)
    assert "the head's logits are not capped" in skip(asked)


def test_an_unknown_family_is_skipped_by_name(pico_contexts, without_records):
    asked = question(pico_contexts, without_records("none"))
    asked = replace(asked, teacher=replace(asked.teacher, family="mamba"))

    assert skip(asked).startswith("the teacher is of family 'mamba'; LaTen is defined where layers add")


@pytest.mark.parametrize("split", ["extract", "align", "validation"])
def test_a_suite_without_a_needed_split_is_skipped(pico_contexts, without_records, split):
    assert (
        skip(question(pico_contexts, without_records(split)))
        == f"suite 'sums' has no {split} records, which LaTen needs"
    )


def test_a_fixed_choice_needs_no_validation_records(pico_contexts, without_records):
    fixed = {"selection": "fixed", "inject_steps": (4,), "inject_rates": (0.1,)}

    assert skip(question(pico_contexts, without_records("validation"), **fixed)) is None
    done = transfer(
        pico_contexts()(suite=without_records("validation"), selection="fixed", inject_steps=(3,), inject_rates=(0.5,))
    )
    assert done.notes["validation_loss_student"] is None


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (
            {"inject_steps": "4,30"},
            r"laten.inject_steps = '4,30' will not do: .*between 1 and laten.steps, which is 20",
        ),
        ({"inject_rates": "0.1,1.5"}, r"laten.inject_rates = .*above 0 and at most 1"),
        ({"selection": "fixed"}, r"exactly one may be given"),
        ({"modules": "up_proj,up_proj"}, r"a module kind is named twice"),
        ({"attention": "pos"}, r"laten.attention = 'pos' will not do"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(given, complaint):
    from pkt_bench.errors import RequestError

    values = (
        {"inject_steps": (20, 4), "inject_rates": (0.1, 0.2), **given} if given == {"selection": "fixed"} else given
    )

    with pytest.raises(RequestError, match=complaint):
        parse_settings("laten", LatenSettings, values)


def test_offering_the_method_imports_nothing_heavy():
    code = (
        "import sys, pkt_bench_laten; list(pkt_bench_laten.pkt_bench_methods());"
        "print(*sorted({'torch', 'transformers', 'peft'} & set(sys.modules)))"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == ""


def test_the_method_is_offered_once_as_pre_align():
    (method,) = pkt_bench_methods()

    assert (method.name, method.paradigm, method.settings) == ("laten", "pre-align", LatenSettings)

"""Records that give the test away are counted: prompts that are test prompts, thirteen words in a row in both."""

import dataclasses
import random
import time

import pytest

from pkt_bench import plugins
from pkt_bench.domain import PromptSpec, Record
from pkt_bench.overlap import WORDS, overlap
from pkt_bench.testing import pico_suite

FABLE = "the quick brown fox jumps over the lazy dog and then it sleeps all day long"


def counts(tmp_path, records, tests, prompt=None):
    suite = dataclasses.replace(
        pico_suite(tmp_path),
        records=lambda split: records if split == "train" else [],
        test_prompts=lambda: tests,
        prompt=prompt or PromptSpec(),
    )
    found = overlap(suite).splits["train"]
    return found.exact, found.ngrams


def test_a_suite_of_its_own_words_has_none(tmp_path):
    found = overlap(pico_suite(tmp_path))

    assert {split: (each.exact, each.ngrams) for split, each in found.splits.items()} == dict.fromkeys(
        ("extract", "align", "train", "validation"), (0, 0)
    )
    assert str(found) == "suite 'pico': overlap with test documents: none (exact prompts; 13-grams of words)"


@pytest.mark.parametrize("prompt", ["Who is Ann?", "who  is\nANN? "])
def test_a_prompt_is_the_same_in_any_case_and_spacing(tmp_path, prompt):
    assert counts(tmp_path, [Record.of(prompt, "x")], ["Who is Ann?"]) == (1, 1)


def test_the_prompt_is_compared_as_it_is_rendered(tmp_path):
    records, spec = [Record.of("Ann", "x")], PromptSpec(user="Who is {content}?")

    assert counts(tmp_path, records, ["Who is Ann?"], spec) == (1, 1)
    assert counts(tmp_path, records, ["Ann"], spec) == (0, 0)


def test_thirteen_words_in_a_row_are_a_copy_and_twelve_are_not(tmp_path):
    words = FABLE.split()
    test = " ".join(words)

    assert counts(tmp_path, [Record.of("so: " + " ".join(words[2:15]), "x")], [test]) == (0, 1)
    assert counts(tmp_path, [Record.of("so: " + " ".join(words[2:14]), "x")], [test]) == (0, 0)


def test_punctuation_and_case_do_not_hide_a_copy_and_an_answer_is_looked_at_too(tmp_path):
    copied = ", ".join(word.upper() for word in FABLE.split())

    assert counts(tmp_path, [Record.of("Tell a fable.", copied)], [FABLE]) == (0, 1)


def test_a_test_of_fewer_words_is_compared_whole(tmp_path):
    assert counts(tmp_path, [Record.of("who is ann", "x")], ["Who is Ann?"]) == (0, 1)
    assert counts(tmp_path, [Record.of("tell me who is ann", "x")], ["Who is Ann?"]) == (0, 0)


def test_a_test_without_words_overlaps_with_nothing(tmp_path):
    assert counts(tmp_path, [Record.of("??", "x")], ["!!"]) == (0, 0)


def test_a_suite_without_test_prompts_says_so(tmp_path):
    suite = dataclasses.replace(pico_suite(tmp_path), test_prompts=list)

    assert str(overlap(suite)) == "suite 'pico': overlap with test documents: unknown, it offers no test prompts"


def test_the_embedded_suites_share_no_prompt_and_code_alone_shares_phrases():
    found = {offer.item.name: overlap(offer.item) for offer in plugins.load().suites if not offer.item.needs}

    assert {name: sum(each.exact for each in of.splits.values()) for name, of in found.items()} == {
        "arithmetic": 0,
        "code": 0,
        "knowledge": 0,
    }
    # two long phrases of the same kind that differ by their last number: `... then scale each number by 5`, `... by 3`
    assert {name: {split: each.ngrams for split, each in of.splits.items()} for name, of in found.items()} == {
        "arithmetic": {"extract": 0, "align": 0, "train": 0, "validation": 0},
        "code": {"extract": 0, "align": 1, "train": 7, "validation": 3},
        "knowledge": {"extract": 0, "align": 0, "train": 0, "validation": 0},
    }


def test_ten_thousand_records_take_about_a_second(tmp_path):
    draw = random.Random(0)
    words = [f"w{n}" for n in range(5000)]
    records = [
        Record.of(" ".join(draw.choices(words, k=60)), " ".join(draw.choices(words, k=40))) for _ in range(10_000)
    ]
    tests = [" ".join(draw.choices(words, k=100)) for _ in range(999)] + [records[7].prompt]

    started = time.process_time()
    found = counts(tmp_path, records, tests)

    assert found == (1, 1)
    assert time.process_time() - started < 4  # 1 s on two Xeon cores; four times that on a busy machine
    assert WORDS == 13

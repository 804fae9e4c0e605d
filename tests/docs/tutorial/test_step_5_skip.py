from dataclasses import replace

import pytest

from docs.tutorial.step_5_skip import AnchorSettings, skip
from pkt_bench import Architecture, ModelRef, Pair, Question
from pkt_bench.testing import pico_suite

LLAMA = Architecture(
    family="llama",
    hidden=32,
    ffn=64,
    layers=2,
    heads=4,
    kv_heads=4,
    head_dim=8,
    vocabulary=1000,
    positions=64,
    tied=True,
)


@pytest.fixture
def question(tmp_path):
    pair = Pair("pair", "", ModelRef(tmp_path), ModelRef(tmp_path))
    return Question(pair, LLAMA, LLAMA, same_tokenizer=True, suite=pico_suite(tmp_path), settings=AnchorSettings())


def test_a_pair_with_one_vocabulary_can_be_done(question):
    assert skip(question) is None


def test_other_tokenizers_are_a_reason(question):
    other = replace(question, same_tokenizer=False)

    assert skip(other) == "anchor compares row by row, and teacher and student have different tokenizers"


def test_rows_that_one_of_them_lacks_are_a_reason(question):
    padded = replace(question, teacher=replace(LLAMA, vocabulary=1024))

    assert skip(padded) == "anchor compares row by row, and the teacher has 1024 rows, the student 1000"

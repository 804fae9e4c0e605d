"""Records become token ids by one spec, and the supervised part is the answer, exactly."""

import random

import pytest

from pkt_bench.data import alignment_batches, encode
from pkt_bench.domain import Message, PromptSpec, Record
from pkt_bench.testing import byte_tokenizer

TULU = PromptSpec(
    system="<|system|>\n{content}\n\n", user="<|user|>\n{content}\n\n", open_answer="<|assistant|>\n", close_answer="\n"
)


@pytest.fixture(scope="module")
def tokenizer():
    return byte_tokenizer()


def test_a_record_is_begin_prompt_answer_end(tokenizer):
    encoded = encode(Record.of("ab", "c"), PromptSpec(), tokenizer, 64)

    assert tokenizer.decode(list(encoded.ids)) == "<|end|>abc<|end|>"
    assert encoded.prompt_length == 3
    assert encoded.labels == (-100, -100, -100, *encoded.ids[3:])


def test_turns_are_rendered_by_the_template_of_their_role(tokenizer):
    record = Record((Message("system", "be brief"), Message("user", "2+2?"), Message("assistant", "4")))

    prompt, answer = TULU.render(record)

    assert prompt == "<|system|>\nbe brief\n\n<|user|>\n2+2?\n\n<|assistant|>\n"
    assert answer == "4\n"


def test_braces_in_a_record_are_text_and_not_a_template():
    assert PromptSpec(user="Q: {content}").render(Record.of("{content} {x}", "{y}")) == ("Q: {content} {x}", "{y}")


def test_the_window_cuts_the_end_and_a_prompt_that_fills_it_leaves_nothing_to_learn(tokenizer):
    cut = encode(Record.of("ab", "cdef"), PromptSpec(), tokenizer, 5)
    full = encode(Record.of("abcdef", "g"), PromptSpec(), tokenizer, 5)

    assert (len(cut.ids), cut.supervised) == (5, 2)
    assert (len(full.ids), full.supervised) == (5, 0)


def test_a_merge_across_the_border_is_the_one_that_scoring_sees():
    """lm-eval tokenises context and continuation together and takes what follows the context's own tokens."""
    from lm_eval.models.huggingface import HFLM
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"a": 0, "b": 1, "c": 2, "bc": 3, "<e>": 4}
    merging = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(vocab=vocabulary, merges=[("b", "c")])), eos_token="<e>"
    )

    class Pairs(HFLM):
        def __init__(self):
            self.tokenizer, self.add_bos_token, self.backend, self.custom_prefix_token_id = (
                merging,
                False,
                "causal",
                None,
            )

    context, continuation = Pairs()._encode_pair("ab", "cb")
    encoded = encode(Record.of("ab", "cb"), PromptSpec(bos=False, eos=False), merging, 64)

    assert list(encoded.ids[encoded.prompt_length :]) == continuation
    assert list(encoded.ids) == [0, 3, 1]
    assert encoded.prompt_length == len(context) == 2


def letters(names):
    return [Record.of(name, name) for name in names]


def test_the_companions_of_seed_0_are_the_published_draw():
    align = letters("abcdefghijklmnopqrstuvwxyz")

    batches = alignment_batches(letters("X"), align, steps=3, batch_size=16, seed=0, order_seed=5)

    for step, batch in enumerate(batches):
        random.seed(step)
        assert [align.index(record) for record in batch[1:]] == random.sample(range(26), 15)


def test_every_locating_record_leads_once_before_any_leads_again():
    batches = alignment_batches(letters("ABCD"), letters("xyz"), steps=8, batch_size=2, seed=1, order_seed=5)

    leading = [batch[0].prompt for batch in batches]
    assert sorted(leading[:4]) == ["A", "B", "C", "D"]
    assert leading[4:] == leading[:4]


def test_a_batch_larger_than_the_split_takes_all_of_it_once():
    (batch,) = alignment_batches(letters("A"), letters("xyz"), steps=1, batch_size=16, seed=0, order_seed=0)

    assert sorted(record.prompt for record in batch[1:]) == ["x", "y", "z"]


def test_another_seed_draws_other_companions_and_another_order_other_leaders():
    drawn = [
        alignment_batches(letters("ABCDEF"), letters("abcdefghijkl"), steps=4, batch_size=5, seed=s, order_seed=o)
        for s, o in ((0, 0), (1, 0), (0, 1))
    ]

    companions = [[batch[1:] for batch in batches] for batches in drawn]
    leaders = [[batch[0] for batch in batches] for batches in drawn]
    assert companions[0] == companions[2] != companions[1]
    assert leaders[0] == leaders[1] != leaders[2]

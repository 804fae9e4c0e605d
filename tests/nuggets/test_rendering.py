"""Seed records under a tokenizer's chat template."""

import pytest

from pkt_bench import ContractError, Record
from pkt_bench.testing import byte_tokenizer
from pkt_bench_nuggets.rendering import chat_encoded, rendered
from pkt_bench_nuggets.settings import NuggetsSettings

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture
def tokenizer():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def test_supervised_is_what_follows_the_opening_of_the_assistants_turn(tokenizer):
    found = chat_encoded(tokenizer, Record.of("2+2?", "4"), 100)

    assert tokenizer.decode(found.ids[: found.prompt_length]) == "<user>2+2?\n<assistant>"
    assert tokenizer.decode(found.ids[found.prompt_length :]) == "4\n"


def test_a_long_record_is_cut_at_the_window(tokenizer):
    found = chat_encoded(tokenizer, Record.of("2+2?", "4"), 20)

    assert (len(found.ids), found.supervised) == (20, 0)


def test_a_template_that_begins_a_record_otherwise_than_its_prompt_is_refused(tokenizer):
    tokenizer.chat_template = TEMPLATE.replace("<{{ m['role'] }}>", "<{{ messages | length }}>")

    with pytest.raises(ContractError, match="the answer cannot be told apart"):
        chat_encoded(tokenizer, Record.of("2+2?", "4"), 100)


def test_a_token_that_spans_prompt_and_answer_is_supervised():
    class Merging:
        """Reads `>4` as one token wherever it stands, and every other letter as one."""

        def apply_chat_template(self, turns, *, tokenize, add_generation_prompt=False):
            assert not tokenize
            return "".join(f"<{t['role'][0]}>{t['content']}" for t in turns) + "<a>" * add_generation_prompt

        def encode(self, text, *, add_special_tokens):
            assert not add_special_tokens
            return [ord(letter) for letter in text.replace(">4", "\u0100")]

    found = chat_encoded(Merging(), Record.of("2+2?", "4!"), 100)

    assert found.labels[found.prompt_length :] == (0x100, ord("!"))


def test_without_a_chat_template_the_reason_names_the_other_rendering(context_of):
    context = context_of(settings=NuggetsSettings(rank=4, rendering="chat"))

    with pytest.raises(ContractError, match=r"has no chat template .*\n.*rendering=base"):
        rendered(context, context.records("extract")[:1], 64)

"""The shipped checkpoints and tokenizer: what they are, and that they are the ones the README speaks of."""

import re
from pathlib import Path

import pytest

import pkt_bench_tiny
from pkt_bench_tiny import arithmetic, code, knowledge
from pkt_bench_tiny.splits import SPLITS
from pkt_bench_tiny.train import hashes

HOME = Path(pkt_bench_tiny.__file__).parent
PAIR = HOME / "pair"
SIDES = ("teacher", "student")


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(PAIR / "teacher")


def test_the_shipped_files_are_the_ones_the_readme_names():
    readme = (HOME / "README.md").read_text()

    named = {name: digest for digest, name in re.findall(r"`([0-9a-f]{64})`\s*\|?\s*`([\w/.]+)`", readme)}

    assert named == hashes(PAIR)


@pytest.mark.parametrize("side", SIDES)
def test_a_checkpoint_is_below_nine_megabytes_and_in_bfloat16(side):
    from safetensors import safe_open

    weights = PAIR / side / "model.safetensors"

    with safe_open(weights, framework="pt") as tensors:
        dtypes = {tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118

    assert weights.stat().st_size < 9_000_000
    assert dtypes == {"BF16"}


@pytest.mark.parametrize("side", SIDES)
def test_a_checkpoint_loads_by_path_alone_and_computes_in_float32(side):
    import torch
    from transformers import AutoModelForCausalLM, LlamaForCausalLM

    model = AutoModelForCausalLM.from_pretrained(PAIR / side)

    assert isinstance(model, LlamaForCausalLM)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model.config.tie_word_embeddings
    assert model.config.head_dim == 32
    assert model.generation_config.eos_token_id == model.config.eos_token_id


def test_the_teacher_is_larger_than_the_student_in_every_way():
    from transformers import AutoConfig

    teacher, student = (AutoConfig.from_pretrained(PAIR / side) for side in SIDES)

    for size in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"):
        assert getattr(teacher, size) > getattr(student, size), size
    assert teacher.vocab_size == student.vocab_size


def test_both_sides_have_the_same_tokenizer():
    first, second = ((PAIR / side / "tokenizer.json").read_bytes() for side in SIDES)

    assert first == second


@pytest.mark.parametrize("suite", [knowledge, arithmetic, code], ids=["knowledge", "arithmetic", "code"])
def test_no_token_crosses_the_border_between_prompt_and_answer(suite, tokenizer):
    def ids(text):
        return tokenizer.encode(text, add_special_tokens=False)

    crossed = [
        item.prompt
        for split in SPLITS
        for item in suite.items(split)
        if ids(item.prompt) + ids(item.answer) != ids(item.prompt + item.answer)
    ]

    assert crossed == []


def test_a_newline_and_a_digit_are_tokens_of_their_own(tokenizer):
    tokens = tokenizer.convert_ids_to_tokens(tokenizer.encode(" 12+34\n\n    x", add_special_tokens=False))

    # byte-level BPE writes a space as G-dot and a newline as C-dot
    assert tokens[:7] == ["Ġ", "1", "2", "+", "3", "4", "Ċ"]
    assert tokens[7] == "Ċ"


def test_one_special_token_opens_closes_and_pads(tokenizer):
    encoded = tokenizer.encode("Question:")

    assert tokenizer.bos_token_id == tokenizer.eos_token_id == tokenizer.pad_token_id == encoded[0]
    assert tokenizer.all_special_ids == [tokenizer.eos_token_id]
    assert len(tokenizer) == 1024


def test_decoding_gives_back_what_was_encoded(tokenizer):
    for suite in (knowledge, arithmetic, code):
        for item in suite.items("validation"):
            text = item.prompt + item.answer
            assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text

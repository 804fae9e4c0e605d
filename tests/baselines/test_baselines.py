"""The references hand over what they were given; lora changes the student by its adapter alone."""

import subprocess
import sys

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from pkt_bench import AdapterSettings, Question, TransferContext
from pkt_bench.models import LoadedPair, architecture, fingerprint
from pkt_bench.stages import StageCache
from pkt_bench.testing import pico_pair, pico_suite
from pkt_bench_baselines import pkt_bench_methods

METHODS = {method.name: method for method in pkt_bench_methods()}


@pytest.fixture
def context_of(tmp_path):
    pair = pico_pair(tmp_path)

    def build(settings, seed=0):
        return TransferContext(
            pair=LoadedPair(pair),
            suite=pico_suite(tmp_path),
            settings=settings,
            seed=seed,
            device="cpu",
            cache=StageCache(tmp_path / "cache"),
            report=lambda stage, fraction: None,
        )

    return build


@pytest.fixture
def question(tmp_path):
    def ask(family="llama", *, same_tokenizer=True):
        pair = pico_pair(tmp_path)
        size = architecture(pair.student)
        student = type(size)(**{name: getattr(size, name) for name in size.__dataclass_fields__} | {"family": family})
        return Question(
            pair=pair,
            teacher=architecture(pair.teacher),
            student=student,
            same_tokenizer=same_tokenizer,
            suite=pico_suite(tmp_path),
            settings=AdapterSettings(),
        )

    return ask


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_a_reference_hands_over_that_very_model_and_claims_no_change(context_of, role):
    method = METHODS[role]
    context = context_of(method.settings())

    result = method.transfer(context)

    assert result.student is getattr(context.pair, role)
    assert not result.payload
    assert not method.changes_student


def test_lora_saves_an_adapter_that_loads_on_the_untouched_student(context_of, tmp_path):
    context = context_of(AdapterSettings(rank=4, learning_rate=1e-2))
    before = fingerprint(context.pair.pristine_student)
    ids = torch.tensor([[256, 7, 8, 9]])

    result = METHODS["lora"].transfer(context)
    result.student.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)

    fresh = AutoModelForCausalLM.from_pretrained(context.pair.pair.student.path)
    again = PeftModel.from_pretrained(fresh, tmp_path / "adapter").eval()
    with torch.no_grad():
        tuned, loaded = result.student(input_ids=ids).logits, again(input_ids=ids).logits
        plain = context.pair.pristine_student(input_ids=ids).logits
    assert torch.equal(tuned, loaded)
    assert (tuned - plain).abs().max() > 0.01
    assert fingerprint(result.student.unload()) == before
    assert "teacher" not in vars(context.pair)


def test_lora_gives_the_same_bits_for_the_same_seed_and_others_for_another(context_of):
    prints = [
        fingerprint(METHODS["lora"].transfer(context_of(AdapterSettings(rank=2), seed)).student) for seed in (0, 0, 1)
    ]

    assert prints[0] == prints[1] != prints[2]


def test_the_references_take_every_pair(question):
    for name in ("student", "teacher"):
        assert METHODS[name].skip(question("gpt2", same_tokenizer=False)) is None


def test_lora_is_skipped_on_a_family_it_cannot_adapt(question):
    said = METHODS["lora"].skip(question("gpt2"))

    assert said == (
        "the student of pair 'pico' is a gpt2 model; adapters are put on gemma, gemma2, gemma3_text, llama, mistral,"
        " qwen2, qwen3"
    )
    assert METHODS["lora"].skip(question()) is None


def test_the_plugin_loads_no_torch():
    code = (
        "import sys, pkt_bench_baselines as p; list(p.pkt_bench_methods()); print({'torch', 'peft'} & set(sys.modules))"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "set()"

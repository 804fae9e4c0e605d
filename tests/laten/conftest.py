"""Pico pairs built from a configuration, a suite over them, and the published code's numbers where they are."""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pkt_bench import ModelRef, Pair, PromptSpec, Record, Suite, Task, TransferContext
from pkt_bench.models import LoadedPair
from pkt_bench.stages import StageCache
from pkt_bench_laten import LatenSettings

GOLDENS = Path(__file__).resolve().parents[3] / "shared" / "parity"

TULU = PromptSpec(
    system="<|system|>\n{content}\n\n",
    user="<|user|>\n{content}\n\n",
    open_answer="<|assistant|>\n",
    close_answer="\n\n",
)


@dataclass(frozen=True)
class Golden:
    """One case of the published numbers."""

    folder: Path

    @functools.cached_property
    def manifest(self):
        return json.loads((self.folder / "manifest.json").read_text())["laten"]

    def tensor(self, name):
        with safe_open(self.folder / "laten.safetensors", "pt") as file:
            return file.get_tensor(name)

    @functools.lru_cache(maxsize=4)  # noqa: B019 - two cases, two roles
    def model(self, role, dtype=torch.float32):
        model = AutoModelForCausalLM.from_pretrained(self.folder / role, dtype=dtype)
        return model.eval().requires_grad_(False)

    @functools.cached_property
    def tokenizer(self):
        return AutoTokenizer.from_pretrained(self.folder / "student")

    @functools.cached_property
    def records(self):
        """(prompt, answer) of each record, the contents stripped as the published rendering does."""
        pairs = []
        for line in (self.folder / "records.jsonl").read_text().splitlines():
            *turns, last = json.loads(line)["messages"]
            prompt = "".join(f"<|{turn['role']}|>\n{turn['content'].strip()}\n\n" for turn in turns)
            pairs.append((prompt + "<|assistant|>\n", last["content"].strip()))
        return pairs


@pytest.fixture(params=["pair-a", "pair-b"])
def golden(request):
    folder = GOLDENS / request.param
    if not folder.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"the published numbers must be there under CI: {folder}")
        pytest.skip(f"the published numbers are not on this machine: {folder}")
    return Golden(folder)


@pytest.fixture
def pico_model():
    """Builds a random Llama; weights wide enough for scores to differ."""

    def build(seed, **sizes):
        config = LlamaConfig(
            **{
                "vocab_size": 64,
                "hidden_size": 24,
                "intermediate_size": 40,
                "num_hidden_layers": 3,
                "num_attention_heads": 4,
                "num_key_value_heads": 4,
                "head_dim": 6,
                "max_position_embeddings": 256,
                "initializer_range": 0.15,
                "bos_token_id": 0,
                "eos_token_id": 0,
                "pad_token_id": 0,
                "tie_word_embeddings": False,
                **sizes,
            }
        )
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "norm" in name:
                    weight.add_(0.2 * torch.randn_like(weight))
        return model.eval()

    return build


def byte_tokenizer():
    """256 bytes and an end token; no merges, so every text has one reading."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<end>": 0, **{letter: i + 1 for i, letter in enumerate(alphabet)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<end>", eos_token="<end>", pad_token="<end>")


def sums(split):
    """Six little sums per split."""
    start = {"extract": 0, "align": 10, "train": 20, "validation": 30}[split]
    return [Record.of(f"{i} plus {i + 3} is", f" {2 * i + 3}.") for i in range(start, start + 6)]


SUITE = Suite(
    name="sums",
    summary="little sums",
    records=sums,
    prompt=PromptSpec(bos=True, eos=True),
    tasks=(Task("none", "acc"),),
    task_path=Path(),
    test_prompts=list,
)


@pytest.fixture
def pico_contexts(tmp_path, pico_model):
    """A context maker: a pair saved to disk, loaded afresh for each context, one cache for all."""

    def make(teacher=None, student=None):
        sizes = {
            "teacher": {"vocab_size": 257, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4}
            | {"head_dim": 8, **(teacher or {})},
            "student": {"vocab_size": 257, **(student or {})},
        }
        for seed, (role, size) in enumerate(sizes.items()):
            pico_model(seed, **size).save_pretrained(tmp_path / role)
            byte_tokenizer().save_pretrained(tmp_path / role)
        pair = Pair("pico", "", ModelRef(tmp_path / "teacher"), ModelRef(tmp_path / "student"))

        def context(seed=0, suite=SUITE, **settings):
            quick = {
                "steps": 3,
                "inject_steps": (2, 3),
                "inject_rates": (0.2, 0.5),
                "align_batch": 4,
                "learning_rate": 3e-2,
                "locate_records": 3,
            }
            return TransferContext(
                pair=LoadedPair(pair),
                suite=suite,
                settings=LatenSettings(**{**quick, **settings}),
                seed=seed,
                device="cpu",
                cache=StageCache(tmp_path / "cache"),
                report=lambda _stage, _fraction: None,
            )

        return context

    return make


@pytest.fixture
def without_records():
    """The suite with one split empty."""
    return lambda empty: replace(SUITE, records=lambda split: [] if split == empty else sums(split))

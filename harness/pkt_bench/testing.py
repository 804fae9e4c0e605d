"""For plugin authors: pico pairs and suites, built from a config in milliseconds, that run through the real harness."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench.domain import ModelRef, Pair, PromptSpec, Record, Split, Suite, Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TEACHER = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 6}
STUDENT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
WORDS = ("te", "st", "tr", "ai", "in", "al", "ig")
CAPITALS = {"a": "x", "b": "y", "c": "z", "d": "w"}


def pico_pair(
    folder: Path,
    *,
    name: str = "pico",
    family: str = "llama",
    teacher: dict[str, Any] | None = None,
    student: dict[str, Any] | None = None,
    seed: int = 0,
    own_tokenizers: bool = False,
) -> Pair:
    """A pair of random models of a `family` that transformers knows, saved below `folder` with one byte tokenizer.

    With `own_tokenizers` the teacher has another one, which knows some words as well.

    `teacher` and `student` are added to the configurations (grouped-query attention, tied embeddings, other sizes);
    `head_dim` is 8 unless they say otherwise. Weights are normal with a standard deviation of 0.2; biases and the
    gains of norms are moved off their start by as much, so that whoever forgets one computes something else.
    """
    refs = []
    for role, base, given in (("teacher", TEACHER, teacher), ("student", STUDENT, student)):
        path = folder / name / role
        tokenizer = byte_tokenizer(WORDS if own_tokenizers and role == "teacher" else ())
        _save_model(path, family, {**base, "head_dim": 8, **(given or {})}, len(tokenizer), seed)
        tokenizer.save_pretrained(path)
        refs.append(ModelRef(path))
    return Pair(name, f"random {family} models of a few thousand weights", teacher=refs[0], student=refs[1])


def byte_tokenizer(words: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """256 bytes, `words` of two letters, and one special token (the last id) that begins, ends and pads."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {sign: number for number, sign in enumerate((*alphabet, *words))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[(word[0], word[1]) for word in words]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    end = "<|end|>"
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=end, eos_token=end, pad_token=end)


def pico_suite(folder: Path, *, name: str = "pico") -> Suite:
    """A multiple-choice suite of a few records with its lm-eval task, written below `folder`."""
    path = folder / f"{name}-tasks"
    path.mkdir(parents=True, exist_ok=True)
    documents: list[dict[str, Any]] = [
        {"prompt": f"test {c}:", "choices": list(CAPITALS.values()), "gold": i} for i, c in enumerate(CAPITALS)
    ]
    _write(path / "documents.json", json.dumps(documents))
    _write(
        path / "documents.py",
        "import json\nimport pathlib\n\nimport datasets\n\n\n"
        "def test(**_):\n"
        "    rows = json.loads((pathlib.Path(__file__).parent / 'documents.json').read_text())\n"
        "    return {'test': datasets.Dataset.from_list(rows)}\n",
    )
    _write(
        path / f"{name}.yaml",
        f"task: {name}\ncustom_dataset: !function documents.test\ntest_split: test\noutput_type: multiple_choice\n"
        "doc_to_text: '{{prompt}}'\ndoc_to_choice: '{{choices}}'\ndoc_to_target: '{{gold}}'\ntarget_delimiter: ' '\n"
        "metric_list:\n  - metric: acc\n    aggregation: mean\n    higher_is_better: true\nmetadata:\n  version: 1\n",
    )

    def records(split: Split) -> Sequence[Record]:
        return [Record.of(f"{split} {letter}{n}:", f" {x}") for n in range(4) for letter, x in CAPITALS.items()]

    return Suite(
        name=name,
        summary="letters",
        records=records,
        prompt=PromptSpec(),
        tasks=(Task(name, "acc", chance=0.25),),
        task_path=path,
        test_prompts=lambda: [document["prompt"] for document in documents],
    )


def _write(path: Path, text: str) -> None:
    """Writes a file that several processes may write and read at once: whole, or not yet there."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def _save_model(path: Path, family: str, sizes: dict[str, Any], vocabulary: int, seed: int) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = AutoConfig.for_model(
            family,
            vocab_size=vocabulary,
            max_position_embeddings=256,
            initializer_range=0.2,
            bos_token_id=vocabulary - 1,
            eos_token_id=vocabulary - 1,
            pad_token_id=vocabulary - 1,
            **{"num_key_value_heads": sizes["num_attention_heads"], **sizes},
        )
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim == 1:
                    weight.add_(torch.randn_like(weight), alpha=0.2)
        model.save_pretrained(path)

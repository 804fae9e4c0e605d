"""The pairs of the papers, as models of the Hugging Face Hub, on the suites the papers measured.

Seeking Neural Nuggets (arXiv 2310.11451) takes base models: Llama-1 13B and 30B to 7B, 30B to 13B, and Llama-2 13B to
7B. The paper on neural incompatibility (arXiv 2505.14436) takes Llama-2 13B to 7B chat, CodeLlama and WizardCoder as
teachers for code, and Qwen2.5 3B to 1.5B for its rebuttal. Nothing here is fetched before a run asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable

from pkt_bench import ModelRef, Pair

SUITES = ("gsm8k", "mmlu", "humaneval", "mbpp")
CODE = ("humaneval", "mbpp")

_LLAMA_1 = "LLaMA licence (research only)"
_LLAMA_2 = "Llama 2 Community License"
_GATED = " (gated)"
_UNOFFICIAL = "Meta gave its weights to researchers alone; huggyllama is a conversion of them by others"


def pairs() -> Iterable[Pair]:
    """Every pair of the two papers."""
    for teacher, student in (("13b", "7b"), ("30b", "7b"), ("30b", "13b")):
        yield Pair(
            f"llama1-{teacher}-{student}",
            f"Llama-1 {teacher.upper()} to {student.upper()}, base models (Seeking Neural Nuggets)",
            teacher=ModelRef(hub=f"huggyllama/llama-{teacher}"),
            student=ModelRef(hub=f"huggyllama/llama-{student}"),
            suites=("gsm8k", "mmlu"),
            caveats=(_UNOFFICIAL,),
            licence=_LLAMA_1,
        )
    yield Pair(
        "llama2-13b-7b",
        "Llama-2 13B to 7B, base models (Seeking Neural Nuggets)",
        teacher=ModelRef(hub="meta-llama/Llama-2-13b-hf"),
        student=ModelRef(hub="meta-llama/Llama-2-7b-hf"),
        suites=SUITES,
        licence=_LLAMA_2 + _GATED,
    )
    chat = ModelRef(hub="meta-llama/Llama-2-7b-chat-hf")
    yield Pair(
        "llama2-13b-7b-chat",
        "Llama-2 13B to 7B, chat models (LaTen)",
        teacher=ModelRef(hub="meta-llama/Llama-2-13b-chat-hf"),
        student=chat,
        suites=SUITES,
        licence=_LLAMA_2 + _GATED,
    )
    yield Pair(
        "codellama-13b-python-llama2-7b-chat",
        "CodeLlama 13B Python to Llama-2 7B chat, for code (LaTen)",
        teacher=ModelRef(hub="codellama/CodeLlama-13b-Python-hf"),
        student=chat,
        suites=CODE,
        licence=f"{_LLAMA_2} (student gated)",
    )
    yield Pair(
        "wizardcoder-13b-python-llama2-7b-chat",
        "WizardCoder 13B Python to Llama-2 7B chat, for code (LaTen)",
        teacher=ModelRef(hub="WizardLMTeam/WizardCoder-Python-13B-V1.0"),
        student=chat,
        suites=CODE,
        licence=f"{_LLAMA_2} (student gated)",
    )
    yield Pair(
        "qwen2.5-3b-1.5b-instruct",
        "Qwen2.5 3B to 1.5B, instruct models (LaTen's rebuttal)",
        teacher=ModelRef(hub="Qwen/Qwen2.5-3B-Instruct"),
        student=ModelRef(hub="Qwen/Qwen2.5-1.5B-Instruct"),
        suites=SUITES,
        licence="Qwen Research License (3B), Apache-2.0 (1.5B)",
    )
    yield Pair(
        "qwen2.5-3b-1.5b",
        "Qwen2.5 3B to 1.5B, base models: of no paper, beside the instruct ones",
        teacher=ModelRef(hub="Qwen/Qwen2.5-3B"),
        student=ModelRef(hub="Qwen/Qwen2.5-1.5B"),
        suites=SUITES,
        licence="Qwen Research License (3B), Apache-2.0 (1.5B)",
    )

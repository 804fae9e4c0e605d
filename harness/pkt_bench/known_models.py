"""The sizes of published models, by name: what can be planned with before anything is fetched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pkt_bench.domain import Architecture


@dataclass(frozen=True)
class KnownModel:
    """A published model.

    Attributes:
        architecture: its sizes.
        tokenizer: which tokenizer it shares with others (a label, compared by equality).
        hub: its repository on the Hugging Face Hub; empty where it is known by its sizes alone.
        licence: as its page says.
        gated: its authors ask to accept their terms before anything is fetched.
    """

    architecture: Architecture
    tokenizer: str
    hub: str = ""
    licence: str = ""
    gated: bool = False


LLAMA_1 = "LLaMA licence (research only)"
LLAMA_2 = "Llama 2 Community License"


def _llama(  # the family's sizes have these names in its papers
    hidden: int,
    ffn: int,
    layers: int,
    heads: int,
    positions: int,
    kv_heads: int | None = None,
    *,
    vocabulary: int = 32_000,
    tokenizer: str = "llama",
    hub: str = "",
    licence: str = "",
    gated: bool = False,
) -> KnownModel:
    shape = Architecture(
        family="llama",
        hidden=hidden,
        ffn=ffn,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads or heads,
        head_dim=hidden // heads,
        vocabulary=vocabulary,
        positions=positions,
        tied=False,
    )
    return KnownModel(shape, tokenizer, hub, licence, gated)


def _llama_1(size: str, hidden: int, ffn: int, layers: int, heads: int) -> KnownModel:
    return _llama(hidden, ffn, layers, heads, 2048, hub=f"huggyllama/llama-{size}", licence=LLAMA_1)


def _llama_2(size: str, kind: str, hidden: int, ffn: int, layers: int, heads: int) -> KnownModel:
    hub = f"meta-llama/Llama-2-{size}-{kind}hf"
    return _llama(hidden, ffn, layers, heads, 4096, hub=hub, licence=LLAMA_2, gated=True)


def _qwen2_5(size: str, licence: str, hidden: int, ffn: int, layers: int, heads: int, *, kind: str = "") -> KnownModel:
    shape = Architecture(
        family="qwen2",
        hidden=hidden,
        ffn=ffn,
        layers=layers,
        heads=heads,
        kv_heads=2,
        head_dim=hidden // heads,
        vocabulary=151_936,
        positions=32_768,
        tied=True,
    )
    return KnownModel(shape, f"qwen2.5{kind.lower()}", f"Qwen/Qwen2.5-{size}{kind}", licence)


KNOWN_MODELS: Mapping[str, KnownModel] = {
    "llama-7b": _llama_1("7b", 4096, 11_008, 32, 32),
    "llama-13b": _llama_1("13b", 5120, 13_824, 40, 40),
    "llama-30b": _llama_1("30b", 6656, 17_920, 60, 52),
    "llama-2-7b": _llama_2("7b", "", 4096, 11_008, 32, 32),
    "llama-2-13b": _llama_2("13b", "", 5120, 13_824, 40, 40),
    "llama-2-7b-chat": _llama_2("7b", "chat-", 4096, 11_008, 32, 32),
    "llama-2-13b-chat": _llama_2("13b", "chat-", 5120, 13_824, 40, 40),
    "codellama-13b-python": _llama(
        *(5120, 13_824, 40, 40, 16_384),
        tokenizer="codellama",
        hub="codellama/CodeLlama-13b-Python-hf",
        licence=LLAMA_2,
    ),
    "wizardcoder-python-13b": _llama(
        *(5120, 13_824, 40, 40, 16_384),
        vocabulary=32_001,
        tokenizer="wizardcoder",
        hub="WizardLMTeam/WizardCoder-Python-13B-V1.0",
        licence=LLAMA_2,
    ),
    "tinyllama-1.1b": _llama(2048, 5632, 22, 32, 2048, kv_heads=4),
    "qwen2.5-1.5b": _qwen2_5("1.5B", "Apache-2.0", 1536, 8960, 28, 12),
    "qwen2.5-3b": _qwen2_5("3B", "Qwen Research License", 2048, 11_008, 36, 16),
    "qwen2.5-1.5b-instruct": _qwen2_5("1.5B", "Apache-2.0", 1536, 8960, 28, 12, kind="-Instruct"),
    "qwen2.5-3b-instruct": _qwen2_5("3B", "Qwen Research License", 2048, 11_008, 36, 16, kind="-Instruct"),
}
"""Names are those of the models' pages without the owner, in lower case; also a short spelling after `--pair`."""


def known(hub: str) -> KnownModel | None:
    """What is known of a model of the hub."""
    return next((model for model in KNOWN_MODELS.values() if model.hub and model.hub.lower() == hub.lower()), None)

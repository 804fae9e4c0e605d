"""The sizes of published models, by name: what `plan --estimate` can plan with before anything is fetched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pkt_bench.domain import Architecture


@dataclass(frozen=True)
class KnownModel:
    """A published model: its sizes, and which tokenizer it shares with others (a label, compared by equality)."""

    architecture: Architecture
    tokenizer: str


def _llama(hidden: int, ffn: int, layers: int, heads: int, positions: int, kv_heads: int | None = None) -> KnownModel:
    shape = Architecture(
        family="llama",
        hidden=hidden,
        ffn=ffn,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads or heads,
        head_dim=hidden // heads,
        vocabulary=32_000,
        positions=positions,
        tied=False,
    )
    return KnownModel(shape, "llama")


def _qwen2_5(hidden: int, ffn: int, layers: int, heads: int) -> KnownModel:
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
    return KnownModel(shape, "qwen2.5")


KNOWN_MODELS: Mapping[str, KnownModel] = {
    "llama-7b": _llama(4096, 11_008, 32, 32, 2048),
    "llama-13b": _llama(5120, 13_824, 40, 40, 2048),
    "llama-30b": _llama(6656, 17_920, 60, 52, 2048),
    "llama-2-7b": _llama(4096, 11_008, 32, 32, 4096),
    "llama-2-13b": _llama(5120, 13_824, 40, 40, 4096),
    "tinyllama-1.1b": _llama(2048, 5632, 22, 32, 2048, kv_heads=4),
    "qwen2.5-1.5b": _qwen2_5(1536, 8960, 28, 12),
    "qwen2.5-3b": _qwen2_5(2048, 11_008, 36, 16),
}
"""Names are those of the models' pages without the owner, in lower case."""

"""Pico pairs of each family and a cell's context on them."""

import pytest

from pkt_bench import TransferContext
from pkt_bench.models import LoadedPair
from pkt_bench.stages import StageCache
from pkt_bench.testing import pico_pair, pico_suite

LAYOUTS = {
    "llama": ("llama", {}),
    "gqa": ("llama", {"num_key_value_heads": 2}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {}),
    "gemma2": ("gemma2", {"tie_word_embeddings": True, "sliding_window": 8}),
    "gemma3": ("gemma3_text", {"tie_word_embeddings": True, "sliding_window": 8}),
}
"""Biases of q, k and v in qwen2, norms of q and k in qwen3, windows, soft-capping and tied embeddings in gemma."""


@pytest.fixture
def pair_of(tmp_path):
    def build(layout="llama", **student):
        family, sizes = LAYOUTS[layout]
        return pico_pair(tmp_path, name=layout, family=family, teacher=sizes, student={**sizes, **student})

    return build


@pytest.fixture
def context_of(tmp_path, pair_of):
    def build(settings, seed=0, layout="llama", suite=None):
        return TransferContext(
            pair=LoadedPair(pair_of(layout)),
            suite=suite or pico_suite(tmp_path),
            settings=settings,
            seed=seed,
            device="cpu",
            cache=StageCache(tmp_path / "cache"),
            report=lambda stage, fraction: None,
        )

    return build

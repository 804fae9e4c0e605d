"""The five splits of a suite, how many records each holds, and where all chance in this plugin comes from."""

import random
from typing import Final, Literal, get_args

Split = Literal["extract", "align", "train", "validation", "test"]

SPLITS: Final[tuple[Split, ...]] = get_args(Split)

SIZES: Final[dict[Split, int]] = {"extract": 32, "align": 80, "train": 456, "validation": 100, "test": 200}
"""Records per split, the same for all suites (knowledge: 228 train facts, each asked in two forms)."""


def seeded(purpose: str) -> random.Random:
    """The one source of chance: a generator that depends on its purpose alone."""
    return random.Random(f"pkt_bench_tiny {purpose}")  # noqa: S311  data must be repeatable, not secret

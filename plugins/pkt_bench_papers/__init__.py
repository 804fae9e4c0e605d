"""The suites of the papers: GSM8K, MMLU, HumanEval and MBPP, rebuilt by seed from their original training data.

    Seeking Neural Nuggets (arXiv 2310.11451), Neural Incompatibility (arXiv 2505.14436)

The data are not here: they are read from a folder of data (`--data-dir`) or from the hub. Prompts and judgement follow
open-instruct, with which both papers evaluated; README.md says where, and what differs.
"""

from __future__ import annotations

from collections.abc import Iterable

from pkt_bench import Pair, Suite, hookimpl

from . import gsm8k, humaneval, mbpp, mmlu
from .pairs import pairs


@hookimpl
def pkt_bench_suites() -> Iterable[Suite]:
    """Offer the four suites, and GSM8K's once more for models that solve next to nothing."""
    return [*(module.suite() for module in (gsm8k, mmlu, humaneval, mbpp)), gsm8k.text_suite()]


@hookimpl
def pkt_bench_pairs() -> Iterable[Pair]:
    """Offer the pairs of both papers."""
    return pairs()

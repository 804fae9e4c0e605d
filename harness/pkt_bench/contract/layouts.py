"""The pairs that a method is tried on: random, a few thousand weights each, laid out as differently as models are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pkt_bench.domain import Pair
from pkt_bench.testing import pico_pair

GROUPED = {"num_key_value_heads": 2}


@dataclass(frozen=True)
class Layout:
    """How a pair is laid out: a family that transformers knows, and what differs from the plain sizes."""

    name: str
    family: str = "llama"
    teacher: Mapping[str, Any] = field(default_factory=dict)
    student: Mapping[str, Any] = field(default_factory=dict)
    own_tokenizers: bool = False

    def made(self, folder: Path) -> Pair:
        """The pair, saved below `folder`."""
        return pico_pair(
            folder,
            name=self.name,
            family=self.family,
            teacher=dict(self.teacher),
            student=dict(self.student),
            own_tokenizers=self.own_tokenizers,
        )


LAYOUTS = (
    Layout("pico-llama", teacher=GROUPED, student=GROUPED),
    Layout("pico-llama-tied", teacher={"tie_word_embeddings": True}, student={"tie_word_embeddings": True}),
    Layout("pico-mixed-tying", teacher={"tie_word_embeddings": False}, student={"tie_word_embeddings": True}),
    Layout("pico-qwen2", "qwen2", GROUPED, GROUPED),
    Layout("pico-gemma2", "gemma2", GROUPED, GROUPED),
    Layout("pico-deeper-student", student={"num_hidden_layers": 4}),
    Layout("pico-two-tokenizers", own_tokenizers=True),
    Layout("pico-gpt-neox", "gpt_neox"),
)
"""The first one is what is looked at closely: every method for Llama-like models should do it."""

"""Where an adapter goes in a student: the full names of the modules its settings ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pkt_bench import adapted_modules, module_path

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OUTSIDE = ("embed_tokens", "lm_head")
"""Modules that belong to no layer."""


def adapted_paths(student: PreTrainedModel, modules: Sequence[str]) -> list[str]:
    """The full names of all that gets an adapter: layer by layer, then embedding and head where they are not tied."""
    kept = adapted_modules(modules, tied=bool(student.config.tie_word_embeddings))
    layers = range(int(student.config.num_hidden_layers))
    inside = [module_path(layer, module) for layer in layers for module in kept if module not in OUTSIDE]
    return inside + [module_path(0, module) for module in kept if module in OUTSIDE]

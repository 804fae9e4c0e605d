"""Settings of `nuggets` and `postpkt`, validated before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from pkt_bench import AdapterSettings


class NuggetsSettings(AdapterSettings):
    """The adapter, its schedule, and how its start is cut out of the teacher."""

    seed_records: int = Field(default=32, ge=1)
    """Records of the extract split that the sensitivities are summed over (fewer where the split is shorter)."""
    layers: Literal["sensitivity", "random", "top", "last"] = "sensitivity"
    """Which teacher layers are kept: the most sensitive, any, the first ones (top) or the last ones."""
    origin: Literal["all", "embedding", "ffn", "attention"] = "all"
    """Which modules start from the teacher: all, embedding and head, feed-forward or attention. The others are adapted
    as well, from plain LoRA's start, so that the same modules are trained."""
    structure: Literal["submatrix", "row_column", "random"] = "submatrix"
    """Which part of a matrix is kept: the contiguous block with the largest summed sensitivity, rows and columns each
    with the largest means, or any contiguous block."""
    split: Literal["left", "sqrt"] = "left"
    """Where the singular values go: all into B, as published, or their square roots into either factor, as in PiSSA."""
    scaling_aware: bool = False
    """Divide the start by alpha / rank, so that what is injected is the block's rank-r part whatever alpha is."""
    rendering: Literal["base", "chat"] = "base"
    """How the teacher reads the seed records: by the suite's prompt, or by its tokenizer's chat template."""
    stream: bool | None = None
    """Read the teacher layer by layer; unset: where it has a billion parameters or more."""


PAPER: Mapping[str, Any] = {"epochs": 5, "batch_size": 64, "learning_rate": 3e-4, "rank": 16, "alpha": 16}
"""What is known of PostPKT's schedule on MMLU, GSM8K and MBPP; it comes from a later paper, see FIDELITY.md."""
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "common": {},
    "paper": PAPER,
    "paper-humaneval": {**PAPER, "epochs": 3, "learning_rate": 3e-5},
}


class PostPktSettings(NuggetsSettings):
    """The four kinds of modules that LaTen changes, how their adapters start, and on what they are tuned."""

    modules: tuple[Literal["up_proj", "down_proj", "v_proj", "o_proj"], ...] = Field(
        default=("up_proj", "down_proj", "v_proj", "o_proj"), min_length=1
    )
    """Modules of every layer that get an adapter."""
    preset: Literal["common", "paper", "paper-humaneval"] = "common"
    """Schedule where nothing else is set: the one that all tuned methods share, or the paper's: 5 epochs, batches of
    64, rate 3e-4; on HumanEval 3 epochs and 3e-5."""
    init: Literal["nuggets", "pissa", "gaussian"] = "nuggets"
    """How the adapters start: from the teacher's blocks, the student's own principal directions, or Gaussian."""
    data: Literal["train", "align"] = "train"
    """What they are tuned on: the train split, or nothing but the records that LaTen's alignment sees."""
    align_steps: int = Field(default=20, ge=1, le=10_000)
    """With data = align: steps of that alignment (`laten.steps`)."""
    align_batch: int = Field(default=16, ge=1, le=4096)
    """With data = align: records per step (`laten.align_batch`)."""
    extract_records: int = Field(default=32, ge=1)
    """With data = align: locating records are the first so many of the extract split (`laten.extract_records`)."""

    @model_validator(mode="before")
    @classmethod
    def _preset_fills_what_is_not_set(cls, given: Any) -> Any:  # noqa: ANN401 - whatever pydantic is given
        if not isinstance(given, Mapping):
            return given
        return {**PRESETS.get(str(given.get("preset", "common")), {}), **given}

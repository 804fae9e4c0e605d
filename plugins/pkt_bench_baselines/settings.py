"""Settings of the baselines: one class per kind of method, validated before anything is loaded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from pkt_bench import AdapterSettings, FinetuneSettings, Settings

Rate = Annotated[float, Field(gt=0, le=1)]

# ---------------------------------------------------------------- references and plain tuning


class ReferenceSettings(Settings):
    """A reference has nothing to set."""


class LoraSettings(AdapterSettings):
    """An adapter, its schedule, and which of PEFT's starts without data it has."""

    init: Literal["kaiming", "gaussian", "orthogonal", "olora"] = "kaiming"
    """How the adapter starts: A Kaiming-uniform or Gaussian with B = 0, both from orthogonal matrices whose product is
    0, or from the QR decomposition of the student's own weights (OLoRA)."""

    @field_validator("init")
    @classmethod
    def _orthogonal_rank_is_even(cls, init: str, info: ValidationInfo) -> str:
        rank = info.data.get("rank")
        if init == "orthogonal" and rank is not None and rank % 2:
            raise ValueError(f"the orthogonal start splits the rank in two halves, and {rank} is odd")
        return init


class GaussianSettings(LoraSettings):
    """As `lora`, with the Gaussian start by default."""

    init: Literal["kaiming", "gaussian", "orthogonal", "olora"] = "gaussian"
    """How the adapter starts: see `lora`."""


class PissaSettings(AdapterSettings):
    """An adapter that starts at the student's own principal directions, and its schedule."""

    split: Literal["left", "sqrt"] = "sqrt"
    """Where the singular values go: their square roots into either factor, as published, or all into B, as in Seeking
    Neural Nuggets."""


class FullSettings(FinetuneSettings):
    """The schedule of full fine-tuning. Its rates are lower than an adapter's, which moves a product of two factors."""

    learning_rate: tuple[Rate, ...] = Field(default=(3e-4, 1e-3, 3e-3), min_length=1, max_length=16)
    """Peak learning rate of AdamW; of several, the one with the lowest loss on the validation split is kept."""


class MatchedSettings(LoraSettings):
    """LoRA on the records of LaTen's alignment; the first three numbers mean what they mean there."""

    steps: int = Field(default=20, ge=1, le=10_000)
    """Alignment steps whose records are learnt from (`laten.steps`)."""
    align_batch: int = Field(default=16, ge=1, le=4096)
    """Records per alignment step, the locating one included (`laten.align_batch`)."""
    extract_records: int = Field(default=32, ge=1)
    """Locating records are taken from the first so many of the extract split (`laten.extract_records`)."""
    max_length: int = Field(default=768, ge=8)
    """Tokens of a record beyond this are cut (`laten.max_length`)."""
    epochs: int = Field(default=1, ge=1, le=100)
    """Passes over all steps' records. With 1, a record is learnt from as often as LaTen's alignment learns from it."""


# ---------------------------------------------------------------- distillation


class SeqKdSettings(LoraSettings):
    """LoRA on answers that the teacher writes."""

    temperature: float = Field(default=0.0, ge=0, le=10)
    """The teacher samples at this temperature; 0 takes its most likely token each time."""
    max_new_tokens: int | None = Field(default=None, ge=1, le=65_536)
    """Longest answer the teacher may write, in its tokens; unset: twice the longest answer of the train split. Answers
    that are not finished by then are left out."""


class KdSettings(LoraSettings):
    """LoRA towards the teacher's distribution of each token of the train split."""

    beta: float = Field(default=0.0, ge=0, le=1)
    """Which divergence: 0 is KL(teacher || student), 1 is KL(student || teacher), between them the generalized
    Jensen-Shannon divergence."""
    softmax_temperature: float = Field(default=1.0, gt=0, le=100)
    """Both models' logits are divided by this before they are compared."""
    kept_bytes: int = Field(default=2 * 2**30, ge=0)
    """The teacher's logits on the train split are computed once and kept where they take no more than this; otherwise
    they are computed again at every step."""


class GkdSettings(KdSettings):
    """As `kd`, partly on answers that the student writes while it learns."""

    beta: float = Field(default=0.5, ge=0, le=1)
    """Which divergence: 0 is KL(teacher || student), 1 is KL(student || teacher), between them the generalized
    Jensen-Shannon divergence."""
    lmbda: float = Field(default=0.5, ge=0, le=1)
    """Share of the steps that learn from the student's own answers to the batch's prompts."""
    temperature: float = Field(default=0.9, gt=0, le=10)
    """The student samples its answers at this temperature."""
    max_new_tokens: int | None = Field(default=None, ge=1, le=65_536)
    """Longest answer the student may write; unset: as long as the longest answer of the train split."""

"""Settings of `laten`, validated before anything is loaded."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from pkt_bench import Settings

TransferredModule = Literal["up_proj", "down_proj", "v_proj", "o_proj"]


class LatenSettings(Settings):
    """What `--set laten.NAME=VALUE` may change."""

    modules: tuple[TransferredModule, ...] = Field(default=("up_proj", "down_proj", "v_proj", "o_proj"), min_length=1)
    """Module kinds that receive neurons; each has its own translating network."""
    scores: Literal["exact", "first-order"] = "exact"
    """How neurons are scored: exactly, or by the first-order term of the same score (cheaper)."""
    ranking: Literal["table", "bounds"] | None = None
    """How exact scores give the best neurons: by a table of all of them, which serves every rate and choice of records,
    or the best alone by bounds, several times faster where the vocabulary is large; the lists are the same. Unset:
    bounds from 33 million entries of vocabulary times feed-forward neurons."""
    norm: Literal["rms", "published"] = "rms"
    """Scale of the final norm in the scores: the model's own, or the published code's double square root."""
    attention: Literal["self", "sum"] = "self"
    """What an attention channel adds: the last position's own value (as published), or all positions'."""
    pairing: Literal["best", "depth", "random"] = "best"
    """Which teacher layer meets which of the student's L_S: the teacher's L_S best in order, the one at the same
    relative depth (for a student deeper than its teacher as well), or any L_S in order."""
    stream: bool | None = None
    """Read the teacher layer by layer; unset: where it has a billion parameters or more."""
    extract_records: int = Field(default=32, ge=1)
    """Use the first so many records of the extract split; each is scored once in either model."""
    locate_records: int = Field(default=16, ge=1)
    """Records whose summed scores choose the neurons that are injected; 1 as published."""
    rate: float = Field(default=0.1, gt=0, le=1)
    """Share of the student's neurons that receive one while aligning."""
    steps: int = Field(default=20, ge=1, le=10_000)
    """Optimiser steps of the alignment; one locating record each."""
    align_batch: int = Field(default=16, ge=1, le=4096)
    """Records per step: the locating record and draws from the align split."""
    learning_rate: float = Field(default=5e-3, gt=0, le=1)
    """Peak learning rate of the translating networks (published: 3e-5 and 3e-4, for 13B to 7B)."""
    weight_decay: float = Field(default=0.05, ge=0, le=1)
    """Decoupled weight decay of AdamW."""
    magnitude_penalty: float = Field(default=1000.0, ge=0)
    """Weight of the mean squared size of what is injected, per record and module kind."""
    max_length: int = Field(default=768, ge=8)
    """Tokens of a record beyond this are cut; longer locating records are left out."""
    selection: Literal["validation", "fixed", "oracle"] = "validation"
    """Inject the best of the candidates below by loss on the validation split, or the only one there is, or the best by
    the test documents themselves: an upper bound, and declared as one."""
    inject_steps: tuple[int, ...] = Field(default=(4, 8, 12, 16, 20), min_length=1)
    """Candidates: after how many alignment steps to inject."""
    inject_rates: tuple[float, ...] = Field(default=(0.1, 0.3, 0.5), min_length=1)
    """Candidates: share of the student's neurons that receive one."""
    validation_records: int = Field(default=48, ge=1)
    """Use the first so many records of the validation split to choose."""
    neurons: Literal["located", "random", "shuffled"] = "located"
    """Which of the teacher's neurons are given: those located, any of the same layers, or those located, each to
    another of the student's. The last two are controls."""
    knowledge: Literal["teacher", "noise"] = "teacher"
    """What the translating networks read: the teacher's neurons, or noise of the same norms, which is a control."""
    translator: Literal["learned", "crop"] = "learned"
    """How a neuron gets the student's width: by the network that was aligned, or by leaving off what is too long, which
    is a control and needs no alignment."""

    @field_validator("modules")
    @classmethod
    def _no_module_twice(cls, modules: tuple[TransferredModule, ...]) -> tuple[TransferredModule, ...]:
        if len(set(modules)) < len(modules):
            raise ValueError("a module kind is named twice")
        return modules

    @field_validator("inject_steps")
    @classmethod
    def _steps_exist(cls, candidates: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        steps = info.data.get("steps")
        if steps is not None and not all(1 <= step <= steps for step in candidates):
            raise ValueError(f"each must lie between 1 and laten.steps, which is {steps}")
        return candidates

    @field_validator("inject_rates")
    @classmethod
    def _rates_are_shares(cls, candidates: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < rate <= 1 for rate in candidates):
            raise ValueError("each must be above 0 and at most 1")
        return candidates

    @field_validator("inject_steps", "inject_rates")
    @classmethod
    def _one_if_fixed(cls, candidates: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        if info.data.get("selection") == "fixed" and len(candidates) > 1:
            raise ValueError("with laten.selection=fixed exactly one may be given")
        return candidates

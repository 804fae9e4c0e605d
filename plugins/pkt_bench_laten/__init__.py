"""LaTen, locate-then-align: teacher neurons, translated by a small network, are added to student neurons.

Pre-align transfer (PrePKT): find the neurons that make each model say the right next token, learn from a few
records how to translate the teacher's for the student, add them to its weights, and train nothing after.

    locate   A neuron's score is log p(y | base + what it adds) - log p(y | base), read through the frozen
             final norm and head at the last position of a solved record. Feed-forward neuron k adds
             c_k W_down[:, k] to the residual, attention channel (h, j) adds p_h(t,t) v_hj W_o[:, h j] to the
             layer's input. A layer is scored alike by its whole attention or feed-forward output; the
             teacher's L_S best layers, in order, meet the student's L_S.
    extract  The best neurons of these: rows of up_proj and v_proj, columns of down_proj and o_proj.
    align    g_m(z) = W2 relu(W1 z), one per module kind m, d_T -> d_S, starting at about 0. Trained alone, on
             sum over 16 records of ( LM(student with g(teacher's neurons)) + 1000 sum_m mean(g_m^2) ).
    inject   student's q-th best neuron += g_m(teacher's q-th best neuron)

Paper: Tan et al., "Neural Incompatibility: The Unbridgeable Gap of Cross-Scale Parametric Knowledge Transfer
in Large Language Models", ACL 2025, https://arxiv.org/abs/2505.14436. Reported operating point: 10 % of the
neurons, 2 to 8 steps. Expect little: learning rate times steps mainly set how much is injected, and the
paper's own point is that parameters of different scales hardly fit. Departures from its code: FIDELITY.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationInfo, field_validator

from pkt_bench import Method, Question, Settings, hookimpl

if TYPE_CHECKING:
    from pkt_bench import TransferContext, Transferred

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma")
"""Families with layers r = x + attention(norm(x)), r + mlp(norm(r)), and a plain RMSNorm before the head."""

TransferredModule = Literal["up_proj", "down_proj", "v_proj", "o_proj"]


class LatenSettings(Settings):
    """What `--set laten.NAME=VALUE` may change."""

    modules: tuple[TransferredModule, ...] = Field(default=("up_proj", "down_proj", "v_proj", "o_proj"), min_length=1)
    """Module kinds that receive neurons; each has its own translating network."""
    scores: Literal["exact", "first-order"] = "exact"
    """How neurons are scored: exactly, or by the first-order term of the same score (cheaper)."""
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
    selection: Literal["validation", "fixed"] = "validation"
    """Inject the best of the candidates below by loss on the validation split, or the only one there is."""
    inject_steps: tuple[int, ...] = Field(default=(4, 8, 12, 16, 20), min_length=1)
    """Candidates: after how many alignment steps to inject."""
    inject_rates: tuple[float, ...] = Field(default=(0.1, 0.3, 0.5), min_length=1)
    """Candidates: share of the student's neurons that receive one."""
    validation_records: int = Field(default=48, ge=1)
    """Use the first so many records of the validation split to choose."""

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


def skip(question: Question) -> str | None:
    """Why LaTen is not defined for this pair and suite, or None."""
    teacher, student = question.teacher, question.student
    for role, model in (("teacher", teacher), ("student", student)):
        if model.family not in FAMILIES:
            return (
                f"the {role} is of family '{model.family}'; LaTen is defined here for"
                f" layers and a final norm as in {', '.join(FAMILIES)}"
            )
    if student.layers > teacher.layers:
        return (
            f"the student has {student.layers} layers and the teacher {teacher.layers}; LaTen gives every"
            " layer of the student one of the teacher's best, so the teacher needs at least as many"
        )
    splits = ["extract", "align"] + ["validation"] * (question.settings.selection == "validation")
    for split in splits:
        if not question.suite.records(split):  # type: ignore[arg-type] # names of splits, from the list above
            return f"suite '{question.suite.name}' has no {split} records, which LaTen needs"
    return None


def _transfer(context: TransferContext) -> Transferred:
    from pkt_bench_laten.transfer import transfer

    return transfer(context)


@hookimpl
def pkt_bench_methods() -> Iterable[Method]:
    """Offers `laten`."""
    yield Method(
        name="laten",
        summary="locate neurons in both models, translate the teacher's, add them to the student's (LaTen)",
        paradigm="pre-align",
        transfer=_transfer,
        settings=LatenSettings,
        skip=skip,
        paper="https://arxiv.org/abs/2505.14436",
        version="1",
    )

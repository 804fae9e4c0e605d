"""Seeking Neural Nuggets: cut the teacher's most sensitive blocks to the student's size and start LoRA from them.

Zhong, An, Chen, Han, He: "Seeking Neural Nuggets: Knowledge Transfer in Large Language Models from a Parametric
Perspective", ICLR 2024, https://arxiv.org/abs/2310.11451

  Locate    On a few records, S_i = sum_j |theta_i * d l_j / d theta_i| says how much the losses would change if the
            teacher's parameter i were 0 (first order; l_j: the mean cross-entropy over the answer of record j).
  Extract   The L_S layers with the largest summed S, in their own order, pair with the student's layers. From every
            matrix of them the contiguous student-shaped block E with the largest summed S is cut out, each matrix by
            itself, and E = U S V^T is kept to rank r: B = U_r S_r, A = V_r^T.
  Inject    The student's adapter starts at (A, B), and s B A is subtracted from its frozen weight: at the start the
            student computes what it always did, and only the directions of training come from the teacher.
  Tune      The adapter is trained on the suite's train split, as plain LoRA is.

What it should show, by the paper: more than plain LoRA, the more the larger the teacher. Whether it does is for the
board to say; its controls cut blocks that ignore the sensitivities. FIDELITY.md says where
this departs from the paper and from its published code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from pkt_bench import (
    LLAMA_LIKE,
    AdapterSettings,
    Architecture,
    Control,
    Method,
    Question,
    TransferContext,
    Transferred,
    adapted_modules,
    hookimpl,
)


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


def shape_of(model: Architecture, module: str) -> tuple[int, int]:
    """The weight shape `(out, in)` of a module, grouped-query attention included; the embedding's is transposed."""
    query, shared = model.heads * model.head_dim, model.kv_heads * model.head_dim
    return {
        "embed_tokens": (model.hidden, model.vocabulary),
        "lm_head": (model.vocabulary, model.hidden),
        "q_proj": (query, model.hidden),
        "k_proj": (shared, model.hidden),
        "v_proj": (shared, model.hidden),
        "o_proj": (model.hidden, query),
        "gate_proj": (model.ffn, model.hidden),
        "up_proj": (model.ffn, model.hidden),
        "down_proj": (model.hidden, model.ffn),
    }[module]


def skip(question: Question) -> str | None:
    """Why the teacher has no student-sized blocks to give, or None."""
    teacher, student, settings = question.teacher, question.student, question.settings
    for role, model in (("teacher", teacher), ("student", student)):
        if model.family not in LLAMA_LIKE:
            known = ", ".join(sorted(LLAMA_LIKE))
            return f"the {role} is a {model.family} model; blocks are cut from layers laid out as in {known}"
    if not question.same_tokenizer:
        return "teacher and student have different tokenizers; the paper's method is for models that share one"
    if teacher.layers < student.layers:
        return (
            f"the teacher has {teacher.layers} layers and the student {student.layers};"
            " every student layer needs a teacher layer of its own"
        )
    if student.tied and settings.origin == "embedding":
        return "the student's embedding and head are tied and get no adapter, so none can start from the teacher's"
    for module in adapted_modules(settings.modules, tied=student.tied):
        large, small = shape_of(teacher, module), shape_of(student, module)
        if module in {"embed_tokens", "lm_head"} and teacher.vocabulary != student.vocabulary:
            return (
                f"the teacher's {module} has {teacher.vocabulary} tokens and the student's {student.vocabulary};"
                " a block of it would belong to other tokens: leave embed_tokens and lm_head out of nuggets.modules"
            )
        if large[0] < small[0] or large[1] < small[1]:
            return (
                f"the student's {module} {small} does not fit into the teacher's {large},"
                " so no block of its shape can be cut out"
            )
        if settings.rank > min(small):
            return (
                f"rank {settings.rank} is too large for the student's {module} {small};"
                f" it may be {min(small)} at most: --set nuggets.rank=..."
            )
    return None


def nuggets(context: TransferContext) -> Transferred:
    """Locate, extract, inject, tune."""
    from pkt_bench_nuggets.transfer import transfer

    return transfer(context)


@hookimpl
def pkt_bench_methods() -> Iterable[Method]:
    """Offer `nuggets`."""
    yield Method(
        name="nuggets",
        summary="Seeking Neural Nuggets: LoRA started from the teacher's most sensitive blocks",
        paradigm="post-align",
        transfer=nuggets,
        settings=NuggetsSettings,
        skip=skip,
        paper="https://arxiv.org/abs/2310.11451",
    )


@hookimpl
def pkt_bench_controls() -> Iterable[Control]:
    """Offer blocks that the sensitivities have not chosen."""
    yield Control("random-windows", "any block of each matrix", ("nuggets",), {"structure": "random"})
    yield Control("random-layers", "any layers of the teacher", ("nuggets",), {"layers": "random"})
    yield Control("random-blocks", "any block of any layer", ("nuggets",), {"layers": "random", "structure": "random"})

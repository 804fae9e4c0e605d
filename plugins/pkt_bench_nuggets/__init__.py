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
board to say; `layers=random` with `structure=random` cuts blocks that ignore the sensitivities. FIDELITY.md says where
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
    Method,
    Question,
    TransferContext,
    Transferred,
    hookimpl,
)


class NuggetsSettings(AdapterSettings):
    """The adapter, its schedule, and how its start is cut out of the teacher."""

    seed_records: int = Field(default=32, ge=1)
    """Records of the extract split that the sensitivities are summed over (fewer where the split is shorter)."""
    layers: Literal["sensitivity", "random", "top", "last"] = "sensitivity"
    """Which teacher layers are kept: the most sensitive, any, the first ones (top) or the last ones."""
    structure: Literal["submatrix", "random"] = "submatrix"
    """Which contiguous block of a matrix is kept: the one with the largest summed sensitivity, or any."""


def shape_of(model: Architecture, module: str) -> tuple[int, int]:
    """The weight shape `(out, in)` of a module, grouped-query attention included."""
    query, shared = model.heads * model.head_dim, model.kv_heads * model.head_dim
    return {
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
    for module in settings.modules:
        large, small = shape_of(teacher, module), shape_of(student, module)
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

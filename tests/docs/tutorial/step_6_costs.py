"""anchor: the student's embedding drawn towards the teacher's, read through the best linear map between the two.

Both models have a row for each token, E_T (V, d_T) and E_S (V, d_S). A (d_T, d_S) minimises ||E_T A - E_S||^2, and

    E_S <- (1 - strength) E_S + strength E_T A

A head that is tied to the embedding moves with it. Made up for the tutorial of plugins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import Field

from pkt_bench import Method, Question, Settings, TransferContext, Transferred, hookimpl

if TYPE_CHECKING:
    from torch import Tensor


class AnchorSettings(Settings):
    """How far the embedding moves."""

    strength: float = Field(default=0.5, gt=0, le=1)
    """0 would leave the student's rows as they are, 1 replaces them by the teacher's through the map."""


def skip(question: Question) -> str | None:
    """Why a pair cannot be done."""
    theirs, ours = question.teacher.vocabulary, question.student.vocabulary
    if not question.same_tokenizer:
        return "anchor compares row by row, and teacher and student have different tokenizers"
    if theirs != ours:
        return f"anchor compares row by row, and the teacher has {theirs} rows, the student {ours}"
    return None


# >>> transfer
def transfer(context: TransferContext) -> Transferred:
    """Fit the map, move the rows."""
    import torch

    ours = context.pair.student.get_input_embeddings().weight
    theirs = context.pair.teacher.get_input_embeddings().weight
    with torch.no_grad():
        sent = theirs @ best_map(theirs, ours)
        ours.copy_(moved(ours, sent, context.settings.strength))
    context.ledger.trainable_parameters = context.ledger.tokens_trained = 0
    return Transferred(context.pair.student, payload={"embedding": sent})


# <<<


@hookimpl
def pkt_bench_methods() -> Iterable[Method]:
    """Offers `anchor`."""
    yield Method("anchor", "draw the embedding towards the teacher's", "pre-align", transfer, AnchorSettings, skip=skip)


# ---------------------------------------------------------------- the mathematics


def best_map(theirs: Tensor, ours: Tensor) -> Tensor:
    """The A `(d_T, d_S)` with `theirs @ A` nearest to `ours`: rows of the same n tokens, `(n, d_T)` and `(n, d_S)`."""
    import torch

    return torch.linalg.lstsq(theirs.double(), ours.double()).solution.to(ours.dtype)


def moved(ours: Tensor, sent: Tensor, strength: float) -> Tensor:
    """Rows `(V, d_S)` drawn towards those that were sent, `(V, d_S)`: not at all by 0, all the way by 1."""
    return (1 - strength) * ours + strength * sent

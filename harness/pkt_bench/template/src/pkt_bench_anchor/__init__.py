"""anchor: moves the student's embedding towards the teacher's, token by token.

A working method to start from: say here what yours does, by which formula, and what to expect of it.

    fit    teacher and student share a vocabulary, so row v of either embedding is about the same token v:
           A = argmin | E_T A - E_S |^2          (least squares, d_T x d_S)
    move   E_S <- (1 - s) E_S + s E_T A          s = strength

A head that is tied to the embedding moves with it. Nothing is trained.
Paper: none, it is an example. Expect little: a linear map keeps what both models agree on, and the student knows that
already.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pkt_bench import Method, Question, Settings, TransferContext, Transferred, hookimpl
from pydantic import Field

if TYPE_CHECKING:
    from torch import Tensor


class AnchorSettings(Settings):
    """Change one with `--set anchor.NAME=VALUE`; the board shows the defaults."""

    strength: float = Field(default=0.2, gt=0, le=1)
    """How far the embedding moves: 1 puts the teacher's in its place."""
    tokens: int = Field(default=32_768, ge=16, le=1_000_000)
    """The map is fitted on so many tokens, drawn at random; on all of them where the vocabulary is smaller."""


def skip(question: Question) -> str | None:
    """Why this pair cannot be done, or None. Asked before anything is loaded: read configurations only."""
    if not question.same_tokenizer:
        return "teacher and student have different tokenizers, so their embeddings are not about the same tokens"
    return None


def transfer(context: TransferContext) -> Transferred:
    """Does the work on `context.pair.student`, the copy of the student that may be changed."""
    import torch

    settings: AnchorSettings = context.settings
    ours = context.pair.student.get_input_embeddings().weight
    theirs = context.pair.teacher.get_input_embeddings().weight.to(ours)
    rows = min(len(ours), len(theirs))  # either may be padded
    # a stage is timed, shown live, and has its random numbers seeded from the cell's seed and its name
    with context.stage("fit"), torch.no_grad():
        drawn = torch.randperm(rows)[: settings.tokens]
        fitted = theirs[:rows] @ fit(theirs[drawn], ours[drawn])
    with context.stage("move"), torch.no_grad():
        ours[:rows] = (1 - settings.strength) * ours[:rows] + settings.strength * fitted
    # nothing is trained, and that is known; what moved from the teacher: the board counts its bytes
    context.ledger.trainable_parameters = context.ledger.tokens_trained = 0
    return Transferred(context.pair.student, payload={"embedding": fitted}, notes={"tokens_fitted": len(drawn)})


def fit(theirs: Tensor, ours: Tensor) -> Tensor:
    """The least-squares map from the teacher's space to the student's.

    Args:
        theirs: rows of the teacher's embedding, `(n, d_T)`.
        ours: the same tokens' rows of the student's, `(n, d_S)`.

    Returns:
        A of least |theirs A - ours|^2, of smallest norm where there are several: `(d_T, d_S)`.

    """
    import torch

    # by the normal equations, which are small, in double precision, which they need
    wide = theirs.double()
    solved: Tensor = torch.linalg.pinv(wide.T @ wide, hermitian=True) @ (wide.T @ ours.double())
    return solved.to(ours)


@hookimpl
def pkt_bench_methods() -> Iterable[Method]:
    """The methods of this plugin. Asked by every command: import nothing heavy above."""
    yield Method(
        name="anchor",
        summary="move the embedding towards the teacher's, mapped by least squares over shared tokens",
        paradigm="pre-align",
        transfer=transfer,
        settings=AnchorSettings,
        skip=skip,
        uses="weights",
    )

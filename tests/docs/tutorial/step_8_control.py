"""anchor: the student's embedding drawn towards the teacher's, read through the best linear map between the two.

Both models have a row for each token, E_T (V, d_T) and E_S (V, d_S). A (d_T, d_S) minimises ||E_T A - E_S||^2, and

    E_S <- (1 - strength) E_S + strength E_T A

A head that is tied to the embedding moves with it. Made up for the tutorial of plugins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pkt_bench import Control, Method, Question, Settings, TransferContext, Transferred, hookimpl

if TYPE_CHECKING:
    from torch import Tensor


# >>> settings
class AnchorSettings(Settings):
    """How far the embedding moves, and what the map is fitted on."""

    strength: float = Field(default=0.5, gt=0, le=1)
    """0 would leave the student's rows as they are, 1 replaces them by the teacher's through the map."""
    kept_back: float = Field(default=0.1, ge=0.01, lt=1)
    """Share of the tokens, drawn at random, that the map is not fitted on but judged by."""
    rows: Literal["own", "shuffled"] = "own"
    """shuffled gives each token another token's row of the teacher: a control."""


# <<<


def skip(question: Question) -> str | None:
    """Why a pair cannot be done."""
    theirs, ours = question.teacher.vocabulary, question.student.vocabulary
    if not question.same_tokenizer:
        return "anchor compares row by row, and teacher and student have different tokenizers"
    if theirs != ours:
        return f"anchor compares row by row, and the teacher has {theirs} rows, the student {ours}"
    return None


def transfer(context: TransferContext) -> Transferred:
    """Fit on most tokens, judge on the others, move all of them."""
    import torch

    settings = context.settings
    ours = context.pair.student.get_input_embeddings().weight
    theirs = context.pair.teacher.get_input_embeddings().weight
    # >>> draw
    with context.stage("draw"):
        order = torch.randperm(len(ours), device=ours.device)
        if settings.rows == "shuffled":
            theirs = theirs[torch.randperm(len(ours), device=ours.device)]
    # <<<
    judged, fitted = order.tensor_split([round(settings.kept_back * len(ours))])

    def fit() -> dict[str, Tensor]:
        with context.stage("fit"), torch.no_grad():
            return {"map": best_map(theirs[fitted], ours[fitted])}

    # >>> inputs
    inputs = {**context.teacher_key, **context.student_key, "seed": context.seed, "kept_back": settings.kept_back}
    inputs |= {"rows": settings.rows}
    # <<<
    through = context.cached("fit", inputs, fit)["map"].to(ours.device)
    with context.stage("move"), torch.no_grad():
        sent = theirs @ through
        notes = {"explained": explained(sent[judged], ours[judged])}
        ours.copy_(moved(ours, sent, settings.strength))
    context.ledger.trainable_parameters = context.ledger.tokens_trained = 0
    return Transferred(context.pair.student, payload={"embedding": sent}, notes=notes)


@hookimpl
def pkt_bench_methods() -> Iterable[Method]:
    """Offers `anchor`."""
    yield Method("anchor", "draw the embedding towards the teacher's", "pre-align", transfer, AnchorSettings, skip=skip)


# >>> control
@hookimpl
def pkt_bench_controls() -> Iterable[Control]:
    """Offers the same with the teacher's rows in random order."""
    yield Control("other-tokens", "each token takes another's row of the teacher", ("anchor",), {"rows": "shuffled"})


# <<<


# ---------------------------------------------------------------- the mathematics


def best_map(theirs: Tensor, ours: Tensor) -> Tensor:
    """The A `(d_T, d_S)` with `theirs @ A` nearest to `ours`: rows of the same n tokens, `(n, d_T)` and `(n, d_S)`."""
    import torch

    return torch.linalg.lstsq(theirs.double(), ours.double()).solution.to(ours.dtype)


def moved(ours: Tensor, sent: Tensor, strength: float) -> Tensor:
    """Rows `(V, d_S)` drawn towards those that were sent, `(V, d_S)`: not at all by 0, all the way by 1."""
    return (1 - strength) * ours + strength * sent


def explained(sent: Tensor, ours: Tensor) -> float:
    """The share of how `ours` `(n, d_S)` varies that `sent` accounts for: 1 is all of it, 0 no more than the mean."""
    around = ours - ours.mean(dim=0)
    return 1 - float((ours - sent).square().sum() / around.square().sum())

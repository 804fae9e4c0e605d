"""anchor: the student's embedding drawn towards the teacher's, read through the best linear map between the two.

Both models have a row for each token, E_T (V, d_T) and E_S (V, d_S). A (d_T, d_S) minimises ||E_T A - E_S||^2, and

    E_S <- (1 - strength) E_S + strength E_T A

A head that is tied to the embedding moves with it. Made up for the tutorial of plugins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pkt_bench import Method, Settings, TransferContext, Transferred, hookimpl

if TYPE_CHECKING:
    from torch import Tensor


def transfer(context: TransferContext) -> Transferred:
    """Fit the map, move the rows half the way."""
    import torch

    ours = context.pair.student.get_input_embeddings().weight
    theirs = context.pair.teacher.get_input_embeddings().weight
    with torch.no_grad():
        sent = theirs @ best_map(theirs, ours)
        ours.copy_(moved(ours, sent, 0.5))
    return Transferred(context.pair.student)


@hookimpl
def pkt_bench_methods() -> Iterable[Method]:
    """Offers `anchor`."""
    yield Method("anchor", "draw the embedding towards the teacher's", "pre-align", transfer, Settings)


# ---------------------------------------------------------------- the mathematics


def best_map(theirs: Tensor, ours: Tensor) -> Tensor:
    """The A `(d_T, d_S)` with `theirs @ A` nearest to `ours`: rows of the same n tokens, `(n, d_T)` and `(n, d_S)`."""
    import torch

    return torch.linalg.lstsq(theirs.double(), ours.double()).solution.to(ours.dtype)


def moved(ours: Tensor, sent: Tensor, strength: float) -> Tensor:
    """Rows `(V, d_S)` drawn towards those that were sent, `(V, d_S)`: not at all by 0, all the way by 1."""
    return (1 - strength) * ours + strength * sent

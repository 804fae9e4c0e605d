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
board to say; its controls cut blocks that ignore the sensitivities. FIDELITY.md says where this departs from the paper
and from its published code.

`postpkt` is the same as Tan et al., "Neural Incompatibility", ACL 2025, https://arxiv.org/abs/2505.14436, compare their
LaTen with it: up, down, value and output projections alone, from one of three starts, on all records or on LaTen's.
"""

from __future__ import annotations

from collections.abc import Iterable

from pkt_bench import Control, Method, TransferContext, Transferred, hookimpl
from pkt_bench_nuggets import needs, skips
from pkt_bench_nuggets.settings import NuggetsSettings, PostPktSettings


def nuggets(context: TransferContext) -> Transferred:
    """Locate, extract, inject, tune."""
    from pkt_bench_nuggets.transfer import nuggets_transfer

    return nuggets_transfer(context)


def postpkt(context: TransferContext) -> Transferred:
    """The same, as the next paper compares with it."""
    from pkt_bench_nuggets.transfer import postpkt_transfer

    return postpkt_transfer(context)


@hookimpl
def pkt_bench_methods() -> Iterable[Method]:
    """Offer `nuggets` and `postpkt`."""
    yield Method(
        name="nuggets",
        summary="Seeking Neural Nuggets: LoRA started from the teacher's most sensitive blocks",
        paradigm="post-align",
        transfer=nuggets,
        settings=NuggetsSettings,
        skip=skips.skip_nuggets,
        paper="https://arxiv.org/abs/2310.11451",
        estimate=needs.needs_of_nuggets,
    )
    yield Method(
        name="postpkt",
        summary="PostPKT: nuggets on up, down, value and output projections, what LaTen is compared with",
        paradigm="post-align",
        transfer=postpkt,
        settings=PostPktSettings,
        skip=skips.skip_postpkt,
        paper="https://arxiv.org/abs/2505.14436",
        estimate=needs.needs_of_postpkt,
    )


@hookimpl
def pkt_bench_controls() -> Iterable[Control]:
    """Offer blocks that the sensitivities have not chosen, and starts without a teacher."""
    both = ("nuggets", "postpkt")
    yield Control("random-windows", "any block of each matrix", both, {"structure": "random"})
    yield Control("random-layers", "any layers of the teacher", both, {"layers": "random"})
    yield Control("random-blocks", "any block of any layer", both, {"layers": "random", "structure": "random"})
    yield Control("gaussian", "a Gaussian start instead of the teacher's blocks", ("postpkt",), {"init": "gaussian"})
    yield Control("pissa", "the student's own directions instead of the teacher's", ("postpkt",), {"init": "pissa"})

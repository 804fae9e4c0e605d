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

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pkt_bench import Control, Estimate, Method, Question, hookimpl
from pkt_bench_laten.settings import LatenSettings

if TYPE_CHECKING:
    from pkt_bench import TransferContext, Transferred

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma")
"""Families with layers r = x + attention(norm(x)), r + mlp(norm(r)), and a plain RMSNorm before the head."""


def skip(question: Question) -> str | None:
    """Why LaTen is not defined for this pair and suite, or None."""
    teacher, student = question.teacher, question.student
    for role, model in (("teacher", teacher), ("student", student)):
        if model.family not in FAMILIES:
            return (
                f"the {role} is of family '{model.family}'; LaTen is defined where layers add to the residual stream as"
                f" they are and the head's logits are not capped, as in {', '.join(FAMILIES)}"
            )
    if student.layers > teacher.layers and question.settings.pairing != "depth":
        return (
            f"the student has {student.layers} layers and the teacher {teacher.layers}; LaTen gives every layer of the"
            " student one of the teacher's best, so the teacher needs at least as many. To pair layers by relative"
            " depth instead: --set laten.pairing=depth"
        )
    splits = ["extract", "align"] + ["validation"] * (question.settings.selection == "validation")
    for split in splits:
        if not question.suite.records(split):  # type: ignore[arg-type] # names of splits, from the list above
            return f"suite '{question.suite.name}' has no {split} records, which LaTen needs"
    return None


def _transfer(context: TransferContext) -> Transferred:
    from pkt_bench_laten.transfer import transfer

    return transfer(context)


def _estimate(question: Question) -> Sequence[Estimate]:
    from pkt_bench_laten.needs import needs_of_laten

    return needs_of_laten(question)


@hookimpl
def pkt_bench_controls() -> Iterable[Control]:
    """Offers LaTen without one of its ingredients."""
    of = ("laten",)
    yield Control("random-neurons", "any neurons of the teacher's layers", of, {"neurons": "random"})
    yield Control("shuffled-pairing", "located neurons, each to another of the student's", of, {"neurons": "shuffled"})
    yield Control("random-layers", "any layers of the teacher", of, {"pairing": "random"})
    yield Control("noise-knowledge", "the network is fed noise of the neurons' norms", of, {"knowledge": "noise"})
    yield Control("unaligned", "neurons cropped to the student's width, nothing aligned", of, {"translator": "crop"})


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
        version="2",
        estimate=_estimate,
    )

"""Controls for every method that uses a teacher: is it this teacher's knowledge, or would any large matrices do?

  noise-norm      every weight matrix of the teacher is Gaussian noise of the same Frobenius norm
  noise-spectrum  every matrix keeps its singular values; its singular vectors are random: U S V^T with Haar U and V
  shuffled        the rows and the columns of every matrix are in random order: the same numbers, nothing fits together
  self            the student is its own teacher: what the method does without anybody to learn from

Norm weights and biases stay, so that the teacher's activations keep their scale. `matrices.py` has the mathematics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from pkt_bench import Control, Pair, hookimpl

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def noise_of_norm(teacher: PreTrainedModel, random: torch.Generator) -> None:
    """Every matrix becomes noise of its own norm."""
    from pkt_bench_controls.matrices import noise_of_equal_norm

    _replace_matrices(teacher, random, noise_of_equal_norm)


def noise_of_spectrum(teacher: PreTrainedModel, random: torch.Generator) -> None:
    """Every matrix becomes a random one with its own singular values."""
    from pkt_bench_controls.matrices import noise_of_equal_spectrum

    _replace_matrices(teacher, random, noise_of_equal_spectrum)


def shuffled(teacher: PreTrainedModel, random: torch.Generator) -> None:
    """The rows and the columns of every matrix are put in random order."""
    from pkt_bench_controls.matrices import in_random_order

    _replace_matrices(teacher, random, in_random_order)


def own_teacher(pair: Pair) -> Pair:
    """The student in both roles."""
    return replace(pair, teacher=pair.student)


def _replace_matrices(
    teacher: PreTrainedModel,
    random: torch.Generator,
    make: Callable[[torch.Tensor, torch.Generator], torch.Tensor],
) -> None:
    """In the order of names, so that a seed means the same for every checkpoint of an architecture; a tied one once."""
    for _, weight in sorted(teacher.named_parameters()):
        if weight.ndim == 2:
            weight.data.copy_(make(weight.data.float().cpu(), random))


@hookimpl
def pkt_bench_controls() -> Iterable[Control]:
    """Offers `noise-norm`, `noise-spectrum`, `shuffled` and `self`."""
    yield Control("noise-norm", "a teacher of noise, each matrix of its own norm", teacher=noise_of_norm)
    yield Control(
        "noise-spectrum", "a teacher of noise, each matrix with its own singular values", teacher=noise_of_spectrum
    )
    yield Control("shuffled", "a teacher whose matrices have their rows and columns in random order", teacher=shuffled)
    yield Control("self", "the student as its own teacher", pair=own_teacher)

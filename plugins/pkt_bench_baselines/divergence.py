"""How far a student's next-token distributions are from a teacher's: KL either way, and what lies between."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def generalized_jsd(student: Tensor, teacher: Tensor, beta: float, temperature: float = 1.0) -> Tensor:
    """The generalized Jensen-Shannon divergence, summed over tokens, in nats.

    With P the teacher's and Q the student's distribution and M = beta P + (1 - beta) Q, it is
    beta KL(P || M) + (1 - beta) KL(Q || M): equation 1 of Agarwal et al., https://arxiv.org/abs/2306.13649. At
    beta = 0 and 1 that is 0; there KL(P || Q) and KL(Q || P) take its place, to which it tends when divided by beta and
    by 1 - beta. So close to the ends the gradient is small and at the ends it is not.

    Args:
        student: logits `(n, V)`; computed on in float32.
        teacher: logits `(n, V)` for the same n tokens.
        beta: 0 to 1.
        temperature: both logits are divided by it; the result is not multiplied by its square.

    Returns:
        A scalar with a gradient for the student.
    """
    q = torch.log_softmax(student.float() / temperature, -1)
    p = torch.log_softmax(teacher.float() / temperature, -1)
    if beta == 0:
        return _kl(p, q)
    if beta == 1:
        return _kl(q, p)
    mixture = torch.logaddexp(p + math.log(beta), q + math.log1p(-beta))
    return beta * _kl(p, mixture) + (1 - beta) * _kl(q, mixture)


def _kl(first: Tensor, second: Tensor) -> Tensor:
    """KL(first || second) of log-probabilities `(n, V)`, summed over n."""
    return (first.exp() * (first - second)).sum()

"""The divergence is that of the paper, by hand in float64 and by TRL's own numbers."""

import math

import pytest
import torch

from pkt_bench_baselines.divergence import generalized_jsd

STUDENT = [[0.5, -1.0, 2.0, 0.0], [1.5, 0.25, -0.75, -2.0], [0.0, 3.0, 1.0, -1.0]]
TEACHER = [[1.0, 0.0, 1.0, -1.0], [-0.5, 2.0, 0.0, 0.5], [0.0, -1.0, 2.0, 1.0]]

TRL = {
    (0, 1.0): 3.09801838383811,
    (0, 0.9): 3.6117694052288805,
    (0, 2.0): 0.9739582518529445,
    (0.1, 1.0): 0.2668736649814074,
    (0.1, 0.9): 0.3068702889480025,
    (0.1, 2.0): 0.08754470070707579,
    (0.5, 1.0): 0.7299440938766177,
    (0.5, 0.9): 0.8267579418340126,
    (0.5, 2.0): 0.25193250034269293,
    (0.9, 1.0): 0.32005436200750564,
    (0.9, 0.9): 0.3667695364434147,
    (0.9, 2.0): 0.10170110453383724,
    (1, 1.0): 4.16079515959723,
    (1, 0.9): 4.911755146115213,
    (1, 2.0): 1.1902643800283954,
}
"""By (beta, temperature): `GKDTrainer.generalized_jsd_loss(student, teacher, beta=, temperature=, reduction="sum")` of
TRL 1.16.0 on STUDENT and TEACHER in float64."""


@pytest.mark.parametrize(("beta", "temperature"), TRL)
def test_the_divergence_is_trls(beta, temperature):
    got = generalized_jsd(torch.tensor(STUDENT), torch.tensor(TEACHER), beta, temperature)

    assert float(got) == pytest.approx(TRL[beta, temperature], rel=1e-5)


def by_hand(p, q, beta):
    """Equation 1 of arXiv 2306.13649 on one token's probabilities."""

    def kl(first, second):
        return sum(a * math.log(a / b) for a, b in zip(first, second, strict=True))

    if beta in {0, 1}:
        return kl(q, p) if beta else kl(p, q)
    mixture = [beta * a + (1 - beta) * b for a, b in zip(p, q, strict=True)]
    return beta * kl(p, mixture) + (1 - beta) * kl(q, mixture)


@pytest.mark.parametrize("beta", [0, 0.25, 0.5, 1])
def test_two_tokens_of_known_probabilities_add_up_to_the_papers_formula(beta):
    teacher, student = [[0.7, 0.2, 0.1], [0.25, 0.5, 0.25]], [[0.1, 0.6, 0.3], [0.4, 0.4, 0.2]]
    expected = sum(by_hand(p, q, beta) for p, q in zip(teacher, student, strict=True))

    got = generalized_jsd(torch.tensor(student).log(), torch.tensor(teacher).log(), beta)

    assert float(got) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("beta", [0, 0.3, 0.5, 1])
def test_equal_models_do_not_diverge_and_give_no_gradient(beta):
    logits = torch.tensor(STUDENT, requires_grad=True)

    got = generalized_jsd(logits, torch.tensor(STUDENT), beta)

    got.backward()
    assert float(got.detach()) == pytest.approx(0, abs=1e-6)
    assert logits.grad.abs().max() < 1e-6


def test_the_gradient_of_forward_kl_is_the_difference_of_the_probabilities():
    student = torch.tensor(STUDENT, requires_grad=True)
    teacher = torch.tensor(TEACHER)

    generalized_jsd(student, teacher, 0).backward()

    torch.testing.assert_close(student.grad, student.detach().softmax(-1) - teacher.softmax(-1))

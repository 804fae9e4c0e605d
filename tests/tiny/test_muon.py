"""Muon's orthogonalisation, against the singular value decomposition."""

import pytest
import torch

from pkt_bench_tiny.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(3, 24, 24), (2, 48, 16), (2, 16, 48)])
def test_singular_values_come_near_one_and_singular_vectors_stay(shape):
    torch.manual_seed(0)
    given = torch.randn(shape)

    made = orthogonalise(given)

    left, _, right = torch.linalg.svd(given, full_matrices=False)
    seen = left.mT @ made @ right.mT
    values = torch.diagonal(seen, dim1=1, dim2=2)
    # the quintic of the reference brings them into about (0.7, 1.2), not to 1, except the very smallest
    assert values.median() == pytest.approx(1.0, abs=0.3)
    assert values.max() < 1.3
    assert (seen - torch.diag_embed(values)).abs().max() < 1e-3


def test_a_step_goes_against_the_gradient_with_the_scale_of_the_shape():
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(32, 8))
    weight.grad = torch.randn(32, 8)
    optimizer = Muon([weight], lr=0.1)

    optimizer.step()

    # first step: momentum is 0.05 g, Nesterov mixes it with g, and the scale of the input does not matter
    expected = -0.1 * 2.0 * orthogonalise(weight.grad[None])[0]
    assert torch.allclose(weight.detach(), expected, atol=1e-5)

"""The factors against the singular value decomposition in float64."""

import pytest
import torch

from pkt_bench import factors as factor
from pkt_bench import leading_factors, split_factors


def exact(block, rank):
    left, values, right = torch.linalg.svd(block.double(), full_matrices=False)
    return (left[:, :rank] * values[:rank]) @ right[:rank], values[:rank]


# float64 Gram, float32 Gram, long and thin, wide, block Krylov
SHAPES = [(40, 60), (300, 280), (1200, 90), (70, 1300), (1100, 1060)]


@pytest.fixture(autouse=True)
def krylov_from_1024_a_side(monkeypatch):
    """In use it is 2048: a float64 reference of that size takes too long."""
    monkeypatch.setattr(factor, "GRAM_SIDE", 1024)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_product_is_the_best_rank_r_approximation_of_a_flat_spectrum(shape):
    block = torch.randn(shape, generator=torch.Generator().manual_seed(1))

    found = leading_factors(block, 16)

    product, values = exact(block, 16)
    assert (found.B.double() @ found.A.double() - product).norm() <= 2e-5 * product.norm()
    torch.testing.assert_close(found.singular_values.double(), values, rtol=1e-5, atol=0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_has_orthonormal_rows_and_b_carries_the_singular_values(shape):
    block = torch.randn(shape, generator=torch.Generator().manual_seed(2))

    found = leading_factors(block, 8)

    assert (found.A.shape, found.B.shape) == ((8, shape[1]), (shape[0], 8))
    torch.testing.assert_close(found.A @ found.A.T, torch.eye(8), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.B.norm(dim=0), found.singular_values, rtol=1e-5, atol=0)


@pytest.mark.parametrize("side", [200, 400, 1060])
def test_singular_values_far_below_the_largest_are_found_too(side):
    random = torch.Generator().manual_seed(3)
    left, _ = torch.linalg.qr(torch.randn(side, side, generator=random, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(side, side, generator=random, dtype=torch.float64))
    values = 10.0 ** (-torch.arange(side, dtype=torch.float64) / 4)  # the 16th is 2e-4 of the first
    block = ((left * values) @ right.T).float()

    found = leading_factors(block, 16)

    torch.testing.assert_close(found.singular_values.double(), values[:16], rtol=1e-3, atol=0)


def test_signs_are_fixed_by_the_largest_entry_of_each_row_of_a():
    block = torch.randn(50, 30, generator=torch.Generator().manual_seed(4))

    found = leading_factors(block, 5)

    largest = found.A.gather(1, found.A.abs().argmax(1, keepdim=True))
    assert (largest > 0).all()


@pytest.mark.parametrize("shape", [(60, 50), (1100, 1060)], ids=str)
def test_equal_blocks_give_equal_bits_whatever_the_random_state(shape):
    block = torch.randn(shape, generator=torch.Generator().manual_seed(5))

    torch.manual_seed(0)
    one = leading_factors(block, 4)
    torch.manual_seed(99)
    other = leading_factors(block, 4)

    assert torch.equal(one.A, other.A)
    assert torch.equal(one.B, other.B)


@pytest.mark.parametrize("shape", [(20, 30), (30, 20)])
def test_a_block_of_lower_rank_than_asked_gives_zero_columns(shape):
    block = torch.zeros(shape)
    block[3, 4] = 2.0

    found = leading_factors(block, 3)

    torch.testing.assert_close(found.B @ found.A, block)
    torch.testing.assert_close(found.singular_values, torch.tensor([2.0, 0.0, 0.0]))


def test_a_rank_above_the_smaller_side_is_refused_with_the_side():
    with pytest.raises(ValueError, match=r"rank 5 does not fit a block of \(4, 9\): it may be 4 at most"):
        leading_factors(torch.ones(4, 9), 5)


def test_a_block_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="NaN or infinity"):
        leading_factors(torch.full((4, 4), float("nan")), 1)


def test_the_shapes_above_reach_every_way_of_factorising():
    small = [min(shape) for shape in SHAPES]

    assert min(small) <= factor.EXACT_SIDE < 280 <= factor.GRAM_SIDE < max(small)


def test_a_split_moves_the_singular_values_and_not_the_product():
    found = leading_factors(torch.randn(9, 7, generator=torch.Generator().manual_seed(0)), 3)

    left, root = (split_factors(found, split) for split in ("left", "sqrt"))

    torch.testing.assert_close(left[1] @ left[0], root[1] @ root[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(root[0].norm(dim=1), found.singular_values.sqrt(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(root[1].norm(dim=0), found.singular_values.sqrt(), rtol=1e-5, atol=1e-6)


def test_a_direction_without_weight_is_zero_in_both_factors_of_a_split():
    a, b = split_factors(leading_factors(torch.diag(torch.tensor([2.0, 0.0, 0.0])), 2), "sqrt")

    assert a.isfinite().all()
    assert b.isfinite().all()
    torch.testing.assert_close(b @ a, torch.diag(torch.tensor([2.0, 0.0, 0.0])))

"""What a control keeps of a matrix, and what it does not."""

import pytest
import torch

from pkt_bench_controls.matrices import in_random_order, noise_of_equal_norm, noise_of_equal_spectrum


def matrix():
    random = torch.Generator().manual_seed(0)
    return torch.randn(30, 20, generator=random) @ torch.diag(torch.logspace(0, -2, 20)) + 0.01


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


def test_noise_of_equal_norm_keeps_the_norm_and_is_flat():
    noise = noise_of_equal_norm(matrix(), seeded())

    assert float(noise.norm()) == pytest.approx(float(matrix().norm()), rel=1e-5)
    # a Gaussian matrix of 30 x 20 has singular values within about (1 +- sqrt(2/3)) of each other
    values = torch.linalg.svdvals(noise)
    assert values[0] / values[-1] < 15 < torch.linalg.svdvals(matrix())[0] / torch.linalg.svdvals(matrix())[-1]


def test_noise_of_equal_spectrum_keeps_every_singular_value_and_no_direction():
    noise = noise_of_equal_spectrum(matrix(), seeded())

    torch.testing.assert_close(torch.linalg.svdvals(noise), torch.linalg.svdvals(matrix()), rtol=1e-4, atol=1e-6)
    ours, theirs = (torch.linalg.svd(m, full_matrices=False).Vh[0] for m in (noise, matrix()))
    assert abs(float(ours @ theirs)) < 0.7


def test_haar_directions_have_no_preferred_sign():
    firsts = [float(noise_of_equal_spectrum(torch.eye(6), seeded(seed))[0, 0]) for seed in range(200)]

    assert abs(sum(firsts) / len(firsts)) < 4 / (200**0.5) * 6**-0.5


def test_a_random_order_keeps_the_entries_of_every_row_together():
    shuffled = in_random_order(matrix(), seeded())

    rows = {tuple(sorted(row.tolist())) for row in matrix()}
    assert {tuple(sorted(row.tolist())) for row in shuffled} == rows
    columns = {tuple(sorted(column.tolist())) for column in matrix().T}
    assert {tuple(sorted(column.tolist())) for column in shuffled.T} == columns
    assert not torch.equal(shuffled, matrix())


@pytest.mark.parametrize("make", [noise_of_equal_norm, noise_of_equal_spectrum, in_random_order])
def test_the_seed_decides(make):
    assert torch.equal(make(matrix(), seeded()), make(matrix(), seeded()))
    assert not torch.equal(make(matrix(), seeded(1)), make(matrix(), seeded(2)))

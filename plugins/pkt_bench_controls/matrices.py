"""Matrices that share one property with a given one and nothing else."""

from __future__ import annotations

import torch
from torch import Tensor


def noise_of_equal_norm(matrix: Tensor, random: torch.Generator) -> Tensor:
    """Independent normal entries, scaled so that the Frobenius norm is that of `matrix` `(out, in)`."""
    noise = torch.randn(matrix.shape, generator=random)
    return noise * (matrix.double().norm() / noise.double().norm()).float()


def noise_of_equal_spectrum(matrix: Tensor, random: torch.Generator) -> Tensor:
    """`U S V^T` with the singular values of `matrix` `(out, in)` and orthonormal U, V drawn from the Haar measure."""
    values = torch.linalg.svdvals(matrix)
    left, right = (_orthonormal(side, len(values), random) for side in matrix.shape)
    return (left * values) @ right.T


def in_random_order(matrix: Tensor, random: torch.Generator) -> Tensor:
    """`matrix` `(out, in)` with its rows in one random order and its columns in another."""
    rows, columns = (torch.randperm(side, generator=random) for side in matrix.shape)
    return matrix[rows][:, columns]


def _orthonormal(side: int, count: int, random: torch.Generator) -> Tensor:
    """`(side, count)` with orthonormal columns, from the Haar measure: R's signs make the QR factor unique."""
    factor, upper = torch.linalg.qr(torch.randn(side, count, generator=random))
    return factor * upper.diagonal().sign()

"""The best rank-r approximation of a matrix as an adapter's two factors: exact to rounding, without a full SVD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

GRAM_SIDE = 2048  # up to this small side the Gram matrix and a partial eigh beat block Krylov
GRAM_BLOCK = 512  # rows of the Gram matrix's lower half that are computed at once
GRAM_ASPECT = 4  # and so they do for long thin matrices
EXTRA = 8  # directions kept beyond the rank, so that a flat spectrum does not mix the last ones with the next
EXACT_SIDE = 256  # up to this side the Gram matrix is float64 at once: it costs next to nothing
STEEP = 0.03  # a smaller ratio of the last to the first singular value is beyond a float32 Gram matrix
CHUNK = 1024  # rows turned to float64 at once
TOLERANCE = 1e-5  # residual of a singular pair over the largest squared singular value


@dataclass(frozen=True)
class Factors:
    """`B A`, the rank-r part of a block: A `(r, in)` has orthonormal rows, B `(out, r)` carries the singular values."""

    A: torch.Tensor
    B: torch.Tensor
    singular_values: torch.Tensor


def leading_factors(block: torch.Tensor, rank: int) -> Factors:
    """The `rank` leading singular triplets of `block` `(out, in)` as `B = U S`, `A = V^T`.

    All singular mass sits in B. Signs are fixed (the largest entry of every row of A is positive), so equal input gives
    equal factors; the product does not depend on them.

    Raises:
        ValueError: `rank` exceeds the block's smaller side, or the block holds NaN or infinity.
    """
    small = min(block.shape)
    if not 1 <= rank <= small:
        raise ValueError(f"rank {rank} does not fit a block of {tuple(block.shape)}: it may be {small} at most")
    block = block.float()
    if not block.sum().isfinite():  # one pass; isfinite().all() costs more than the Gram matrix of a thin block
        raise ValueError("the block holds NaN or infinity")
    tall = block if block.shape[0] >= block.shape[1] else block.T
    left, values, right = _leading_triplets(tall, rank)
    if tall is not block:
        left, right = right, left
    signs = right.gather(0, right.abs().argmax(0, keepdim=True)).sign()
    signs[signs == 0] = 1
    right = right * signs
    left = left * signs
    return Factors(right.T.float().contiguous(), (left * values).float().contiguous(), values.float())


def split_factors(factors: Factors, split: Literal["left", "sqrt"]) -> tuple[torch.Tensor, torch.Tensor]:
    """The same product `B A` as a start `(A, B)`: all singular mass in B ("left"), or its square root in each ("sqrt").

    The product, and so the student's function, does not depend on it; the path of training does. "left" is that of
    arXiv 2310.11451, "sqrt" that of PiSSA (arXiv 2404.02948, equations 2 and 3).
    """
    if split == "left":
        return factors.A, factors.B
    root = factors.singular_values.sqrt()
    inverse = root.reciprocal().where(root > 0, 0.0)
    return factors.A * root[:, None], factors.B * inverse


def _leading_triplets(tall: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The `rank` leading singular triplets of `tall` `(m, n)`, m >= n, as `_ritz` returns them."""
    import torch

    large, small = tall.shape
    keep = min(small, rank + EXTRA)
    basis = None
    if small > GRAM_SIDE and large < GRAM_ASPECT * small:
        basis = _krylov_basis(tall, rank)
    if basis is None and small > EXACT_SIDE:
        basis = _gram_basis(_lower_gram(tall), keep)
    if basis is not None:
        left, values, right = _ritz(tall, basis, rank)
        if values[-1] > STEEP * values[0]:
            return left, values, right
        # squaring in float32 has drowned the small ones in the rounding of the largest: once more in float64
    gram = torch.zeros(small, small, dtype=torch.float64, device=tall.device)
    for part in tall.split(CHUNK):
        part64 = part.double()
        gram.addmm_(part64.T, part64)
    return _ritz(tall, _gram_basis(gram, keep), rank)


def _lower_gram(tall: torch.Tensor) -> torch.Tensor:
    """`tall^T tall` `(n, n)`, whole on and below the diagonal: half of the product is all that `eigh` reads."""
    side = tall.shape[1]
    gram = tall.new_zeros(side, side)
    for start in range(0, side, GRAM_BLOCK):
        stop = min(start + GRAM_BLOCK, side)
        gram[start:stop, :stop] = tall[:, start:stop].T @ tall[:, :stop]
    return gram


def _gram_basis(gram: torch.Tensor, keep: int) -> torch.Tensor:
    """The `keep` leading eigenvectors `(n, keep)` of a Gram matrix `(n, n)`, read from its lower half."""
    import torch
    from scipy.linalg import eigh

    side = len(gram)
    _, vectors = eigh(gram.cpu().numpy(), lower=True, subset_by_index=[side - keep, side - 1], check_finite=False)
    return torch.from_numpy(vectors).to(gram.device)


def _krylov_basis(tall: torch.Tensor, rank: int) -> torch.Tensor | None:
    """Adaptive block Krylov: `(n, rank + EXTRA)` Ritz vectors of `tall^T tall`, or None where a dense form is cheaper.

    The space grows by blocks of twice the rank, orthogonalised twice against all before, until the `rank` leading Ritz
    pairs have residuals below `TOLERANCE` times the largest eigenvalue; their products are already there, so the test
    costs no pass over the matrix. (A plain randomised SVD misses by 10 to 100 % on the flat spectra of weights.)
    """
    import torch

    side, width = tall.shape[1], 2 * rank
    start = torch.randn(side, width, generator=torch.Generator().manual_seed(0)).to(tall)
    block, _ = torch.linalg.qr(start)
    bases: list[torch.Tensor] = []
    images: list[torch.Tensor] = []
    products: list[torch.Tensor] = []
    while (len(bases) + 1) * width <= side // 2:
        bases.append(block)
        images.append(tall @ block)
        products.append(tall.T @ images[-1])
        space = torch.cat(bases, 1)
        if len(bases) % 2 == 0:
            image = torch.cat(images, 1).double()
            values, vectors = torch.linalg.eigh(image.T @ image)
            keep = vectors[:, -(rank + EXTRA) :].float()
            leading = keep[:, -rank:]
            residual = torch.cat(products, 1) @ leading - (space @ leading) * values[-rank:].float()
            if residual.norm(dim=0).max() <= TOLERANCE * values[-1]:
                return space @ keep
        block = products[-1]
        for _ in range(2):
            block = block - space @ (space.T @ block)
            block, _ = torch.linalg.qr(block)
    return None


def _ritz(tall: torch.Tensor, basis: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The best `rank` singular triplets of `tall` `(m, n)` within the span of `basis` `(n, k)`.

    The one pass over the matrix is in the precision of `basis`, the small problem in float64.

    Returns:
        left `(m, rank)` and right `(n, rank)` with orthonormal columns, values `(rank,)` falling.
    """
    import torch

    basis, _ = torch.linalg.qr(basis)
    image = torch.cat([part.to(basis.dtype) @ basis for part in tall.split(CHUNK)]).double()
    left, values, turn = torch.linalg.svd(image, full_matrices=False)
    return left[:, :rank], values[:rank], basis.double() @ turn[:rank].T

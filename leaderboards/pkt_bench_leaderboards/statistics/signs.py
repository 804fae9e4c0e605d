"""The permutation test over items: if two methods do not differ, the sign of each item's difference is a coin."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 9_999
EXACT_STEPS = 20_000
"""Most steps there may be for the exact distribution; beyond, signs are drawn."""
# what the transform's rounding cannot blur
_SAFE = 1e-6


def sign_flip_exact(steps: NDArray[Any]) -> float:
    """Two-sided p of the sum of whole `steps` (n,) when each may take either sign.

    The chance that the absolute sum over all 2^n signs is at least the observed one, from the exact distribution of the
    sum: its characteristic function is a product of cosines. Small chances, which the transform would round, are added
    up from binomials instead, one per size of step.
    """
    import numpy as np

    sizes, counts = np.unique(np.abs(steps[steps != 0]), return_counts=True)
    if sizes.size == 0:
        return 1.0
    observed = abs(int(steps.sum()))
    if sizes.size == 1:
        return _two_sided(np.array(_coin(int(counts[0]))), observed // int(sizes[0]))
    total = int((sizes * counts).sum())
    p = _by_transform(sizes, counts, total, observed)
    return p if p > _SAFE else _by_convolution(sizes.tolist(), counts.tolist(), observed)


def _by_transform(sizes: NDArray[Any], counts: NDArray[Any], total: int, observed: int) -> float:
    import numpy as np

    # the sum lies on -total .. total, and only on every other number
    points = total + 1
    angles = np.pi * np.arange(points) / points
    transformed = np.ones(points)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        transformed *= np.cos(angles * size) ** count
    # of the sum as total - 2 * (sum of the negative steps): what is left is the phase of the shift
    chances = np.fft.fft(transformed * np.exp(1j * angles * total)).real / points
    sums = total - 2 * np.arange(points)
    return min(1.0, float(chances[np.abs(sums) >= observed].sum()))


def _by_convolution(sizes: list[int], counts: list[int], observed: int) -> float:
    import numpy as np

    distribution = np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        chances = np.zeros(size * count + 1)
        chances[::size] = _coin(count)
        distribution = np.convolve(distribution, chances)
    return _two_sided(distribution, observed)


def _two_sided(distribution: NDArray[Any], observed: int) -> float:
    """The chance of an absolute sum of at least `observed`, the chances being those of 0 .. total positive steps."""
    import numpy as np

    total = distribution.size - 1
    return min(1.0, float(distribution[np.abs(2 * np.arange(total + 1) - total) >= observed].sum()))


def sign_flip_drawn(differences: NDArray[Any], draws: int = DRAWS, seed: int = 0) -> float:
    """Two-sided p of the sum of `differences` (n,) from `draws` random signs and the observed one."""
    import numpy as np

    random = np.random.default_rng(seed)
    sizes = np.abs(differences[differences != 0])
    if sizes.size == 0:
        return 1.0
    observed = abs(float(differences.sum()))
    # sums of the same numbers in another order differ in the last bits
    threshold = observed * (1 - 1e-9)
    extreme = 0
    for start in range(0, draws, 500):
        signs = random.integers(0, 2, size=(min(500, draws - start), sizes.size), dtype=np.int8)
        extreme += int((np.abs((2 * signs - 1) @ sizes) >= threshold).sum())
    return (extreme + 1) / (draws + 1)


@functools.lru_cache(maxsize=512)
def _coin(n: int) -> tuple[float, ...]:
    """The chances of 0 .. n heads in n throws, each rounded once."""
    whole = 2**n
    ways = 1
    chances = []
    for heads in range(n + 1):
        chances.append(ways / whole)
        ways = ways * (n - heads) // (heads + 1)
    return tuple(chances)

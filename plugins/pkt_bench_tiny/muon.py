"""Muon: momentum whose step is orthogonalised, for hidden matrices.

Jordan et al. 2024, https://kellerjordan.github.io/posts/muon. All in float32: torch.optim.Muon computes in
bfloat16, which is slow on CPUs without matrix units for it.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor


def orthogonalise(updates: Tensor, iterations: int = 5) -> Tensor:
    """Bring the singular values of each matrix near 1 by the quintic Newton-Schulz iteration.

    Shapes: (n, rows, columns) -> (n, rows, columns).
    """
    tall = updates.shape[1] > updates.shape[2]
    x = updates.mT if tall else updates
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    made: Tensor = x.mT if tall else x
    return made


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, scaled by sqrt(max(1, rows / columns))."""

    def __init__(self, matrices: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        """Take two-dimensional parameters only."""
        super().__init__(matrices, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002  torch's signature
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            # one batched iteration per shape: many small products would be slower
            by_shape: defaultdict[torch.Size, list[Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                by_shape[matrix.shape].append(matrix)
            for shape, matrices in by_shape.items():
                gradients = torch.stack([m.grad for m in matrices if m.grad is not None])
                state = self.state[matrices[0]]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(gradients)
                state["momentum"].lerp_(gradients, 1 - group["momentum"])
                steps = orthogonalise(gradients.lerp(state["momentum"], group["momentum"]))
                scale = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for matrix, step in zip(matrices, steps, strict=True):
                    matrix.add_(step, alpha=-scale)

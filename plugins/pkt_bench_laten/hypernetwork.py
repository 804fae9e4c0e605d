"""The networks that translate a teacher's neurons into the student's space, one per module kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pkt_bench_laten.anatomy import Module

INITIAL_DEVIATION = 1e-5
"""So small that the first step sees the untouched student."""


class Hypernetwork(nn.Module):
    """g_m(z) = W2 relu(W1 z), without biases: W1 [d_T, d_T], W2 [d_S, d_T], both N(0, 1e-5^2) in float32."""

    def __init__(self, modules: Sequence[Module], teacher_hidden: int, student_hidden: int) -> None:
        super().__init__()
        self.first = nn.ParameterDict()
        self.second = nn.ParameterDict()
        for module in modules:
            self.first[module] = nn.Parameter(torch.randn(teacher_hidden, teacher_hidden) * INITIAL_DEVIATION)
            self.second[module] = nn.Parameter(torch.randn(student_hidden, teacher_hidden) * INITIAL_DEVIATION)

    def forward(self, knowledge: Mapping[Module, Tensor]) -> dict[Module, Tensor]:
        """Neurons [K, n, d_T] of each module kind -> what is added to the student's, [K, n, d_S]."""
        return {
            module: torch.relu(neurons.float() @ self.first[module].T) @ self.second[module].T
            for module, neurons in knowledge.items()
        }

    @property
    def size(self) -> int:
        """Number of parameters: M d_T (d_T + d_S)."""
        return sum(weight.numel() for weight in self.parameters())

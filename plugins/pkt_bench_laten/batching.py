"""Sequences of unequal length in right-padded groups of a bounded number of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

TOKENS_PER_GROUP = 1024
"""Larger groups lose on a CPU to padding and cache misses, smaller ones to the overhead of a forward."""


def groups_by_length(lengths: Sequence[int], tokens: int = TOKENS_PER_GROUP) -> list[list[int]]:
    """Indices of the sequences, similar lengths together, each group at most `tokens` long when padded.

    A sequence longer than `tokens` is a group of its own.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        # ascending lengths: the newcomer is the longest and sets the padded width
        if groups and (len(groups[-1]) + 1) * lengths[index] <= tokens:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def pad_right(sequences: Sequence[Sequence[int]], value: int, device: torch.device | str) -> Tensor:
    """Sequences as one tensor [B, T], filled up with `value`.

    Under causal attention no token sees what is padded after it, so a model needs neither mask nor shifted
    positions.
    """
    width = max(len(sequence) for sequence in sequences)
    rows = [[*sequence, *([value] * (width - len(sequence)))] for sequence in sequences]
    return torch.tensor(rows, dtype=torch.long, device=device)

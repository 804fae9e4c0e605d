"""LaTen without one of its ingredients: other neurons, another pairing of them, noise for them, no translation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from pkt_bench_laten.anatomy import SCORE, Module, ScoreName
from pkt_bench_laten.locate import Places

Neurons = Literal["located", "random", "shuffled"]


def other_neurons(places: Places, rule: Neurons, sizes: Mapping[ScoreName, int], random: torch.Generator) -> Places:
    """The teacher's places with their neurons replaced.

    Args:
        places: located ones, each [K, n].
        rule: `located`: as they are. `random`: any n different neurons of the same layers. `shuffled`: the same
            neurons, meeting the student's in random order.
        sizes: how many neurons a layer has, by score.
        random: decides.
    """
    if rule == "located":
        return places
    changed = {}
    for module, place in sorted(places.items()):
        count = place.neurons.shape[1]
        if rule == "random":
            rows = [torch.randperm(sizes[SCORE[module]], generator=random)[:count] for _ in place.layers]
        else:
            rows = [row[torch.randperm(count, generator=random)] for row in place.neurons]
        changed[module] = replace(place, neurons=torch.stack(rows))
    return changed


def noise_like(knowledge: Mapping[Module, Tensor], random: torch.Generator) -> dict[Module, Tensor]:
    """Gaussian vectors in the place of a teacher's neurons [K, n, d], each as long as the neuron it replaces."""
    noise = {}
    for module, neurons in sorted(knowledge.items()):
        drawn = torch.randn(neurons.shape, generator=random).to(neurons)
        noise[module] = drawn * (neurons.norm(dim=-1, keepdim=True) / drawn.norm(dim=-1, keepdim=True))
    return noise


def cropped(knowledge: Mapping[Module, Tensor], width: int) -> dict[Module, Tensor]:
    """The first `width` entries of every neuron [K, n, d], zeros where it has fewer: no translation at all."""
    return {
        module: functional.pad(neurons[..., :width], (0, max(0, width - neurons.shape[-1])))
        for module, neurons in knowledge.items()
    }

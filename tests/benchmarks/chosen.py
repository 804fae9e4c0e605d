"""The neurons LaTen chooses in every layer for each of some texts: certified, or by scoring all of them."""

from __future__ import annotations

import torch

from pkt_bench_laten.certified import certified_top_each, geometry
from pkt_bench_laten.locate import Lens, exact_scores, ranked, score, view

KINDS = ("ffn", "attention")


@torch.no_grad()
def certified(model, texts, norm, counts):
    """By kind, the best `counts[kind]` neurons `[B, L, count]`; and the mean share that had to be scored in full."""
    seen = view(model, texts, norm=norm, attention="self")
    known = geometry(seen.lens)
    found, evaluated = {kind: [] for kind in KINDS}, []
    for half in seen.halves():
        coefficients, columns = half.neurons[half.kind]
        best = certified_top_each(half.base, coefficients, columns, seen.lens, counts[half.kind], known=known)
        found[half.kind].append(best.neurons)
        evaluated.append(best.evaluated)
    return {kind: torch.stack(layers, 1) for kind, layers in found.items()}, sum(evaluated) / len(evaluated)


def by_scores(model, texts, norm, counts, mode):
    """By kind, the best `counts[kind]` neurons `[B, L, count]` of all, each of them scored."""
    scores = score(model, texts, norm=norm, attention="self", mode=mode)
    return {kind: ranked(getattr(scores, kind), counts[kind]) for kind in KINDS}


@torch.no_grad()
def exactly(model, texts, norm, counts):
    """As `by_scores`, each neuron scored in float64 from what the model holds in its own precision."""
    seen = view(model, texts, norm=norm, attention="self")
    head, gain, scale = (part.double() for part in (seen.lens.head, seen.lens.gain, seen.lens.scale))
    lens = Lens(head, gain, scale, seen.lens.targets)
    found = {kind: [] for kind in KINDS}
    for half in seen.halves():
        coefficients, columns = (part.double() for part in half.neurons[half.kind])
        found[half.kind].append(
            ranked(exact_scores(half.base.double(), coefficients, columns, lens), counts[half.kind])
        )
    return {kind: torch.stack(layers, 1) for kind, layers in found.items()}


def overlap(found, expected):
    """By kind, the mean and least share over texts and layers that two choices `[B, L, count]` have in common."""
    shares = {
        kind: [
            len(set(a) & set(b)) / len(b)
            for a, b in zip(found[kind].flatten(0, 1).tolist(), expected[kind].flatten(0, 1).tolist(), strict=True)
        ]
        for kind in KINDS
    }
    return {kind: (sum(values) / len(values), min(values)) for kind, values in shares.items()}


def overlap_text(found, expected):
    """`overlap` in words."""
    shares = overlap(found, expected).items()
    return ", ".join(f"{kind} {mean:.4f} (least {least:.3f})" for kind, (mean, least) in shares)

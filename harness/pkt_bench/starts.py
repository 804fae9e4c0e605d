"""Starts of an adapter that need nothing but the student: its own principal directions (PiSSA)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pkt_bench.adapters import adapted_paths
from pkt_bench.factors import leading_factors, split_factors

if TYPE_CHECKING:
    from torch import Tensor

    from pkt_bench.settings import AdapterSettings
    from pkt_bench.transfer import TransferContext


def principal_start(
    context: TransferContext, settings: AdapterSettings, split: Literal["left", "sqrt"]
) -> dict[str, tuple[Tensor, Tensor]]:
    """`principal_factors` of every adapted module of the student: computed once per student, rank and split."""
    import torch

    student = context.pair.student
    paths = adapted_paths(student, settings.modules)
    inputs = {
        "student": context.pair.student_digest,
        "dtype": context.pair.dtype,
        "device": context.device,
        "paths": paths,
        "rank": settings.rank,
        "scaling": settings.scaling,
        "split": split,
    }

    def compute() -> Mapping[str, Tensor]:
        found: dict[str, Tensor] = {}
        for path in paths:
            module = student.get_submodule(path)
            weight = module.weight.detach()
            # PEFT's adapter of an embedding is one of the transposed table
            table = weight.T if isinstance(module, torch.nn.Embedding) else weight
            found[f"{path}.A"], found[f"{path}.B"] = principal_factors(table, settings.rank, settings.scaling, split)
        return found

    factors = context.cached("pissa-start", inputs, compute)
    return {path: (factors[f"{path}.A"], factors[f"{path}.B"]) for path in paths}


def principal_factors(
    weight: Tensor, rank: int, scaling: float, split: Literal["left", "sqrt"]
) -> tuple[Tensor, Tensor]:
    """PiSSA's start (A `(r, in)`, B `(out, r)`) of a weight W `(out, in)`: scaling * B A is W's best rank-r part.

    With split "sqrt" A = (S_r / scaling)^(1/2) V_r^T and B = U_r (S_r / scaling)^(1/2): Meng et al.,
    https://arxiv.org/abs/2404.02948, equations 2 and 3. With "left" A = V_r^T and B carries the rest.
    """
    a, b = split_factors(leading_factors(weight, rank), split)
    if split == "left":
        return a, b / scaling
    return a / scaling**0.5, b / scaling**0.5

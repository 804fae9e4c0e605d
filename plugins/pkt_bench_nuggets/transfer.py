"""The method, top to bottom: locate and extract -> inject -> tune."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from pkt_bench import TransferContext, Transferred, add_adapter, finetune, plain_adapter
from pkt_bench_nuggets.extract import locates, nuggets

if TYPE_CHECKING:
    from torch import Tensor, nn

PROBE_RECORDS = 4
PROBE_TOKENS = 256


def transfer(context: TransferContext) -> Transferred:
    """The student handed over is the untouched one under an adapter of twice the rank."""
    settings = context.settings
    found = nuggets(context)
    with context.stage("inject"):
        probe = _probe(context)
        before = _logits(context.pair.student, probe)
        likeness = start_likeness(context.pair.student, found.start, found.extracted, settings.scaling)
        model = add_adapter(context.pair.student, settings, found.start)
        context.ledger.injection_change = _largest_change(before, _logits(model, probe))
    trained = finetune(context, model, settings)
    student = plain_adapter(model, found.start, context.pair.pristine_student)
    payload = {
        f"{path}.{side}": factor
        for path in found.extracted
        for side, factor in zip("AB", found.start[path], strict=True)
    }
    notes: dict[str, Any] = {
        "kept_layers": found.layers,
        "adapted": len(found.start),
        "extracted": len(found.extracted),
        "saved_rank": 2 * settings.rank,
        **likeness,
        **trained.notes,
    }
    if locates(settings):
        notes["seed_records"] = min(settings.seed_records, len(context.records("extract")))
        notes["seed_records_without_answer"] = found.unsupervised
    if found.median_contrast is not None:
        notes["median_contrast"] = found.median_contrast
    return Transferred(student, payload, selection=trained.selection, notes=notes)


# ---------------------------------------------------------------- inject


def start_likeness(
    student: nn.Module, start: Mapping[str, tuple[Tensor, Tensor]], paths: tuple[str, ...], scaling: float
) -> dict[str, float]:
    """How large the injected product s B A is beside the student's weight W, and whether it points its way.

    Returns:
        Medians over `paths`: `start_over_weight` of |s B A| / |W|, `start_weight_cosine` of the cosine of both,
        flattened (Frobenius; section 5 of arXiv 2505.14436 calls it parametric similarity).
    """
    ratios, cosines = [], []
    for path in paths:
        a, b = (factor.float() for factor in start[path])
        weight = student.get_parameter(f"{path}.weight").detach().float()
        if tuple(weight.shape) != (b.shape[0], a.shape[1]):
            weight = weight.T
        product = scaling * (b @ a).to(weight.device)
        size, own = product.norm(), weight.norm()
        ratios.append(size / own)
        cosines.append((product * weight).sum() / (size * own))
    if not ratios:
        return {}
    return {
        "start_over_weight": round(float(torch.stack(ratios).median()), 6),
        "start_weight_cosine": round(float(torch.stack(cosines).median()), 6),
    }


def _probe(context: TransferContext) -> list[Tensor]:
    records = context.encoded(context.records("extract")[:PROBE_RECORDS], PROBE_TOKENS)
    return [torch.tensor([record.ids], device=context.device) for record in records]


def _logits(model: Any, probe: list[Tensor]) -> list[Tensor]:  # noqa: ANN401 - a model or PEFT's wrapper
    model.eval()
    with torch.no_grad():
        return [model(input_ids=ids, use_cache=False).logits.float() for ids in probe]


def _largest_change(before: list[Tensor], after: list[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(before, after, strict=True))

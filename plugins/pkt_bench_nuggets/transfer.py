"""The methods, top to bottom: locate and extract -> inject -> tune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from pkt_bench import (
    Record,
    TransferContext,
    Transferred,
    add_adapter,
    finetune,
    plain_adapter,
    principal_start,
)
from pkt_bench_nuggets.extract import locates, nuggets

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pkt_bench_nuggets.settings import NuggetsSettings, PostPktSettings


def nuggets_transfer(context: TransferContext) -> Transferred:
    """Seeking Neural Nuggets: the adapters start from the teacher's blocks and are tuned on the train split."""
    return from_blocks(context)


def postpkt_transfer(context: TransferContext) -> Transferred:
    """PostPKT: from the start and on the records that its settings name."""
    settings: PostPktSettings = context.settings
    records = aligned_records(context) if settings.data == "align" else None
    match settings.init:
        case "nuggets":
            return from_blocks(context, records)
        case "pissa":
            return from_principal(context, records)
        case _:
            return from_gaussian(context, records)


# ---------------------------------------------------------------- the starts


def from_blocks(context: TransferContext, records: Sequence[Record] | None = None) -> Transferred:
    """Adapters that start from blocks of the teacher."""
    settings: NuggetsSettings = context.settings
    found = nuggets(context)
    likeness = start_likeness(context.pair.student, found.start, found.extracted, settings.scaling)
    payload = {
        f"{path}.{side}": factor
        for path in found.extracted
        for side, factor in zip("AB", found.start[path], strict=True)
    }
    notes: dict[str, Any] = {
        "kept_layers": found.layers,
        "adapted": len(found.start),
        "extracted": len(found.extracted),
        **likeness,
    }
    if locates(settings):
        notes["seed_records"] = min(settings.seed_records, len(context.records("extract")))
        notes["seed_records_without_answer"] = found.unsupervised
    if found.median_contrast is not None:
        notes["median_contrast"] = found.median_contrast
    return _tuned(context, found.start, payload, notes, records)


def from_principal(context: TransferContext, records: Sequence[Record] | None = None) -> Transferred:
    """Adapters that start from the student's own principal directions: nothing of the teacher moves."""
    settings: PostPktSettings = context.settings
    with context.stage("inject"):
        start = principal_start(context, settings, settings.split)
    return _tuned(context, start, {}, {"adapted": len(start)}, records)


def from_gaussian(context: TransferContext, records: Sequence[Record] | None = None) -> Transferred:
    """Adapters that start from PEFT's Gaussian start: nothing of the teacher moves."""
    settings: PostPktSettings = context.settings
    with context.stage("inject"):
        model = add_adapter(context.pair.student, settings, init="gaussian")
    trained = finetune(context, model, settings, records)
    notes = {**trained.notes, **_amount(records)}
    return Transferred(model, payload={}, selection=trained.selection, notes=notes)


def aligned_records(context: TransferContext) -> list[Record]:
    """The distinct records that LaTen's alignment sees, in the order of their first use: the restricted-data arm."""
    settings: PostPktSettings = context.settings
    usable = context.locating_records(settings.extract_records, settings.max_length)
    batches = context.alignment_batches(settings.align_steps, settings.align_batch, [record for record, _, _ in usable])
    return list(dict.fromkeys(record for batch in batches for record in batch))


def _tuned(
    context: TransferContext,
    start: Mapping[str, tuple[Tensor, Tensor]],
    payload: Mapping[str, Tensor],
    notes: Mapping[str, Any],
    records: Sequence[Record] | None,
) -> Transferred:
    """The student under adapters that began at `start`, handed over in twice the rank around the untouched student."""
    settings: NuggetsSettings = context.settings
    with context.stage("inject"):
        model = add_adapter(context.pair.student, settings, start)
    trained = finetune(context, model, settings, records)
    student = plain_adapter(model, start, context.pair.pristine_student)
    notes = {**notes, "saved_rank": 2 * settings.rank, **trained.notes, **_amount(records)}
    return Transferred(student, payload, selection=trained.selection, notes=notes)


def _amount(records: Sequence[Record] | None) -> dict[str, Any]:
    return {} if records is None else {"records_of_the_alignment": len(records)}


# ---------------------------------------------------------------- how much of a start is there


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

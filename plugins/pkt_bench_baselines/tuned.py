"""Tuning without a teacher: LoRA from PEFT's starts and from the student's own directions, and all weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pkt_bench import (
    Record,
    TransferContext,
    Transferred,
    add_adapter,
    factors_of,
    finetune,
    plain_adapter,
    principal_start,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peft import PeftModel

    from pkt_bench import Trained
    from pkt_bench_baselines.settings import FullSettings, LoraSettings, MatchedSettings, PissaSettings


def lora(context: TransferContext) -> Transferred:
    """An adapter from one of PEFT's starts, tuned on the train split."""
    student, trained = tune_adapter(context)
    return Transferred(student, payload={}, selection=trained.selection, notes=trained.notes)


def lora_matched(context: TransferContext) -> Transferred:
    """An adapter tuned on the records that LaTen's alignment sees, step by step, and on no other."""
    settings: MatchedSettings = context.settings
    usable = context.locating_records(settings.extract_records, settings.max_length)
    batches = context.alignment_batches(settings.steps, settings.align_batch, [record for record, _, _ in usable])
    records = [record for batch in batches for record in batch]
    student, trained = tune_adapter(context, records)
    notes = {**trained.notes, "records_seen": len(records), "distinct_records": len(set(records))}
    return Transferred(student, payload={}, selection=trained.selection, notes=notes)


def full(context: TransferContext) -> Transferred:
    """Every weight of the student, tuned on the train split."""
    settings: FullSettings = context.settings
    student = context.pair.student.requires_grad_(requires_grad=True)
    trained = finetune(context, student, settings)
    return Transferred(student, payload={}, selection=trained.selection, notes=trained.notes)


def pissa(context: TransferContext) -> Transferred:
    """An adapter that starts at the student's own rank-r part, tuned on the train split."""
    settings: PissaSettings = context.settings
    with context.stage("inject"):
        start = principal_start(context, settings, settings.split)
        model = add_adapter(context.pair.student, settings, start)
    trained = finetune(context, model, settings)
    student = plain_adapter(model, start, context.pair.pristine_student)
    notes = {**trained.notes, "saved_rank": 2 * settings.rank}
    return Transferred(student, payload={}, selection=trained.selection, notes=notes)


def tune_adapter(
    context: TransferContext,
    records: Sequence[Record] | None = None,
    **signal: Any,  # noqa: ANN401 - `objective` and `redraw` of `finetune`
) -> tuple[PeftModel, Trained]:
    """The student under an adapter that loads on the untouched student, tuned as `finetune` says.

    OLoRA starts away from zero, so PEFT shifts the student's weights by its product: they are put back, and the adapter
    gets twice the rank.
    """
    settings: LoraSettings = context.settings
    with context.stage("inject"):
        model = add_adapter(context.pair.student, settings, init=settings.init)
        start = factors_of(model) if settings.init == "olora" else None
    trained = finetune(context, model, settings, records, **signal)
    if start is not None:
        model = plain_adapter(model, start, context.pair.pristine_student)
    return model, trained

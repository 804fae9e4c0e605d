"""The teacher's logits on what the student learns from: kept for the train split's records, computed for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pkt_bench import Encoded, TransferContext, supervised_logits
from pkt_bench_baselines.settings import KdSettings

TOKENS_AT_ONCE = {"cpu": 512}
TOKENS_AT_ONCE_ELSEWHERE = 16_384


@dataclass
class TeacherLogits:
    """Gives the teacher's logits for the supervised tokens of records, over the `vocabulary` first tokens.

    Attributes:
        context: the teacher is loaded from it only when something has to be computed.
        vocabulary: how many tokens both models have a row for.
        kept: logits `(n, vocabulary)` by record, on the CPU.
        numbers: how many logits were computed or read from the cache: what the teacher told the student.
        forwards: how many tokens the teacher read for it in this cell.
    """

    context: TransferContext
    vocabulary: int
    kept: Mapping[Encoded, Tensor]
    numbers: int = field(default=0)
    forwards: int = field(default=0)

    def of(self, records: Sequence[Encoded]) -> Tensor:
        """Logits `(n, vocabulary)` for the n supervised tokens of `records`, in order, on the cell's device."""
        found = [self.kept.get(record) for record in records]
        if all(part is not None for part in found):
            return torch.cat([part for part in found if part is not None]).to(self.context.device)
        logits = _compute(self.context, records, self.vocabulary)
        self.numbers += logits.numel()
        self.forwards += sum(len(record.ids) for record in records)
        return logits


def teacher_logits(context: TransferContext) -> TeacherLogits:
    """Logits on the train split are computed once per teacher, suite and dtype, where they fit `kept_bytes`.

    Whether they fit is a matter of the records and the vocabulary, not of the machine, so a cell's result does not
    depend on where it runs.
    """
    settings: KdSettings = context.settings
    student = context.pair.student.config
    vocabulary = min(int(student.vocab_size), int(context.pair.teacher_config.vocab_size))
    window = min(settings.max_length, int(getattr(student, "max_position_embeddings", settings.max_length)))
    encoded = context.encoded(context.records("train")[: settings.train_records], window)
    # records of equal text are one
    records = [record for record in dict.fromkeys(encoded) if _supervised(record)]
    rows = sum(_supervised(record) for record in records)
    width = getattr(torch, context.pair.dtype).itemsize
    if rows * vocabulary * width > settings.kept_bytes:
        return TeacherLogits(context, vocabulary, {})
    told = TeacherLogits(context, vocabulary, {}, numbers=rows * vocabulary)

    def compute() -> Mapping[str, Tensor]:
        told.forwards = sum(len(record.ids) for record in records)
        parts: dict[Encoded, Tensor] = {}
        for group in _groups(records, context.device):
            logits = _compute(context, group, vocabulary).cpu()
            parts |= zip(group, logits.split([_supervised(record) for record in group]), strict=True)
        return {"logits": torch.cat([parts[record] for record in records])}

    inputs = {
        **context.teacher_key,
        "records": settings.train_records,
        "window": window,
        "vocabulary": vocabulary,
    }
    with context.stage("teach"):
        logits = context.cached("teacher-logits", inputs, compute)["logits"]
    told.kept = dict(zip(records, logits.split([_supervised(record) for record in records]), strict=True))
    return told


@torch.no_grad()
def _compute(context: TransferContext, records: Sequence[Encoded], vocabulary: int) -> Tensor:
    logits, _ = supervised_logits(context.pair.teacher, records)
    return logits[:, :vocabulary]


def _groups(records: Sequence[Encoded], device: str) -> list[list[Encoded]]:
    """Records of like length together, shortest first, in groups of a bounded number of padded tokens."""
    budget = TOKENS_AT_ONCE.get(device.partition(":")[0], TOKENS_AT_ONCE_ELSEWHERE)
    groups: list[list[Encoded]] = []
    for record in sorted(records, key=lambda record: len(record.ids)):
        if groups and (len(groups[-1]) + 1) * len(record.ids) <= budget:
            groups[-1].append(record)
        else:
            groups.append([record])
    return groups


def _supervised(record: Encoded) -> int:
    """Supervised tokens that something predicts: the very first of a text is predicted by nothing."""
    return len(record.ids) - max(record.prompt_length, 1)

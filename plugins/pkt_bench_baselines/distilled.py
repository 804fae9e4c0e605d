"""Distillation: LoRA that learns from what the teacher says, instead of from the records' own answers.

seqkd  the teacher's answers as text                        Kim and Rush, https://arxiv.org/abs/1606.07947
kd     its distribution of every token of the records       Hinton et al., https://arxiv.org/abs/1503.02531
gkd    the same, partly on answers of the student's own     Agarwal et al., https://arxiv.org/abs/2306.13649
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pkt_bench import Encoded, TransferContext, Transferred, supervised_logits
from pkt_bench_baselines.divergence import generalized_jsd
from pkt_bench_baselines.teacher_answers import teacher_answers
from pkt_bench_baselines.teacher_logits import TeacherLogits, teacher_logits
from pkt_bench_baselines.tuned import tune_adapter
from pkt_bench_baselines.writing import end_tokens, write

if TYPE_CHECKING:
    from pkt_bench_baselines.settings import GkdSettings, KdSettings


def seqkd(context: TransferContext) -> Transferred:
    """The teacher answers the train split once; the student learns its answers as it would the suite's."""
    answers = teacher_answers(context)
    student, trained = tune_adapter(context, answers.records)
    notes = {
        **trained.notes,
        "teacher_answers": len(answers.records),
        "teacher_answers_unfinished": answers.unfinished,
        "teacher_answers_as_in_suite": answers.alike,
    }
    payload = {"answers": torch.empty(answers.bytes, dtype=torch.uint8, device="meta")}
    return Transferred(student, payload, selection=trained.selection, notes=notes)


def kd(context: TransferContext) -> Transferred:
    """The student learns the teacher's distribution of every supervised token of the train split."""
    told = teacher_logits(context)
    student, trained = tune_adapter(context, objective=_objective(context.settings, told))
    return Transferred(
        student, _payload(context, told), selection=trained.selection, notes={**trained.notes, **_notes(told)}
    )


def gkd(context: TransferContext) -> Transferred:
    """As `kd`; a share `lmbda` of the steps compares both models on answers that the student has just written."""
    told = teacher_logits(context)
    own = OwnAnswers(context)
    student, trained = tune_adapter(context, objective=_objective(context.settings, told), redraw=own.redraw)
    notes = {
        **trained.notes,
        **_notes(told),
        "steps_on_own_answers": own.steps,
        "steps_on_records": own.left,
        "tokens_written": own.tokens,
    }
    return Transferred(student, _payload(context, told), selection=trained.selection, notes=notes)


def _objective(settings: KdSettings, told: TeacherLogits) -> Any:  # noqa: ANN401 - an Objective of `finetune`
    def divergence(model: Any, records: Sequence[Encoded]) -> Tensor:  # noqa: ANN401 - a PreTrainedModel
        logits, _ = supervised_logits(model, records)
        return generalized_jsd(
            logits[:, : told.vocabulary], told.of(records), settings.beta, settings.softmax_temperature
        )

    return divergence


@dataclass
class OwnAnswers:
    """The student's own answers to the prompts of a batch, as what to learn from.

    Attributes:
        steps, left: batches that were answered anew, and batches left as they were, over all rates tried.
        tokens: how many tokens the student wrote.
    """

    context: TransferContext
    steps: int = 0
    left: int = 0
    tokens: int = 0

    def __post_init__(self) -> None:
        settings: GkdSettings = self.context.settings
        student = self.context.pair.student
        positions = int(getattr(student.config, "max_position_embeddings", settings.max_length))
        self.window = min(settings.max_length, positions)
        encoded = self.context.encoded(self.context.records("train")[: settings.train_records], self.window)
        self.longest = settings.max_new_tokens or max((record.supervised for record in encoded), default=1)
        self.ends = end_tokens(student, self.context.pair.tokenizer)

    def redraw(self, model: Any, batch: list[Encoded]) -> list[Encoded]:  # noqa: ANN401 - a PeftModel
        """With probability `lmbda` the student's answers to the batch's prompts, otherwise the batch.

        One draw decides for the whole batch: algorithm 1 of arXiv 2306.13649. A prompt of no tokens cannot be answered
        and keeps its record.
        """
        settings: GkdSettings = self.context.settings
        if float(torch.rand(())) >= settings.lmbda:
            self.left += 1
            return batch
        able = [place for place, record in enumerate(batch) if record.prompt_length > 0]
        prompts = [batch[place].ids[: batch[place].prompt_length] for place in able]
        limits = [min(self.longest, self.window - len(prompt)) for prompt in prompts]
        answered = list(batch)
        if able:
            written = write(model, prompts, limits, self.ends, settings.temperature)
            for place, prompt, answer in zip(able, prompts, written, strict=True):
                answered[place] = Encoded((*prompt, *answer), len(prompt))
                self.tokens += len(answer)
        self.steps += 1
        return answered


def _payload(context: TransferContext, told: TeacherLogits) -> dict[str, Tensor]:
    """As many numbers as the teacher told: their size is what is booked, and they are not held a second time."""
    return {"logits": torch.empty(told.numbers, dtype=getattr(torch, context.pair.dtype), device="meta")}


def _notes(told: TeacherLogits) -> dict[str, Any]:
    return {"teacher_logits_kept": bool(told.kept), "tokens_read_by_teacher": told.forwards}

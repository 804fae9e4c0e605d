"""LaTen from top to bottom: locate, align, inject."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pkt_bench import Encoded, Record, TransferContext, Transferred
from pkt_bench_laten.align import Lesson, StepLoss, align, batch_members, mean_loss
from pkt_bench_laten.anatomy import Module
from pkt_bench_laten.hypernetwork import Hypernetwork
from pkt_bench_laten.inject import injected, merge, take
from pkt_bench_laten.located import Located, locate

if TYPE_CHECKING:
    from pkt_bench_laten import LatenSettings


def transfer(context: TransferContext) -> Transferred:
    """Runs LaTen; the student in `context.pair` receives the neurons.

    Raises:
        PktBenchError: no record can be located on, or the alignment diverged.
    """
    settings: LatenSettings = context.settings
    with context.stage("locate"):
        located = locate(context)
    with context.stage("align") as progress:
        taught = teach(context, located, progress)
    with context.stage("inject") as progress:
        verdict = choose(context, located, taught, progress)
        teacher_places, student_places = located.final(verdict.best.rate, settings.modules)
        knowledge = take(context.pair.teacher, teacher_places)
        deltas = taught.translate(verdict.best.step, knowledge)
        ratios = merge(context.pair.student, student_places, deltas)
    return Transferred(
        student=context.pair.student,
        payload={f"teacher.{module}": neurons for module, neurons in knowledge.items()},
        selection=settings.selection,
        notes={
            "scores": settings.scores,
            "norm": settings.norm,
            "attention": settings.attention,
            "records_located": min(settings.locate_records, len(located.order)),
            "records_left_out": located.left_out + taught.left_out,
            "teacher_layers": {module: list(place.layers) for module, place in teacher_places.items()},
            "neurons": {module: place.neurons.shape[1] for module, place in student_places.items()},
            "delta_over_weight": {module: _short(ratio) for module, ratio in ratios.items()},
            "align_loss_first": _short(_mean(taught.losses[0].records)),
            "align_loss_last": _short(_mean(taught.losses[-1].records)),
            **verdict.notes,
        },
    )


# ---------------------------------------------------------------- align


@dataclass(frozen=True)
class Taught:
    """The hypernetwork, its weights after each candidate number of steps, and the loss of every step."""

    hypernetwork: Hypernetwork
    checkpoints: Mapping[int, Mapping[str, Tensor]]
    losses: Sequence[StepLoss]
    left_out: int

    @torch.no_grad()
    def translate(self, step: int, knowledge: Mapping[Module, Tensor]) -> dict[Module, Tensor]:
        """What the hypernetwork of `step` makes of teacher neurons."""
        self.hypernetwork.load_state_dict(dict(self.checkpoints[step]))
        translated: dict[Module, Tensor] = self.hypernetwork(knowledge)
        return translated


def teach(context: TransferContext, located: Located, progress: Callable[[float], None]) -> Taught:
    """Trains the hypernetwork; a step locates on one extract record, learns from it and from align records.

    With cell seed 0 the align records of step i are those that the published code draws.
    """
    settings: LatenSettings = context.settings
    student, teacher = context.pair.student, context.pair.teacher
    pool, pool_left_out = _supervised(context, context.records("align"))
    own = context.encoded(located.records, settings.max_length)
    hypernetwork = Hypernetwork(settings.modules, teacher.config.hidden_size, student.config.hidden_size).to(
        context.device
    )

    def lesson(step: int) -> Lesson:
        example = located.order[step % len(located.order)]
        theirs, ours = located.places([example], settings.rate, settings.modules)
        drawn = batch_members(context.seed * 1_000_003 + step, len(pool), settings.align_batch - 1)
        records = [*(pool[i] for i in drawn), own[example]]
        tokens = sum(len(record.ids) for record in records)
        context.ledger.tokens_trained = (context.ledger.tokens_trained or 0) + tokens
        return Lesson(take(teacher, theirs), ours, records)

    context.ledger.trainable_parameters = hypernetwork.size
    checkpoints, losses = align(
        student,
        hypernetwork,
        lesson,
        steps=max(settings.inject_steps),
        total_steps=settings.steps,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        magnitude_penalty=settings.magnitude_penalty,
        keep=settings.inject_steps,
        progress=progress,
    )
    return Taught(hypernetwork, checkpoints, losses, pool_left_out)


def _supervised(context: TransferContext, records: Sequence[Record]) -> tuple[list[Encoded], int]:
    """Records with a supervised token within `max_length`, and how many had none."""
    encoded = context.encoded(records, context.settings.max_length)
    kept = [record for record in encoded if record.supervised > 0]
    return kept, len(encoded) - len(kept)


# ---------------------------------------------------------------- choose


@dataclass(frozen=True)
class Candidate:
    """What could be injected: the checkpoint of `step` at `rate`, and its loss on the validation records."""

    step: int
    rate: float
    loss: float | None


@dataclass(frozen=True)
class Verdict:
    """The candidate to inject, and what the row says of the choice."""

    best: Candidate
    notes: Mapping[str, Any]


def choose(context: TransferContext, located: Located, taught: Taught, progress: Callable[[float], None]) -> Verdict:
    """The candidate with the lowest validation loss, the first one if several are equal.

    It is taken even where the untouched student does better: a transfer that does not help shall be seen not
    to help.
    """
    settings: LatenSettings = context.settings
    student = context.pair.student
    validation, _ = _supervised(context, context.records("validation")[: settings.validation_records])
    untouched = mean_loss(student, validation) if validation else None
    candidates: list[Candidate] = []
    total = len(settings.inject_rates) * len(settings.inject_steps)
    for rate in settings.inject_rates:
        theirs, ours = located.final(rate, settings.modules)
        knowledge = take(context.pair.teacher, theirs)
        for step in settings.inject_steps:
            loss = None
            if validation:
                with injected(student, ours, taught.translate(step, knowledge)):
                    loss = mean_loss(student, validation)
            candidates.append(Candidate(step, rate, loss))
            progress(len(candidates) / total)
    best = min(candidates, key=lambda candidate: 0.0 if candidate.loss is None else candidate.loss)
    notes: dict[str, Any] = {
        "step": best.step,
        "rate": best.rate,
        "validation_records": len(validation),
        "validation_loss_student": _short(untouched),
        "validation_loss_injected": _short(best.loss),
        "validation_losses": [[c.step, c.rate, _short(c.loss)] for c in candidates],
    }
    if untouched is not None and best.loss is not None and best.loss >= untouched:
        notes["validation_verdict"] = "no candidate is better than the untouched student; the best one is injected"
    return Verdict(best, notes)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _short(value: float | None) -> float | None:
    """Six significant digits."""
    return None if value is None else float(f"{value:.6g}")

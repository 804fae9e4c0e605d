"""LaTen from top to bottom: locate, align, inject."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from pkt_bench import TransferContext, Transferred
from pkt_bench_laten.align import Lesson, StepLoss, align, supervised
from pkt_bench_laten.anatomy import Module
from pkt_bench_laten.choose import choose, short
from pkt_bench_laten.controls import cropped, noise_like, other_neurons
from pkt_bench_laten.hypernetwork import Hypernetwork
from pkt_bench_laten.inject import merge
from pkt_bench_laten.located import Located, locate

if TYPE_CHECKING:
    from pkt_bench_laten.locate import Places
    from pkt_bench_laten.settings import LatenSettings


def transfer(context: TransferContext) -> Transferred:
    """Runs LaTen; the student in `context.pair` receives the neurons.

    Raises:
        PktBenchError: no record can be located on, or the alignment diverged.
    """
    settings: LatenSettings = context.settings
    with context.stage("locate"):
        located = locate(context)
    supply = Supply(context, located)
    with context.stage("align") as progress:
        translator = _translator(context, located, supply, progress)

    def offer(step: int, rate: float) -> tuple[Places, Mapping[Module, Tensor]]:
        _, ours = located.final(rate, settings.modules)
        return ours, translator.translate(step, supply.final(rate).neurons)

    with context.stage("inject") as progress:
        verdict = choose(context, translator.steps, offer, progress)
        supplied = supply.final(verdict.best.rate)
        student_places, deltas = offer(verdict.best.step, verdict.best.rate)
        ratios = merge(context.pair.student, student_places, deltas)
    return Transferred(
        student=context.pair.student,
        payload=supplied.payload,
        selection=settings.selection,
        notes={
            "scores": settings.scores,
            "norm": settings.norm,
            "attention": settings.attention,
            **located.notes,
            "records_located": min(settings.locate_records, len(located.order)),
            "records_left_out": located.left_out + translator.left_out,
            "teacher_layers": {module: list(place.layers) for module, place in supplied.places.items()},
            "neurons": {module: place.neurons.shape[1] for module, place in student_places.items()},
            "delta_over_weight": {module: short(ratio) for module, ratio in ratios.items()},
            **translator.notes,
            **verdict.notes,
        },
    )


# ---------------------------------------------------------------- what the teacher gives


@dataclass(frozen=True)
class Supplied:
    """Neurons for the student, [K, n, d_T] per module kind, where they came from, and what of the teacher moved."""

    places: Places
    neurons: Mapping[Module, Tensor]
    payload: Mapping[str, Tensor]


class Supply:
    """The teacher's neurons for each step and for the injection; under a control, what takes their place."""

    def __init__(self, context: TransferContext, located: Located) -> None:
        self.settings: LatenSettings = context.settings
        self.located = located
        self.seeds = context.stage_seed
        self.width: int = context.pair.student.config.hidden_size
        self._last: tuple[float, Supplied] | None = None

    def of_step(self, step: int, places: Places) -> Mapping[Module, Tensor]:
        """For the alignment step with the teacher's places `places`."""
        return self._of(f"step {step}", places).neurons

    def final(self, rate: float) -> Supplied:
        """For the injection at `rate`: the same each time it is asked."""
        if self._last is None or self._last[0] != rate:
            theirs, _ = self.located.final(rate, self.settings.modules)
            self._last = rate, self._of("final", theirs)
        return self._last[1]

    def _of(self, what: str, places: Places) -> Supplied:
        random = torch.Generator().manual_seed(self.seeds(f"supply {what}"))
        places = other_neurons(places, self.settings.neurons, self.located.sizes(), random)
        knowledge = self.located.knowledge(places)
        if self.settings.knowledge == "noise":
            norms = {f"teacher.{module}.norms": neurons.norm(dim=-1) for module, neurons in knowledge.items()}
            return Supplied(places, noise_like(knowledge, random), norms)
        if self.settings.translator == "crop":
            knowledge = {module: neurons[..., : self.width] for module, neurons in knowledge.items()}
        return Supplied(places, knowledge, {f"teacher.{module}": neurons for module, neurons in knowledge.items()})


# ---------------------------------------------------------------- how it is translated


class Translator(Protocol):
    """Makes student-sized neurons of the teacher's."""

    @property
    def steps(self) -> Sequence[int]:
        """After how many alignment steps it can be asked."""

    @property
    def left_out(self) -> int:
        """How many records of the alignment had nothing to learn from."""

    @property
    def notes(self) -> Mapping[str, Any]:
        """What the row says of it."""

    def translate(self, step: int, knowledge: Mapping[Module, Tensor]) -> dict[Module, Tensor]:
        """[K, n, d_T] to [K, n, d_S] per module kind, as it is after `step` steps."""


def _translator(
    context: TransferContext, located: Located, supply: Supply, progress: Callable[[float], None]
) -> Translator:
    if context.settings.translator == "crop":
        context.ledger.trainable_parameters = context.ledger.tokens_trained = 0
        return Crop(context.pair.student.config.hidden_size)
    return teach(context, located, supply, progress)


@dataclass(frozen=True)
class Crop:
    """No alignment: a neuron's first d_S entries."""

    width: int
    steps: Sequence[int] = (0,)
    left_out: int = 0

    @property
    def notes(self) -> Mapping[str, Any]:
        """What the row says of it."""
        return {"translator": "crop"}

    def translate(
        self,
        step: int,  # noqa: ARG002 - there is one
        knowledge: Mapping[Module, Tensor],
    ) -> dict[Module, Tensor]:
        """[K, n, d_T] to [K, n, d_S] per module kind."""
        return cropped(knowledge, self.width)


@dataclass(frozen=True)
class Taught:
    """The hypernetwork, its weights after each candidate number of steps, and the loss of every step."""

    hypernetwork: Hypernetwork
    checkpoints: Mapping[int, Mapping[str, Tensor]]
    losses: Sequence[StepLoss]
    left_out: int
    steps: Sequence[int]

    @property
    def notes(self) -> Mapping[str, Any]:
        """What the row says of it."""
        first, last = self.losses[0].records, self.losses[-1].records
        return {
            "translator": "learned",
            "align_loss_first": short(sum(first) / len(first)),
            "align_loss_last": short(sum(last) / len(last)),
        }

    @torch.no_grad()
    def translate(self, step: int, knowledge: Mapping[Module, Tensor]) -> dict[Module, Tensor]:
        """What the hypernetwork of `step` makes of teacher neurons."""
        self.hypernetwork.load_state_dict(dict(self.checkpoints[step]))
        translated: dict[Module, Tensor] = self.hypernetwork(knowledge)
        return translated


def teach(context: TransferContext, located: Located, supply: Supply, progress: Callable[[float], None]) -> Taught:
    """Trains the hypernetwork; a step locates on one extract record, learns from it and from align records.

    The records of a step are `context.alignment_batches`, which other methods can learn from as well; with cell seed 0
    the align records are those that the published code draws.
    """
    settings: LatenSettings = context.settings
    student = context.pair.student
    batches = context.alignment_batches(settings.steps, settings.align_batch, located.records)
    _, left_out = supervised(context, list(dict.fromkeys(record for batch in batches for record in batch)))
    width = context.pair.teacher_config.hidden_size
    hypernetwork = Hypernetwork(settings.modules, width, student.config.hidden_size).to(context.device)

    def lesson(step: int) -> Lesson:
        theirs, ours = located.places([located.order[step % len(located.order)]], settings.rate, settings.modules)
        records, _ = supervised(context, batches[step])
        context.spend(tokens=sum(len(record.ids) for record in records), steps=1)
        return Lesson(supply.of_step(step, theirs), ours, records)

    context.spend(trainable=hypernetwork.size)
    context.check_budget(steps=max(settings.inject_steps))
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
    return Taught(hypernetwork, checkpoints, losses, left_out, settings.inject_steps)

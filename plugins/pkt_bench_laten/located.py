"""Which neurons of teacher and student meet: how both models rank theirs on the same records, and what that chooses."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from torch import Tensor

from pkt_bench import Locating, PktBenchError, Record, TransferContext
from pkt_bench_laten import anatomy
from pkt_bench_laten.anatomy import Module, ScoreName
from pkt_bench_laten.inject import take
from pkt_bench_laten.locate import (
    Places,
    Ranking,
    Scores,
    View,
    choose_places,
    neuron_count,
    score_views,
    streamed_view,
    view,
)
from pkt_bench_laten.shortlists import NAMES, Counts, Shortlists, shortlists

if TYPE_CHECKING:
    from pkt_bench_laten.settings import LatenSettings

Role = Literal["teacher", "student"]
ROLES: tuple[Role, ...] = ("teacher", "student")

LARGE_TABLE = 1 << 25
"""Vocabulary times neurons of a layer from which the lists are found by bounds where `ranking` is unset."""


class Rankings(Protocol):
    """How a model ranks its layers and neurons on E records."""

    def total(self, examples: Sequence[int]) -> Ranking:
        """The ranking by `examples` together."""


@dataclass(frozen=True)
class Located:
    """How both models rank their neurons on the same E records of the extract split, and the teacher's neurons.

    Attributes:
        teacher, student: by the E records.
        records: the E records.
        order: 0..E-1 in this cell's order: alignment step i uses the i-th, the injection the first
            `locate_records`.
        final_records: how many of them choose the neurons that are injected.
        left_out: how many records of the split had no target or were too long.
        weights: the teacher's.
        pairing: which of the teacher's layers meet the student's.
        pairing_seed: for pairing at random.
        notes: how the neurons were found, for the row.
    """

    teacher: Rankings
    student: Rankings
    records: tuple[Record, ...]
    order: tuple[int, ...]
    final_records: int
    left_out: int
    weights: anatomy.Weights
    pairing: Literal["best", "depth", "random"]
    pairing_seed: int
    notes: Mapping[str, Any]

    def places(self, examples: Sequence[int], rate: float, modules: Sequence[Module]) -> tuple[Places, Places]:
        """Places in teacher and student by `examples` together."""
        # drawn anew each time, so that a cell pairs the same layers in all its steps
        drawn = random.Random(self.pairing_seed)  # noqa: S311 - no secret
        teacher, student = self.teacher.total(examples), self.student.total(examples)
        return choose_places(teacher, student, rate, modules, self.pairing, drawn)

    def final(self, rate: float, modules: Sequence[Module]) -> tuple[Places, Places]:
        """The places that are injected; those of a smaller rate are the first of a larger one."""
        return self.places(self.order[: self.final_records], rate, modules)

    def sizes(self) -> dict[ScoreName, int]:
        """How many neurons a layer of the teacher has, by score."""
        ranking = self.teacher.total(self.order[: self.final_records])
        return {name: ranking.size(name) for name in NAMES}

    def knowledge(self, places: Places) -> dict[Module, Tensor]:
        """The teacher's neurons at `places`, [K, n, d_T] per module kind, in the models' dtype."""
        return take(self.weights, places)


def locate(context: TransferContext) -> Located:
    """Ranks the neurons of both models by the extract records, from the cache where that was done before.

    Scores do not depend on the cell's seed. Which records decide, and in which order they teach, does.

    Raises:
        PktBenchError: no record can be located on.
    """
    settings: LatenSettings = context.settings
    offered = context.records("extract")[: settings.extract_records]
    usable = context.locating_records(settings.extract_records, settings.max_length)
    if not usable:
        raise PktBenchError(
            f"laten: none of {len(offered)} extract records of '{context.suite.name}' can be located on.\n"
            f"  One needs an answer with more than punctuation in it and at most {settings.max_length} tokens."
            " Raise laten.max_length, or mend the records."
        )
    order = list(range(len(usable)))
    random.Random(context.stage_seed("locate")).shuffle(order)  # noqa: S311 - no secret
    search = _Search(context, tuple(order[: settings.locate_records]))
    teacher = search.rankings("teacher", context.teacher_key, [theirs for _, theirs, _ in usable])
    student = search.rankings("student", context.student_key, [ours for _, _, ours in usable])
    notes: dict[str, Any] = {"ranking": search.how, "teacher_streamed": search.streamed, "pairing": settings.pairing}
    if isinstance(teacher, Shortlists) and isinstance(student, Shortlists):
        notes["evaluated_share"] = {"teacher": round(teacher.evaluated, 4), "student": round(student.evaluated, 4)}
    return Located(
        teacher=teacher,
        student=student,
        records=tuple(record for record, _, _ in usable),
        order=tuple(order),
        final_records=settings.locate_records,
        left_out=len(offered) - len(usable),
        weights=_teacher_weights(context),
        pairing=settings.pairing,
        pairing_seed=context.stage_seed("pairing"),
        notes=notes,
    )


class _Search:
    """How a cell ranks the neurons of its two models."""

    def __init__(self, context: TransferContext, deciding: tuple[int, ...]) -> None:
        settings: LatenSettings = context.settings
        self.context, self.settings, self.deciding = context, settings, deciding
        self.streamed = _is_streamed(context)
        configs = {"teacher": context.pair.teacher_config, "student": context.pair.student.config}
        self.sizes = {role: anatomy.sizes(configs[role]) for role in ROLES}
        large = max(configs[role].vocab_size * self.sizes[role]["ffn"] for role in ROLES) >= LARGE_TABLE
        bounds = large if settings.ranking is None else settings.ranking == "bounds"
        self.how = "bounds" if bounds and settings.scores == "exact" else "table"

    def rankings(self, role: Role, identity: Mapping[str, Any], examples: Sequence[Locating]) -> Rankings:
        """From the cache, or by one forward of the model over the examples."""
        settings, context = self.settings, self.context
        inputs = {
            **identity,
            "norm": settings.norm,
            "attention": settings.attention,
            "streamed": role == "teacher" and self.streamed,
            "texts": [[*example.ids, example.target] for example in examples],
        }
        if self.how == "table":
            inputs["mode"] = settings.scores
            scores = context.cached(
                "laten-scores", inputs, lambda: score_views(self._view(role, examples), settings.scores).tensors()
            )
            return Scores.of(scores)
        # the record of a step may be the one that decides, so the joint lists are as long as any
        counts = Counts(
            self._counts(role, settings.rate), self._counts(role, max(settings.rate, *settings.inject_rates))
        )
        inputs |= {"deciding": list(self.deciding), "counts": asdict(counts)}
        lists = context.cached(
            "laten-shortlists", inputs, lambda: shortlists(self._view(role, examples), self.deciding, counts)
        )
        return Shortlists(lists, self.deciding)

    def _view(self, role: Role, examples: Sequence[Locating]) -> View:
        pair, norm, attention = self.context.pair, self.settings.norm, self.settings.attention
        if role == "teacher" and self.streamed:
            return streamed_view(pair.teacher_stream(), examples, norm=norm, attention=attention)
        model = pair.teacher if role == "teacher" else pair.student
        return view(model, examples, norm=norm, attention=attention)

    def _counts(self, role: Role, rate: float) -> dict[ScoreName, int]:
        """How many neurons a rate means: so many of the student's, and no more than this model has."""
        return {name: min(neuron_count(self.sizes["student"][name], rate), self.sizes[role][name]) for name in NAMES}


def _is_streamed(context: TransferContext) -> bool:
    """Whether the teacher is read layer by layer: as set, or where it is large and what its files hold."""
    if context.settings.stream is not None:
        return bool(context.settings.stream)
    return context.pair.large_teacher and context.pair.stand_in is None


def _teacher_weights(context: TransferContext) -> anatomy.Weights:
    """The teacher's weights: from memory where it is there or is a stand-in, otherwise from its files."""
    pair = context.pair
    opened: list[anatomy.Weights] = []

    def weights(layer: int, module: Module) -> Tensor:
        if not opened:
            in_files = pair.stand_in is None and "teacher" not in vars(pair)
            opened.append(anatomy.weights_in(pair.teacher_stream()) if in_files else anatomy.weights_of(pair.teacher))
        return opened[0](layer, module)

    return weights

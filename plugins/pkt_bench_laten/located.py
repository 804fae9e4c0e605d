"""Which neurons of teacher and student meet: scores of the extract records in both models, and what they choose."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from pkt_bench import PktBenchError, Record, TransferContext
from pkt_bench_laten.anatomy import Module
from pkt_bench_laten.locate import ENDING, Places, Scores, choose_places, locating, score

if TYPE_CHECKING:
    from pkt_bench_laten import LatenSettings


@dataclass(frozen=True)
class Located:
    """Scores of both models on the same E records of the extract split.

    Attributes:
        teacher, student: scores of the E records.
        records: the E records.
        order: 0..E-1 in this cell's order: alignment step i uses the i-th, the injection the first
            `locate_records`.
        final_records: how many of them choose the neurons that are injected.
        left_out: how many records of the split had no target or were too long.
    """

    teacher: Scores
    student: Scores
    records: tuple[Record, ...]
    order: tuple[int, ...]
    final_records: int
    left_out: int

    def places(self, examples: Sequence[int], rate: float, modules: Sequence[Module]) -> tuple[Places, Places]:
        """Places in teacher and student by the summed scores of `examples`."""
        return choose_places(self.teacher.total(examples), self.student.total(examples), rate, modules)

    def final(self, rate: float, modules: Sequence[Module]) -> tuple[Places, Places]:
        """The places that are injected; those of a smaller rate are the first of a larger one."""
        return self.places(self.order[: self.final_records], rate, modules)


def locate(context: TransferContext) -> Located:
    """Scores the extract records in both models on the same text, from the cache where that was done before.

    Scores do not depend on the cell's seed. Which records decide, and in which order they teach, does.
    """
    settings: LatenSettings = context.settings
    tokenizers = {"teacher": context.pair.teacher_tokenizer, "student": context.pair.tokenizer}
    offered = context.records("extract")[: settings.extract_records]
    records, texts = [], []
    for record in offered:
        prompt, _ = context.suite.prompt.render(record)
        text = {
            role: locating(prompt, record.answer, tokenizer, bos=context.suite.prompt.bos)
            for role, tokenizer in tokenizers.items()
        }
        if all(example and len(example.ids) <= settings.max_length for example in text.values()):
            records.append(record)
            texts.append(text)
    if not records:
        raise PktBenchError(
            f"laten: none of {len(offered)} extract records of '{context.suite.name}' can be located on.\n"
            f"  One needs an answer with more than {ENDING!r} in it and at most {settings.max_length} tokens."
            " Raise laten.max_length, or mend the records."
        )

    def scores(role: Literal["teacher", "student"], identity: Mapping[str, Any]) -> Scores:
        how = {"norm": settings.norm, "attention": settings.attention, "mode": settings.scores}
        examples = [example for text in texts if (example := text[role])]
        inputs = {
            **identity,
            **how,
            "texts": [[*example.ids, example.target] for example in examples],
        }

        def compute() -> Mapping[str, Tensor]:
            model = context.pair.teacher if role == "teacher" else context.pair.student
            return score(
                model, examples, norm=settings.norm, attention=settings.attention, mode=settings.scores
            ).tensors()

        return Scores.of(context.cached("laten-scores", inputs, compute))

    order = list(range(len(records)))
    random.Random(context.stage_seed("locate")).shuffle(order)  # noqa: S311 - no secret
    return Located(
        teacher=scores("teacher", context.teacher_key),
        student=scores("student", context.student_key),
        records=tuple(records),
        order=tuple(order),
        final_records=settings.locate_records,
        left_out=len(offered) - len(records),
    )

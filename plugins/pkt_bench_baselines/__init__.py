"""The methods every other one is compared with: the two models as they are, and LoRA on the suite's own text.

`student` and `teacher` are references: nothing is transferred, and "gap closed" is measured between them. `lora` spends
what the transfer methods spend (same records, modules, rank and schedule) from PEFT's default start, so what a method
scores above it is what its start was worth. LoRA: Hu et al., https://arxiv.org/abs/2106.09685
"""

from __future__ import annotations

from collections.abc import Iterable

from pkt_bench import (
    LLAMA_LIKE,
    AdapterSettings,
    Method,
    Question,
    Settings,
    TransferContext,
    Transferred,
    add_adapter,
    finetune,
    hookimpl,
)


class NoSettings(Settings):
    """A reference has nothing to set."""


def untouched_student(context: TransferContext) -> Transferred:
    """The student as it is."""
    return Transferred(context.pair.student, payload={})


def untouched_teacher(context: TransferContext) -> Transferred:
    """The teacher as it is."""
    return Transferred(context.pair.teacher, payload={})


def lora(context: TransferContext) -> Transferred:
    """A LoRA adapter from PEFT's default start (A random, B zero), tuned on the train split."""
    with context.stage("inject"):
        model = add_adapter(context.pair.student, context.settings)
    trained = finetune(context, model, context.settings)
    return Transferred(model, payload={}, selection=trained.selection, notes=trained.notes)


def skip_lora(question: Question) -> str | None:
    """The adapter goes on layers laid out as in Llama."""
    if question.student.family in LLAMA_LIKE:
        return None
    return (
        f"the student of pair '{question.pair.name}' is a {question.student.family} model;"
        f" adapters are put on {', '.join(sorted(LLAMA_LIKE))}"
    )


@hookimpl
def pkt_bench_methods() -> Iterable[Method]:
    """Two references and the plain fine-tuning."""
    yield Method(
        name="student",
        summary="the student as it is",
        paradigm="reference",
        transfer=untouched_student,
        settings=NoSettings,
        changes_student=False,
    )
    yield Method(
        name="teacher",
        summary="the teacher as it is: the ceiling",
        paradigm="reference",
        transfer=untouched_teacher,
        settings=NoSettings,
        changes_student=False,
    )
    yield Method(
        name="lora",
        summary="LoRA from a random start, tuned on the train split: the same effort without the teacher",
        paradigm="control",
        transfer=lora,
        settings=AdapterSettings,
        skip=skip_lora,
        paper="https://arxiv.org/abs/2106.09685",
    )

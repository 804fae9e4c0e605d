"""The methods every other one is compared with: the models as they are, tuning without a teacher, distillation.

  student, teacher  nothing is transferred; "gap closed" is measured between them
  lora              a LoRA adapter from a random start, tuned on the suite's own records (`init` names PEFT's other
                    starts); `lora-gaussian` is its control: is a difference between starts more than that between two
                    random ones?
  pissa             the adapter starts at the student's own principal directions
  full              every weight is tuned
  lora-matched      LoRA on exactly the records that LaTen's alignment sees: a control of `laten`
  seqkd, kd, gkd    LoRA that learns what the teacher says: its answers, its distributions, its distributions on
                    answers of the student's own

All of them are tuned by the harness's one loop: same records, order, schedule and choice of the rate, so that they
differ by their start or by their signal alone. README.md says what TRL's trainers would do otherwise, what a cell costs
and where the default rates come from.
"""

from __future__ import annotations

from collections.abc import Iterable

from pkt_bench import Method, TransferContext, Transferred, hookimpl
from pkt_bench_baselines import needs, skips
from pkt_bench_baselines.settings import (
    FullSettings,
    GaussianSettings,
    GkdSettings,
    KdSettings,
    LoraSettings,
    MatchedSettings,
    PissaSettings,
    ReferenceSettings,
    SeqKdSettings,
)


def untouched_student(context: TransferContext) -> Transferred:
    """The student as it is."""
    return Transferred(context.pair.student, payload={})


def untouched_teacher(context: TransferContext) -> Transferred:
    """The teacher as it is."""
    return Transferred(context.pair.teacher, payload={})


def lora(context: TransferContext) -> Transferred:
    """An adapter, tuned on the train split."""
    from pkt_bench_baselines import tuned

    return tuned.lora(context)


def lora_matched(context: TransferContext) -> Transferred:
    """An adapter, tuned on what LaTen's alignment sees."""
    from pkt_bench_baselines import tuned

    return tuned.lora_matched(context)


def pissa(context: TransferContext) -> Transferred:
    """An adapter at the student's own directions, tuned on the train split."""
    from pkt_bench_baselines import tuned

    return tuned.pissa(context)


def full(context: TransferContext) -> Transferred:
    """Every weight, tuned on the train split."""
    from pkt_bench_baselines import tuned

    return tuned.full(context)


def seqkd(context: TransferContext) -> Transferred:
    """An adapter, tuned on the teacher's answers."""
    from pkt_bench_baselines import distilled

    return distilled.seqkd(context)


def kd(context: TransferContext) -> Transferred:
    """An adapter, tuned towards the teacher's distributions on the train split."""
    from pkt_bench_baselines import distilled

    return distilled.kd(context)


def gkd(context: TransferContext) -> Transferred:
    """An adapter, tuned towards the teacher's distributions, partly on the student's own answers."""
    from pkt_bench_baselines import distilled

    return distilled.gkd(context)


@hookimpl
def pkt_bench_methods() -> Iterable[Method]:
    """Two references, tuning without a teacher, and distillation."""
    yield Method(
        name="student",
        summary="the student as it is",
        paradigm="reference",
        transfer=untouched_student,
        settings=ReferenceSettings,
        changes_student=False,
        uses="nothing",
        estimate=needs.needs_of_student,
    )
    yield Method(
        name="teacher",
        summary="the teacher as it is: the ceiling",
        paradigm="reference",
        transfer=untouched_teacher,
        settings=ReferenceSettings,
        changes_student=False,
        estimate=needs.needs_of_teacher,
    )
    yield Method(
        name="lora",
        summary="LoRA from a random start, tuned on the train split: the same effort without the teacher",
        paradigm="control",
        transfer=lora,
        settings=LoraSettings,
        skip=skips.skip_lora,
        paper="https://arxiv.org/abs/2106.09685",
        uses="nothing",
        estimate=needs.needs_of_lora,
    )
    yield Method(
        name="lora-gaussian",
        summary="LoRA from a Gaussian start: how much another random start alone changes",
        paradigm="control",
        transfer=lora,
        settings=GaussianSettings,
        skip=skips.skip_lora,
        paper="https://arxiv.org/abs/2106.09685",
        control_of="lora",
        uses="nothing",
        estimate=needs.needs_of_lora,
    )
    yield Method(
        name="lora-matched",
        summary="LoRA tuned on exactly the records that LaTen's alignment sees",
        paradigm="control",
        transfer=lora_matched,
        settings=MatchedSettings,
        skip=skips.skip_matched,
        paper="https://arxiv.org/abs/2505.14436",
        control_of="laten",
        uses="nothing",
        estimate=needs.needs_of_matched,
    )
    yield Method(
        name="pissa",
        summary="LoRA started from the student's own principal directions (PiSSA)",
        paradigm="control",
        transfer=pissa,
        settings=PissaSettings,
        skip=skips.skip_pissa,
        paper="https://arxiv.org/abs/2404.02948",
        uses="nothing",
        estimate=needs.needs_of_pissa,
    )
    yield Method(
        name="full",
        summary="every weight of the student, tuned on the train split",
        paradigm="control",
        transfer=full,
        settings=FullSettings,
        skip=skips.skip_full,
        uses="nothing",
        estimate=needs.needs_of_full,
    )
    yield Method(
        name="seqkd",
        summary="LoRA tuned on the teacher's own answers to the train split (sequence-level distillation)",
        paradigm="language",
        transfer=seqkd,
        settings=SeqKdSettings,
        skip=skips.skip_lora,
        paper="https://arxiv.org/abs/1606.07947",
        uses="outputs",
        estimate=needs.needs_of_seqkd,
    )
    yield Method(
        name="kd",
        summary="LoRA tuned towards the teacher's distribution of every token (word-level distillation)",
        paradigm="language",
        transfer=kd,
        settings=KdSettings,
        skip=skips.skip_kd,
        paper="https://arxiv.org/abs/1503.02531",
        uses="outputs",
        estimate=needs.needs_of_kd,
    )
    yield Method(
        name="gkd",
        summary="LoRA tuned towards the teacher's distributions on the student's own answers (on-policy distillation)",
        paradigm="language",
        transfer=gkd,
        settings=GkdSettings,
        skip=skips.skip_kd,
        paper="https://arxiv.org/abs/2306.13649",
        uses="outputs",
        estimate=needs.needs_of_gkd,
    )

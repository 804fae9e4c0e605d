"""What the baselines would need at most, by formula, from the configurations alone.

N is the number of a model's parameters, P that of the adapter's, V the vocabulary, w the most tokens a record may have
(`max_length`, or the student's positions where these are fewer). Weights are counted at 4 bytes each, as in float32:
half of that in bfloat16. The activations of one pass are not counted: they depend on the kernels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pkt_bench import AdapterSettings, Architecture, Estimate, FinetuneSettings, Question, Split, adapted_modules
from pkt_bench_baselines.settings import GkdSettings, KdSettings, MatchedSettings, SeqKdSettings

ROWS, CACHE_BYTES = 64, 4 * 2**30
"""Those of `writing.py`, which loads torch."""


def needs_of_student(question: Question) -> Sequence[Estimate]:
    """One model in memory."""
    return [Estimate("student", "4 N_S", 4.0 * question.student.parameters, "bytes")]


def needs_of_teacher(question: Question) -> Sequence[Estimate]:
    """One model in memory."""
    return [Estimate("teacher", "4 N_T", 4.0 * question.teacher.parameters, "bytes")]


def needs_of_lora(question: Question) -> Sequence[Estimate]:
    """The student twice (to change, and to compare with) and the adapter with what AdamW keeps of it."""
    return _tuning(question, _records(question))


def needs_of_matched(question: Question) -> Sequence[Estimate]:
    """As LoRA, on the records of the alignment steps."""
    settings: MatchedSettings = question.settings
    return _tuning(question, settings.steps * settings.align_batch)


def needs_of_pissa(question: Question) -> Sequence[Estimate]:
    """As LoRA, and the leading directions of every adapted matrix by its Gram matrix, one after the other."""
    shapes = [shape for shape, times in _adapted(question.student, question.settings) for _ in range(times)]
    flop = sum(2.0 * math.prod(shape) * min(shape) + 9.0 * min(shape) ** 3 for shape in shapes)
    largest = max((8.0 * min(shape) ** 2 + 8.0 * math.prod(shape) for shape in shapes), default=0.0)
    return [
        Estimate("decompose", "sum over matrices of 2 m n min(m,n) + 9 min(m,n)^3", flop, "FLOP"),
        Estimate("decompose: the largest matrix", "8 min(m,n)^2 + 8 m n", largest, "bytes"),
        *_tuning(question, _records(question)),
    ]


def needs_of_full(question: Question) -> Sequence[Estimate]:
    """The student twice, a gradient and two moments of every weight, and with several rates the start and the best."""
    settings: FinetuneSettings = question.settings
    size, window = question.student.parameters, _window(question)
    copies = 5 + 2 * (len(settings.learning_rate) > 1)
    passes = settings.epochs * len(settings.learning_rate)
    tokens = float(_records(question) * window)
    return [
        Estimate("tune: memory", f"4 x {copies} N_S", 4.0 * copies * size, "bytes"),
        Estimate(
            "tune",
            f"6 N_S x {passes} passes x records x w, w = {window}, and 2 N_S x validation",
            6.0 * size * passes * tokens + _validating(question),
            "FLOP",
        ),
    ]


def needs_of_seqkd(question: Question) -> Sequence[Estimate]:
    """As LoRA, and the teacher reading and writing every record once."""
    settings: SeqKdSettings = question.settings
    teacher, window = question.teacher, min(settings.max_length, question.teacher.positions)
    one = 8.0 * window * teacher.layers * teacher.kv_heads * teacher.head_dim
    keys = max(one, min(float(CACHE_BYTES), min(ROWS, _records(question)) * one))
    return [
        Estimate(
            "answer: memory",
            f"4 N_T + 8 w L kv_heads head_dim of up to {ROWS} records within 4 GiB, w = {window}",
            4.0 * teacher.parameters + keys,
            "bytes",
        ),
        Estimate(
            "answer",
            f"2 N_T x records x w, w = {window}",
            2.0 * teacher.parameters * _records(question) * window,
            "FLOP",
        ),
        *_tuning(question, _records(question)),
    ]


def needs_of_kd(question: Question) -> Sequence[Estimate]:
    """As LoRA, and the teacher's logits of every token: once where they are kept, otherwise at every step."""
    settings: KdSettings = question.settings
    return [*_telling(question, settings, 1.0), *_tuning(question, _records(question))]


def needs_of_gkd(question: Question) -> Sequence[Estimate]:
    """As `kd`, and for a share lmbda of the steps the student writing and the teacher reading what it wrote."""
    settings: GkdSettings = question.settings
    window = _window(question)
    passes = settings.epochs * len(settings.learning_rate)
    tokens = settings.lmbda * passes * _records(question) * window
    amount = 2.0 * (question.student.parameters + question.teacher.parameters) * tokens
    return [
        *_telling(question, settings, 1.0 - settings.lmbda),
        Estimate("own answers", f"lmbda x {passes} passes x 2 (N_S + N_T) x records x w, w = {window}", amount, "FLOP"),
        *_tuning(question, _records(question)),
    ]


# ---------------------------------------------------------------- what they are made of


def adapter_parameters(student: Architecture, settings: AdapterSettings) -> int:
    """P: rank (in + out) summed over everything that gets an adapter."""
    return sum(times * settings.rank * sum(shape) for shape, times in _adapted(student, settings))


def _adapted(student: Architecture, settings: AdapterSettings) -> list[tuple[tuple[int, int], int]]:
    """The shapes that get an adapter, each with how many such matrices there are."""
    outside = {"embed_tokens", "lm_head"}
    modules = adapted_modules(settings.modules, tied=student.tied)
    return [(student.module_shape(module), 1 if module in outside else student.layers) for module in modules]


def _tuning(question: Question, records: int) -> list[Estimate]:
    """An adapter, tuned at every rate: forward through the student, and backward through its activations alone."""
    settings: AdapterSettings = question.settings
    size, window = question.student.parameters, _window(question)
    adapter = adapter_parameters(question.student, settings)
    several = 8 * (len(settings.learning_rate) > 1)
    passes = settings.epochs * len(settings.learning_rate)
    return [
        Estimate("tune: memory", f"4 x 2 N_S + {16 + several} P", 8.0 * size + (16.0 + several) * adapter, "bytes"),
        Estimate(
            "tune",
            f"4 N_S x {passes} passes x records x w, w = {window}, and 2 N_S x validation",
            4.0 * size * passes * records * window + _validating(question),
            "FLOP",
        ),
    ]


def _telling(question: Question, settings: KdSettings, share: float) -> list[Estimate]:
    """The teacher's logits on the records; `share` of the steps need them."""
    window, teacher = _window(question), question.teacher
    vocabulary = min(teacher.vocabulary, question.student.vocabulary)
    records = _records(question)
    logits = 4.0 * records * window * vocabulary
    kept = logits <= settings.kept_bytes
    passes = 1.0 if kept else share * settings.epochs * len(settings.learning_rate)
    how = "once" if kept else f"{passes:g} times"
    return [
        Estimate("teach: memory", "4 N_T", 4.0 * teacher.parameters, "bytes"),
        Estimate(
            "teach: logits",
            "the smaller of 4 V x records x w and kept_bytes" if settings.kept_bytes else "kept_bytes is 0",
            min(logits, float(settings.kept_bytes)),
            "bytes",
        ),
        Estimate(
            "teach",
            f"2 N_T x records x w, {how}, w = {window}",
            2.0 * teacher.parameters * passes * records * window,
            "FLOP",
        ),
    ]


def _validating(question: Question) -> float:
    settings: FinetuneSettings = question.settings
    rates = len(settings.learning_rate)
    if rates == 1:
        return 0.0
    return 2.0 * question.student.parameters * rates * _count(question, "validation") * _window(question)


def _window(question: Question) -> int:
    settings: FinetuneSettings = question.settings
    return min(settings.max_length, question.student.positions)


def _records(question: Question) -> int:
    settings: FinetuneSettings = question.settings
    return min(_count(question, "train"), settings.train_records or _count(question, "train"))


def _count(question: Question, split: Split) -> int:
    return len(question.suite.records(split))

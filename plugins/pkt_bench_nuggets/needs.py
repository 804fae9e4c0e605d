"""What `nuggets` and `postpkt` would need at most, by formula, from the configurations alone.

N is the number of a model's parameters, P that of the adapters', w the most tokens a record may have (`max_length`, or
the positions of the model where these are fewer). Weights are counted at 4 bytes each, as in float32: half of that in
bfloat16. The activations of one pass over one record are not counted: they depend on the kernels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pkt_bench import Architecture, Estimate, Question, adapted_modules
from pkt_bench_nuggets.settings import NuggetsSettings, PostPktSettings

OUTSIDE = {"embed_tokens", "lm_head"}


def needs_of_nuggets(question: Question) -> Sequence[Estimate]:
    """Sensitivities of the teacher, windows and factors of its matrices, and the tuning of the adapters."""
    return [*_locate(question), *_extract(question), *_tune(question, _train_records(question))]


def needs_of_postpkt(question: Question) -> Sequence[Estimate]:
    """As `nuggets` where the start comes from the teacher, on the records its `data` names."""
    settings: PostPktSettings = question.settings
    teacher = [*_locate(question), *_extract(question)] if settings.init == "nuggets" else []
    aligned = settings.align_steps * settings.align_batch
    return [*teacher, *_tune(question, aligned if settings.data == "align" else _train_records(question))]


def _locate(question: Question) -> list[Estimate]:
    settings: NuggetsSettings = question.settings
    if settings.layers != "sensitivity" and settings.structure == "random":
        return []
    teacher = question.teacher
    window = min(settings.max_length, teacher.positions)
    seeds = min(settings.seed_records, len(question.suite.records("extract")))
    table = teacher.vocabulary * teacher.hidden
    tables = 1 if teacher.tied else 2
    if question.streams_teacher(stream=question.settings.stream):
        inputs = 4.0 * seeds * window * (teacher.layers + 1) * teacher.hidden
        memory = Estimate(
            "locate: memory, teacher streamed",
            "4 x (3 layer + tables + 2 table + largest matrix) + inputs 4 seeds w (L_T + 1) d_T",
            4.0 * (3 * teacher.layer_parameters + (tables + 2) * table + _largest(teacher)) + inputs,
            "bytes",
        )
        flop = 8.0
    else:
        memory = Estimate(
            "locate: memory, teacher resident",
            "4 x (2 N_T + largest matrix): weights, running sum, one gradient",
            4.0 * (2 * teacher.parameters + _largest(teacher)),
            "bytes",
        )
        flop = 6.0
    return [
        memory,
        Estimate("locate: kept on disk", "4 N_T", 4.0 * teacher.parameters, "bytes"),
        Estimate(
            "locate",
            f"{flop:g} N_T x w x seeds, w = {window}, {seeds} seeds",
            flop * teacher.parameters * window * seeds,
            "FLOP",
        ),
    ]


def _extract(question: Question) -> list[Estimate]:
    teacher, student = question.teacher, question.student
    shapes = _shapes(student, question.settings)
    large = max((math.prod(teacher.module_shape(module)) for module, _, _ in shapes), default=0)
    held = 0 if question.streams_teacher(stream=question.settings.stream) else teacher.parameters
    factors = sum(times * (2.0 * math.prod(shape) * min(shape) + 9.0 * min(shape) ** 3) for _, shape, times in shapes)
    return [
        Estimate(
            "extract: memory",
            ("" if question.streams_teacher(stream=question.settings.stream) else "4 N_T + ")
            + "18 m_T n_T of the largest matrix: weight, as stored, sensitivity, the same transposed, flags",
            4.0 * held + 18.0 * large,
            "bytes",
        ),
        Estimate("extract: factors", "sum over matrices of 2 m n min(m,n) + 9 min(m,n)^3", factors, "FLOP"),
    ]


def _tune(question: Question, records: int) -> list[Estimate]:
    settings: NuggetsSettings = question.settings
    student = question.student
    adapters = sum(times * settings.rank * sum(shape) for _, shape, times in _shapes(student, settings))
    window = min(settings.max_length, student.positions)
    rates = len(settings.learning_rate)
    passes = settings.epochs * rates
    several = 8 * (rates > 1)
    validating = 2.0 * student.parameters * rates * len(question.suite.records("validation")) * window
    return [
        Estimate("tune: adapters", "P = rank x sum (in + out)", 4.0 * adapters, "bytes"),
        Estimate(
            "tune: memory",
            f"4 x 2 N_S + {16 + several} P",
            8.0 * student.parameters + (16.0 + several) * adapters,
            "bytes",
        ),
        Estimate(
            "tune",
            f"4 N_S x {passes} passes x records x w, w = {window}, and 2 N_S x validation",
            4.0 * student.parameters * passes * records * window + (validating if rates > 1 else 0.0),
            "FLOP",
        ),
    ]


def _train_records(question: Question) -> int:
    count = len(question.suite.records("train"))
    return min(count, question.settings.train_records or count)


def _shapes(model: Architecture, settings: NuggetsSettings) -> list[tuple[str, tuple[int, int], int]]:
    """Each adapted module of `model`, its shape, and how many there are of it."""
    modules = adapted_modules(settings.modules, tied=model.tied)
    return [(name, model.module_shape(name), 1 if name in OUTSIDE else model.layers) for name in modules]


def _largest(model: Architecture) -> int:
    inside = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    return max(math.prod(model.module_shape(module)) for module in inside)

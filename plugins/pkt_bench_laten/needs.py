"""What `laten` would need at most, by formula, from the configurations alone.

L, d, f, V are a model's layers, width, feed-forward neurons and vocabulary, h its attention channels (heads x
head_dim), N its parameters; w the most tokens a record may have (`max_length`, or the student's positions where these
are fewer), E the records located on, R the neurons injected at the largest rate. Numbers are counted at 4 bytes each,
as in float32: half of that in bfloat16. The activations of one pass are not counted: they depend on the kernels.
"""

from __future__ import annotations

from collections.abc import Sequence

from pkt_bench import Architecture, Estimate, Question
from pkt_bench_laten.anatomy import SCORE, Module, ScoreName
from pkt_bench_laten.settings import LatenSettings


def needs_of_laten(question: Question) -> Sequence[Estimate]:
    """Locating in both models, and aligning and choosing with the student."""
    return [*_locate(question), *_align(question), *_choose(question)]


def neurons_injected(question: Question, rate: float) -> int:
    """R: how many neurons the student receives at a rate, over all layers and kinds of modules."""
    settings: LatenSettings = question.settings
    theirs, ours = _sizes(question.teacher), _sizes(question.student)
    return question.student.layers * sum(_count(ours, theirs, module, rate) for module in settings.modules)


def _locate(question: Question) -> list[Estimate]:
    settings: LatenSettings = question.settings
    teacher, window, records = question.teacher, _window(question), _records(question)
    table, held = teacher.vocabulary * teacher.hidden, _internals(teacher)
    tables = 1 if teacher.tied else 2
    texts = records * (held + 6 * teacher.vocabulary)
    if question.streams_teacher(stream=question.settings.stream):
        # a table being read is there twice, as stored and as used, with a flag for each entry
        read = (tables + 1.25) * table
        weights = 2 * teacher.layer_parameters + read + records * window * teacher.hidden
        memory = Estimate(
            "locate: memory, teacher streamed",
            "4 x (2 layer + tables + 1.25 table + E (w d_T + L_T (6 d_T + 3 f + 4 h) + 6 V))",
            4.0 * (weights + texts),
            "bytes",
        )
    else:
        memory = Estimate(
            "locate: memory, teacher resident",
            "4 x (N_T + layer + E (L_T (6 d_T + 3 f + 4 h) + 6 V))",
            4.0 * (teacher.parameters + teacher.layer_parameters + texts),
            "bytes",
        )
    both = (question.teacher, question.student)
    forward = 2.0 * records * window * sum(model.parameters for model in both)
    return [
        memory,
        Estimate("locate: forward", f"2 (N_T + N_S) E w, w = {window}", forward, "FLOP"),
        Estimate(*_scoring(settings), sum(_scoring_flop(model, records, settings) for model in both), "FLOP"),
    ]


def _scoring(settings: LatenSettings) -> tuple[str, str]:
    if settings.scores == "first-order":
        return "locate: first-order scores", "both models' E L (16 V d + 2 (f + h) d)"
    return "locate: exact scores", "both models' 2 L (f + 2 h) V d + 6 E L (f + 2 h) V; lists by bounds: a part of it"


def _scoring_flop(model: Architecture, records: int, settings: LatenSettings) -> float:
    heads = model.heads * model.head_dim
    if settings.scores == "first-order":
        per_layer = 16.0 * model.vocabulary * model.hidden + 2.0 * (model.ffn + heads) * model.hidden
        return records * model.layers * per_layer
    neurons = model.layers * (model.ffn + 2.0 * heads)
    return 2.0 * neurons * model.vocabulary * model.hidden + 6.0 * records * neurons * model.vocabulary


def _align(question: Question) -> list[Estimate]:
    settings: LatenSettings = question.settings
    teacher, student = question.teacher, question.student
    network = len(settings.modules) * teacher.hidden * (teacher.hidden + student.hidden)
    injected = neurons_injected(question, max(settings.rate, *settings.inject_rates))
    kept = 4 * len(settings.inject_steps)
    stepped = neurons_injected(question, settings.rate)
    steps, window = max(settings.inject_steps), _window(question)
    return [
        Estimate(
            "extract: memory",
            "8 R d_T + 9 f d_T: neurons one by one and stacked, a weight as stored and as read",
            8.0 * injected * teacher.hidden + 9.0 * teacher.ffn * teacher.hidden,
            "bytes",
        ),
        Estimate("align: knowledge", "4 R d_T", 4.0 * injected * teacher.hidden, "bytes"),
        Estimate("align: networks", f"M d_T (d_T + d_S) x {16 + kept}", (16.0 + kept) * network, "bytes"),
        Estimate(
            "align: memory",
            f"4 x 2 N_S + M d_T (d_T + d_S) x {16 + kept} + 8 R (d_T + d_S)",
            8.0 * student.parameters + (16.0 + kept) * network + 8.0 * injected * (teacher.hidden + student.hidden),
            "bytes",
        ),
        Estimate(
            "align: translate",
            f"6 R d_T (d_T + d_S) x {steps} steps",
            6.0 * stepped * teacher.hidden * (teacher.hidden + student.hidden) * steps,
            "FLOP",
        ),
        Estimate(
            "align",
            f"4 N_S x {steps} steps x {settings.align_batch} records x w, w = {window}",
            4.0 * student.parameters * steps * settings.align_batch * window,
            "FLOP",
        ),
    ]


def _choose(question: Question) -> list[Estimate]:
    settings: LatenSettings = question.settings
    records = min(settings.validation_records, len(question.suite.records("validation")))
    candidates = len(settings.inject_steps) * len(settings.inject_rates)
    if not records:
        return []
    flop = 2.0 * question.student.parameters * records * _window(question) * (candidates + 1)
    return [Estimate("choose", f"2 N_S x validation x w x {candidates + 1}", flop, "FLOP")]


def _internals(model: Architecture) -> int:
    """Numbers kept of a record: internals of all layers as they are gathered and stacked, and scores."""
    heads = model.heads * model.head_dim
    return model.layers * (6 * model.hidden + 3 * model.ffn + 4 * heads)


def _sizes(model: Architecture) -> dict[ScoreName, int]:
    return {"ffn": model.ffn, "attention": model.heads * model.head_dim, "value": model.kv_heads * model.head_dim}


def _count(ours: dict[ScoreName, int], theirs: dict[ScoreName, int], module: Module, rate: float) -> int:
    """That of `locate.neuron_count`, which loads torch."""
    return min(max(1, int(ours[SCORE[module]] * rate)), theirs[SCORE[module]])


def _window(question: Question) -> int:
    return min(question.settings.max_length, question.student.positions)


def _records(question: Question) -> int:
    return min(question.settings.extract_records, len(question.suite.records("extract")))

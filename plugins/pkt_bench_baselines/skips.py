"""Why a baseline cannot do a pair and suite, from the configurations alone."""

from __future__ import annotations

from pkt_bench import LLAMA_LIKE, FinetuneSettings, Question, Split, adapted_modules
from pkt_bench_baselines.settings import PissaSettings


def skip_full(question: Question) -> str | None:
    """Something to learn from, and to choose a rate by."""
    return _no_records(question, "train")


def skip_lora(question: Question) -> str | None:
    """The adapter goes on layers laid out as in Llama."""
    return _not_adaptable(question) or _no_records(question, "train")


def skip_matched(question: Question) -> str | None:
    """What LaTen's alignment sees has to be there."""
    return _not_adaptable(question) or _no_records(question, "extract", "align")


def skip_pissa(question: Question) -> str | None:
    """A matrix has no more directions than its smaller side."""
    settings: PissaSettings = question.settings
    for module in adapted_modules(settings.modules, tied=question.student.tied):
        shape = question.student.module_shape(module)
        if settings.rank > min(shape):
            return (
                f"rank {settings.rank} is too large for the student's {module} {shape};"
                f" it may be {min(shape)} at most: --set pissa.rank=..."
            )
    return skip_lora(question)


def skip_kd(question: Question) -> str | None:
    """Distributions can be compared over the same tokens alone."""
    if not question.same_tokenizer:
        return (
            "teacher and student have different tokenizers, so their distributions are over different tokens;"
            " seqkd needs only the teacher's text"
        )
    return skip_lora(question)


def _not_adaptable(question: Question) -> str | None:
    if question.student.family in LLAMA_LIKE:
        return None
    return (
        f"the student of pair '{question.pair.name}' is a {question.student.family} model;"
        f" adapters are put on {', '.join(sorted(LLAMA_LIKE))}"
    )


def _no_records(question: Question, *splits: Split) -> str | None:
    settings: FinetuneSettings = question.settings
    for split in splits:
        if not question.suite.records(split):
            return f"suite '{question.suite.name}' has no {split} records to learn from"
    if len(settings.learning_rate) > 1 and not question.suite.records("validation"):
        return (
            f"suite '{question.suite.name}' has no validation records to choose a learning rate by;"
            " give one alone: --set METHOD.learning_rate=..."
        )
    return None

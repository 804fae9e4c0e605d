"""What a teacher answers to the prompts of the train split, as records: written once per teacher and suite."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pkt_bench import Message, PktBenchError, PromptSpec, Record, TransferContext
from pkt_bench_baselines.settings import SeqKdSettings
from pkt_bench_baselines.writing import end_tokens, write

FILE = "answers.json"


@dataclass(frozen=True)
class Answers:
    """Records with the teacher's finished answers in the place of the suite's, and what became of the others.

    Attributes:
        records: one for each finished answer, in the split's order.
        unfinished: how many answers were not finished within their limit, and are left out.
        alike: how many finished answers are the suite's own, to the letter.
        bytes: length of the answers' text in UTF-8: what moved from teacher to student.
    """

    records: tuple[Record, ...]
    unfinished: int
    alike: int
    bytes: int


def teacher_answers(context: TransferContext) -> Answers:
    """The teacher's answers to the train split, from the cache where they were written before.

    Greedy answers do not depend on the cell's seed; sampled ones do.

    Raises:
        PktBenchError: none was finished.
    """
    settings: SeqKdSettings = context.settings
    asked = context.records("train")[: settings.train_records]
    inputs = {
        **context.teacher_key,
        "records": settings.train_records,
        "max_length": settings.max_length,
        "max_new_tokens": settings.max_new_tokens,
        "temperature": settings.temperature,
        "seed": context.seed if settings.temperature > 0 else None,
    }

    def compute(folder: Path) -> None:
        texts = _answer(context, asked)
        (folder / FILE).write_text(json.dumps(texts), encoding="utf-8")

    with context.stage("answer"):
        folder = context.cached_files("teacher-answers", inputs, compute)
    texts: list[str | None] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    finished = [(record, text) for record, text in zip(asked, texts, strict=True) if text is not None]
    if not finished:
        raise PktBenchError(
            f"seqkd: the teacher finished none of {len(asked)} answers to the train split of '{context.suite.name}'.\n"
            "  An answer is finished by the end token, or by the suite's close_answer. Raise seqkd.max_new_tokens."
        )
    return Answers(
        records=tuple(answered(record, text) for record, text in finished),
        unfinished=len(asked) - len(finished),
        alike=sum(record.answer == text for record, text in finished),
        bytes=sum(len(text.encode()) for _, text in finished),
    )


def answered(record: Record, text: str) -> Record:
    """The same question with another answer."""
    return replace(record, messages=(*record.messages[:-1], Message("assistant", text)))


def _answer(context: TransferContext, records: Sequence[Record]) -> list[str | None]:
    """The teacher's answer to each record's prompt as text, None where it was not finished."""
    settings: SeqKdSettings = context.settings
    teacher, tokenizer, prompt = context.pair.teacher, context.pair.teacher_tokenizer, context.suite.prompt
    window = min(settings.max_length, getattr(teacher.config, "max_position_embeddings", settings.max_length))
    prompts, longest = [], 0
    for record in records:
        question, answer = prompt.render(record)
        begin = [tokenizer.bos_token_id] if prompt.bos and tokenizer.bos_token_id is not None else []
        prompts.append([*begin, *tokenizer.encode(question, add_special_tokens=False)])
        longest = max(longest, len(tokenizer.encode(answer, add_special_tokens=False)) + 1)
    limit = settings.max_new_tokens or 2 * longest
    # an empty prompt has nothing to continue, and one that fills the window leaves no room
    able = [i for i, ids in enumerate(prompts) if 0 < len(ids) < window]
    ends = end_tokens(teacher, tokenizer)
    limits = [min(limit, window - len(prompts[i])) for i in able]
    written = write(teacher, [prompts[i] for i in able], limits, ends, settings.temperature) if able else []
    texts: list[str | None] = [None] * len(records)
    for index, ids in zip(able, written, strict=True):
        texts[index] = finished_text(tokenizer, prompts[index], ids, ends, prompt)
    return texts


def finished_text(
    tokenizer: Any,  # noqa: ANN401 - of any family
    prompt_ids: Sequence[int],
    ids: Sequence[int],
    ends: frozenset[int],
    prompt: PromptSpec,
) -> str | None:
    """The text of an answer up to its end, or None where it has none.

    It is the difference of two decoded texts: decoded alone, a sentencepiece answer loses the blank in front.
    """
    ended = ids[-1] in ends
    body = ids[:-1] if ended else ids
    before = tokenizer.decode(list(prompt_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    whole = tokenizer.decode([*prompt_ids, *body], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    text = whole[len(before) :]
    if prompt.close_answer and prompt.close_answer in text:
        return text.partition(prompt.close_answer)[0]
    return text if ended else None

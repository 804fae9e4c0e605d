"""MMLU (arXiv 2009.03300): exam questions with four choices, answered by a letter, over all subjects at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pkt_bench import DataRef, Message, PromptSpec, Record, Suite, Task, dataset_has, dataset_rows

from .places import TASKS
from .splits import Dealt, Pool, Sizes

DATA = DataRef("mmlu", "cais/mmlu", "all", splits=("test", "dev", "validation"), licence="MIT")
SIZES: Sizes = {"extract": 20, "align": 80, "train": 1000, "validation": 200}
PROMPT = PromptSpec(open_answer="\nAnswer:")
SUBJECTS, LETTERS = 57, "ABCD"


def suite() -> Suite:
    """The suite, whose training data are MMLU's validation rows."""
    return Suite(
        name="mmlu",
        summary="exam questions of 57 subjects: the letter of the right choice, 0 shots",
        records=Dealt("mmlu", SIZES, _pool),
        prompt=PROMPT,
        tasks=(Task("pkt_mmlu_oi", metric="acc", chance=0.25),),
        task_path=TASKS,
        test_prompts=test_prompts,
        needs=(DATA,),
    )


def heading(subject: str) -> str:
    """The words above the questions of a subject."""
    return f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"


def question(row: Mapping[str, Any]) -> str:
    """A row's question and its choices."""
    choices = "".join(f"\n{letter}. {text}" for letter, text in zip(LETTERS, row["choices"], strict=True))
    return f"{row['question'].strip()}{choices}"


def record(row: Mapping[str, Any]) -> Record:
    """A row with the letter that is right."""
    return Record(
        (
            Message("system", heading(row["subject"])),
            Message("user", question(row)),
            Message("assistant", f" {LETTERS[row['answer']]}"),
        )
    )


def test_prompts() -> Sequence[str]:
    """What the test documents are asked with."""
    return tuple(PROMPT.render(record(row))[0] for row in dataset_rows(DATA, "test"))


def _pool() -> Pool:
    """The validation rows. The papers took the dev rows too: those are the five shots, and stay apart."""
    notes = []
    subjects = len({row["subject"] for row in dataset_rows(DATA, "test")})
    if subjects < SUBJECTS:
        notes.append(f"the test has {subjects} of {SUBJECTS} subjects: no score on it is one on MMLU")
    split = "validation"
    if not dataset_has(DATA, split):
        split = "dev"
        notes.append(
            "records are made of the dev rows, for the validation rows are missing (mmlu/validation/SUBJECT.jsonl):"
            " dev rows are the shots of pkt_mmlu_oi_5shot, whose scores say little after training on them"
        )
    return Pool([record(row) for row in dataset_rows(DATA, split)], tuple(notes))


def test_rows() -> list[dict[str, Any]]:
    """The test documents as the tasks have them: the prompt, the five shots of the subject, and the right choice."""
    shots: dict[str, str] = {}
    for row in dataset_rows(DATA, "dev"):
        solved = "".join(PROMPT.render(Record.of(question(row), f" {LETTERS[row['answer']]}")))
        shots[row["subject"]] = shots.get(row["subject"], "") + f"{solved}\n\n"
    return [
        {
            "prompt": heading(row["subject"]) + question(row),
            "prompt_5shot": heading(row["subject"]) + shots.get(row["subject"], "") + question(row),
            "subject": row["subject"],
            "answer": row["answer"],
        }
        for row in dataset_rows(DATA, "test")
    ]

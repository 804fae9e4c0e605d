"""GSM8K (arXiv 2110.14168): word problems with a chain of steps, in the words of the papers and of open-instruct."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pkt_bench import DataRef, PromptSpec, Record, Suite, Task, dataset_rows

from .places import TASKS
from .splits import Dealt, Pool, Sizes

DATA = DataRef("gsm8k", "openai/gsm8k", "main", splits=("train", "test"), licence="MIT")
SIZES: Sizes = {"extract": 20, "align": 80, "train": 1000, "validation": 200}
PROMPT = PromptSpec(user="Answer the following question.\n\nQuestion: {content}", open_answer="\nAnswer:")


def suite() -> Suite:
    """The suite, whose training data are GSM8K's own."""
    return Suite(
        name="gsm8k",
        summary="grade school word problems: the last number of the chain, 0 shots",
        records=Dealt("gsm8k", SIZES, _pool),
        prompt=PROMPT,
        tasks=(Task("pkt_gsm8k_oi", metric="exact_match", chance=0.0),),
        task_path=TASKS,
        test_prompts=test_prompts,
        needs=(DATA,),
    )


def text_suite() -> Suite:
    """The same records, scored by how well reference answers are foretold: for models that solve next to nothing."""
    return replace(
        suite(),
        name="gsm8k-text",
        summary="the same problems: bits a byte of the reference answer, lower is better",
        tasks=(Task("pkt_gsm8k_text", metric="answer_bits_per_byte"),),
    )


def record(row: Mapping[str, Any]) -> Record:
    """A row as the papers' records have it: the chain without its annotations, on one line, then the number."""
    chain, number = _parts(row["answer"])
    return Record.of(row["question"].strip(), f" {chain} So the answer is {number}.")


def _parts(answer: str) -> tuple[str, str]:
    chain, _, number = answer.partition("####")
    line = re.sub(r"<<.*?>>", "", chain).strip().replace("\n", " ")
    return line if line.endswith(".") else f"{line}.", number.strip()


def test_prompts() -> Sequence[str]:
    """What the test documents are asked with."""
    return tuple(PROMPT.render(Record.of(row["question"].strip(), ""))[0] for row in dataset_rows(DATA, "test"))


def _pool() -> Pool:
    return Pool([record(row) for row in dataset_rows(DATA, "train")])


def test_rows() -> list[dict[str, Any]]:
    """The test documents as the tasks have them: question, and the number that is right."""
    return [
        {"question": row["question"].strip(), "number": _parts(row["answer"])[1].replace(",", "")}
        for row in dataset_rows(DATA, "test")
    ]


def text_rows() -> list[dict[str, Any]]:
    """The test documents with the answers that a record has."""
    found = ((row["question"].strip(), record(row).answer) for row in dataset_rows(DATA, "test"))
    return [{"question": question, "answer": answer} for question, answer in found]


def is_right(said: str, number: str) -> bool:
    """open-instruct's judgement: the last number of what was said is the right one, punctuation and case aside."""
    without_commas = re.sub(r"(\d),(\d)", r"\1\2", said)
    numbers = re.findall(r"[-+]?\d*\.\d+|\d+", without_commas)
    return _bare(numbers[-1] if numbers else without_commas) == _bare(number)


def _bare(text: str) -> str:
    return text.lower().translate(str.maketrans("", "", string.punctuation))

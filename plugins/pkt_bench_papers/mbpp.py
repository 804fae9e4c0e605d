"""MBPP (arXiv 2108.07732): a function from a sentence, in a code fence, judged by its asserts in the sandbox."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pkt_bench import DataRef, PromptSpec, Record, Split, Suite, Task, dataset_has, dataset_rows

from .places import TASKS
from .splits import Dealt, Pool, Sizes

DATA = DataRef(
    "mbpp", "google-research-datasets/mbpp", "full", splits=("train", "test", "validation"), licence="CC-BY-4.0"
)
SIZES: Sizes = {"extract": 32, "align": 40, "train": 300, "validation": 2}
PROMPT = PromptSpec(
    user="Complete the following python function.\n\n\n{content}",
    open_answer="\nHere is the completed function:\n\n\n```python\n",
    close_answer="\n```",
)


def suite() -> Suite:
    """The suite, whose training data are MBPP's own."""
    return Suite(
        name="mbpp",
        summary="a Python function from a sentence: pass@1, run against its asserts, 0 shots",
        records=_Records("mbpp", SIZES, _pool),
        prompt=PROMPT,
        tasks=(Task("pkt_mbpp_oi", metric="pass_at_1", chance=0.0),),
        task_path=TASKS,
        test_prompts=test_prompts,
        runs_code=True,
        needs=(DATA,),
    )


class _Records(Dealt):
    """The validation split is MBPP's own, where there is one: of the 374 training rows the papers' sizes leave two."""

    def __call__(self, split: Split) -> Sequence[Record]:
        if split == "validation" and dataset_has(DATA, "validation"):
            return [record(row) for row in dataset_rows(DATA, "validation")]
        return super().__call__(split)


def code_of(row: Mapping[str, Any]) -> str:
    """The solution, with the ends of its lines as everywhere else."""
    return "\n".join(line.rstrip() for line in row["code"].replace("\r\n", "\n").expandtabs(4).split("\n")).strip("\n")


def entry_point(row: Mapping[str, Any]) -> str:
    """The function that the asserts call: the last one defined whose name stands in the first of them.

    Raises:
        ValueError: there is none.
    """
    for name in reversed(re.findall(r"^def\s+(\w+)\s*\(", code_of(row), re.MULTILINE)):
        if re.search(rf"\b{name}\s*\(", row["test_list"][0]):
            return str(name)
    raise ValueError(f"row {row['task_id']} defines no function that it tests")


def task_of(row: Mapping[str, Any]) -> str:
    """The sentence, and the head of the function."""
    head = re.search(rf"^def\s+{entry_point(row)}\s*\(.*?\)", code_of(row), re.MULTILINE | re.DOTALL)
    if head is None:
        raise ValueError(f"row {row['task_id']} has a head that does not end")
    return f"{row['text'].strip()}\n{head[0]}"


def record(row: Mapping[str, Any]) -> Record:
    """A row as the papers' records have it, but that its fence is closed."""
    return Record.of(task_of(row), code_of(row))


def test_prompts() -> Sequence[str]:
    """What the test documents are asked with."""
    return tuple(PROMPT.render(record(row))[0] for row in dataset_rows(DATA, "test"))


def _pool() -> Pool:
    notes = () if dataset_has(DATA, "validation") else ("it has 2 validation records: mbpp/validation.jsonl has 90",)
    return Pool([record(row) for row in dataset_rows(DATA, "train")], notes)


def test_rows() -> list[dict[str, Any]]:
    """The test documents as the tasks have them."""
    return [
        {
            "prompt": task_of(row),
            "code": code_of(row),
            "entry_point": entry_point(row),
            "tests": [row["test_setup_code"], *row["test_list"]],
        }
        for row in dataset_rows(DATA, "test")
    ]


def program_of(said: str) -> str:
    """The code of an answer: to where the fence is closed; where words come before a fence of its own, inside that."""
    opened = re.search(r"```(?:python|py)?[ \t]*\n", said)
    if opened is not None and said[: opened.start()].strip() and "def " not in said[: opened.start()]:
        said = said[opened.end() :]
    return said.partition("```")[0]

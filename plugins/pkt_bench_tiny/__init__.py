"""The embedded pair and its three suites: everything a first benchmark needs, small enough to ship.

A teacher and a student, Llama checkpoints trained by `python -m pkt_bench_tiny.train`, and three generated
suites (knowledge, arithmetic, code) on which the teacher knows what the student does not. README.md has the
figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from pkt_bench import ModelRef, Pair, PromptSpec, Record, Split, Suite, Task, hookimpl

from . import arithmetic, code, knowledge

_HERE = Path(__file__).parent


class _Item(Protocol):
    @property
    def prompt(self) -> str: ...
    @property
    def answer(self) -> str: ...


@hookimpl
def pkt_bench_pairs() -> Iterable[Pair]:
    """Offer the embedded pair."""
    yield Pair(
        name="tiny",
        summary="the embedded pair: two small Llamas, the teacher 1.25 times as wide and deep as the student",
        teacher=ModelRef(_HERE / "pair" / "teacher", name="tiny-teacher"),
        student=ModelRef(_HERE / "pair" / "student", name="tiny-student"),
    )


@hookimpl
def pkt_bench_suites() -> Iterable[Suite]:
    """Offer the three suites."""
    yield _suite(
        "knowledge",
        "made-up facts about made-up people, four choices; the student was told 40 % of them",
        knowledge.items,
        Task("tiny_knowledge", metric="acc", chance=0.25),
    )
    yield _suite(
        "arithmetic",
        "word problems of one to three steps, exact match of the number at the end of the chain",
        arithmetic.items,
        Task("tiny_arithmetic", metric="exact_match", filter="final-number", chance=0.0),
    )
    yield _suite(
        "code",
        "list functions of two operations from their docstring, run against tests",
        code.items,
        Task("tiny_code", metric="pass_at_1", chance=0.0),
        runs_code=True,
    )


def _suite(
    name: str, summary: str, items: Callable[..., Sequence[_Item]], task: Task, *, runs_code: bool = False
) -> Suite:
    def records(split: Split) -> Sequence[Record]:
        return tuple(Record.of(item.prompt, item.answer) for item in items(split))

    def test_prompts() -> Sequence[str]:
        return tuple(item.prompt for item in items("test"))

    return Suite(
        name=name,
        summary=summary,
        records=records,
        prompt=PromptSpec(),
        tasks=(task,),
        task_path=_HERE / "tasks",
        test_prompts=test_prompts,
        runs_code=runs_code,
    )

"""`code_eval` for lm-eval's own code tasks: prompts and filters are theirs, answers are judged in the sandbox."""

from __future__ import annotations

import ast
import contextlib
import contextvars
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pkt_bench.errors import UnavailableError
from pkt_bench.sandbox import judge_tests


class CodeEval:
    """What `evaluate.load("code_eval")` gives, but that tests try programs from another confined process."""

    def __init__(self) -> None:
        self.ready = False

    def compute(
        self,
        references: Sequence[str],
        predictions: Sequence[Sequence[str]],
        k: Sequence[int] = (1, 10, 100),
        **_settings: object,
    ) -> tuple[dict[str, float], dict[int, list[tuple[int, dict[str, Any]]]]]:
        """`pass@k` of several programs for each test, and what came of each, as the metric of that name says it.

        Raises:
            UnavailableError: the sandbox itself failed. That is no wrong answer, and must not become a 0.
        """
        if not self.ready:
            # the modules of tasks try it out while they are imported, and throw away what it says
            return {f"pass@{count}": 0.0 for count in k}, {}
        said: dict[int, list[tuple[int, dict[str, Any]]]] = {}
        for number, (tests, programs) in enumerate(zip(references, predictions, strict=True)):
            said[number] = []
            for answer, program in enumerate(programs):
                verdict = passes_tests(program, tests, *_asked(program))
                said[number].append((answer, {"task_id": number, "passed": verdict, "completion_id": answer}))
        counts = [(len(each), sum(one["passed"] for _, one in each)) for each in said.values()]
        figures = {
            f"pass@{count}": sum(_at_least_one(total, right, count) for total, right in counts) / len(counts)
            for count in k
            if all(total >= count for total, _ in counts)
        }
        return figures, said


_document: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar("document")


@contextlib.contextmanager
def judging(document: Mapping[str, Any]) -> Iterator[None]:
    """While answers to a document are judged: its prompt may define functions that its tests call."""
    before = _document.set(document)
    try:
        yield
    finally:
        _document.reset(before)


def _asked(program: str) -> tuple[str | None, str]:
    """The function that is tested and the code it was asked with, where the document at hand tells them."""
    document = _document.get({})
    name, prompt = document.get("entry_point"), document.get("prompt")
    if not (isinstance(name, str) and isinstance(prompt, str) and program.startswith(prompt)):
        return None, ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(prompt)
        except SyntaxError:
            return name, ""
    return name, prompt


def passes_tests(program: str, tests: str, entry_point: str | None = None, prelude: str = "") -> bool:
    """Whether a program passes tests, in the sandbox.

    Raises:
        UnavailableError: the sandbox itself failed.
    """
    verdict = judge_tests(program, tests, entry_point=entry_point, prelude=prelude)
    if not verdict.scored:
        raise UnavailableError(
            f"the sandbox ({verdict.backend}) failed while it judged an answer, which says nothing about the answer:"
            f" {verdict.detail}\n  Run the cell again; if it stays, say what this machine is."
        )
    return verdict.passed


def _at_least_one(total: int, right: int, count: int) -> float:
    """The chance that one of `count` answers drawn from `total` is among the `right` ones (arXiv 2107.03374, eq. 1)."""
    return 1.0 - math.comb(total - right, count) / math.comb(total, count)


@contextlib.contextmanager
def judged_in_sandbox() -> Iterator[None]:
    """While tasks are loaded: who asks the `evaluate` library for `code_eval` gets ours, and keeps it."""
    import evaluate

    stock, made = evaluate.load, list[CodeEval]()

    def load(path: str, *args: Any, **settings: Any) -> Any:  # noqa: ANN401 - as the library's own
        if path != "code_eval":
            return stock(path, *args, **settings)
        made.append(CodeEval())
        return made[-1]

    evaluate.load = load
    try:
        yield
    finally:
        evaluate.load = stock
        for each in made:
            each.ready = True

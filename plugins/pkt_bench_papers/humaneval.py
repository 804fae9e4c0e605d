"""HumanEval (arXiv 2107.03374): the body of a function from its head and docstring, judged by its tests in the sandbox.

HumanEval has no training data. The papers took instruction data of unclear licence; here records are made of MBPP's
training rows: a solution's head, the sentence as its docstring, and the body as the answer.
"""

from __future__ import annotations

import ast
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from pkt_bench import DataRef, PromptSpec, Record, Suite, Task, dataset_rows

from . import mbpp
from .places import TASKS
from .splits import Dealt, Pool, Sizes

DATA = DataRef("humaneval", "openai/openai_humaneval", "openai_humaneval", splits=("test",), licence="MIT")
TRAINING = DataRef(mbpp.DATA.name, mbpp.DATA.hub, mbpp.DATA.config, splits=("train",), licence=mbpp.DATA.licence)
SIZES: Sizes = {"extract": 20, "align": 80, "train": 1000, "validation": 40}
PROMPT = PromptSpec()
NOTE = "records are made of MBPP's training rows, for HumanEval has none: fewer than the papers', and of another kind"


def suite() -> Suite:
    """The suite, whose training data are MBPP's."""
    return Suite(
        name="humaneval",
        summary="the body of a Python function from its docstring: pass@1, run against tests, 0 shots",
        records=Dealt("humaneval", SIZES, _pool),
        prompt=PROMPT,
        tasks=(Task("pkt_humaneval_oi", metric="pass_at_1", chance=0.0),),
        task_path=TASKS,
        test_prompts=test_prompts,
        runs_code=True,
        needs=(DATA, TRAINING),
    )


def prompt_of(row: Mapping[str, Any]) -> str:
    """A document's prompt without the newline at its end.

    Tokenizers have tokens for a newline with the indentation that follows; after a bare newline models stop at once.
    """
    return str(row["prompt"]).rstrip()


def record(row: Mapping[str, Any]) -> Record | None:
    """A row of MBPP as a function to complete; None where its solution does not end in the function that is tested."""
    code = mbpp.code_of(row)
    tree = _parsed(code)
    if tree is None:
        return None
    last = tree.body[-1]
    if not isinstance(last, ast.FunctionDef) or last.name != mbpp.entry_point(row):
        return None
    lines = code.split("\n")
    first = last.body[0]
    if first.lineno == last.lineno or ast.get_docstring(last) is not None:
        return None
    # comments between the head and the body stay with the body
    heads = (number for number in range(last.lineno, first.lineno) if lines[number - 1].rstrip().endswith(":"))
    if (head := next(heads, None)) is None:
        return None
    body = textwrap.indent(textwrap.dedent("\n".join(lines[head:])), "    ")
    sentence = " ".join(row["text"].split()).replace('"""', "'''")
    prompt = "\n".join(lines[:head]) + f'\n    """{sentence}\n    """'
    return Record.of(prompt, f"\n{body}") if _same(f"{prompt}\n{body}", tree) else None


def _parsed(code: str) -> ast.Module | None:
    # whether a warning is an error here must not decide what is a record
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(code)
        except SyntaxError:
            return None


def _same(program: str, tree: ast.Module) -> bool:
    """Whether a program is another one with a docstring in its last function."""
    other = _parsed(program)
    last = other.body[-1] if other is not None else None
    if other is None or not isinstance(last, ast.FunctionDef):
        return False
    del last.body[0]
    return ast.dump(other) == ast.dump(tree)


def test_prompts() -> Sequence[str]:
    """What the test documents are asked with."""
    return tuple(prompt_of(row) for row in dataset_rows(DATA, "test"))


def _pool() -> Pool:
    made = [record(row) for row in dataset_rows(TRAINING, "train")]
    return Pool([each for each in made if each is not None], (NOTE,))


def test_rows() -> list[dict[str, Any]]:
    """The test documents as the tasks have them."""
    return [
        {
            "prompt": prompt_of(row),
            "solution": "\n" + row["canonical_solution"],
            "tests": f"{row['test']}\ncheck({row['entry_point']})",
            "entry_point": row["entry_point"],
        }
        for row in dataset_rows(DATA, "test")
    ]

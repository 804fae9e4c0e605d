"""pass@1 agrees with plain exec, item by item, on the canonical solutions of HumanEval and MBPP and on wrong variants.

Needs the data, which are no part of the project (`../shared/data`), and skips with that reason where they are absent.
A tenth of the items in the normal run; all of them, and a thousand variants in every sandbox, with --long.
"""

from __future__ import annotations

import ast
import json
import os
import random
import warnings
from pathlib import Path
from typing import ClassVar

import pytest

from sandbox.bare import passes_bare

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FILES = ("humaneval/test", "mbpp/prompt", "mbpp/train", "mbpp/test")


@pytest.fixture(scope="session")
def rows() -> list[tuple[str, str, str, str | None, str]]:
    """(name, canonical program, tests, entry point, prelude) of every row."""
    if not DATA.is_dir() and os.environ.get("CI") != "true":
        pytest.skip(f"no benchmark data at {DATA}")
    found = []
    for file in FILES:
        for line in (DATA / f"{file}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            name = f"{file} {row['task_id']}"
            if "entry_point" in row:
                entry, prompt = row["entry_point"], row["prompt"]
                tests = f"{row['test']}\ncheck({entry})"
                found.append((name, prompt + row["canonical_solution"], tests, entry, prompt))
            else:
                tests = "\n".join([row["test_setup_code"], *row["test_list"], *row["challenge_test_list"]])
                found.append((name, row["code"], tests, None, ""))
    return found


class Mutated(ast.NodeTransformer):
    """One change to a program: the `wanted`-th place where one can be made, in the functions of `only` if given."""

    RETURNED = (
        "None", "[{}]", "({},)", "str({})", "(lambda: 1 / 0)()", "iter([{}])", "{} if {} else None", "object()",
        "float({})", "list({})", "tuple({})", "set({})", "(yield {})", "range({})", "not {}", "{} and {}",
        "__import__('fractions').Fraction({})", "__import__('collections').Counter({})", "__import__('sys').exit(0)",
    )  # fmt: skip
    OPERATORS: ClassVar = {
        ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
        ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.FloorDiv, ast.FloorDiv: ast.Div,
    }  # fmt: skip

    def __init__(self, wanted: int, only: str | None) -> None:
        self.wanted, self.only, self.places, self.top = wanted, only, 0, []

    def here(self) -> bool:
        self.places += 1
        return self.places - 1 == self.wanted

    def visit_Module(self, node):
        self.top = node.body
        return self.generic_visit(node)

    def visit_FunctionDef(self, node):
        helper = self.only and node.name != self.only and node in self.top
        return node if helper else self.generic_visit(node)

    def visit_Constant(self, node):
        if isinstance(node.value, bool | int | float) and self.here():
            return ast.Constant(not node.value if isinstance(node.value, bool) else node.value + 1)
        return node

    def visit_Compare(self, node):
        self.generic_visit(node)
        if type(node.ops[0]) in self.OPERATORS and self.here():
            node.ops[0] = self.OPERATORS[type(node.ops[0])]()
        return node

    def visit_BinOp(self, node):
        self.generic_visit(node)
        if type(node.op) in self.OPERATORS and self.here():
            node.op = self.OPERATORS[type(node.op)]()
        return node

    def visit_Return(self, node):
        self.generic_visit(node)
        value = f"({ast.unparse(node.value)})" if node.value else "None"
        for form in self.RETURNED:
            if self.here():
                node.value = ast.parse(form.replace("{}", value), mode="eval").body
        return node


def variant(program: str, entry: str | None, draw: random.Random) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the escapes in their strings
        tree, same = ast.parse(program), ast.parse(program)
    count = Mutated(-1, entry)
    count.visit(same)
    tree = Mutated(draw.randrange(count.places), entry).visit(tree)
    return ast.unparse(ast.fix_missing_locations(tree))


def disagreements(sandbox, items) -> list[str]:
    found = []
    for name, program, tests, entry, prelude in items:
        verdict = sandbox.judge_tests(program, tests, entry_point=entry, prelude=prelude)
        if verdict.passed != passes_bare(program, tests) or not verdict.scored:
            found.append(f"{name}: {verdict.reason}: {verdict.detail}")
    return found


def variants(rows, count: int, seed: int):
    draw = random.Random(seed)
    for _ in range(count):
        name, program, tests, entry, prelude = draw.choice(rows)
        yield name, variant(program, entry, draw), tests, entry, prelude


def test_every_tenth_canonical_solution_passes(rows, sandbox):
    verdicts = {row[0]: sandbox.judge_tests(*row[1:3], entry_point=row[3], prelude=row[4]) for row in rows[::10]}

    assert len(verdicts) == 72
    assert {name: each for name, each in verdicts.items() if not each.passed} == {}


def test_a_variant_passes_exactly_when_it_passes_in_one_interpreter(rows, sandbox):
    assert disagreements(sandbox, variants(rows, 80, seed=3)) == []


@pytest.mark.long
def test_every_canonical_solution_passes(rows, sandbox):
    verdicts = {row[0]: sandbox.judge_tests(*row[1:3], entry_point=row[3], prelude=row[4]) for row in rows}

    assert len(verdicts) == 720
    assert {name: each for name, each in verdicts.items() if not each.passed} == {}


@pytest.mark.long
def test_a_thousand_variants_pass_exactly_when_they_pass_in_one_interpreter(rows, sandbox):
    assert disagreements(sandbox, variants(rows, 1000, seed=5)) == []


def test_the_variants_are_right_and_wrong_ones(rows):
    passed = [passes_bare(program, tests) for _, program, tests, _, _ in variants(rows, 80, seed=3)]

    assert 10 < sum(passed) < 40

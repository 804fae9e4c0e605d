"""plugins/README.md has every hook as the code has it: arguments, signature, what its docstring says, an example."""

import ast
import inspect
import re

import pytest

from docs.documents import ROOT, blocks
from pkt_bench import hookspecs

PAGE = ROOT / "plugins" / "README.md"
HOOKS = {name: getattr(hookspecs, name) for name in dir(hookspecs) if name.startswith("pkt_bench_")}
SAID = ("When", "Cost", "Promise", "Broken by")


def section(name):
    text = PAGE.read_text(encoding="utf-8")
    [found] = re.findall(rf"^### {name}\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL)
    return found


def plain(text):
    return " ".join(text.split())


def test_the_table_lists_every_hook_with_its_arguments():
    listed = dict(
        re.findall(r"^\| \[`(pkt_bench_\w+)\(([^)]*)\)`\]\(#\1\)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    )

    assert listed == {name: ", ".join(inspect.signature(hook).parameters) for name, hook in HOOKS.items()}


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_written_with_its_signature(name):
    # annotations are text, because the page of hooks imports nothing that they name
    signature = f"{name}{inspect.signature(HOOKS[name])}".replace("'", "")

    assert f"\n`{signature}`\n" in section(name)


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_fires_costs_and_promises_what_its_docstring_says(name):
    parts = re.split(rf"^({'|'.join(SAID)}): ", inspect.getdoc(HOOKS[name]), flags=re.MULTILINE)[1:]
    of_the_code = {title: plain(text) for title, text in zip(parts[::2], parts[1::2], strict=True)}

    written = re.findall(r"^\* \*\*([\w ]+)\*\*: (.*?)(?=^\* |^$)", section(name), re.MULTILINE | re.DOTALL)

    assert tuple(of_the_code) == SAID
    assert {title: plain(text) for title, text in written} == of_the_code


def test_every_hook_is_implemented_by_a_file_of_the_page_that_one_of_its_commands_runs():
    found = blocks(PAGE)
    run = " ".join(command for block in found for command in block.commands())

    implemented = {
        each.name
        for block in found
        if block.file.endswith(".py") and f"--plugin {block.file}" in run
        for each in ast.walk(ast.parse(block.text))
        if isinstance(each, ast.FunctionDef) and any(ast.unparse(d) == "hookimpl" for d in each.decorator_list)
    }

    assert implemented == set(HOOKS)

"""What documents say in passing is true, too: commands between the lines parse, paths and links lead somewhere.

What they show as blocks is tried for real: `docs/test_documents.py`.
"""

import re
import shlex

import pytest
import typer.main

from docs.documents import ROOT, blocks, documents
from pkt_bench.cli import app

READMES = documents()
NAMES = [str(path.relative_to(ROOT)) for path in READMES]


def in_passing(path):
    """The text of a document between its blocks, and what it sets in code there."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return text, [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text)]


@pytest.mark.parametrize("path", READMES, ids=NAMES)
def test_every_command_named_in_passing_is_one_the_command_line_knows(path):
    root = typer.main.get_command(app)
    for words in (shlex.split(code)[1:] for code in in_passing(path)[1] if code.startswith("pkt-bench ")):
        command, rest = root, list(words)
        while rest and hasattr(command, "commands") and rest[0] in command.commands:
            command = command.commands[rest.pop(0)]
        assert rest == [] or rest[0].startswith("-") or not hasattr(command, "commands"), f"{words}: no such command"
        flags = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        used = {word for word in rest if word.startswith("-")}
        # completion is typer's own, and only of a program that is installed
        assert used <= flags | {"--help", "-h", "--install-completion"}, f"{words}: {used - flags}"


@pytest.mark.parametrize("path", READMES, ids=NAMES)
def test_every_script_named_in_passing_is_there(path):
    for code in in_passing(path)[1]:
        for name in re.findall(r"^(?:python|pytest|bash) ([\w.][\w./-]*)", code):
            assert (ROOT / name).exists(), code


@pytest.mark.parametrize("path", READMES, ids=NAMES)
def test_every_link_of_a_document_leads_somewhere(path):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?", path.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        there = path.parent / target if target else path
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, anchor


def test_the_readme_promises_two_commands():
    said = "\n".join(block.text for block in blocks(ROOT / "README.md"))

    assert "pip install . && pkt-bench run --methods all" in said
    assert "pip install -e '.[dev]' && pytest" in said

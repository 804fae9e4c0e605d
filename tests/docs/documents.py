"""What a document of the project asks its reader to do: its fenced blocks, in order, as files, commands and scripts.

    language      it is
    none, sh, bash, console   commands, one a line; `&&` puts two on a line, a backslash goes on with the next line
    python, toml, yaml, json  a file, where it is named; a script, where it is Python and is not
    text, other               something to look at

A file is named by its own first line (`# sweep.toml`) or by the paragraph above the block ("Save this as `louder.py`").
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHELL = ("", "sh", "bash", "console")
FILES = ("python", "toml", "yaml", "json")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the number of its first line, the paragraph above it.

    `cut` is the file of a step of the tutorial that it is cut from, or from a part of.
    """

    language: str
    text: str
    line: int
    above: str
    cut: str = ""

    @property
    def file(self):
        """The name of the file that it is, or an empty text."""
        said = re.findall(r"[Ss]ave [^`.]* as `([^`]+)`", self.above)
        first = re.match(r"# ([\w./-]+\.\w+)\s*$", self.text.partition("\n")[0])
        if self.language not in FILES:
            return ""
        return said[-1] if said else first[1] if first else ""

    def commands(self):
        """The commands of a shell's block, as they are written."""
        if self.language not in SHELL:
            return
        for line in self.text.replace("\\\n", " ").splitlines():
            for part in re.split(r"\s&&\s", line.removeprefix("$ ")):
                if command := without_comment(part):
                    yield command


def without_comment(line):
    """A command with single spaces and without what the shell would not read."""
    return " ".join(re.split(r"(?:^|\s)#\s", line)[0].split())


def blocks(path):
    """The fenced blocks of a document."""
    above, open_, inside, found, step = "", False, None, [], ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if inside is None and line.startswith("```"):
            inside, step = Block(line[3:].strip(), "", number + 1, above, step), ""
        elif inside is not None and line.startswith("```"):
            found.append(inside)
            inside, above, open_ = None, "", False
        elif inside is not None:
            inside = replace(inside, text=f"{inside.text}{line}\n")
        elif mark := re.match(r"<!-- (\w+\.\w+).* -->", line):
            step = mark[1]
        elif line.strip():
            above, open_ = f"{above} {line.strip()}" if open_ else line.strip(), True
        else:
            open_ = False
    assert inside is None, f"{path}: the block in line {inside.line} has no end"
    return found


def documents():
    """Every Markdown file of the project, but for hidden folders and for the template of a plugin's project.

    What that one says is true of a project that was made of it: `tests/test_new_plugin.py` runs it there.
    """
    return [
        path
        for path in sorted(ROOT.rglob("*.md"))
        if not any(part.startswith(".") or part == "template" for part in path.relative_to(ROOT).parts)
    ]

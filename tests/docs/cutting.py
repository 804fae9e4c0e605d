"""Cuts the blocks of the tutorial out of files that are tested: `python tests/docs/cutting.py` writes them anew.

A block is cut where the line above it says from what: `<!-- step_4_settings.py -->` is the whole file,
`<!-- step_4_settings.py: skip -->` what stands in it between `# >>> skip` and `# <<<`. A reader calls every step's
plugin `anchor.py`, so what is imported from a step in a test is imported from `anchor` in the document.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

HERE = Path(__file__).resolve().parent / "tutorial"
DOCUMENT = HERE.parents[2] / "plugins" / "TUTORIAL.md"
MARK = re.compile(r"<!-- (\w+\.\w+)(?:: ([\w-]+))? -->\n+(```\w+\n).*?^```$", re.MULTILINE | re.DOTALL)


def whole(name):
    """A file as its reader has it: without marks, its step called by its plugin's name."""
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not re.match(r"\s*# (>>>|<<<)", line)) + "\n"
    # marks have their own empty lines around them
    text = re.sub(r"\n{4,}", "\n\n\n", text)
    return re.sub(r"docs\.tutorial\.step_\d_\w+", "anchor", text)


def part(name, region):
    """What stands between two marks of a file."""
    text = (HERE / name).read_text(encoding="utf-8")
    [found] = re.findall(rf"^ *# >>> {region}\n(.*?)^ *# <<<$", text, re.MULTILINE | re.DOTALL)
    return f"{textwrap.dedent(found).strip()}\n"


def cut(text):
    """The document with its blocks as the files have them now."""

    def anew(found):
        name, region, fence = found.groups()
        mark = f"<!-- {name}{f': {region}' if region else ''} -->"
        return f"{mark}\n\n{fence}{part(name, region) if region else whole(name)}```"

    return MARK.sub(anew, text)


if __name__ == "__main__":
    DOCUMENT.write_text(cut(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{DOCUMENT}\n")

"""The programs that documents name, and how each is run in a test: ours and Python as they are, installers dry."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib

from docs.documents import ROOT
from docs.workplace import Ended, Place

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
INSTALL = (sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "--quiet")
# CI is what runs this test, and runs these beside it
OF_CI = ("ruff", "mypy", "lint-imports")
# what tests of three lines have no use for, and takes two seconds
LEAN = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
CHECKOUT = Place(ROOT, ROOT / "harness")


class Desk:
    """A document's own folder, in which its commands run one after another."""

    def __init__(self, world, folder):
        self.world, self.folder, self.site = world, folder, folder / ".installed"
        self.programs = {
            "pkt-bench": lambda words: world.fork("pkt-bench", words, self),
            "python": lambda words: world.run([sys.executable, *words], self),
            "git": lambda words: world.run(["git", *words], self),
            "cd": self._enter,
            "pip": self._pip,
            "pytest": self._pytest,
            "bash": self._bash,
        }

    def run(self, command):
        """Runs a command as it is written."""
        command, redirected, file = command.partition(" > ")
        if redirected:
            ended = self.run(command)
            (self.folder / file).write_text(ended.out, encoding="utf-8")
            return ended
        program, *words = shlex.split(command)
        if program in OF_CI:
            known = command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
            return Ended(int(not known), "", f".ci/run has no line '{command}'")
        if program not in self.programs:
            return Ended(127, "", f"documents name {', '.join((*self.programs, *OF_CI))}; {program} is none of them")
        return self.programs[program](words)

    def script(self, text):
        """Runs a Python program."""
        return self.world.run([sys.executable, "-"], self, text)

    def write(self, name, text):
        """Saves a file as the document says."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def nameless(self):
        """What is said of a file that a reader could not save."""
        return Ended(
            1, "", "a file has no name: begin it with a comment that is its name, or say 'Save this as `NAME`'"
        )

    def type_in(self, command, shows, keys):
        """Runs a command of ours on a terminal, and types `keys` once `shows` is to be read there."""
        return self.world.on_a_terminal(shlex.split(command)[1:], self, shows, keys)

    def _enter(self, words):
        self.folder = self.folder / words[0]
        return Ended(0 if self.folder.is_dir() else 1, "", f"{self.folder} is no folder")

    def _pip(self, words):
        """What is installed: this checkout, dry; what a document makes, really; else ours."""
        [what] = [word for word in words[1:] if not word.startswith("-")]
        name, _, extra = what.rstrip("]").partition("[")
        extras = PROJECT["optional-dependencies"]
        if name in {".", PROJECT["name"]} and extra and extra not in extras:
            return Ended(1, "", f"pyproject.toml has no extra '{extra}'")
        if name == "." and (self.folder / "pyproject.toml").is_file():
            return self.world.run([*INSTALL, "--target", str(self.site), "."], self)
        if name.startswith("./") and (self.folder / name / "pyproject.toml").is_file():
            return self.world.run([*INSTALL, "--target", str(self.site), name], self)
        if name == ".":
            return self.world.once([*INSTALL, "--dry-run", "."], CHECKOUT)
        ours = {re.split(r"\W", each)[0] for more in (PROJECT["dependencies"], *extras.values()) for each in more}
        return Ended(int(name not in {PROJECT["name"], *ours}), "", f"{name} is no dependency of pyproject.toml")

    def _pytest(self, words):
        """Tests in the document's folder are run; those of the project are collected, of all of them one file's."""
        if (self.folder / "pyproject.toml").is_file() or list(self.folder.glob("test_*.py")):
            return self.world.fork("pytest", ["-q", *LEAN, *words], self)
        named = any(not word.startswith("-") for word in words)
        more = [] if named else ["tests/test_house.py"]
        return self.world.once([sys.executable, "-m", "pytest", "--collect-only", "-q", *words, *more], CHECKOUT)

    def _bash(self, words):
        """CI is what runs this test: here its script is read through."""
        return self.world.run(["bash", "-n", *words], CHECKOUT)

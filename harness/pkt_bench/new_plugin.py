"""A new plugin's project: the template, a working method with everything around it, under another name."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pkt_bench.errors import RequestError, StorageError
from pkt_bench.offered import RESERVED

TEMPLATE = Path(__file__).parent / "template"
LONGEST = 40
_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_PREFIX = re.compile(r"^pkt[-_]bench[-_]")
# what a file system or a tool leaves beside the template's own files
_LEFTOVERS = shutil.ignore_patterns("__pycache__", "*.pyc", ".*_cache")


@dataclass(frozen=True)
class Names:
    """What a method's name becomes: `my-method`, in the package `pkt_bench_my_method` of `pkt-bench-my-method`."""

    method: str

    @property
    def snake(self) -> str:
        """As part of a module's name."""
        return self.method.replace("-", "_")

    @property
    def camel(self) -> str:
        """As part of a class's name."""
        return "".join(part.capitalize() for part in self.method.split("-"))

    @property
    def distribution(self) -> str:
        """The project's name, as pip knows it."""
        return f"pkt-bench-{self.method}"

    def put_into(self, text: str) -> str:
        """The template's text with its own name replaced."""
        for theirs, ours in (
            ("pkt_bench_anchor", f"pkt_bench_{self.snake}"),
            ("test_anchor", f"test_{self.snake}"),
            ("Anchor", self.camel),
            ("anchor", self.method),
        ):
            text = text.replace(theirs, ours)
        return text


def names_for(name: str, taken: Collection[str]) -> Names:
    """The names of a new plugin called `name`, with or without `pkt-bench-` in front.

    Raises:
        RequestError: it cannot be a package's name, or is the name of a method that is installed.
    """
    method = _PREFIX.sub("", name)
    if method in RESERVED:
        raise RequestError(
            f"a plugin cannot be called '{name}', which stands for several or no methods. Choose another."
        )
    if not _NAME.fullmatch(method) or len(method) > LONGEST:
        raise RequestError(
            f"a plugin cannot be called '{name}': lower-case letters and digits in parts joined by dashes are wanted,"
            f" at most {LONGEST} of them, the first a letter.\n  For example: pkt-bench plugins new layer-swap"
        )
    method = method.replace("_", "-")
    if method in taken:
        raise RequestError(
            f"the method name '{method}' is taken by an installed plugin.\n  Choose another, or see what it does:"
            f" pkt-bench plugins show {method}"
        )
    return Names(method)


def write_project(names: Names, folder: Path) -> list[Path]:
    """Writes the project into `folder`, which is made here, whole or not at all. Gives its files, relative to it.

    Raises:
        RequestError: there is something called so already.
        StorageError: it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"{folder} is there already, and nothing of it is touched.\n  Name another with --to.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        aside.chmod(0o755)
        try:
            files = _fill(aside, names)
            # over an empty folder too
            aside.replace(folder)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}. Name another with --to.") from None
    return files


def _fill(folder: Path, names: Names) -> list[Path]:
    shutil.copytree(TEMPLATE, folder, dirs_exist_ok=True, ignore=_LEFTOVERS, copy_function=shutil.copyfile)
    # the deepest first: a folder is renamed when all below it is
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file():
            path.write_text(names.put_into(path.read_text(encoding="utf-8")), encoding="utf-8")
        # hidden files are kept in sight in the template, where they are nobody's configuration
        called = re.sub("^dot-", ".", names.put_into(path.name))
        if called != path.name:
            path.rename(path.with_name(called))
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())

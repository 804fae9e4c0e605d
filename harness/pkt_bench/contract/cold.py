"""What a plugin loads before any model is needed: asked of a program that has loaded nothing yet."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench import strangers

if TYPE_CHECKING:
    from pkt_bench.domain import Method, Question

HEAVY = ("torch", "transformers", "peft", "lm_eval", "datasets", "pandas")


@dataclass(frozen=True)
class Cold:
    """The heavy modules that were loaded by importing a plugin and asking its hooks, and by the `skip` of a method."""

    by_import: tuple[str, ...]
    by_skip: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Asked:
    """What is asked: methods and a suite by their qualified names, of the plugins so called and of some files."""

    providers: tuple[str, ...]
    methods: tuple[str, ...]
    files: tuple[str, ...]
    teacher: str
    student: str
    suite: str


def ask(asked: Asked) -> Mapping[str, Cold]:
    """Asks a new program, which loads those plugins alone; gives what it found of each method.

    Raises:
        RuntimeError: the program failed; its last words.
    """
    environ = {**os.environ, "PKT_BENCH_LOAD_PLUGINS": ",".join(asked.providers), "PYTHONDONTWRITEBYTECODE": "1"}
    environ.pop("PKT_BENCH_STRICT_PLUGINS", None)
    done = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import main; main()", json.dumps(asdict(asked))],
        capture_output=True,
        text=True,
        env=environ,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else str(done.returncode))
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {
        name: Cold(tuple(said["by_import"]), tuple(by_skip), said["seconds"])
        for name, by_skip in said["by_skip"].items()
    }


def main() -> None:
    """What that program does; its argument is an `Asked` as JSON, and so is its answer on stdout."""
    from pkt_bench import ModelRef, Pair, plugins

    asked = Asked(**json.loads(sys.argv[1]))
    started = time.process_time()
    registry = plugins.load([Path(file) for file in asked.files])
    offers = {name: registry.methods.get(name) for name in asked.methods}
    seconds = time.process_time() - started
    by_import = _heavy()

    from pkt_bench.planning import question

    pair = Pair("cold", "", ModelRef(Path(asked.teacher)), ModelRef(Path(asked.student)))
    suite = registry.suites.get(asked.suite).item
    by_skip: dict[str, list[str]] = {name: [] for name in offers}
    for name, offer in offers.items():
        method = offer.item
        with contextlib.suppress(Exception):
            # settings that cannot be made are another promise's affair
            put = question(pair, suite, method.settings(), method.control)
            by_skip[name] = [module for module in _loaded_by(method, put) if module not in by_import]
    print(json.dumps({"by_import": by_import, "by_skip": by_skip, "seconds": seconds}))  # noqa: T201 - the answer


def _loaded_by(method: Method, question: Question) -> Sequence[str]:
    """The heavy modules that are there after its skip was asked, in a child, so that no method hides another's."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_skip, args=(method, question, theirs))
    child.start()
    theirs.close()
    found: Sequence[str] = ()
    with contextlib.suppress(EOFError):
        found = ours.recv()
    child.join()
    return found


def _skip(method: Method, question: Question, pipe: Connection) -> None:
    with contextlib.suppress(Exception), strangers.called():
        # what it raises is another promise's affair
        method.skip(question)
    pipe.send(_heavy())


def _heavy() -> list[str]:
    return [name for name in HEAVY if name in sys.modules]

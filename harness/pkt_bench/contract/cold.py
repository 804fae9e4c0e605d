"""What a plugin loads before any model is needed: asked of a program that has loaded nothing yet.

    python -m pkt_bench.contract.cold DISTRIBUTION/METHOD TEACHER STUDENT SUITE FILE...

prints a JSON object with the heavy modules that importing its plugin, and asking its `skip`, brought in.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEAVY = ("torch", "transformers", "peft", "lm_eval", "datasets", "pandas")


@dataclass(frozen=True)
class Cold:
    """The heavy modules that were loaded by importing a plugin and asking its hooks, and by its `skip`."""

    by_import: tuple[str, ...]
    by_skip: tuple[str, ...]
    seconds: float


def ask(provider: str, method: str, pair: tuple[Path, Path], suite: str, files: Sequence[Path]) -> Cold:
    """Asks a new program. `provider` is the plugin's name, `method` and `suite` are qualified names.

    Raises:
        RuntimeError: the program failed; its last words.
    """
    words = [method, *map(str, pair), suite, *map(str, files)]
    environ = {**os.environ, "PKT_BENCH_LOAD_PLUGINS": provider, "PYTHONDONTWRITEBYTECODE": "1"}
    environ.pop("PKT_BENCH_STRICT_PLUGINS", None)
    done = subprocess.run(
        [sys.executable, "-m", __name__, *words], capture_output=True, text=True, env=environ, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else str(done.returncode))
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Cold(tuple(said["by_import"]), tuple(said["by_skip"]), said["seconds"])


def _main(method: str, teacher: str, student: str, suite: str, *files: str) -> None:
    from pkt_bench import ModelRef, Pair, plugins

    started = time.process_time()
    registry = plugins.load([Path(file) for file in files])
    offer = registry.methods.get(method)
    seconds = time.process_time() - started
    by_import = _heavy()

    from pkt_bench.models import architecture

    pair = Pair("cold", "", ModelRef(Path(teacher)), ModelRef(Path(student)))
    from pkt_bench.domain import Question

    asked = Question(
        pair,
        architecture(pair.teacher),
        architecture(pair.student),
        same_tokenizer=True,
        suite=registry.suites.get(suite).item,
        settings=offer.item.settings(),
        control=offer.item.control,
    )
    with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(Exception):
        # what it raises is another promise's affair
        offer.item.skip(asked)
    by_skip = [name for name in _heavy() if name not in by_import]
    print(json.dumps({"by_import": by_import, "by_skip": by_skip, "seconds": seconds}))  # noqa: T201 - the answer


def _heavy() -> list[str]:
    return [name for name in HEAVY if name in sys.modules]


if __name__ == "__main__":
    _main(*sys.argv[1:])

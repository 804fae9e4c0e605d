"""Rebuild the embedded pair: `python -m pkt_bench_tiny.train [--out DIR]`.

Tokenizer, teacher, student, hashes, gate. The folder changes only when the gate is passed on the validation
split; otherwise the checkpoints stay beside it in `DIR.candidate` and the exit code is 1.
"""

import argparse
import dataclasses
import hashlib
import shutil
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from . import gate
from .pretraining import Reader, documents
from .tokenizer import train_tokenizer
from .training import POSITIONS, RECIPES, train

_TOKENIZER_DOCUMENTS: Final = 20_000
_READERS: Final[tuple[Reader, ...]] = ("teacher", "student")


def hashes(pair: Path) -> dict[str, str]:
    """SHA-256 of both weight files and of the tokenizer they share, by path within `pair`."""
    files = ("teacher/model.safetensors", "student/model.safetensors", "teacher/tokenizer.json")
    return {name: hashlib.sha256((pair / name).read_bytes()).hexdigest() for name in files}


def build(out: Path, steps: int | None) -> None:
    """Make tokenizer, teacher and student in `out`; `steps` shortens both trainings."""
    texts = (document.prompt + document.answer for document in islice(documents("teacher"), _TOKENIZER_DOCUMENTS))
    tokenizer = train_tokenizer(texts, POSITIONS)
    for reader in _READERS:
        recipe = RECIPES[reader] if steps is None else dataclasses.replace(RECIPES[reader], steps=steps)
        tokenizer.save_pretrained(out / reader)
        started = time.perf_counter()
        train(reader, recipe, out / reader)
        print(f"{reader}: {recipe.tokens} tokens in {time.perf_counter() - started:.0f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the pair and judge it. Returns 0 if it was put in place, 1 if the gate refused it."""
    parser = argparse.ArgumentParser(prog="python -m pkt_bench_tiny.train", description=__doc__)
    parser.add_argument("--out", type=Path, default=gate.PAIR, help="folder of the pair")
    parser.add_argument(
        "--steps",
        type=int,
        help="train both models for this many steps only, without the gate: to try the build",
    )
    options = parser.parse_args(arguments)
    if options.steps is not None and options.steps < 2:
        parser.error(f"--steps {options.steps}: at least 2 are needed")
    out: Path = options.out.resolve()
    strangers = sorted({p.name for p in out.iterdir()} - set(_READERS)) if out.is_dir() else []
    if strangers or out.is_file():
        # the folder is replaced as a whole, so it must hold nothing but a pair
        parser.error(f"--out {out} holds {', '.join(strangers[:3]) or 'a file'}; name a folder of its own")
    out.parent.mkdir(parents=True, exist_ok=True)
    candidate = out.with_name(f"{out.name}.candidate")
    shutil.rmtree(candidate, ignore_errors=True)
    build(candidate, options.steps)
    for name, digest in hashes(candidate).items():
        print(f"{digest}  {name}", flush=True)
    if options.steps is None and gate.main(["--pair", str(candidate)]) != 0:
        print(f"The pair did not pass the gate: it stays in {candidate}; {out} is unchanged.", file=sys.stderr)
        return 1
    shutil.rmtree(out, ignore_errors=True)
    candidate.rename(out)
    print(f"The pair is in {out}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

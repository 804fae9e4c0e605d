"""What `nuggets` and `laten` save against the published code, run from its own checkouts.

    PKT_BENCH_NUGGETS_CHECKOUT=... PKT_BENCH_LATEN_CHECKOUT=... PKT_BENCH_PUBLISHED_PYTHON=... \\
        python tests/benchmarks/bench_published.py [--quick] [--only NAME]

The first two name checkouts of github.com/maszhongming/ParaKnowTransfer and of Trae1ounG/Neural_Incompatibility there
(either alone will do), the third an interpreter with torch, transformers 4.46.2, tokenizers 0.20.3 and peft 0.13.2, for
they do not import under later ones. Neither has a licence: nothing of them is in this repository.

Each side is a process of its own, on one thread; variants take turns (A B C A B C), and a figure is the median over
rounds of the quotient of process CPU times. Peaks are of fresh processes: by how much one call raises the resident set.
Of the sensitivity's, activations are a part: they are what the plain pass has beyond a gradient of every weight.
Both sides have the same random weights and records; times do not depend on what the weights are. The tokenizer is one
that reads numbers.

What is changed in the published code, all of it in memory:

- Everywhere `torch.float16` becomes `torch.float32`: half matrix products take hundreds of times longer on a CPU, and
  the code fails on a float32 model without that. `"cuda:0"` and `"cuda:1"` become `"cpu"`.
- nuggets, sensitivity: the loop over records, a part of `main`, is cut out and run on our model. The search and the SVD
  are called as they are.
- laten, alignment: of `train`, the body of one step is cut out, from the drawing of records to the end of the pre-loss
  pass; model, places and records are names that it finds. So neither its 32 layers nor its table of sizes matter, nor
  `train_on_inputs`, which fails, nor the mask that is one token too long: labels are given. In the place of optimiser
  and schedule is something that keeps the gradients and takes no step; ours takes none either.
- laten, attribution: called for every layer of one model and for one example at a time, as `train` does. Its model is
  float32 too, so its scores are better than on a GPU in half; what is left of their coarseness is the rounding to four
  decimals. Only the Llama code runs: that for Qwen is broken as published.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch
from published_pieces import Piece, pieces, write_inputs
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

CHECKOUTS = {
    "nuggets": ("PKT_BENCH_NUGGETS_CHECKOUT", "maszhongming/ParaKnowTransfer", "1a104a2"),
    "laten": ("PKT_BENCH_LATEN_CHECKOUT", "Trae1ounG/Neural_Incompatibility", "bba32ea"),
}
PYTHON = "PKT_BENCH_PUBLISHED_PYTHON"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller and fewer: about two minutes")
    parser.add_argument(
        "--only", help="sensitivity, window, factor, attribution, alignment, or a part of a title: 'd 320'"
    )
    options = parser.parse_args()
    present = found_checkouts()
    torch.set_num_threads(1)
    if options.quick:
        print("Goals are for the full sizes.")
    for number, piece in enumerate(pieces(options.quick)):
        if piece.checkout in present and (options.only or "") in f"{piece.name}, {piece.title}":
            table = Table("variant", "CPU s", "cheaper", "range", "peak MiB", "x weights", "smaller", "goal", "and")
            table.title = f"{piece.title}, one thread"
            measure(piece, number, table)
            Console(width=190).print(table)  # one by one: a later piece may take long, or fail


def found_checkouts():
    """The papers whose checkout is there; says which commit, and what is missing."""
    if PYTHON not in os.environ:
        raise SystemExit(
            f"{PYTHON} is not set.\n  Let it name a Python with torch, transformers 4.46.2 and peft 0.13.2."
        )
    present = []
    for paper, (variable, repository, known) in CHECKOUTS.items():
        folder = os.environ.get(variable)
        if folder is None:
            print(
                f"{paper}: {variable} is not set, so its pieces are left out.\n  Set it to a checkout of {repository}."
            )
            continue
        commit = git(folder, "rev-parse", "HEAD")
        if commit is None:
            raise SystemExit(f"{variable}={folder} is no git checkout.\n  Set it to a checkout of {repository}.")
        changed = git(folder, "diff", "--name-only", "--diff-filter=M", "HEAD", "--", "*.py")
        known_or_not = "" if commit.startswith(known) else f" (this script was written for {known})"
        print(f"{paper}: {repository} at {commit}{known_or_not}" + (f"; CHANGED FILES: {changed}" if changed else ""))
        present.append(paper)
    if not present:
        raise SystemExit("Neither checkout is there: nothing to measure.")
    return present


def git(folder, *arguments):
    found = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else None


class Worker:
    """A process of one side with one piece; `ask` sends it a request and waits for the answer."""

    def __init__(self, side, piece, folder):
        python = os.environ[PYTHON] if side == "published" else sys.executable
        script = Path(__file__).with_name("published_worker.py")
        self.log = folder / f"{side}.log"
        self.process = subprocess.Popen(
            [python, str(script), side, piece, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.open("a"),
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )

    def ask(self, **request):
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise SystemExit(f"{self.process.args[:4]} ended:\n{self.log.read_text()[-3000:]}")
        return json.loads(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def measure(piece: Piece, number, table):
    """Runs all variants of a piece in turn and adds a row for each."""
    folder = Path(tempfile.mkdtemp(prefix="bench-published-"))
    try:
        torch.manual_seed(number)
        write_inputs(folder / "warm", piece.warm())
        numbers, tensors = piece.inputs()
        write_inputs(folder, (numbers, tensors))
        seconds, results = in_turn(piece, folder)
        peaks = {name: peak(side, piece.name, folder, name) for side, name in piece.variants} if piece.memory else {}
    finally:
        shutil.rmtree(folder)
    first = piece.published[0]
    remarks = piece.compare(numbers, tensors, results[first], {name: results[name] for name in piece.ours})
    weights = sum(4 * tensor.numel() for name, tensor in tensors.items() if name.startswith("model/"))
    for _, name in piece.variants:
        quotients = [theirs / spent for theirs, spent in zip(seconds[first], seconds[name], strict=True)]
        extra = peaks.get(name)
        table.add_row(
            name,
            f"{statistics.median(seconds[name]):.3g}",
            f"{statistics.median(quotients):.3g}x",
            f"{min(quotients):.3g}..{max(quotients):.3g}",
            "" if extra is None else f"{extra / 2**20:.0f}",
            "" if extra is None else f"{extra / weights:.2f}",
            "" if extra is None else f"{peaks[first] / extra:.1f}x",
            piece.goals.get(name, ""),
            remarks.get(name, ""),
        )


def in_turn(piece, folder):
    """Each variant's CPU seconds per round and, from a call before the first round, its result."""
    with Worker("published", piece.name, folder) as theirs, Worker("ours", piece.name, folder) as ours:
        workers = {"published": theirs, "ours": ours}
        seconds, results = {name: [] for _, name in piece.variants}, {}
        for index, (side, name) in enumerate(piece.variants):
            saved = folder / f"{index}.safetensors"
            workers[side].ask(run=name, save=str(saved))
            results[name] = load_file(saved)
        for _ in range(piece.rounds):
            for side, name in piece.variants:
                seconds[name].append(workers[side].ask(run=name, save=None)["seconds"])
    return seconds, results


def peak(side, piece, folder, variant):
    """Bytes by which one call in a fresh process raised the resident set, or None."""
    with Worker(side, piece, folder) as worker:
        return worker.ask(peak=variant)["bytes"]


if __name__ == "__main__":
    main()

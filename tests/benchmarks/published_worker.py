"""One side of `bench_published.py`: prepares a piece, then runs it whenever the parent asks, in either interpreter.

    python published_worker.py {published,ours} PIECE FOLDER

reads requests from stdin, a JSON object a line, and answers each with one: `{"run": variant, "save": file or null}`
with the CPU seconds of one call, `{"peak": variant}` with the bytes by which one call raised the resident set. FOLDER
holds the piece's inputs and, in `warm`, the same thing small: it runs first where a peak is asked for, so that what
libraries set up once is not counted.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path

import torch
from resident import peak
from safetensors.torch import load_file, save_file


class Inputs:
    """What a piece works on: `numbers` from JSON, `tensors` in memory of their own, not mapped from the file."""

    def __init__(self, folder):
        self.numbers = json.loads((folder / "inputs.json").read_text())
        self.tensors = {name: tensor.clone() for name, tensor in load_file(folder / "inputs.safetensors").items()}

    def weights(self):
        """The model's tensors, by parameter name."""
        return {name.removeprefix("model/"): part for name, part in self.tensors.items() if name.startswith("model/")}


def main():
    side, piece, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    answers = os.fdopen(os.dup(1), "w")
    sys.stdout = io.StringIO()  # the published code prints
    torch.set_num_threads(1)
    if side == "published":
        import published_theirs as pieces
    else:
        import published_ours as pieces
    prepare = getattr(pieces, piece)
    variants = None
    for line in sys.stdin:
        request = json.loads(line)
        if "peak" in request:
            answer = {"bytes": peak_of(prepare, folder, request["peak"])}
        else:
            variants = variants or prepare(Inputs(folder))
            answer = {"seconds": timed(variants[request["run"]], request["save"])}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def timed(run, save):
    started = time.process_time()
    result = run()
    spent = time.process_time() - started
    if save:
        save_file({name: tensor.detach().clone().contiguous() for name, tensor in result.items()}, save)
    return spent


def peak_of(prepare, folder, variant):
    """Of one call, after a small one that makes libraries set up what they keep."""
    prepare(Inputs(folder / "warm"))[variant]()
    return peak(prepare(Inputs(folder))[variant])


if __name__ == "__main__":
    main()

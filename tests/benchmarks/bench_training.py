"""Memory and time of training steps: measured against the formula, with and without checkpointed activations.

    python tests/benchmarks/bench_training.py MODEL_FOLDER [--tokens 1024] [--steps 2]

Each variant runs in a process of its own, whose largest resident set is what the formula is compared with, less what
the process held beside the weights when the model was loaded.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

VARIANTS = ("all weights", "all weights, checkpointing", "adapter", "adapter, checkpointing", "adapter, bfloat16")


def measure(folder, variant, tokens, steps):
    """Trains in this process; prints seconds a step, losses, and the bytes it took."""
    import peft
    import psutil
    import torch

    from pkt_bench import models, training
    from pkt_bench.data import Encoded
    from pkt_bench.domain import ModelRef, TrainingKnobs
    from pkt_bench.memory import training_bytes
    from pkt_bench.settings import FinetuneSettings

    torch.set_num_threads(1)
    ref = ModelRef(folder)
    model = models.load(ref, "float32", "cpu")
    before = psutil.Process().memory_info().rss - models.weight_bytes(ref)
    if variant.startswith("adapter"):
        torch.manual_seed(0)
        model = peft.get_peft_model(model, peft.LoraConfig(r=16, target_modules="all-linear"))
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    generator = torch.Generator().manual_seed(0)
    shape = models.architecture(ref)
    ids = torch.randint(3, shape.vocabulary, (tokens,), generator=generator).tolist()
    checkpointing = "checkpointing" in variant
    knobs = TrainingKnobs(None, checkpointing, "bfloat16" if "bfloat16" in variant else None)
    how = training.Descent(FinetuneSettings(), 1e-4, steps, tokens, training.cross_entropy, knobs)
    began = time.process_time()
    losses = list(training.descend(model, trained, [[Encoded(tuple(ids), 1)]] * steps, how))
    seconds = (time.process_time() - began) / steps
    counted = sum(weight.numel() for weight in trained)
    expected = training_bytes(shape, trainable=counted, pass_tokens=tokens, checkpointing=checkpointing)
    took = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    print(json.dumps({"seconds": seconds, "losses": losses, "bytes": took, "formula": expected.peak}))


def main():
    """Every variant in turn, a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--variant", choices=VARIANTS)
    given = parser.parse_args()
    if given.variant:
        measure(given.model.resolve(), given.variant, given.tokens, given.steps)
        return
    for variant in VARIANTS:
        command = [sys.executable, __file__, str(given.model), "--tokens", str(given.tokens)]
        command += ["--steps", str(given.steps), "--variant", variant]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(answer.stdout.splitlines()[-1])
        ratio = found["bytes"] / found["formula"]
        losses = ", ".join(f"{loss:.5f}" for loss in found["losses"])
        print(
            f"{variant:28} {found['seconds']:6.2f} CPU-s a step, {found['bytes'] / 1e9:.2f} GB,"
            f" {ratio:.2f} of the formula; losses {losses}"
        )


if __name__ == "__main__":
    main()

"""Peak host memory of reading a 1.1 billion parameter teacher layer by layer, against `plan --estimate`.

    python tests/benchmarks/bench_memory.py [--quick] [--folder PLACE]

Writes random checkpoints of TinyLlama's shape in bfloat16 (22 layers, and half as many to show what depth costs; 2.2
and 1.2 GB in a temporary folder below PLACE, gone afterwards) and a small student. Every method is a process: its
stages run one after the other through the methods' own code, and a thread looks every few milliseconds at what is
resident. Measured is the growth over what was there before the stage's method began, with the libraries loaded and the
student in memory: anonymous pages, and with those of mapped files, which the system takes back when it needs to.

The formulas are bounds from configurations alone. A measured value above its formula is an error in one of the two.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from resident import resident
from rich.console import Console
from rich.table import Table

SHAPE = {"hidden_size": 2048, "intermediate_size": 5632, "heads": 32, "kv_heads": 4, "vocab_size": 32000}
SMALL = {"hidden_size": 256, "intermediate_size": 704, "heads": 8, "kv_heads": 4, "vocab_size": 32000}
QUICK = {"hidden_size": 512, "intermediate_size": 1408, "heads": 8, "kv_heads": 4, "vocab_size": 8000}
STUDENT_LAYERS = 4
RECORDS, MAX_LENGTH = 4, 64
EVERY = 0.004  # seconds between two looks at the memory
METHODS = ("nuggets", "laten")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a teacher of 40 million parameters: below a minute")
    parser.add_argument("--folder", type=Path, help="where to write the checkpoints (4 GB); default: temporary files")
    parser.add_argument("--only", choices=METHODS, help="one method alone")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)  # METHOD FOLDER: the process that is measured
    options = parser.parse_args()
    if not Path("/proc/self/status").exists():
        raise SystemExit("Peaks are read from /proc/self/status, which this system does not have.")
    if options.measure:
        print(json.dumps(measure(options.measure[0], Path(options.measure[1]))))
        return
    free = shutil.disk_usage(options.folder or tempfile.gettempdir()).free
    if not options.quick and free < 12 * 2**30:
        raise SystemExit(
            f"12 GB of free disk are needed for checkpoint and sensitivities, {free >> 30} are there.\n"
            "  Give another place with --folder, or --quick."
        )
    table = Table("teacher", "stage", "CPU s", "anonymous MiB", "with files", "formula MiB", "anonymous / formula")
    table.title = "peak host memory above libraries and student, float32, one thread"
    formulas = {}
    for depth in (2, 4) if options.quick else (11, 22):
        shape = QUICK if options.quick else SHAPE
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-memory-") as folder:
            write_checkpoint(Path(folder) / "teacher", shape, depth)
            write_checkpoint(Path(folder) / "student", SMALL | {"vocab_size": shape["vocab_size"]}, STUDENT_LAYERS)
            for method in (options.only,) if options.only else METHODS:
                print(f"{method}, {depth} layers", file=sys.stderr)
                found = in_new_process(method, folder)
                for stage in found["stages"]:
                    formulas[stage["stage"]] = stage["formula"]
                    table.add_row(f"{depth} layers, {found['parameters'] / 1e6:.0f} M", *row(stage))
        table.add_section()
    Console(width=150).print(table)
    for stage, formula in formulas.items():
        print(f"{stage}: {formula or 'the method offers no estimate for it'}")


def row(stage):
    measured, bound = stage["anonymous"], stage["bytes"]
    return (
        stage["stage"],
        f"{stage['seconds']:.0f}",
        f"{measured / 2**20:.0f}",
        f"{stage['resident'] / 2**20:.0f}",
        "" if bound is None else f"{bound / 2**20:.0f}",
        "" if bound is None else f"{measured / bound:.2f}" + (" OVER" if measured > bound else ""),
    )


def in_new_process(method, folder):
    command = [sys.executable, __file__, "--measure", method, folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{method} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


# ---------------------------------------------------------------- checkpoints


def write_checkpoint(folder, shape, layers):
    """A random Llama in bfloat16, a file per layer, never more than one of them in memory."""
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig

    from pkt_bench.testing import byte_tokenizer

    config = LlamaConfig(
        vocab_size=shape["vocab_size"],
        hidden_size=shape["hidden_size"],
        intermediate_size=shape["intermediate_size"],
        num_hidden_layers=layers,
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["kv_heads"],
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        dtype="bfloat16",
        architectures=["LlamaForCausalLM"],
    )
    config.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    torch.manual_seed(layers)
    d, f, v = config.hidden_size, config.intermediate_size, config.vocab_size
    shared = d // shape["heads"] * shape["kv_heads"]
    inside = {
        "input_layernorm": (d,),
        "post_attention_layernorm": (d,),
        "self_attn.q_proj": (d, d),
        "self_attn.k_proj": (shared, d),
        "self_attn.v_proj": (shared, d),
        "self_attn.o_proj": (d, d),
        "mlp.gate_proj": (f, d),
        "mlp.up_proj": (f, d),
        "mlp.down_proj": (d, f),
    }
    outside = {"model.embed_tokens": (v, d), "model.norm": (d,), "lm_head": (v, d)}
    files = [{f"model.layers.{index}.{name}": size for name, size in inside.items()} for index in range(layers)]
    files += [{name: size} for name, size in outside.items()]
    places = {}
    for number, sizes in enumerate(files):
        file = f"model-{number:05}-of-{len(files):05}.safetensors"
        tensors = {
            f"{name}.weight": torch.ones(size, dtype=torch.bfloat16)
            if len(size) == 1
            else torch.empty(size, dtype=torch.bfloat16).normal_(0, 0.02)
            for name, size in sizes.items()
        }
        save_file(tensors, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(tensors, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


# ---------------------------------------------------------------- the process that is measured


class Watch:
    """The largest memory a thread has seen, in bytes above the first look: anonymous pages, and all."""

    def __init__(self):
        self.start = self.look()
        self.over = threading.Event()

    @staticmethod
    def look():
        return resident("RssAnon"), resident("VmRSS")

    @contextlib.contextmanager
    def stage(self, name, formulas, rows):
        """Adds a row for what runs inside; `formulas` are the method's estimates in bytes, by their stage."""
        highest = list(self.start)

        def watch():
            while not self.over.wait(EVERY):
                highest[:] = map(max, highest, self.look())

        self.over.clear()
        thread = threading.Thread(target=watch)
        thread.start()
        started = time.process_time()
        try:
            yield
        finally:
            self.over.set()
            thread.join()
        anonymous, everything = (high - low for high, low in zip(highest, self.start, strict=True))
        bound, formula = formulas
        rows.append(
            {
                "stage": name,
                "seconds": time.process_time() - started,
                "anonymous": anonymous,
                "resident": everything,
                "bytes": bound,
                "formula": formula,
            }
        )


def measure(name, folder):
    """Runs the stages of a method that read the teacher, and says what each had resident at its height."""
    import torch

    from pkt_bench import ModelRef, Pair, Question, Record, TransferContext
    from pkt_bench.models import LoadedPair, architecture
    from pkt_bench.stages import StageCache
    from pkt_bench.testing import pico_suite

    torch.set_num_threads(1)
    method = method_of(name)
    pair = Pair("synthetic", "random models", ModelRef(folder / "teacher"), ModelRef(folder / "student"))
    records = [Record.of(f"what is {n} and {n}, please say it:", f" that is {2 * n} I think") for n in range(RECORDS)]
    suite = dataclasses.replace(pico_suite(folder), records=lambda _: records)
    settings = method.settings(max_length=MAX_LENGTH, stream=True)
    context = TransferContext(
        pair=LoadedPair(pair),
        suite=suite,
        settings=settings,
        seed=0,
        device="cpu",
        cache=StageCache(folder / f"cache-{name}"),
        report=lambda _stage, _fraction: None,
    )
    teacher, student = architecture(pair.teacher), architecture(pair.student)
    question = Question(pair, teacher, student, same_tokenizer=True, suite=suite, settings=settings)
    estimates = method.estimate(question) if method.estimate else ()
    context.pair.student  # noqa: B018 - loads it
    run = {"nuggets": run_nuggets, "laten": run_laten}[name]
    return {"parameters": teacher.parameters, "stages": run(context, estimates)}


def method_of(name):
    """The method as its plugin offers it."""
    import pkt_bench_laten
    import pkt_bench_nuggets

    offered = [*pkt_bench_nuggets.pkt_bench_methods(), *pkt_bench_laten.pkt_bench_methods()]
    return next(method for method in offered if method.name == name)


def bound_of(estimates, stage):
    """The bytes of memory that the estimates give a stage, and their formulas: the largest where there are several."""
    found = [
        estimate
        for estimate in estimates
        if estimate.unit == "bytes" and estimate.what.startswith(stage) and "disk" not in estimate.what
    ]
    if not found:
        return None, ""
    largest = max(found, key=lambda estimate: estimate.amount)
    return largest.amount, f"{largest.what}: {largest.formula}"


def run_nuggets(context, estimates):
    import pkt_bench_nuggets.extract as extracting
    import pkt_bench_nuggets.locate as locating

    warm_up()
    rows, watch = [], Watch()
    with watch.stage("nuggets locate", bound_of(estimates, "locate"), rows):
        locating.locate(context)
    with watch.stage("nuggets extract", bound_of(estimates, "extract"), rows):
        extracting.extract(context)
    return rows


def run_laten(context, estimates):
    from pkt_bench_laten import located

    warm_up()
    rows, watch = [], Watch()
    with watch.stage("laten locate", bound_of(estimates, "locate"), rows):
        found = located.locate(context)
    teacher_places, _ = found.final(max(context.settings.inject_rates), context.settings.modules)
    with watch.stage("laten extract", bound_of(estimates, "extract"), rows):
        found.knowledge(teacher_places)
    return rows


def warm_up():
    """A small product and its backward pass: what libraries set up on first use is no working memory."""
    import torch

    weight = torch.randn(64, 64, requires_grad=True)
    torch.nn.functional.silu(torch.randn(8, 64) @ weight).sum().backward()


if __name__ == "__main__":
    main()

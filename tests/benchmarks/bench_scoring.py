"""What the fast scorer saves over stock lm-eval, with the numbers compared item by item.

    python tests/benchmarks/bench_scoring.py [MODEL_FOLDER] [--documents 24] [--rounds 3] [--quick]

With a folder: five-shot ARC-Easy (text answers), PIQA (two texts), MMLU (letters) and GSM8K, five-shot and zero-shot,
from the data beside the repository. Always: the embedded pair's teacher on its three suites. Whole evaluations are
timed, stock with batches of one (which cost least on a CPU) and the fast scorer with its sample of stock requests, in
turn in one process on one thread; a figure is the median over rounds of the quotient of process CPU times.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from rich.console import Console
from rich.table import Table
from scoring_tasks import DATA, arc, gsm8k, mmlu, piqa

TOLERANCE = 1e-5
COMPUTED = 1.1
GOALS = {"arc_easy, 5 shots": 8, "mmlu, 5 shots": 3, "gsm8k, 5 shots": 1.5, "gsm8k, 0 shots": 1.5}


def tasks(documents):
    """By name, a function that makes the task anew: a run leaves marks on one."""
    return {
        "arc_easy, 5 shots": lambda: arc(documents),
        "piqa, 5 shots": lambda: piqa(documents),
        "mmlu, 5 shots": lambda: mmlu(documents),
        "gsm8k, 5 shots": lambda: gsm8k(max(documents * 2 // 3, 2)),
        "gsm8k, 0 shots": lambda: gsm8k(max(documents * 2 // 3, 2), shots=0),
    }


def evaluated(lm, task):
    """CPU seconds of an evaluation, and its samples."""
    from lm_eval.evaluator import evaluate

    began = time.process_time()
    report = evaluate(lm=lm, task_dict={"tasks": {task.task_name: task}}, bootstrap_iters=0, fewshot_as_multiturn=True)
    return time.process_time() - began, report["samples"][task.task_name]


def compared(fast, stock):
    """The worst difference of a log-likelihood by its size, and how many items differ in anything else."""
    worst, other = 0.0, 0
    for ours, theirs in zip(fast, stock, strict=True):
        other += [ours[metric] for metric in ours["metrics"]] != [theirs[metric] for metric in theirs["metrics"]]
        for a, b in zip(ours["resps"], theirs["resps"], strict=True):
            if isinstance(a[0], str):
                other += a != b
            else:
                worst = max(worst, abs(a[0][0] - b[0][0]) / (1 + abs(b[0][0])))
                other += a[0][1] != b[0][1]
    return worst, other


def scorers(model, tokenizer, batch_size):
    """Both scorers, made anew."""
    from lm_eval.models.huggingface import HFLM

    from pkt_bench.fastscore.lm import FastLM

    given = {"pretrained": model, "tokenizer": tokenizer, "add_bos_token": tokenizer.bos_token == tokenizer.eos_token}
    return HFLM(batch_size=1, **given), FastLM(batch_size=batch_size, **given)


def measure(table, name, model, tokenizer, make, options):
    """Adds a row; gives what it misses."""
    quotients, seconds = [], []
    for _ in range(options.rounds):
        stock, fast = scorers(model, tokenizer, options.batch_size)
        spent, samples = evaluated(fast, make())
        plain, expected = evaluated(stock, make())
        quotients.append(plain / spent)
        seconds.append((plain, spent))
    worst, other = compared(samples, expected)
    count = fast.count
    found = statistics.median(quotients)
    computed = count.tokens_computed / max(count.tokens_distinct, 1)
    goal = GOALS.get(name)
    wrong = [
        f"{name}: {said}"
        for holds, said in (
            (goal is None or found >= goal, f"{found:.3g}x, goal {goal}x"),
            (worst <= TOLERANCE, f"log-likelihoods differ by {worst:.2g} of their size"),
            (other == 0, f"{other} answers or figures differ"),
            (computed <= COMPUTED, f"{computed:.3f} tokens computed for each distinct one"),
            (count.stock == 0, f"{count.stock} requests left to stock: {count.reasons}"),
        )
        if not holds
    ]
    table.add_row(
        name,
        str(len(samples)),
        *(f"{statistics.median(column):.3g}" for column in zip(*seconds, strict=True)),
        f"{found:.3g}x",
        f"{min(quotients):.3g}..{max(quotients):.3g}",
        f"{goal}x" if goal else "",
        f"{worst:.1g}",
        str(other),
        f"{computed:.3f}",
        str(count.parity_requests),
    )
    return wrong


def embedded():
    """The embedded teacher, its tokenizer, and its tasks by name."""
    from pkt_bench import plugins, scoring
    from pkt_bench.models import LoadedPair

    registry = plugins.load()
    loaded = LoadedPair(registry.pairs.get("tiny").item)
    suites = [registry.suites.get(name).item for name in ("knowledge", "arithmetic", "code")]

    def maker(suite):
        (task,) = suite.tasks
        return lambda: scoring.load(suite, task.name)["tasks"][task.name]

    return loaded.teacher, loaded.tokenizer, {suite.tasks[0].name: maker(suite) for suite in suites}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", nargs="?", help="a folder in Hugging Face layout")
    parser.add_argument("--documents", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--quick", action="store_true", help="one round of few documents, to try it out")
    options = parser.parse_args()
    if options.quick:
        options.documents, options.rounds = 4, 1
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)

    columns = ("task", "documents", "stock CPU s", "fast CPU s", "cheaper", "range", "goal", "worst", "other")
    table = Table(*columns, "computed", "sample", title="stock lm-eval, batches of one, and the fast scorer")
    missed = []
    if options.model and DATA.is_dir():
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(options.model)
        for name, make in tasks(options.documents).items():
            missed += measure(table, name, model, tokenizer, make, options)
        table.add_section()
    model, tokenizer, suites = embedded()
    for name, make in suites.items():
        missed += measure(table, name, model, tokenizer, make, options)
    Console(width=140).print(table)
    for each in missed:
        print("MISSED", each)
    return bool(missed) and not options.quick


if __name__ == "__main__":
    raise SystemExit(main())

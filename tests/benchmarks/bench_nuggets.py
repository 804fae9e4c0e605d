"""What the exact fast forms of `nuggets` save: window search, factor and sensitivity against the plain ways.

    python tests/benchmarks/bench_nuggets.py [--quick]

Variants take turns in one process; a figure is the median over rounds of the quotient of process CPU times, so a busy
machine moves it little. One thread. The plain double loop is timed on some of its positions and scaled up: each costs
the same.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch
from rich.console import Console
from rich.table import Table
from transformers import LlamaConfig, LlamaForCausalLM

from pkt_bench import Encoded, leading_factors
from pkt_bench_nuggets.sensitivity import sensitivity
from pkt_bench_nuggets.window import best_window

SEARCHES = [(320, 320, 256, 256), (640, 640, 512, 512), (1280, 1280, 1024, 1024), (3456, 1280, 2752, 1024)]
BLOCKS = [(128, 128), (1024, 1024), (2752, 1024), (512, 8000), (2048, 2048), (5504, 2048)]
RANK = 16
POSITIONS = 3000


def cpu_seconds(work, least=0.02):
    """Process CPU time of one call, averaged over as many calls as fill `least` seconds."""
    calls, started = 0, time.process_time()
    while True:
        work()
        calls += 1
        spent = time.process_time() - started
        if spent >= least:
            return spent / calls


def ratios(baseline, ours, rounds):
    """Median over rounds of (baseline / ours), and the median of ours in milliseconds."""
    ours()
    quotients, seconds = [], []
    for _ in range(rounds):
        slow, fast = baseline(), cpu_seconds(ours)
        quotients.append(slow / fast)
        seconds.append(fast)
    return statistics.median(quotients), 1000 * statistics.median(seconds)


def double_loop_seconds(scores, rows, columns):
    """CPU time of the published search: a table, then four look-ups and a comparison at every corner."""
    table = torch.nn.functional.pad(scores.double().cumsum(0).cumsum(1), (1, 0, 1, 0))
    height, width = scores.shape[0] - rows + 1, scores.shape[1] - columns + 1
    best, place, seen = -1.0, None, 0
    started = time.process_time()
    for i in range(height):
        for j in range(width):
            total = table[i + rows, j + columns] - table[i, j + columns] - table[i + rows, j] + table[i, j]
            if total > best:
                best, place = total, (i, j)
            seen += 1
            if seen == POSITIONS:
                break
        if seen == POSITIONS:
            break
    assert place is not None
    return (time.process_time() - started) / seen * height * width


def float64_window(scores, rows, columns):
    table = torch.nn.functional.pad(scores.double().cumsum(0).cumsum(1), (1, 0, 1, 0))
    sums = table[rows:, columns:] - table[:-rows, columns:] - table[rows:, :-columns] + table[:-rows, :-columns]
    return divmod(int(sums.flatten().argmax()), sums.shape[1])


def bench_search(table, shapes, rounds):
    for height, width, rows, columns in shapes:
        scores = (torch.randn(height, width) * torch.randn(height, width)).abs()

        def ours(scores=scores, rows=rows, columns=columns):
            return best_window(scores, rows, columns)

        def loop(scores=scores, rows=rows, columns=columns):
            return double_loop_seconds(scores, rows, columns)

        def read(scores=scores):
            return cpu_seconds(lambda: scores.sum(0))

        faster, milliseconds = ratios(loop, ours, rounds)
        of_read, _ = ratios(read, ours, rounds)
        found = ours()
        same = (found.row, found.column) == float64_window(scores, rows, columns)
        table.add_row(
            f"window {height}x{width} -> {rows}x{columns}",
            "Python double loop",
            f"{faster:.0f}x",
            f"{milliseconds:.2f}",
            f"{1 / of_read:.1f} reads of the matrix; float64 window: {'same' if same else 'DIFFERENT'}",
        )


def bench_factor(table, shapes, rounds):
    for shape in shapes:
        block = torch.randn(shape)
        left, values, right = torch.linalg.svd(block.double(), full_matrices=False)
        exact = (left[:, :RANK] * values[:RANK]) @ right[:RANK]

        def ours(block=block):
            return leading_factors(block, RANK)

        def svd(block=block):
            return cpu_seconds(lambda: torch.linalg.svd(block), 0)  # full matrices, as the published code asks

        faster, milliseconds = ratios(svd, ours, rounds if max(shape) < 2500 else 1)
        found = ours()
        error = (found.B.double() @ found.A.double() - exact).norm() / exact.norm()
        table.add_row(
            f"rank-{RANK} factor {shape[0]}x{shape[1]}",
            "torch.linalg.svd",
            f"{faster:.1f}x",
            f"{milliseconds:.1f}",
            f"product error {float(error):.0e}",
        )


def bench_sensitivity(table, sizes, rounds):
    for hidden, vocabulary in sizes:
        config = LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            intermediate_size=hidden * 43 // 16,
            num_hidden_layers=4,
            num_attention_heads=hidden // 64,
            num_key_value_heads=hidden // 64,
        )
        model = LlamaForCausalLM(config).eval()
        names = [name for name, _ in model.named_parameters() if ".layers." in name]
        records = [Encoded(tuple(torch.randint(0, vocabulary, (160,)).tolist()), 80) for _ in range(4)]

        def ours(model=model, records=records, names=names):
            return sensitivity(model, records, names)

        def plain(model=model, records=records):
            def work():
                for record in records:
                    labels = torch.tensor([record.labels])
                    model(input_ids=torch.tensor([record.ids]), labels=labels).loss.backward()
                    model.zero_grad()

            model.requires_grad_(True)
            seconds = cpu_seconds(work)
            model.requires_grad_(False)
            return seconds

        plain()
        quotient, milliseconds = ratios(plain, ours, rounds)
        table.add_row(
            f"sensitivity, hidden {hidden}, vocabulary {vocabulary}",
            "forward and backward",
            f"{quotient:.2f}x",
            f"{milliseconds:.0f}",
            f"{1 / quotient:.2f} of a plain forward and backward of all parameters",
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer shapes and rounds: less than a minute")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rounds = 3 if quick else 7
    table = Table("what", "against", "faster", "CPU ms", "and", title="nuggets: CPU-time ratios, one thread")
    bench_search(table, SEARCHES[:3] if quick else SEARCHES, rounds)
    bench_factor(table, [BLOCKS[0], BLOCKS[1], BLOCKS[3]] if quick else BLOCKS, rounds)
    bench_sensitivity(table, [(256, 8000)] if quick else [(256, 8000), (512, 8000)], rounds)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()

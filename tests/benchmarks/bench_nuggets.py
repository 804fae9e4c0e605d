"""What the exact fast forms of `nuggets` save: window search, factor and sensitivity against the plain ways.

    python tests/benchmarks/bench_nuggets.py [--quick]

Variants take turns in one process on one thread; a figure is the median over rounds of the quotient of process CPU
times, so a busy machine moves it little (wall times it moves a lot; they are printed, not compared). The plain double
loop is timed on some of its positions and scaled up: each costs the same. Blocks are Gaussian, the flattest spectrum
there is, and so the hardest. Memory is by how much a call raises what is resident, after a call that is not counted;
activations of a pass over one record are told apart from it, for they do not grow with the model's number of weights.
"""

from __future__ import annotations

import argparse
import os
import statistics

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch
from resident import peak
from rich.console import Console
from transformers import LlamaConfig, LlamaForCausalLM
from turns import add, quotients, table_of, take_turns

from pkt_bench import Encoded, leading_factors
from pkt_bench_nuggets.sensitivity import sensitivity
from pkt_bench_nuggets.window import best_window

SEARCHES = {
    (320, 320, 256, 256): None,
    (640, 640, 512, 512): None,
    (1280, 1280, 1024, 1024): 350,
    (3456, 1280, 2752, 1024): 350,
}
"""Matrix and window, and how many times cheaper than the double loop the search shall be."""
BLOCKS = {
    (128, 128): None,
    (1024, 1024): 4,
    (2752, 1024): None,
    (512, 8000): 50,
    (2048, 2048): None,
    (5504, 2048): 6,
}
"""Blocks, and how many times cheaper than `torch.linalg.svd` their factor shall be."""
READS, PRODUCT_ERROR, OF_PLAIN, OF_WEIGHTS = 4, 2e-5, 1.3, 1.2
RANK = 16
POSITIONS = 3000


def double_loop(scores, rows, columns):
    """The published search at the first `POSITIONS` corners: four look-ups in a table and a comparison at each.

    The table is not made here: it is all vectorised, and next to the loop it costs nothing.
    """
    table = torch.nn.functional.pad(scores.double().cumsum(0).cumsum(1), (1, 0, 1, 0))
    width = scores.shape[1] - columns + 1

    def run():
        best, place = -1.0, None
        for position in range(POSITIONS):
            i, j = divmod(position, width)
            total = table[i + rows, j + columns] - table[i, j + columns] - table[i + rows, j] + table[i, j]
            if total > best:
                best, place = total, (i, j)
        return place

    corners = (scores.shape[0] - rows + 1) * width
    return run, POSITIONS / corners


def float64_window(scores, rows, columns):
    """The corner with the largest sum by a float64 table."""
    table = torch.nn.functional.pad(scores.double().cumsum(0).cumsum(1), (1, 0, 1, 0))
    sums = table[rows:, columns:] - table[:-rows, columns:] - table[rows:, :-columns] + table[:-rows, :-columns]
    return divmod(int(sums.flatten().argmax()), sums.shape[1])


def bench_search(table, searches, rounds):
    for (height, width, rows, columns), goal in searches.items():
        scores = (torch.randn(height, width) * torch.randn(height, width)).abs()
        loop, share = double_loop(scores, rows, columns)
        variants = {
            "Python double loop": loop,
            "one reading, s.sum(0)": lambda scores=scores: scores.sum(0),
            "best_window": lambda scores=scores, rows=rows, columns=columns: best_window(scores, rows, columns),
        }
        seen = take_turns(variants, rounds)
        found = best_window(scores, rows, columns)
        same = (found.row, found.column) == float64_window(scores, rows, columns)
        reads = 1 / statistics.median(quotients(seen, "one reading, s.sum(0)", "best_window"))
        over = " MISSED" if goal and reads > READS else ""
        remark = f"{reads:.1f} readings (goal {READS}{over}); float64 window: {'same' if same else 'DIFFERENT'}"
        what = f"window {height}x{width} -> {rows}x{columns}"
        add(table, what, seen, goals={"best_window": goal}, remarks={"best_window": remark}, share=share)


def bench_factor(table, blocks, rounds):
    for shape, goal in blocks.items():
        block = torch.randn(shape)
        left, values, right = torch.linalg.svd(block.double(), full_matrices=False)
        exact = (left[:, :RANK] * values[:RANK]) @ right[:RANK]
        variants = {
            "torch.linalg.svd": lambda block=block: torch.linalg.svd(block),  # full matrices, as the published code
            "leading_factors": lambda block=block: leading_factors(block, RANK),
        }
        seen = take_turns(variants, rounds if max(shape) < 2500 else 2)
        found = leading_factors(block, RANK)
        error = float((found.B.double() @ found.A.double() - exact).norm() / exact.norm())
        remark = f"product error {error:.0e}" + (" MISSED" if error > PRODUCT_ERROR else "")
        what = f"rank-{RANK} factor {shape[0]}x{shape[1]}"
        add(table, what, seen, goals={"leading_factors": goal}, remarks={"leading_factors": remark})


def bench_sensitivity(table, sizes, rounds):
    for hidden, layers, vocabulary in sizes:
        config = LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            intermediate_size=hidden * 43 // 16,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 64,
            num_key_value_heads=hidden // 64,
        )
        model = LlamaForCausalLM(config).eval()
        records = [Encoded(tuple(torch.randint(0, vocabulary, (160,)).tolist()), 80) for _ in range(4)]
        names = [name for name, _ in model.named_parameters()]

        def plain(model=model, records=records):
            model.requires_grad_(True)
            for record in records:
                labels = torch.tensor([record.labels])
                model(input_ids=torch.tensor([record.ids]), labels=labels).loss.backward()
                model.zero_grad()

        variants = {
            "plain forward and backward": plain,
            "sensitivity": lambda model=model, records=records, names=names: sensitivity(model, records, names),
        }
        seen = take_turns(variants, rounds)
        of_plain = 1 / statistics.median(quotients(seen, "plain forward and backward", "sensitivity"))
        remark = f"{of_plain:.2f} of plain (goal {OF_PLAIN}{' MISSED' if of_plain > OF_PLAIN else ''})"
        add(
            table,
            f"sensitivity, d {hidden}, L {layers}, V {vocabulary}",
            seen,
            remarks={"sensitivity": remark + memory_remark(model, variants)},
        )


def memory_remark(model, variants):
    """What a call holds beside the weights, activations apart: those are what a plain pass holds without gradients."""
    plain, ours = (peak(work) for work in variants.values())
    if plain is None or ours is None:
        return "; this system keeps no peaks"
    weights = sum(4 * weight.numel() for weight in model.parameters())
    activations = max(0, plain - weights)  # a plain backward pass ends with a gradient of every weight
    beyond = (ours - activations) / weights
    over = " MISSED" if beyond > OF_WEIGHTS else ""
    return (
        f"; peak {ours / weights:.2f} x weights, of it activations {activations / weights:.2f},"
        f" the rest {beyond:.2f} (goal {OF_WEIGHTS}{over})"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer shapes and rounds: about a minute")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rounds = 3 if quick else 7
    table = table_of("nuggets: process CPU time, one thread")
    small = {(128, 128), (1024, 1024), (512, 8000)}
    bench_search(table, {s: goal for s, goal in SEARCHES.items() if s[0] < 3000 or not quick}, rounds)
    bench_factor(table, {s: goal for s, goal in BLOCKS.items() if s in small or not quick}, rounds)
    bench_sensitivity(table, [(256, 4, 8000)] if quick else [(512, 4, 8000), (1024, 8, 8000)], min(rounds, 5))
    Console(width=180).print(table)


if __name__ == "__main__":
    main()

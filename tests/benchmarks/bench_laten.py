"""What LaTen's exact fast forms save against plain ones: `python tests/benchmarks/bench_laten.py [--quick]`.

Variants take turns in one process on one thread; a figure is the median over rounds of the quotient of process CPU
times (walls are printed, not compared). Three tables: the neurons chosen by a lens per neuron, in Python, and by
faster forms, on a random model and on one whose targets are nearly certain; how far first-order scores choose the same
neurons as exact ones on the embedded *trained* pair; and one step of alignment, with the memory it takes.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from chosen import by_scores, certified, exactly, overlap_text
from resident import peak
from rich.console import Console
from rich.table import Table
from torch.func import functional_call
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from turns import add, table_of, take_turns

import pkt_bench_tiny
from pkt_bench import Locating, locating
from pkt_bench.data import Encoded
from pkt_bench_laten import anatomy
from pkt_bench_laten.align import Lesson, accumulate_gradients, frozen
from pkt_bench_laten.hypernetwork import Hypernetwork
from pkt_bench_laten.inject import injected
from pkt_bench_laten.locate import Place, view

MODULES: tuple[anatomy.Module, ...] = ("up_proj", "down_proj", "v_proj", "o_proj")
CUTOFF, GRADIENT_ERROR, MEMORY = 768, 1e-5, 10


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small models, below a minute")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    compare_scores(quick)
    compare_on_trained_pair(quick)
    compare_steps(quick)


def model_of(hidden: int, ffn: int, layers: int, vocabulary: int, seed: int) -> LlamaForCausalLM:
    """A random Llama with heads of 32 channels."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=ffn,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        head_dim=32,
        initializer_range=0.05,
        max_position_embeddings=2048,
    )
    return LlamaForCausalLM(config).eval()


# ---------------------------------------------------------------- scores


def ways(model: LlamaForCausalLM, texts: list[Locating], counts: dict[str, int]) -> dict[str, Callable[[], Any]]:
    """What the plugin offers to find the best neurons, as functions that return them by kind."""
    return {
        "certified": lambda: certified(model, texts, "rms", counts)[0],
        "every exact score": lambda: by_scores(model, texts, "rms", counts, "exact"),
        "first order": lambda: by_scores(model, texts, "rms", counts, "first-order"),
    }


def compare_scores(quick: bool) -> None:
    """The best tenth of all neurons for a few texts: a lens per neuron against bounds, exact scores and first order."""
    sizes = (128, 344, 2, 2048) if quick else (256, 688, 4, 8000)
    model = model_of(*sizes, seed=0).requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    texts = [
        Locating(tuple(torch.randint(0, sizes[3], (length,), generator=generator).tolist()), target)
        for length, target in zip((60, 100, 140, 180)[: 2 if quick else 4], (5, 900, 31, 1700), strict=False)
    ]
    counts = {"ffn": sizes[1] // 10, "attention": sizes[0] // 10}
    ours = ways(model, texts, counts)
    variants: dict[str, Callable[[], Any]] = {
        "a lens per neuron, in Python": lambda: lens_per_neuron(model, texts),
        "two log-softmaxes per block, per text": lambda: two_softmaxes(model, texts),
    }
    seen = take_turns(variants | ours, rounds=1 if quick else 3)
    expected = exactly(model, texts, "rms", counts)
    table = table_of("laten: best tenth of the neurons, process CPU time, one thread")
    remarks = {name: f"shared with float64: {overlap_text(find(), expected)}" for name, find in ours.items()}
    remarks["certified"] += f"; {100 * certified(model, texts, 'rms', counts)[1]:.0f} % scored in full"
    goals = {} if quick else {"certified": 6, "first order": 20}
    add(
        table,
        f"{len(texts)} texts, d {sizes[0]}, f {sizes[1]}, L {sizes[2]}, V {sizes[3]}",
        seen,
        goals=goals,
        remarks=remarks,
    )
    Console(width=190).print(table)
    certain, least = saturated(model, texts)
    expected = exactly(model, certain, "rms", counts)
    print(f"targets that the model is sure of (1 - p between {least[0]:.0e} and {least[1]:.0e}), shared with float64:")
    for name, find in ways(model, certain, counts).items():
        print(f"  {name:20} {overlap_text(find(), expected)}")


def saturated(model: LlamaForCausalLM, texts: list[Locating]) -> tuple[list[Locating], tuple[float, float]]:
    """Makes the model sure of what it says (its head grows until 1 - p of the likeliest token is below 1e-9).

    Returns the texts with that token as the target, and the least and largest 1 - p among them.
    """
    likeliest = [int(model(torch.tensor([text.ids])).logits[0, -1].argmax()) for text in texts]
    while True:
        rests = []
        for text, token in zip(texts, likeliest, strict=True):
            p = model(torch.tensor([text.ids])).logits[0, -1].double().softmax(-1)
            p[token] = 0
            rests.append(float(p.sum()))
        if max(rests) < 1e-9:
            break
        model.lm_head.weight.mul_(1.5)
    return [Locating(text.ids, token) for text, token in zip(texts, likeliest, strict=True)], (min(rests), max(rests))


def compare_on_trained_pair(quick: bool) -> None:
    """Shares of the best tenth that first-order scores, and bounds, have in common with float64 on the trained pair."""
    folder = Path(pkt_bench_tiny.__file__).parent / "pair"
    table = Table("model", "suite", "records", "way", "best tenth shared with float64, over records and layers")
    table.title = "laten: the embedded, trained pair"
    for role in ("teacher", "student"):
        model = AutoModelForCausalLM.from_pretrained(folder / role, dtype=torch.float32).eval().requires_grad_(False)
        tokenizer = AutoTokenizer.from_pretrained(folder / role)
        counts = {"ffn": model.config.intermediate_size // 10, "attention": model.config.hidden_size // 10}
        for suite in pkt_bench_tiny.pkt_bench_suites():
            texts = []
            for record in suite.records("extract")[: 4 if quick else 16]:
                prompt, _ = suite.prompt.render(record)
                texts.append(locating(prompt, record.answer, tokenizer, bos=suite.prompt.bos))
            texts = [text for text in texts if text]
            if not texts:
                continue
            expected = exactly(model, texts, "rms", counts)
            for name, find in ways(model, texts, counts).items():
                table.add_row(role, suite.name, str(len(texts)), name, overlap_text(find(), expected))
    Console(width=150).print(table)


def readings(model: LlamaForCausalLM, texts: list[Locating]) -> Iterator[tuple[Any, ...]]:
    """Half by half of every text: target, the lens's scale [d], base [d], coefficients [n], columns [d, n]."""
    for text in texts:
        seen = view(model, [text], norm="rms", attention="self")
        for half in seen.halves():
            coefficients, columns = half.neurons[half.kind]
            yield text.target, seen.lens.gain * seen.lens.scale[0], half.base[0], coefficients[0, 0], columns[:, 0]


def lens_per_neuron(model: LlamaForCausalLM, texts: list[Locating]) -> list[float]:
    """The definition, one full read-out of the vocabulary for each neuron."""
    scores, head = [], model.lm_head.weight
    for target, scale, base, coefficients, columns in readings(model, texts):
        before = torch.log_softmax(head @ (base * scale), 0)[target]
        for k in range(len(coefficients)):
            moved = base + coefficients[k] * columns[:, k]
            scores.append((torch.log_softmax(head @ (moved * scale), 0)[target] - before).item())
    return scores


def two_softmaxes(model: LlamaForCausalLM, texts: list[Locating]) -> list[torch.Tensor]:
    """The definition in blocks of 256 neurons: a product with the head and a log-softmax for every text and neuron."""
    scores, head = [], model.lm_head.weight
    for target, scale, base, coefficients, columns in readings(model, texts):
        before = torch.log_softmax(head @ (base * scale), 0)[target]
        for block in torch.arange(len(coefficients)).split(256):
            moved = base + coefficients[block, None] * columns[:, block].T
            scores.append(((moved * scale) @ head.T).log_softmax(-1)[:, target] - before)
    return scores


# ---------------------------------------------------------------- one step of alignment


def compare_steps(quick: bool) -> None:
    """Gradients of one step over 16 records: dense deltas per record and padding to 768 against the sparse step."""
    teacher_hidden, sizes = (160, (128, 344, 4, 1024)) if quick else (320, (256, 688, 4, 8000))
    student = model_of(*sizes, seed=2)
    torch.manual_seed(3)
    network = Hypernetwork(MODULES, teacher_hidden, sizes[0])
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(0, 0.02)
    counts = {"up_proj": sizes[1], "down_proj": sizes[1], "v_proj": sizes[0], "o_proj": sizes[0]}
    layers = tuple(range(sizes[2]))
    places = {
        module: Place(layers, torch.stack([torch.randperm(n)[: n // 10] for _ in layers]))
        for module, n in counts.items()
    }
    knowledge = {m: torch.randn(sizes[2], counts[m] // 10, teacher_hidden) for m in MODULES}
    lengths = [98, 104, 112, 120, 125, 131, 140, 146, 152, 160, 171, 180, 190, 206, 223, 245]
    records = [Encoded(tuple(torch.randint(3, sizes[3], (n,)).tolist()), n // 2) for n in lengths]
    lesson = Lesson(knowledge, places, records)

    def ours() -> None:
        network.zero_grad()
        with frozen(student):
            accumulate_gradients(student, network, lesson, 1000.0)

    variants: dict[str, Callable[[], object]] = {
        "dense deltas per record, padded to 768": lambda: plain_step(
            student, network, lesson, width=CUTOFF, sparse=False
        ),
        "dense deltas per record, own length": lambda: plain_step(student, network, lesson, width=None, sparse=False),
        "sparse deltas per record, own length": lambda: plain_step(student, network, lesson, width=None, sparse=True),
        "translated once, sparse, grouped (ours)": ours,
    }
    seen = take_turns(variants, rounds=1 if quick else 3)
    first, mine = next(iter(variants)), "translated once, sparse, grouped (ours)"
    variants[first]()
    expected = gradient(network)
    ours()
    error = float((gradient(network) - expected).norm() / expected.norm())
    peaks = {name: peak(variants[name]) for name in (first, mine)}  # after the times: it changes how memory is had
    remark = f"gradient differs by {error:.1e} (goal {GRADIENT_ERROR:g}{' MISSED' if error > GRADIENT_ERROR else ''})"
    if all(peaks.values()):
        smaller = peaks[first] / peaks[mine]
        over = " MISSED" if smaller < MEMORY else ""
        sizes_said = f"{peaks[mine] / 2**20:.0f} MiB of {peaks[first] / 2**20:.0f}"
        remark += f"; peak {sizes_said}: 1/{smaller:.1f} (goal 1/{MEMORY}{over})"
    table = table_of("laten: one step of alignment, process CPU time, one thread")
    what = f"16 records of about {sum(lengths) // 16} tokens, d {teacher_hidden} to {sizes[0]}, V {sizes[3]}"
    add(table, what, seen, goals={mine: 12}, remarks={mine: remark})
    Console(width=190).print(table)


def gradient(network: Hypernetwork) -> torch.Tensor:
    """All gradients of the hypernetwork as one vector."""
    return torch.cat([weight.grad.flatten() for weight in network.parameters() if weight.grad is not None])


def plain_step(
    student: LlamaForCausalLM, network: Hypernetwork, lesson: Lesson, *, width: int | None, sparse: bool
) -> None:
    """Every record on its own: translate, inject (dense or sparse), forward over all positions, backward.

    With dense deltas the student is not frozen, as in the published code.
    """
    network.zero_grad()
    student.zero_grad()
    student.requires_grad_(not sparse)
    for record in lesson.records:
        filling = 0 if width is None else width - len(record.ids)
        ids = torch.tensor([[*record.ids, *([0] * filling)]])
        labels = torch.tensor([[*record.labels, *([-100] * filling)]])
        deltas = network(lesson.knowledge)
        if sparse:
            with injected(student, lesson.places, deltas):
                loss = student(input_ids=ids, labels=labels, use_cache=False).loss
        else:
            changed = dense_weights(student, lesson, deltas)
            loss = functional_call(student, changed, (), {"input_ids": ids, "labels": labels, "use_cache": False}).loss
        magnitude = torch.stack([delta.square().mean() for delta in deltas.values()]).sum()
        (loss + 1000 * magnitude).backward()
    student.requires_grad_(True)
    student.zero_grad()


def dense_weights(
    student: LlamaForCausalLM, lesson: Lesson, deltas: dict[anatomy.Module, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The student's weights with a whole matrix added to each that receives neurons."""
    weights = dict(student.named_parameters())
    for module, place in lesson.places.items():
        part = "mlp" if anatomy.KIND[module] == "ffn" else "self_attn"
        for layer in place.layers:
            name = f"model.layers.{layer}.{part}.{module}.weight"
            dense, neurons = torch.zeros_like(weights[name]), place.neurons[layer]
            if module in anatomy.ROWS:
                dense = dense.index_copy(0, neurons, deltas[module][layer])
            else:
                dense = dense.index_copy(1, neurons, deltas[module][layer].T)
            weights[name] = weights[name] + dense
    return weights


if __name__ == "__main__":
    main()

"""What LaTen's exact fast forms save against plain ones: `python tests/benchmarks/bench_laten.py [--quick]`.

Variants run in turn in one process; a figure is the median over rounds of the quotient of process CPU times (wall times
are of no use on a shared machine). Models are random: their scores differ from trained ones, their costs do not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch.func import functional_call
from transformers import LlamaConfig, LlamaForCausalLM

from pkt_bench.data import Encoded
from pkt_bench_laten import anatomy
from pkt_bench_laten.align import Lesson, accumulate_gradients, frozen
from pkt_bench_laten.hypernetwork import Hypernetwork
from pkt_bench_laten.inject import injected
from pkt_bench_laten.internals import Internals, read_internals
from pkt_bench_laten.locate import Locating, Place, final_scale, ranked, score

MODULES: tuple[anatomy.Module, ...] = ("up_proj", "down_proj", "v_proj", "o_proj")
CUTOFF = 768


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small models, below a minute")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    compare_scores(quick)
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


def quotients(variants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU time of the first variant over each one's, per round, all run once before."""
    for run in variants.values():
        run()
    ratios: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        spent = {}
        for name, run in variants.items():
            started = time.process_time()
            run()
            spent[name] = time.process_time() - started
        first = next(iter(spent.values()))
        for name, seconds in spent.items():
            ratios[name].append(first / seconds)
    return ratios


def show(title: str, ratios: dict[str, list[float]], remarks: dict[str, str]) -> None:
    """One table: median quotient, the range over rounds, a remark."""
    print(f"\n{title}\n{'variant':44} {'x cheaper':>10} {'range':>16}  remark")
    for name, values in ratios.items():
        spread = f"{min(values):.1f}..{max(values):.1f}"
        print(f"{name:44} {statistics.median(values):10.1f} {spread:>16}  {remarks.get(name, '')}")


# ---------------------------------------------------------------- scores


def compare_scores(quick: bool) -> None:
    """Every neuron's score for a few texts: a lens per neuron against the exact fast form and the first order."""
    sizes = (128, 344, 2, 2048) if quick else (256, 688, 4, 8000)
    model = model_of(*sizes, seed=0).requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    texts = [
        Locating(tuple(torch.randint(0, sizes[3], (length,), generator=generator).tolist()), target)
        for length, target in zip((60, 100, 140, 180)[: 2 if quick else 4], (5, 900, 31, 1700), strict=False)
    ]

    def ours(mode: str) -> Callable[[], object]:
        return lambda: score(model, texts, norm="rms", attention="self", mode=mode)  # type: ignore[arg-type]

    variants = {
        "a lens per neuron, in Python": lambda: lens_per_neuron(model, texts),
        "two log-softmaxes per block, per text": lambda: two_softmaxes(model, texts),
        "exact, without cancellation (ours)": ours("exact"),
        "first order (ours)": ours("first-order"),
    }
    ratios = quotients(variants, rounds=1 if quick else 3)
    reference = score(model.double(), texts, norm="rms", attention="self", mode="exact")
    model.float()
    remarks = {}
    for name, mode in (("exact, without cancellation (ours)", "exact"), ("first order (ours)", "first-order")):
        found = score(model, texts, norm="rms", attention="self", mode=mode)  # type: ignore[arg-type]
        remarks[name] = "top 10 % shared with float64: " + ", ".join(
            f"{kind} {overlap(getattr(found, kind), getattr(reference, kind)):.4f}" for kind in ("ffn", "attention")
        )
    show(
        f"scores of all neurons, {len(texts)} texts, d {sizes[0]}, f {sizes[1]}, L {sizes[2]}, V {sizes[3]}",
        ratios,
        remarks,
    )


def overlap(found: torch.Tensor, reference: torch.Tensor) -> float:
    """Mean share of the 10 % best neurons that two score tensors [..., n] have in common."""
    count = found.shape[-1] // 10
    pairs = zip(ranked(found, count).flatten(0, -2), ranked(reference, count).flatten(0, -2), strict=True)
    shares = [len(set(a.tolist()) & set(b.tolist())) / count for a, b in pairs]
    return sum(shares) / len(shares)


def parts_of(model: LlamaForCausalLM, inside: Internals, layer: int) -> list[tuple[torch.Tensor, ...]]:
    """(base [d], coefficients [n], columns [d, n]) of the feed-forward and the attention neurons of a layer."""
    down = anatomy.linear(model, layer, "down_proj").weight
    out = anatomy.linear(model, layer, "o_proj").weight
    return [
        (inside.r[0, layer], inside.c[0, layer], down),
        (inside.x[0, layer], inside.self_value[0, layer].flatten(), out),
    ]


def lens_per_neuron(model: LlamaForCausalLM, texts: list[Locating]) -> list[float]:
    """The definition, one full read-out of the vocabulary for each neuron."""
    scores = []
    head, gain = model.lm_head.weight, model.model.norm.weight
    for text in texts:
        inside = read_internals(model, [text.ids])
        scale = final_scale(inside.last, 1e-6, "rms")[0]
        for layer in range(len(model.model.layers)):
            for base, coefficients, columns in parts_of(model, inside, layer):
                before = torch.log_softmax(head @ (base * gain * scale), 0)[text.target]
                for k in range(len(coefficients)):
                    moved = base + coefficients[k] * columns[:, k]
                    scores.append((torch.log_softmax(head @ (moved * gain * scale), 0)[text.target] - before).item())
    return scores


def two_softmaxes(model: LlamaForCausalLM, texts: list[Locating]) -> list[torch.Tensor]:
    """The definition in blocks of 256 neurons: a product with the head and a log-softmax for every text and neuron."""
    scores = []
    head, gain = model.lm_head.weight, model.model.norm.weight
    for text in texts:
        inside = read_internals(model, [text.ids])
        scale = final_scale(inside.last, 1e-6, "rms")[0]
        for layer in range(len(model.model.layers)):
            for base, coefficients, columns in parts_of(model, inside, layer):
                before = torch.log_softmax(head @ (base * gain * scale), 0)[text.target]
                for start in range(0, len(coefficients), 256):
                    block = slice(start, start + 256)
                    moved = base + coefficients[block, None] * columns[:, block].T
                    logits = (moved * gain * scale) @ head.T
                    scores.append(logits.log_softmax(-1)[:, text.target] - before)
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
    ratios = quotients(variants, rounds=1 if quick else 3)
    plain_step(student, network, lesson, width=CUTOFF, sparse=False)
    expected = gradient(network)
    ours()
    error = (gradient(network) - expected).norm() / expected.norm()
    show(
        f"one step, 16 records of about {sum(lengths) // 16} tokens, d {teacher_hidden} to {sizes[0]}, V {sizes[3]}",
        ratios,
        {"translated once, sparse, grouped (ours)": f"gradient differs by {error:.1e}"},
    )


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

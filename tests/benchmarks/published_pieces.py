"""What `bench_published.py` gives both sides of a piece, and what it says of the two results."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import torch
from chosen import KINDS, exactly, overlap_text
from published_ours import MODULES
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from pkt_bench import Locating
from pkt_bench_laten.anatomy import KIND

LENGTHS = [98, 104, 112, 120, 125, 131, 140, 146, 152, 160, 171, 180, 190, 206, 223, 245]
"""Tokens of the 16 records of a step: the shortest, mean and longest of GSM8K under an 8k vocabulary."""
RANK = 16


@dataclass(frozen=True)
class Piece:
    """A thing to measure.

    Attributes:
        name: of the function that prepares it, in `published_theirs` and `published_ours`.
        checkout: the paper whose code it is from.
        title: what a reader is told.
        inputs: numbers and tensors, made from a seeded generator.
        warm: the same thing small.
        published, ours: the variants of either side; the first published one is what all are compared with.
        compare: from numbers, tensors, published result and {variant: our result} to a remark per variant.
        rounds: how many times all variants take turns.
        memory: whether peaks are measured.
        goals: what a variant shall reach.
    """

    name: str
    checkout: str
    title: str
    inputs: Callable
    warm: Callable
    published: tuple[str, ...]
    ours: tuple[str, ...]
    compare: Callable
    rounds: int
    memory: bool
    goals: dict[str, str]

    @property
    def variants(self):
        """(side, variant) in the order they take turns."""
        return [("published", name) for name in self.published] + [("ours", name) for name in self.ours]


def write_inputs(folder, made):
    """Writes (numbers, tensors) where a worker looks for them."""
    numbers, tensors = made
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "inputs.json").write_text(json.dumps(numbers))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "inputs.safetensors")


def random_model(hidden, ffn, layers, vocabulary):
    """Configuration and weights of a random Llama with heads of 32 channels."""
    config = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 32,
        "num_key_value_heads": hidden // 32,
        "initializer_range": 0.05,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
    }
    weights = LlamaForCausalLM(LlamaConfig(**config)).state_dict()
    return config, {f"model/{name}": tensor for name, tensor in weights.items()}


def random_ids(count, vocabulary):
    return torch.randint(3, vocabulary, (count,)).tolist()


def relative_error(found, expected):
    """L2 distance over all tensors, over the norm of what is expected."""
    gap = sum(float((found[name].double() - expected[name].double()).square().sum()) for name in found)
    return (gap / sum(float(expected[name].double().square().sum()) for name in found)) ** 0.5


# ---------------------------------------------------------------- nuggets


def sensitivity_inputs(sizes):
    config, tensors = random_model(*sizes)
    records = [([*random_ids(length, sizes[3]), 2], length // 2) for length in (98, 140, 169, 245)]
    return {"config": config, "records": records}, tensors


def sensitivity_remarks(numbers, tensors, published, ours):
    return {
        variant: f"sums differ by {relative_error(found, published):.0e} of their norm"
        for variant, found in ours.items()
        if found
    }


def window_inputs(height, width, rows, columns):
    scores = (torch.randn(height, width) * torch.randn(height, width)).abs()
    return {"rows": rows, "columns": columns}, {"scores": scores}


def window_remarks(numbers, tensors, published, ours):
    scores, rows, columns = tensors["scores"].double(), numbers["rows"], numbers["columns"]

    def total(corner):
        row, column = corner.tolist()
        return float(scores[row : row + rows, column : column + columns].sum())

    remarks = {}
    for variant, found in ours.items():
        gain = total(found["corner"]) / total(published["corner"]) - 1
        same = torch.equal(found["corner"], published["corner"])
        remarks[variant] = (
            "same window" if same else f"another window, its float64 sum {gain:+.1e} of the published one's"
        )
    return remarks


def factor_inputs(height, width):
    return {"rank": RANK}, {"block": torch.randn(height, width)}


def factor_remarks(numbers, tensors, published, ours):
    left, values, right = torch.linalg.svd(tensors["block"].double(), full_matrices=False)
    exact = (left[:, :RANK] * values[:RANK]) @ right[:RANK]

    def error(factors):
        return float((factors["B"].double() @ factors["A"].double() - exact).norm() / exact.norm())

    return {variant: f"error {error(found):.0e}, published {error(published):.0e}" for variant, found in ours.items()}


# ---------------------------------------------------------------- laten


def attribution_inputs(sizes, examples):
    config, tensors = random_model(*sizes)
    texts = [(random_ids(length, sizes[3]), random_ids(1, sizes[3])[0]) for length in (100, 130, 170, 230)[:examples]]
    return {"config": config, "texts": texts, "n_ffn": sizes[1] // 10, "n_attention": sizes[0] // 10}, tensors


def attribution_remarks(numbers, tensors, published, ours):
    """Shares of the 10 % best neurons that the float64 scores name too."""
    model = LlamaForCausalLM(LlamaConfig(**numbers["config"])).eval().requires_grad_(False)
    model.load_state_dict({name.removeprefix("model/"): part for name, part in tensors.items()}, strict=False)
    texts = [Locating(tuple(ids), target) for ids, target in numbers["texts"]]
    counts = {kind: numbers[f"n_{kind}"] for kind in KINDS}
    exact = exactly(model, texts, "published", counts)
    said = {}
    for variant, found in {"published": published, **ours}.items():
        said[variant] = f"shared with float64: {overlap_text(found, exact)}"
        if "evaluated" in found:
            said[variant] += f"; {100 * float(found['evaluated']):.0f} % scored in full"
    return said


def alignment_inputs(sizes, teacher_hidden, lengths, cutoff):
    hidden, ffn, layers, vocabulary = sizes
    config, tensors = random_model(*sizes)
    neurons = {"ffn": ffn, "attention": hidden}
    for kind, count in neurons.items():
        tensors[f"places/{kind}"] = torch.stack([torch.randperm(count)[: count // 10] for _ in range(layers)])
    for module in MODULES:
        tensors[f"knowledge/{module}"] = torch.randn(layers, neurons[KIND[module]] // 10, teacher_hidden) * 0.05
        tensors[f"hypernetwork/first.{module}"] = torch.randn(teacher_hidden, teacher_hidden) * 0.02
        tensors[f"hypernetwork/second.{module}"] = torch.randn(hidden, teacher_hidden) * 0.02
    records = [(random_ids(length, vocabulary), length // 2) for length in lengths]
    return {"config": config, "records": records, "teacher_hidden": teacher_hidden, "cutoff": cutoff}, tensors


def alignment_remarks(numbers, tensors, published, ours):
    return {variant: f"gradient differs by {relative_error(found, published):.1e}" for variant, found in ours.items()}


# ---------------------------------------------------------------- which


def pieces(quick):
    """What is measured; with `quick`, smaller and fewer."""
    tiny = (64, 160, 2, 512)
    models = [(256, 688, 4, 2000)] if quick else [(512, 1376, 4, 8000), (1024, 2752, 8, 32000)]
    searches = [(640, 640, 512, 512)] if quick else [(640, 640, 512, 512), (1280, 1280, 1024, 1024)]
    blocks = [(512, 512)] if quick else [(1024, 1024), (512, 8000), (5504, 2048)]
    lens, examples = ((256, 688, 2, 4000), 2) if quick else ((512, 1376, 4, 32000), 4)
    steps = [(160, (128, 344, 4, 1024))] if quick else [(320, (256, 688, 4, 8000)), (640, (512, 1376, 4, 8000))]
    for sizes in models:
        yield Piece(
            "sensitivity",
            "nuggets",
            "nuggets: sensitivity, 4 records, d {}, f {}, L {}, V {}".format(*sizes),
            lambda sizes=sizes: sensitivity_inputs(sizes),
            lambda: sensitivity_inputs(tiny),
            ("published",),
            ("every parameter", "the layers' parameters", "plain forward and backward"),
            sensitivity_remarks,
            rounds=5 if sizes[0] < 1024 else 1,
            memory=True,
            goals={"every parameter": "1.3x plain; memory 1.2 x weights, activations apart"},
        )
    for search in searches:
        yield Piece(
            "window",
            "nuggets",
            "nuggets: window {}x{} -> {}x{}".format(*search),
            lambda search=search: window_inputs(*search),
            lambda: window_inputs(20, 20, 10, 10),
            ("published",),
            ("best_window",),
            window_remarks,
            rounds=3,
            memory=False,
            goals={"best_window": "350x at 1280"},
        )
    for block in blocks:
        yield Piece(
            "factor",
            "nuggets",
            f"nuggets: rank-{RANK} factor of {block[0]}x{block[1]}",
            lambda block=block: factor_inputs(*block),
            lambda: factor_inputs(64, 64),
            ("published",),
            ("leading_factors",),
            factor_remarks,
            rounds=1 if max(block) > 2000 else 3,
            memory=False,
            goals={"leading_factors": {8000: "50x", 5504: "6x"}.get(max(block), "4x") + ", error 2e-5"},
        )
    yield Piece(
        "attribution",
        "laten",
        "laten: neurons chosen for {} examples, d {}, f {}, L {}, V {}".format(examples, *lens),
        lambda: attribution_inputs(lens, examples),
        lambda: attribution_inputs(tiny, 1),
        ("published",),
        ("certified", "every exact score", "first order"),
        attribution_remarks,
        rounds=2 if quick else 3,
        memory=False,
        goals={"certified": "6x, all shared", "first order": "20x"},
    )
    for teacher_hidden, sizes in steps:
        yield Piece(
            "alignment",
            "laten",
            f"laten: alignment step, 16 records, cutoff 768, d {teacher_hidden} -> {sizes[0]}, V {sizes[3]}",
            lambda teacher_hidden=teacher_hidden, sizes=sizes: alignment_inputs(sizes, teacher_hidden, LENGTHS, 768),
            lambda: alignment_inputs(tiny, 80, [20] * 16, 64),
            ("published", "published, without the pre-loss"),
            ("accumulate_gradients",),
            alignment_remarks,
            rounds=3 if sizes[0] < 512 and not quick else 1,
            memory=True,
            goals={"accumulate_gradients": "12x, error 1e-5, memory a tenth"},
        )

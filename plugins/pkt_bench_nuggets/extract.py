"""Extract: which layers, which block of every matrix, and its factors: where the adapters of the student start."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pkt_bench import TransferContext, adapted_modules, leading_factors, module_path, split_factors
from pkt_bench_nuggets.locate import Located, is_streamed, locate, most_sensitive
from pkt_bench_nuggets.tables import EMBEDDING, HEAD
from pkt_bench_nuggets.window import best_rows_columns, best_window

OUTSIDE = ("embed_tokens", "lm_head")
ORIGINS: Mapping[str, frozenset[str]] = {
    "embedding": frozenset(OUTSIDE),
    "ffn": frozenset(("gate_proj", "up_proj", "down_proj")),
    "attention": frozenset(("q_proj", "k_proj", "v_proj", "o_proj")),
}
ORIGINS = {**ORIGINS, "all": frozenset().union(*ORIGINS.values())}
"""Which modules start from the teacher."""


@dataclass(frozen=True)
class Nuggets:
    """The start of every adapter of the student, and where in the teacher it came from.

    Attributes:
        start: module path to (A `(rank, in)`, B `(out, rank)`).
        extracted: the paths whose start was cut out of the teacher; the others start as plain LoRA does.
        layers: the teacher's layers that were kept.
        unsupervised: seed records without an answer token.
        median_contrast: how much more sensitivity the chosen blocks hold than blocks do on average.
    """

    start: dict[str, tuple[Tensor, Tensor]]
    extracted: tuple[str, ...]
    layers: list[int]
    unsupervised: int
    median_contrast: float | None

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Nuggets:
        """From the tensors `extract` gives."""
        paths = [name.removesuffix(".A") for name in tensors if name.endswith(".A")]
        extracted = tuple(path for path in paths if f"{path}.place" in tensors)
        contrasts = [tensors[f"{path}.contrast"] for path in extracted]
        known = [contrast for contrast in contrasts if contrast > 0]
        return cls(
            {path: (tensors[f"{path}.A"], tensors[f"{path}.B"]) for path in paths},
            extracted,
            tensors["layers"].tolist(),
            int(tensors["unsupervised"]),
            float(torch.stack(known).median()) if known else None,
        )


def nuggets(context: TransferContext) -> Nuggets:
    """The blocks of this teacher for this student, from the cache where they were cut before."""
    return Nuggets.of(context.cached("nuggets", _key(context), lambda: extract(context)))


def extract(context: TransferContext) -> dict[str, Tensor]:
    """Blocks of the student's shapes, factorised.

    Returns:
        For every adapted module path: `A` `(rank, in)` and `B` `(out, rank)`; for those cut out of the teacher also
        `place` (teacher layer or -1, row, column) and `contrast` (0 where none is known). And `layers`, the kept ones,
        and `unsupervised`, the seed records without an answer token.
    """
    settings = context.settings
    located = locate(context) if locates(settings) else None
    random = torch.Generator().manual_seed(context.stage_seed("extract"))
    student = context.pair.student
    tied = bool(student.config.tie_word_embeddings)
    modules = adapted_modules(settings.modules, tied=tied)
    found: dict[str, Tensor] = {"unsupervised": torch.tensor(0 if located is None else located.unsupervised)}
    with context.stage("extract") as progress:
        teacher = _Weights(context)
        layers = _kept_layers(context, located, teacher.layers, random)
        found["layers"] = torch.tensor(layers)
        places = [(ours, module) for ours in range(len(layers)) for module in modules if module not in OUTSIDE]
        places += [(-1, module) for module in modules if module in OUTSIDE]
        for number, (ours, module) in enumerate(places, start=1):
            path = module_path(ours, module)
            shape = _oriented(student.get_submodule(path).weight, module).shape
            if module in ORIGINS[settings.origin]:
                name = teacher.name_of(layers[ours] if ours >= 0 else -1, module)
                scores = None if located is None else _oriented(located.of(name), module)
                block, row, column, contrast = _cut(
                    _oriented(teacher.of(name), module), scores, (shape[0], shape[1]), settings.structure, random
                )
                factors = leading_factors(block, settings.rank)
                a, b = split_factors(factors, settings.split)
                if settings.scaling_aware:
                    b = b / settings.scaling
                found[f"{path}.place"] = torch.tensor([layers[ours] if ours >= 0 else -1, row, column])
                found[f"{path}.contrast"] = torch.tensor(contrast, dtype=torch.float64)
            else:
                a, b = _plain_start((shape[0], shape[1]), settings.rank, random, embedding=module == "embed_tokens")
            found[f"{path}.A"], found[f"{path}.B"] = a.contiguous(), b.contiguous()
            progress(number / len(places))
    return found


def locates(settings: Any) -> bool:  # noqa: ANN401 - NuggetsSettings, which lives above this module
    """Whether sensitivities decide anything under these settings."""
    return settings.layers == "sensitivity" or settings.structure != "random"


class _Weights:
    """The teacher's weights by name: from memory, or from its files where it is read layer by layer."""

    def __init__(self, context: TransferContext) -> None:
        self.of: Callable[[str], Tensor]
        if is_streamed(context):
            stream = context.pair.teacher_stream()
            self.of, self.tied, self.layers = stream.tensor, bool(stream.config.tie_word_embeddings), stream.layers
        else:
            teacher = context.pair.teacher
            self.of = lambda name: teacher.get_parameter(name).detach()
            self.tied = bool(teacher.config.tie_word_embeddings)
            self.layers = int(teacher.config.num_hidden_layers)

    def name_of(self, layer: int, module: str) -> str:
        if module == "lm_head":
            return EMBEDDING if self.tied else HEAD
        return f"{module_path(layer, module)}.weight"


def _oriented(weight: Tensor, module: str) -> Tensor:
    """A weight as `(out, in)`: the embedding's table `(V, d)` is read transposed."""
    return weight.T if module == "embed_tokens" else weight


def _cut(
    weight: Tensor, scores: Tensor | None, shape: tuple[int, int], structure: str, random: torch.Generator
) -> tuple[Tensor, int, int, float]:
    """The student-shaped part of one matrix, the first row and column of it, and its contrast (0: unknown)."""
    rows, columns = shape
    if structure == "random" or scores is None:
        row = int(torch.randint(weight.shape[0] - rows + 1, (), generator=random))
        column = int(torch.randint(weight.shape[1] - columns + 1, (), generator=random))
        return weight[row : row + rows, column : column + columns], row, column, 0.0
    if structure == "row_column":
        chosen_rows, chosen_columns = best_rows_columns(scores, rows, columns)
        block = weight[chosen_rows][:, chosen_columns]
        return block, int(chosen_rows[0]), int(chosen_columns[0]), 0.0
    window = best_window(scores.contiguous(), rows, columns)
    block = weight[window.row : window.row + rows, window.column : window.column + columns]
    return block, window.row, window.column, window.contrast


def _plain_start(
    shape: tuple[int, int], rank: int, random: torch.Generator, *, embedding: bool
) -> tuple[Tensor, Tensor]:
    """PEFT's default start `(A, B)` of a product of zero: A uniform within 1/sqrt(in); of an embedding B normal."""
    if embedding:
        return torch.zeros(rank, shape[1]), torch.randn(shape[0], rank, generator=random)
    bound = 1 / math.sqrt(shape[1])
    return (torch.rand(rank, shape[1], generator=random) * 2 - 1) * bound, torch.zeros(shape[0], rank)


def _kept_layers(
    context: TransferContext, located: Located | None, theirs: int, random: torch.Generator
) -> Sequence[int]:
    ours = int(context.pair.student.config.num_hidden_layers)
    match context.settings.layers:
        case "sensitivity":
            assert located is not None  # noqa: S101 - `locates` says so
            return most_sensitive(located.scores, ours)
        case "random":
            return sorted(torch.randperm(theirs, generator=random)[:ours].tolist())
        case "top":
            return list(range(ours))
        case _:
            return list(range(theirs - ours, theirs))


def _key(context: TransferContext) -> dict[str, Any]:
    settings = context.settings
    shared = ("rank", "layers", "structure", "origin", "split", "scaling_aware")
    drawn = settings.layers == "random" or settings.structure == "random" or settings.origin != "all"
    return {
        **context.teacher_key,
        "student": context.pair.student_digest,
        **{name: getattr(settings, name) for name in shared},
        "modules": list(settings.modules),
        "scaling": settings.scaling if settings.scaling_aware else None,
        "seed_records": settings.seed_records,
        "max_length": settings.max_length,
        "rendering": settings.rendering,
        "streamed": is_streamed(context),
        "seed": context.stage_seed("extract") if drawn else None,
    }

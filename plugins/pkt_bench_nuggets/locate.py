"""Locate: the sensitivities of a teacher on a suite's seed records, on disk, one file per layer, computed once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from pkt_bench import ContractError, TransferContext
from pkt_bench_nuggets.rendering import rendered
from pkt_bench_nuggets.sensitivity import sensitivity
from pkt_bench_nuggets.streamed import streamed_sensitivity
from pkt_bench_nuggets.tables import TABLES

SUMMARY = "summary.safetensors"


@dataclass(frozen=True)
class Located:
    """A teacher's sensitivities, read one matrix at a time.

    Attributes:
        folder: where the files are.
        scores: summed sensitivity of each layer, norms and biases included.
        unsupervised: how many seed records had no answer token.
    """

    folder: Path
    scores: tuple[float, ...]
    unsupervised: int

    @classmethod
    def at(cls, folder: Path) -> Located:
        """From the folder that `locate` filled."""
        summary = load_file(folder / SUMMARY)
        return cls(folder, tuple(summary["scores"].tolist()), int(summary["unsupervised"]))

    def of(self, name: str) -> Tensor:
        """The sensitivity of one parameter, in its shape, float32."""
        with safe_open(self.folder / _file_of(name), "pt") as content:
            return content.get_tensor(name)


def locate(context: TransferContext) -> Located:
    """Sensitivity of every parameter of the teacher's layers, of its embedding and its head.

    All modules are kept whatever the settings, so every student size, rank, split, choice of modules and ablation
    shares one entry per teacher and suite.

    Raises:
        ContractError: no seed record has an answer token.
    """
    settings = context.settings
    key = {
        **context.teacher_key,
        "seed_records": settings.seed_records,
        "max_length": settings.max_length,
        "rendering": settings.rendering,
        "streamed": is_streamed(context),
    }
    return Located.at(context.cached_files("sensitivity", key, lambda folder: _write(context, folder)))


def is_streamed(context: TransferContext) -> bool:
    """Whether the teacher is read layer by layer: as set, or where it is large and what its files hold."""
    if context.settings.stream is not None:
        return bool(context.settings.stream)
    return context.pair.large_teacher and context.pair.stand_in is None


def layer_of(parameter: str) -> int | None:
    """The number of the layer a parameter belongs to, or None for embedding, head and final norm."""
    found = re.match(r"model\.layers\.(\d+)\.", parameter)
    return int(found.group(1)) if found else None


def layer_scores(sums: Mapping[str, Tensor], layers: int) -> list[float]:
    """Summed sensitivity of each of `layers` layers: projections, biases and norms alike."""
    scores = [0.0] * layers
    for name, values in sums.items():
        layer = layer_of(name)
        if layer is not None:
            scores[layer] += float(values.sum(dtype=torch.float64))
    return scores


def most_sensitive(scores: Sequence[float], count: int) -> list[int]:
    """The `count` layers with the largest score (of equal ones the lower number), ascending."""
    return sorted(sorted(range(len(scores)), key=lambda layer: -scores[layer])[:count])


def _write(context: TransferContext, folder: Path) -> None:
    with context.stage("locate") as progress:
        if is_streamed(context):
            stream = context.pair.teacher_stream()
            writer = _Writer(folder, stream.layers)
            asked, window = _seeds(context, stream.model.config)
            unsupervised = streamed_sensitivity(stream, asked, writer.save, progress)
        else:
            teacher = context.pair.teacher
            writer = _Writer(folder, int(teacher.config.num_hidden_layers))
            asked, window = _seeds(context, teacher.config)
            wanted = [name for name, _ in teacher.named_parameters() if layer_of(name) is not None or name in TABLES]
            found = sensitivity(teacher, asked, wanted, progress)
            unsupervised = found.unsupervised
            for file in dict.fromkeys(map(_file_of, found.sums)):
                writer.save({name: found.sums.pop(name) for name in list(found.sums) if _file_of(name) == file})
    if unsupervised == len(asked):
        raise ContractError(
            f"the teacher cannot be asked anything: none of the {len(asked)} seed records of suite"
            f" '{context.suite.name}' has an answer token within {window} tokens.\n"
            "  Raise max_length, or give the suite extract records with shorter prompts."
        )
    scores = torch.tensor(writer.scores, dtype=torch.float64)
    save_file({"scores": scores, "unsupervised": torch.tensor(unsupervised)}, folder / SUMMARY)


class _Writer:
    """Writes each part to its file and adds up the layers' scores."""

    def __init__(self, folder: Path, layers: int) -> None:
        self.folder, self.scores = folder, [0.0] * layers

    def save(self, sums: Mapping[str, Tensor]) -> None:
        for layer, score in enumerate(layer_scores(sums, len(self.scores))):
            self.scores[layer] += score
        (file,) = {_file_of(name) for name in sums}
        save_file({name: values.cpu().contiguous() for name, values in sums.items()}, self.folder / file)


def _file_of(name: str) -> str:
    layer = layer_of(name)
    return f"{name}.safetensors" if layer is None else f"layer-{layer:03}.safetensors"


def _seeds(context: TransferContext, config: Any) -> tuple[list[Any], int]:  # noqa: ANN401 - transformers has no types
    """The seed records as tokens, and within how many tokens they were cut."""
    window = min(context.settings.max_length, int(config.max_position_embeddings))
    return rendered(context, context.records("extract")[: context.settings.seed_records], window), window

"""The method, top to bottom: locate -> extract -> inject -> tune. Which layers, which blocks, and what moves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pkt_bench import ContractError, TransferContext, Transferred, add_adapter, finetune, module_path, plain_adapter
from pkt_bench_nuggets.factor import leading_factors
from pkt_bench_nuggets.sensitivity import sensitivity
from pkt_bench_nuggets.window import Window, best_window

if TYPE_CHECKING:
    import torch

PROBE_RECORDS = 4
PROBE_TOKENS = 256


def transfer(context: TransferContext) -> Transferred:
    """The four steps. The student handed over is the untouched one under an adapter of twice the rank."""
    settings = context.settings
    nuggets = Nuggets.of(context.cached("nuggets", _extract_key(context), lambda: extract(context)))
    start = nuggets.start
    with context.stage("inject"):
        probe = _probe(context)
        before = _logits(context.pair.student, probe)
        model = add_adapter(context.pair.student, settings, start)
        context.ledger.injection_change = _largest_change(before, _logits(model, probe))
    trained = finetune(context, model, settings)
    student = plain_adapter(model, start, context.pair.pristine_student)
    payload = {
        f"{path}.{side}": factor for path, pair in start.items() for side, factor in zip("AB", pair, strict=True)
    }
    notes = {
        "kept_layers": nuggets.layers,
        "saved_rank": 2 * settings.rank,
        "untouched": "embedding, head and norms",
        **trained.notes,
    }
    if _locates(settings):
        notes["seed_records"] = min(settings.seed_records, len(context.records("extract")))
        notes["seed_records_without_answer"] = nuggets.unsupervised
    if settings.structure == "submatrix":
        notes["median_contrast"] = nuggets.median_contrast
    return Transferred(student, payload, selection=trained.selection, notes=notes)


# ---------------------------------------------------------------- locate


def locate(context: TransferContext) -> dict[str, torch.Tensor]:
    """Sensitivity of every parameter of the teacher's layers, plus `unsupervised`: one entry per teacher and suite.

    All seven modules and the norms are kept whatever the settings, so every student size, rank, choice of modules and
    ablation shares the entry.
    """

    def compute() -> dict[str, torch.Tensor]:
        import torch

        with context.stage("locate") as progress:
            teacher = context.pair.teacher
            wanted = [name for name, _ in teacher.named_parameters() if layer_of(name) is not None]
            window = min(context.settings.max_length, int(teacher.config.max_position_embeddings))
            records = context.encoded(context.records("extract")[: context.settings.seed_records], window)
            found = sensitivity(teacher, records, wanted, progress)
        if found.unsupervised == len(records):
            raise ContractError(
                f"nuggets cannot ask the teacher anything: none of the {len(records)} seed records of suite"
                f" '{context.suite.name}' has an answer token within {window} tokens.\n"
                "  Raise nuggets.max_length, or give the suite extract records with shorter prompts."
            )
        return {**found.sums, "unsupervised": torch.tensor(found.unsupervised)}

    key = {
        **context.teacher_key,
        "seed_records": context.settings.seed_records,
        "max_length": context.settings.max_length,
    }
    return context.cached("sensitivity", key, compute)


def layer_of(parameter: str) -> int | None:
    """The number of the layer a parameter belongs to, or None for embedding, head and final norm."""
    found = re.match(r"model\.layers\.(\d+)\.", parameter)
    return int(found.group(1)) if found else None


def layer_scores(sums: Mapping[str, torch.Tensor], layers: int) -> list[float]:
    """Summed sensitivity of each of `layers` layers: projections, biases and norms alike."""
    scores = [0.0] * layers
    for name, values in sums.items():
        layer = layer_of(name)
        if layer is not None:
            scores[layer] += float(values.double().sum())
    return scores


def most_sensitive(scores: list[float], count: int) -> list[int]:
    """The `count` layers with the largest score (of equal ones the lower number), ascending."""
    return sorted(sorted(range(len(scores)), key=lambda layer: -scores[layer])[:count])


# ---------------------------------------------------------------- extract


@dataclass(frozen=True)
class Nuggets:
    """What was cut out: the start of every student module's adapter, and where in the teacher it came from."""

    start: dict[str, tuple[torch.Tensor, torch.Tensor]]
    layers: list[int]
    unsupervised: int
    median_contrast: float

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor]) -> Nuggets:
        """From the tensors `extract` gives."""
        import torch

        paths = [name.removesuffix(".A") for name in tensors if name.endswith(".A")]
        contrasts = torch.stack([tensors[f"{path}.contrast"] for path in paths])
        return cls(
            {path: (tensors[f"{path}.A"], tensors[f"{path}.B"]) for path in paths},
            sorted({int(tensors[f"{path}.place"][0]) for path in paths}),
            int(tensors["unsupervised"]),
            float(contrasts.median()),
        )


def extract(context: TransferContext) -> dict[str, torch.Tensor]:
    """Blocks of the student's shapes, factorised.

    Returns:
        For every student module path: `A` `(rank, in)`, `B` `(out, rank)`, `singular_values` `(rank,)`, `place`
        (teacher layer, row, column) and `contrast`; and `unsupervised`, the seed records without an answer token.
    """
    import torch

    settings = context.settings
    sums = locate(context) if _locates(settings) else {}
    random = torch.Generator().manual_seed(context.stage_seed("extract"))
    found: dict[str, torch.Tensor] = {"unsupervised": sums.get("unsupervised", torch.tensor(0))}
    with context.stage("extract") as progress:
        layers = _kept_layers(context, sums, random)
        for ours, theirs in enumerate(layers):
            for module in settings.modules:
                found |= _cut(context, sums, (ours, theirs), module, random)
            progress((ours + 1) / len(layers))
    return found


def _cut(
    context: TransferContext,
    sums: Mapping[str, torch.Tensor],
    layers: tuple[int, int],
    module: str,
    random: torch.Generator,
) -> dict[str, torch.Tensor]:
    """One module: the block that the student's layer takes from the teacher's; `layers` are (student's, teacher's)."""
    import torch

    path = module_path(layers[0], module)
    name = f"{module_path(layers[1], module)}.weight"
    weight = context.pair.teacher.get_parameter(name).detach()
    rows, columns = context.pair.student.get_submodule(path).weight.shape
    if context.settings.structure == "submatrix":
        window = best_window(sums[name], rows, columns)
    else:
        window = _any_window(tuple(weight.shape), rows, columns, random)
    block = weight[window.row : window.row + rows, window.column : window.column + columns]
    factors = leading_factors(block, context.settings.rank)
    return {
        f"{path}.A": factors.A,
        f"{path}.B": factors.B,
        f"{path}.singular_values": factors.singular_values,
        f"{path}.place": torch.tensor([layers[1], window.row, window.column]),
        f"{path}.contrast": torch.tensor(window.contrast, dtype=torch.float64),
    }


def _kept_layers(context: TransferContext, sums: Mapping[str, torch.Tensor], random: torch.Generator) -> list[int]:
    import torch

    theirs = int(context.pair.teacher.config.num_hidden_layers)
    ours = int(context.pair.student.config.num_hidden_layers)
    match context.settings.layers:
        case "sensitivity":
            return most_sensitive(layer_scores(sums, theirs), ours)
        case "random":
            return sorted(torch.randperm(theirs, generator=random)[:ours].tolist())
        case "top":
            return list(range(ours))
        case _:
            return list(range(theirs - ours, theirs))


def _any_window(shape: tuple[int, ...], rows: int, columns: int, random: torch.Generator) -> Window:
    import torch

    row = int(torch.randint(shape[0] - rows + 1, (), generator=random))
    column = int(torch.randint(shape[1] - columns + 1, (), generator=random))
    return Window(row, column, 0.0, 0.0)


def _locates(settings: Any) -> bool:  # noqa: ANN401 - NuggetsSettings, which lives above this module
    return settings.layers == "sensitivity" or settings.structure == "submatrix"


def _extract_key(context: TransferContext) -> dict[str, Any]:
    settings = context.settings
    drawn = settings.layers == "random" or settings.structure == "random"
    return {
        **context.teacher_key,
        "student": context.pair.student_digest,
        "seed_records": settings.seed_records,
        "max_length": settings.max_length,
        "modules": list(settings.modules),
        "rank": settings.rank,
        "layers": settings.layers,
        "structure": settings.structure,
        "seed": context.stage_seed("extract") if drawn else None,
    }


# ---------------------------------------------------------------- inject


def _probe(context: TransferContext) -> list[torch.Tensor]:
    import torch

    records = context.encoded(context.records("extract")[:PROBE_RECORDS], PROBE_TOKENS)
    return [torch.tensor([record.ids], device=context.device) for record in records]


def _logits(model: Any, probe: list[torch.Tensor]) -> list[torch.Tensor]:  # noqa: ANN401 - a model or PEFT's wrapper
    import torch

    model.eval()
    with torch.no_grad():
        return [model(input_ids=ids, use_cache=False).logits.float() for ids in probe]


def _largest_change(before: list[torch.Tensor], after: list[torch.Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(before, after, strict=True))

"""LoRA adapters by PEFT: put one on a student, start it where a method says, and hand it over as an ordinary one.

An adapter that does not start at zero would change the student before any training, so its product is subtracted from
the frozen weight: `W - s B0 A0 + s B A` equals `W` while (A, B) = (A0, B0). Such an adapter is right only around the
shifted weight. What a method hands over must load around the *untouched* student with plain
`PeftModel.from_pretrained`, and `plain_adapter` makes it so: the tuned and the starting product side by side, in twice
the rank.

Only linear modules of layers are adapted, never the embedding or the head: where those are tied, PEFT merges an adapter
on either wrongly. Dropout acts on the adapter's input alone, so above 0 a student with a non-zero start is
preserved in evaluation mode but not while it trains.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pkt_bench.errors import ContractError

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

    from pkt_bench.settings import AdapterSettings

PARENTS = {
    "q_proj": "self_attn",
    "k_proj": "self_attn",
    "v_proj": "self_attn",
    "o_proj": "self_attn",
    "gate_proj": "mlp",
    "up_proj": "mlp",
    "down_proj": "mlp",
}
"""Which part of a layer holds a module, in the Llama family and its relatives."""

LLAMA_LIKE = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Families (`model_type` of a configuration) whose layers are laid out as `module_path` says."""

ADAPTER = "default"


def module_path(layer: int, module: str) -> str:
    """The full name of a module in a Llama-like model: `model.layers.3.self_attn.q_proj`."""
    return f"model.layers.{layer}.{PARENTS[module]}.{module}"


def add_adapter(
    student: PreTrainedModel,
    settings: AdapterSettings,
    start: Mapping[str, tuple[torch.Tensor, torch.Tensor]] | None = None,
) -> PeftModel:
    """Puts a LoRA adapter on the settings' modules of every layer of `student` and freezes the rest.

    Args:
        student: a Llama-like model; its weights change where `start` is given.
        settings: rank, scaling, dropout and modules.
        start: module path -> (A `(rank, in)`, B `(out, rank)`) for exactly the adapted modules. `scaling * B A` is
            subtracted from the frozen weight, so the student's function stays. Without it PEFT's default: A is
            Kaiming-uniform from torch's random state, B is 0.

    Raises:
        ContractError: the student lacks a module, or `start` has other modules or shapes than the settings ask for.
    """
    paths = [
        module_path(layer, module)
        for layer in range(int(student.config.num_hidden_layers))
        for module in settings.modules
    ]
    _check_modules(student, paths)
    if start is not None:
        _check_start(student, paths, start, settings.rank)
    model = _wrap(student, paths, settings.rank, settings.scaling * settings.rank, settings.dropout)
    if start is not None:
        for path, (a, b) in start.items():
            layer = student.get_submodule(path)
            weight = layer.base_layer.weight
            _set_factors(layer, a, b)
            product = layer.scaling[ADAPTER] * (b.to(weight.device).float() @ a.to(weight.device).float())
            weight.data.copy_(weight.data.float() - product)
    return model


def plain_adapter(
    model: PeftModel,
    start: Mapping[str, tuple[torch.Tensor, torch.Tensor]],
    pristine: PreTrainedModel,
) -> PeftModel:
    """A tuned adapter that started at `start`, as one of twice the rank around the untouched student.

    `W - s B0 A0 + s B1 A1 = W + s [B1, -B0] [A1; A0]`: same function, and what is saved loads with plain
    `PeftModel.from_pretrained` on the student as it was published. `model` is taken apart; its student's weights are
    put back bit by bit from `pristine`.

    Args:
        model: what `add_adapter(student, settings, start)` gave, after training.
        start: the same factors.
        pristine: a copy of the student that nobody changed; it is only read.
    """
    import torch

    config = model.peft_config[ADAPTER]
    tuned = {}
    for path in start:
        layer = model.get_base_model().get_submodule(path)
        tuned[path] = (
            layer.lora_A[ADAPTER].weight.detach().clone(),
            layer.lora_B[ADAPTER].weight.detach().clone(),
        )
    student = model.unload()
    for path in start:
        student.get_submodule(path).weight.data.copy_(pristine.get_submodule(path).weight.data)
    plain = _wrap(student, list(start), 2 * config.r, 2 * config.lora_alpha, config.lora_dropout)
    for path, (a1, b1) in tuned.items():
        a0, b0 = (factor.to(a1) for factor in start[path])
        _set_factors(student.get_submodule(path), torch.cat([a1, a0]), torch.cat([b1, -b0], 1))
    return plain.eval()


def _wrap(student: PreTrainedModel, paths: list[str], rank: int, alpha: float, dropout: float) -> PeftModel:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        bias="none",
        target_modules=paths,
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        # peft asks transformers 5 by the old name, which is no business of whoever runs this
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        model = get_peft_model(student, config, adapter_name=ADAPTER)
    adapted = {name for name, module in student.named_modules() if hasattr(module, "lora_A")}
    if adapted != set(paths):
        odd = sorted(adapted.symmetric_difference(paths))
        raise ContractError(f"PEFT put the adapter on other modules than asked: {', '.join(odd[:5])}")
    return model


def _set_factors(layer: Any, a: torch.Tensor, b: torch.Tensor) -> None:  # noqa: ANN401 - PEFT has no types
    layer.lora_A[ADAPTER].weight.data.copy_(a)
    layer.lora_B[ADAPTER].weight.data.copy_(b)


def _check_modules(student: PreTrainedModel, paths: list[str]) -> None:
    import torch

    modules = dict(student.named_modules())
    missing = [path for path in paths if not isinstance(modules.get(path), torch.nn.Linear)]
    if missing:
        raise ContractError(
            f"{type(student).__name__} has no linear module {missing[0]}"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + ".\n  Adapters go on layers laid out as in Llama; have the method skip other families."
        )


def _check_start(
    student: PreTrainedModel,
    paths: list[str],
    start: Mapping[str, tuple[torch.Tensor, torch.Tensor]],
    rank: int,
) -> None:
    if set(start) != set(paths):
        odd = sorted(set(start).symmetric_difference(paths))
        raise ContractError(
            f"the start of an adapter must cover exactly the adapted modules ({len(paths)}); it covers {len(start)}."
            f"\n  In one and not in the other: {', '.join(odd[:5])}"
        )
    for path, (a, b) in start.items():
        out, into = student.get_submodule(path).weight.shape
        if tuple(a.shape) != (rank, into) or tuple(b.shape) != (out, rank):
            raise ContractError(
                f"the start of {path} has A {tuple(a.shape)} and B {tuple(b.shape)};"
                f" rank {rank} on a weight ({out}, {into}) takes A ({rank}, {into}) and B ({out}, {rank})"
            )

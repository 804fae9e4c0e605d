"""LoRA adapters by PEFT: put one on a student, start it where a method says, and hand it over as an ordinary one.

An adapter that does not start at zero would change the student before any training, so its product is subtracted from
the frozen weight: `W - s B0 A0 + s B A` equals `W` while (A, B) = (A0, B0). Such an adapter is right only around the
shifted weight. What a method hands over must load around the *untouched* student with plain
`PeftModel.from_pretrained`, and `plain_adapter` makes it so: the tuned and the starting product side by side, in twice
the rank.

Where embedding and head are tied, both are left as they are: PEFT merges an adapter on either into the weight that they
share, which changes the other as well. Dropout acts on the adapter's input alone, so above 0 a student with a non-zero
start is preserved in evaluation mode but not while it trains.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

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

OUTSIDE = {"embed_tokens": "model.embed_tokens", "lm_head": "lm_head"}
"""The modules that belong to no layer, and where they are."""

LLAMA_LIKE = frozenset({"llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"})
"""Families (`model_type` of a configuration) whose layers are laid out as `module_path` says."""

Init = Literal["kaiming", "gaussian", "orthogonal", "olora"]
"""PEFT's own starts that need no data: `init_lora_weights` True (A Kaiming-uniform, B zero), "gaussian", and so on."""

Start = Mapping[str, "tuple[torch.Tensor, torch.Tensor]"]
"""Module path -> (A `(rank, in)`, B `(out, rank)`); of the embedding, whose table is read transposed, `in` is V."""

ADAPTER = "default"


def module_path(layer: int, module: str) -> str:
    """The full name of a module in a Llama-like model: `model.layers.3.self_attn.q_proj`; `lm_head` has no layer."""
    return OUTSIDE.get(module) or f"model.layers.{layer}.{PARENTS[module]}.{module}"


def adapted_modules(modules: Sequence[str], *, tied: bool) -> tuple[str, ...]:
    """Which of `modules` get an adapter: of a student with tied embeddings neither the embedding nor the head."""
    return tuple(module for module in modules if not (tied and module in OUTSIDE))


def adapted_paths(student: PreTrainedModel, modules: Sequence[str]) -> list[str]:
    """The full names of everything that gets an adapter, layer by layer, then embedding and head."""
    kept = adapted_modules(modules, tied=bool(student.config.tie_word_embeddings))
    layers = range(int(student.config.num_hidden_layers))
    inside = [module_path(layer, module) for layer in layers for module in kept if module not in OUTSIDE]
    return inside + [OUTSIDE[module] for module in kept if module in OUTSIDE]


def add_adapter(
    student: PreTrainedModel, settings: AdapterSettings, start: Start | None = None, init: Init = "kaiming"
) -> PeftModel:
    """Puts a LoRA adapter on the settings' modules of `student` and freezes the rest.

    Args:
        student: a Llama-like model; its weights change where the adapter starts away from zero.
        settings: rank, scaling, dropout and modules.
        start: the factors of exactly the adapted modules. `scaling * B A` is subtracted from the frozen weight, so the
            student's function stays.
        init: without `start`, which of PEFT's starts, from torch's random state. `olora` starts away from zero on
            linear modules; PEFT subtracts its product from their weights itself.

    Raises:
        ContractError: nothing is left to adapt, the student lacks a module, or `start` has other modules or shapes
            than the settings ask for.
    """
    paths = adapted_paths(student, settings.modules)
    if not paths:
        raise ContractError(
            "there is nothing to put an adapter on: embedding and head of this student are tied, and no other module"
            " is asked for.\n  Name modules of the layers too."
        )
    _check_modules(student, paths)
    if start is not None:
        _check_start(student, paths, start, settings.rank)
    alpha = settings.scaling * settings.rank
    model = _wrap(student, paths, settings.rank, alpha, settings.lora_dropout, init)
    if start is not None:
        for path, (a, b) in start.items():
            layer = student.get_submodule(path)
            weight = layer.base_layer.weight
            _set_factors(layer, a, b)
            product = layer.scaling[ADAPTER] * (b.to(weight.device).float() @ a.to(weight.device).float())
            weight.data.copy_(weight.data.float() - (product.T if _is_embedding(layer) else product))
    return model


def factors_of(model: PeftModel) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Copies of an adapter's factors as they are now, by module path: what `plain_adapter` takes as a start."""
    student = model.get_base_model()
    return {
        path: tuple(factor.detach().clone() for factor in _factors(module))  # type: ignore[misc] # two of them
        for path, module in student.named_modules()
        if hasattr(module, "lora_A")
    }


def plain_adapter(model: PeftModel, start: Start, pristine: PreTrainedModel) -> PeftModel:
    """A tuned adapter that started at `start`, as one of twice the rank around the untouched student.

    `W - s B0 A0 + s B1 A1 = W + s [B1, -B0] [A1; A0]`: same function, and what is saved loads with plain
    `PeftModel.from_pretrained` on the student as it was published. `model` is taken apart; its student's weights are
    put back bit by bit from `pristine`.

    Args:
        model: what `add_adapter` gave, after training.
        start: the factors it started from.
        pristine: a copy of the student that nobody changed; it is only read.
    """
    import torch

    config = model.peft_config[ADAPTER]
    tuned = factors_of(model)
    student = model.unload()
    for path in start:
        student.get_submodule(path).weight.data.copy_(pristine.get_submodule(path).weight.data)
    plain = _wrap(student, list(start), 2 * config.r, 2 * config.lora_alpha, config.lora_dropout)
    for path, (a1, b1) in tuned.items():
        a0, b0 = (factor.to(a1) for factor in start[path])
        _set_factors(student.get_submodule(path), torch.cat([a1, a0]), torch.cat([b1, -b0], 1))
    return plain.eval()


def _wrap(
    student: PreTrainedModel, paths: list[str], rank: int, alpha: float, dropout: float, init: Init = "kaiming"
) -> PeftModel:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        bias="none",
        init_lora_weights=True if init == "kaiming" else init,
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


def _is_embedding(layer: Any) -> bool:  # noqa: ANN401 - PEFT has no types
    return ADAPTER in layer.lora_embedding_A


def _factors(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ANN401 - PEFT has no types
    if _is_embedding(layer):
        return layer.lora_embedding_A[ADAPTER], layer.lora_embedding_B[ADAPTER]
    return layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight


def _set_factors(layer: Any, a: torch.Tensor, b: torch.Tensor) -> None:  # noqa: ANN401 - PEFT has no types
    for factor, value in zip(_factors(layer), (a, b), strict=True):
        factor.data.copy_(value)


def _check_modules(student: PreTrainedModel, paths: list[str]) -> None:
    import torch

    modules = dict(student.named_modules())
    known = torch.nn.Linear, torch.nn.Embedding
    missing = [path for path in paths if not isinstance(modules.get(path), known)]
    if missing:
        raise ContractError(
            f"{type(student).__name__} has no linear module or embedding {missing[0]}"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + ".\n  Adapters go on layers laid out as in Llama; have the method skip other families."
        )


def _check_start(
    student: PreTrainedModel,
    paths: list[str],
    start: Start,
    rank: int,
) -> None:
    if set(start) != set(paths):
        odd = sorted(set(start).symmetric_difference(paths))
        raise ContractError(
            f"the start of an adapter must cover exactly the adapted modules ({len(paths)}); it covers {len(start)}."
            f"\n  In one and not in the other: {', '.join(odd[:5])}"
        )
    for path, (a, b) in start.items():
        shape = student.get_submodule(path).weight.shape
        out, into = reversed(shape) if path == OUTSIDE["embed_tokens"] else shape
        if tuple(a.shape) != (rank, into) or tuple(b.shape) != (out, rank):
            raise ContractError(
                f"the start of {path} has A {tuple(a.shape)} and B {tuple(b.shape)};"
                f" rank {rank} on a weight ({out}, {into}) takes A ({rank}, {into}) and B ({out}, {rank})"
            )

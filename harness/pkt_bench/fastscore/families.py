"""Which models the engine can run, and why not the others."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal

Masks = Literal["full", "window", "layers"]

FAMILIES: dict[str, Masks] = {
    "llama": "full",
    "mistral": "window",
    "qwen2": "layers",
    "qwen3": "layers",
    "gemma": "full",
    "gemma2": "layers",
    "gemma3_text": "layers",
}
"""What the layers of a family see: all before, a window if the configuration has one, or as its `layer_types` say."""

_ATTENTION = frozenset({"sdpa", "eager"})
# frequencies that depend on the longest sequence of a batch, which is another one here
_ROPE_BY_LENGTH = frozenset({"dynamic", "longrope"})


def causal_model(model: Any) -> Any:  # noqa: ANN401 - a PreTrainedModel, or PEFT's wrapper of one
    """The transformers model that computes, adapters included, without PEFT's wrapper."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def why_not(model: Any) -> str | None:  # noqa: ANN401
    """In words why the engine cannot run a model; None where it can."""
    return _adapters_why_not(model) or _model_why_not(causal_model(model))


def _adapters_why_not(model: Any) -> str | None:  # noqa: ANN401
    for name, adapter in getattr(model, "peft_config", {}).items():
        kind = str(getattr(adapter.peft_type, "value", adapter.peft_type))
        if kind != "LORA" or getattr(adapter, "alora_invocation_tokens", None):
            return f"adapter '{name}' is {kind}, and only LoRA adapters are known to compute alike"
    return None


def _model_why_not(model: Any) -> str | None:  # noqa: ANN401
    config = model.config
    attention = config._attn_implementation  # noqa: SLF001 - transformers says it nowhere else
    turning = _rope_types(getattr(config, "rope_parameters", None)) & _ROPE_BY_LENGTH
    reasons = (
        (
            config.model_type not in FAMILIES,
            f"models of the family '{config.model_type}' are not known to compute alike",
        ),
        (attention not in _ATTENTION, f"attention '{attention}' takes no mask of branches"),
        (getattr(config, "use_bidirectional_attention", None), "its attention looks ahead"),
        (turning, f"its positions ({', '.join(sorted(turning))}) depend on the longest sequence of a batch"),
        (
            "logits_to_keep" not in inspect.signature(model.forward).parameters,
            "it computes the logits of all positions",
        ),
    )
    return next((reason for holds, reason in reasons if holds), None)


def _rope_types(parameters: Any) -> set[str]:  # noqa: ANN401 - one mapping, or one for each kind of layer
    if not isinstance(parameters, Mapping):
        return set()
    each = [parameters, *(value for value in parameters.values() if isinstance(value, Mapping))]
    return {str(mapping["rope_type"]) for mapping in each if "rope_type" in mapping}


def windows(config: Any) -> dict[str, int | None]:  # noqa: ANN401 - a PreTrainedConfig
    """How far back each kind of layer sees, in tokens; None for all the way. A family of one kind has the kind ''."""
    masks = FAMILIES[config.model_type]
    if masks == "full":
        return {"": None}
    if masks == "window":
        return {"": config.sliding_window}
    return {
        kind: config.sliding_window if kind == "sliding_attention" else None
        for kind in dict.fromkeys(config.layer_types)
    }

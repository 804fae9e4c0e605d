"""Where the parts of a Llama-like model are, so that no other file names an attribute of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PretrainedConfig, PreTrainedModel

    from pkt_bench import LayerStream

Module = Literal["up_proj", "down_proj", "v_proj", "o_proj"]
Kind = Literal["ffn", "attention"]
ScoreName = Literal["ffn", "attention", "value"]

ROWS: frozenset[Module] = frozenset({"up_proj", "v_proj"})
"""Modules whose neuron is a row of the weight; in the others it is a column."""

KIND: dict[Module, Kind] = {
    "up_proj": "ffn",
    "down_proj": "ffn",
    "v_proj": "attention",
    "o_proj": "attention",
}
"""The half of a layer a module belongs to: layers are ranked apart for either half."""

SCORE: dict[Module, ScoreName] = {
    "up_proj": "ffn",
    "down_proj": "ffn",
    "v_proj": "value",
    "o_proj": "attention",
}
"""The scores that rank a module's neurons: with grouped queries v_proj has fewer channels than o_proj."""


@dataclass(frozen=True)
class Heads:
    """`count` query heads and `kv` key-value heads of `width` channels each."""

    count: int
    kv: int
    width: int

    @property
    def group(self) -> int:
        """Query heads that share one key-value head."""
        return self.count // self.kv


def heads(config: PretrainedConfig) -> Heads:
    """The attention heads (`head_dim` where the configuration says so)."""
    count = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // count
    return Heads(count, getattr(config, "num_key_value_heads", None) or count, width)


def decoder(model: PreTrainedModel) -> nn.Module:
    """The model without its head: token ids to hidden states."""
    return cast("nn.Module", cast("Any", model).model)


def layers(model: PreTrainedModel) -> list[Any]:
    """The transformer blocks in order."""
    return list(cast("Any", model).model.layers)


def linear(model: PreTrainedModel, layer: int, module: Module) -> nn.Linear:
    """One linear module of one layer."""
    block = cast("Any", model).model.layers[layer]
    return cast("nn.Linear", getattr(block.mlp if KIND[module] == "ffn" else block.self_attn, module))


Weights = Callable[[int, Module], "Tensor"]
"""`weights(layer, module)`: the weight of one linear module `(out, in)`, from memory or from a file."""


def weights_of(model: PreTrainedModel) -> Weights:
    """The weights of a model that is in memory."""
    return lambda layer, module: linear(model, layer, module).weight.detach()


def weights_in(stream: LayerStream) -> Weights:
    """The weights of a model that is read from its files, one at a time."""
    return lambda layer, module: stream.tensor(weight_name(layer, module))


def weight_name(layer: int, module: Module) -> str:
    """The name of a module's weight in `named_parameters()`."""
    return f"model.layers.{layer}.{'mlp' if KIND[module] == 'ffn' else 'self_attn'}.{module}.weight"


def sizes(config: PretrainedConfig) -> dict[ScoreName, int]:
    """How many neurons of a layer have each score."""
    shape = heads(config)
    return {
        "ffn": int(config.intermediate_size),
        "attention": shape.count * shape.width,
        "value": shape.kv * shape.width,
    }


def final_norm(model: PreTrainedModel) -> Any:  # noqa: ANN401 - every family has its own RMSNorm class
    """The norm before the head."""
    return cast("Any", model).model.norm


def norm_epsilon(model: PreTrainedModel) -> float:
    """The epsilon of the final RMSNorm."""
    return float(cast("Any", model.config).rms_norm_eps)


def norm_gain(model: PreTrainedModel, dtype: torch.dtype) -> Tensor:
    """What the final norm multiplies each channel by, [d]: its weight, and in Gemma 1 + its weight."""
    weight = cast("Tensor", final_norm(model).weight).to(dtype)
    return weight + 1 if cast("Any", model.config).model_type == "gemma" else weight


def head_weight(model: PreTrainedModel) -> Tensor:
    """The head's weight [V, d]; the embedding where they are tied."""
    return cast("Tensor", cast("Any", model).get_output_embeddings().weight)

"""A model with some layers and neurons of another: the same class, a smaller configuration, copied weights."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pkt_bench.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel

_LAYER = re.compile(r"^model\.layers\.(\d+)\.(.+)$")
_ROWS, _COLUMNS = ("mlp.gate_proj.", "mlp.up_proj."), "mlp.down_proj.weight"


def smaller(parent: PreTrainedModel, layers: Sequence[int], neurons: Sequence[Tensor] | None = None) -> PreTrainedModel:
    """A model of the `layers` of `parent`, in this order, of which each keeps its `neurons` `(f',)`; None: all.

    Raises:
        RequestError: the model's weights are not named as a Llama-like model's.
    """
    state = parent.state_dict()
    if not any(_LAYER.match(name) for name in state):
        raise RequestError(
            f"{type(parent).__name__} cannot be pruned here: its layers are not called model.layers.N as a Llama's are."
        )
    place = {old: new for new, old in enumerate(layers)}
    kept: dict[str, Tensor] = {}
    for name, weight in state.items():
        found = _LAYER.match(name)
        if found is None:
            kept[name] = weight
        elif (new := place.get(int(found[1]))) is not None:
            part = weight if neurons is None else _narrowed(found[2], weight, neurons[new])
            kept[f"model.layers.{new}.{found[2]}"] = part
    width = None if neurons is None else len(neurons[0])
    student = type(parent)(_config(parent.config, layers, width)).to(parent.dtype)
    student.load_state_dict(kept, strict=True)
    return student.to(parent.device).eval()


def _narrowed(name: str, weight: Tensor, neurons: Tensor) -> Tensor:
    chosen = neurons.to(weight.device)
    if name.startswith(_ROWS):
        return weight[chosen]
    return weight[:, chosen] if name == _COLUMNS else weight


def _config(config: PretrainedConfig, layers: Sequence[int], width: int | None) -> PretrainedConfig:
    """The configuration cut alike: lists that say something of each layer keep what they say of those that stay."""
    found = copy.deepcopy(config)
    for name, value in config.to_dict().items():
        if isinstance(value, list) and len(value) == config.num_hidden_layers:
            setattr(found, name, [value[index] for index in layers])
    found.num_hidden_layers = len(layers)
    if width is not None:
        found.intermediate_size = width
    return found

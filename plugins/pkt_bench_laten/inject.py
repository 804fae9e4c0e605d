"""Neurons out of a teacher and into a student: taken, added while a forward runs, merged into the weights.

Everywhere a neuron is a vector over the hidden size: a row of up_proj or v_proj, a column of down_proj or
o_proj.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pkt_bench_laten import anatomy
from pkt_bench_laten.anatomy import ROWS, Module, Weights
from pkt_bench_laten.locate import Place, Places

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def take(weights: Weights, places: Places) -> dict[Module, Tensor]:
    """Copies of the neurons at `places`: [K, n, d] per module kind; one weight is held at a time."""
    return {
        module: torch.stack(
            [
                _neurons(weights(layer, module), module, neurons)
                for layer, neurons in zip(place.layers, place.neurons, strict=True)
            ]
        )
        for module, place in places.items()
    }


@contextlib.contextmanager
def injected(student: PreTrainedModel, places: Places, deltas: Mapping[Module, Tensor]) -> Iterator[None]:
    """The student as if `deltas` [K, n, d] were added at `places`; gradients reach them, no weight changes.

    Only what the chosen rows and columns contribute is computed: a dense delta of a weight never exists.
    """
    handles = []
    try:
        for module, place in places.items():
            add = _add_rows if module in ROWS else _add_columns
            for (layer, neurons), delta in zip(_by_layer(place, student.device), deltas[module], strict=True):
                linear = anatomy.linear(student, layer, module)
                handles.append(linear.register_forward_hook(add(neurons, delta)))
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def merge(student: PreTrainedModel, places: Places, deltas: Mapping[Module, Tensor]) -> dict[Module, float]:
    """Adds `deltas` into the student's weights at `places`, in place.

    Returns the Frobenius norm of the deltas over that of the touched weights, per module kind.
    """
    ratios: dict[Module, float] = {}
    for module, place in places.items():
        weight_square = 0.0
        for (layer, neurons), delta in zip(_by_layer(place, student.device), deltas[module], strict=True):
            weight = anatomy.linear(student, layer, module).weight
            weight_square += float(weight.double().square().sum())
            _vectors(weight, module).index_add_(0, neurons, delta.to(weight.dtype))
        ratios[module] = float(deltas[module].double().norm()) / weight_square**0.5 if weight_square else 0.0
    return ratios


def _neurons(weight: Tensor, module: Module, neurons: Tensor) -> Tensor:
    return _vectors(weight, module)[neurons.to(weight.device)]


def _vectors(weight: Tensor, module: Module) -> Tensor:
    """A view of the weight with one neuron per row, [neurons, d]."""
    return weight if module in ROWS else weight.T


def _by_layer(place: Place, device: torch.device) -> Iterator[tuple[int, Tensor]]:
    yield from zip(place.layers, place.neurons.to(device), strict=True)


Hook = Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]


def _add_rows(neurons: Tensor, delta: Tensor) -> Hook:
    def hook(_module: object, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output.index_add(-1, neurons, args[0] @ delta.to(output.dtype).T)

    return hook


def _add_columns(neurons: Tensor, delta: Tensor) -> Hook:
    def hook(_module: object, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + args[0].index_select(-1, neurons) @ delta.to(output.dtype)

    return hook

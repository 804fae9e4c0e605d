"""What each layer and each neuron of a model does, measured on records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from pkt_bench.data import Encoded


@dataclass(frozen=True)
class Measured:
    """`influence` of each layer; `neurons`: for each layer the importance `(f,)` of its feed-forward neurons."""

    influence: tuple[float, ...]
    neurons: tuple[Tensor, ...]


def measure(model: PreTrainedModel, data: Sequence[Encoded]) -> Measured:
    """One forward of each record.

    The influence of a layer is its block influence, 1 - E[cos(x_in, x_out)] over all positions (arXiv 2403.03853).
    The importance of a neuron is E|a| over all positions, a being what the down projection reads of it
    (arXiv 2407.14679, with the mean over batch and sequence).
    """
    import torch

    layers = model.model.layers
    influence = torch.zeros(len(layers), dtype=torch.float64)
    neurons = [torch.zeros(layer.mlp.down_proj.in_features, dtype=torch.float64) for layer in layers]
    positions = 0
    with torch.no_grad(), _watching(layers, influence, neurons):
        for record in data:
            model(input_ids=torch.tensor([record.ids], device=model.device), use_cache=False)
            positions += len(record.ids)
    return Measured(tuple((influence / positions).tolist()), tuple(each / positions for each in neurons))


@contextmanager
def _watching(layers: Sequence[Any], influence: Tensor, neurons: list[Tensor]) -> Iterator[None]:
    """Adds up over positions, in float64 on the CPU, while it is open."""
    import torch

    def layer_hook(index: int) -> Any:  # noqa: ANN401 - torch's signature
        def hook(_module: object, given: tuple[Tensor, ...], named: dict[str, Tensor], output: Any) -> None:  # noqa: ANN401 - see above
            came = given[0] if given else named["hidden_states"]
            went = output[0] if isinstance(output, tuple) else output
            alike = torch.nn.functional.cosine_similarity(came.double(), went.double(), dim=-1)
            influence[index] += (1 - alike).sum().cpu()

        return hook

    def neuron_hook(index: int) -> Any:  # noqa: ANN401 - see above
        def hook(_module: object, given: tuple[Tensor, ...]) -> None:
            neurons[index] += given[0].abs().double().sum(dim=(0, 1)).cpu()

        return hook

    handles = [
        handle
        for index, layer in enumerate(layers)
        for handle in (
            layer.register_forward_hook(layer_hook(index), with_kwargs=True),
            layer.mlp.down_proj.register_forward_pre_hook(neuron_hook(index)),
        )
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def evenly(layers: int, count: int) -> list[int]:
    """`count` of `layers` indices, the first and the last among them, as evenly spaced as whole numbers are."""
    if count == 1:
        return [0]
    return [round(place * (layers - 1) / (count - 1)) for place in range(count)]


def most_influential(influence: Sequence[float], count: int) -> list[int]:
    """The indices of the `count` layers of most influence, in order; of two alike the earlier one."""
    ranked = sorted(range(len(influence)), key=lambda index: (-influence[index], index))
    return sorted(ranked[:count])


def largest(importance: Tensor, count: int) -> Tensor:
    """The indices of the `count` largest entries of `(f,)`, in order; of two alike the earlier one."""
    import torch

    ranked = torch.argsort(importance, descending=True, stable=True)
    return torch.sort(ranked[:count]).values

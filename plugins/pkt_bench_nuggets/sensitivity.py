"""How much each of a model's parameters matters for a set of records: |weight * gradient|, summed record by record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from pkt_bench import Encoded


@dataclass(frozen=True)
class Sensitivity:
    """Sums by parameter name, each in its parameter's shape, and how many records had no answer token to ask about."""

    sums: dict[str, torch.Tensor]
    unsupervised: int


def sensitivity(
    model: PreTrainedModel,
    records: Sequence[Encoded],
    wanted: Iterable[str],
    progress: Callable[[float], None] = lambda fraction: None,  # noqa: ARG005 - the signature of a progress report
) -> Sensitivity:
    """`S = sum_j |theta * d l_j / d theta|` with l_j the mean cross-entropy over record j's answer.

    One record at a time, for the absolute value is taken per record. As theta stays, only sum_j |grad| is kept: a hook
    on each parameter adds its gradient and drops it, so one more copy of the weights is all the memory this takes. The
    model is left as it was: weights, gradients and what requires one.

    Args:
        model: in evaluation mode.
        records: those whose prompt alone fills the window contribute nothing and are counted.
        wanted: parameter names, as in `model.named_parameters()`.
        progress: called with the fraction of records done.
    """
    import torch

    parameters = dict(model.named_parameters())
    before = {name: weight.requires_grad for name, weight in parameters.items()}
    chosen = {name: parameters[name] for name in wanted}
    sums = {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in chosen.items()}
    hooks = []
    unsupervised = 0
    try:
        for name, weight in parameters.items():
            weight.requires_grad_(name in chosen)
        for name, weight in chosen.items():
            hooks.append(weight.register_post_accumulate_grad_hook(_adder(sums[name])))
        for number, record in enumerate(records, start=1):
            if record.supervised:
                _answer_loss(model, record).backward()
            else:
                unsupervised += 1
            progress(number / len(records))
    finally:
        for hook in hooks:
            hook.remove()
        for name, weight in parameters.items():
            weight.requires_grad_(before[name])
            if name in chosen:
                weight.grad = None
    for name, weight in chosen.items():
        sums[name].mul_(weight.detach().abs())
    return Sensitivity(sums, unsupervised)


def _adder(total: torch.Tensor) -> Callable[[torch.Tensor], None]:
    def add(weight: torch.Tensor) -> None:
        gradient = weight.grad
        if gradient is not None:
            total.add_(gradient.abs_())
            weight.grad = None

    return add


def _answer_loss(model: PreTrainedModel, record: Encoded) -> torch.Tensor:
    """Mean cross-entropy over the answer's tokens; logits are computed for those alone."""
    import torch

    ids = torch.tensor([record.ids], device=model.device)
    first = max(record.prompt_length, 1)
    keep = torch.arange(first - 1, ids.shape[1] - 1, device=model.device)
    logits = model(input_ids=ids, use_cache=False, logits_to_keep=keep).logits[0]
    return torch.nn.functional.cross_entropy(logits.float(), ids[0, first:])

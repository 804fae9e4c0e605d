"""How much each of a model's parameters matters for a set of records: |weight * gradient|, summed record by record."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pkt_bench_nuggets.tables import TABLES, TableSums

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pkt_bench import Encoded


@dataclass(frozen=True)
class Sensitivity:
    """Sums by parameter name, each in its parameter's shape, and how many records had no answer token to ask about."""

    sums: dict[str, Tensor]
    unsupervised: int


def sensitivity(
    model: PreTrainedModel,
    records: Sequence[Encoded],
    wanted: Iterable[str],
    progress: Callable[[float], None] = lambda fraction: None,  # noqa: ARG005 - the signature of a progress report
) -> Sensitivity:
    """`S = sum_j |theta * d l_j / d theta|` with l_j the mean cross-entropy over record j's answer.

    One record at a time, for the absolute value is taken per record. As theta stays, only sum_j |grad| is kept: a hook
    on each parameter adds its gradient and drops it, so one more copy of the weights is about all the memory this
    takes. Tied tables are one parameter with both uses. The model is left as it was: weights, gradients and what
    requires one.

    Args:
        model: in evaluation mode.
        records: those whose prompt alone fills the window contribute nothing and are counted.
        wanted: parameter names, as in `model.named_parameters()`.
        progress: called with the fraction of records done.
    """
    parameters = dict(model.named_parameters())
    before = {name: weight.requires_grad for name, weight in parameters.items()}
    chosen = {name: parameters[name] for name in wanted}
    sums = {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in chosen.items()}
    tables = TableSums(model, sums)
    unsupervised = 0
    try:
        for weight in parameters.values():
            weight.requires_grad_(requires_grad=False)
        inside = {name: weight for name, weight in chosen.items() if name not in TABLES}
        with accumulating(inside, sums), tables.watching():
            for number, record in enumerate(records, start=1):
                if record.supervised:
                    tables.record = number
                    _answer_loss(model, record).backward()
                else:
                    unsupervised += 1
                progress(number / len(records))
    finally:
        for name, weight in parameters.items():
            weight.requires_grad_(before[name])
    for name, weight in chosen.items():
        times_weight(sums[name], weight)
    return Sensitivity(sums, unsupervised)


@contextlib.contextmanager
def accumulating(weights: Mapping[str, nn.Parameter], sums: Mapping[str, Tensor]) -> Iterator[None]:
    """While open, every backward pass adds |gradient| of each of `weights` to its sum, and keeps no gradient."""
    hooks = []
    try:
        for name, weight in weights.items():
            weight.requires_grad = True
            hooks.append(weight.register_post_accumulate_grad_hook(_adder(sums[name])))
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for weight in weights.values():
            weight.requires_grad = False
            weight.grad = None


def times_weight(total: Tensor, weight: Tensor) -> None:
    """Turns a sum of |gradient| into the sensitivity, in place and slice by slice."""
    for part, values in zip(total.split(4096), weight.detach().split(4096), strict=True):
        part.mul_(values.abs())


def answer_cross_entropy(logits: Tensor, record: Encoded) -> Tensor:
    """Mean cross-entropy over a record's answer, given the logits `(n, V)` that predict its n tokens."""
    answer = torch.tensor(record.ids[first_predicted(record) :], device=logits.device)
    return torch.nn.functional.cross_entropy(logits.float(), answer)


def first_predicted(record: Encoded) -> int:
    """The position of the first answer token that has one before it."""
    return max(record.prompt_length, 1)


def _adder(total: Tensor) -> Callable[[Tensor], None]:
    def add(weight: Tensor) -> None:
        gradient = weight.grad
        if gradient is not None:
            total.add_(gradient.abs_())
            weight.grad = None

    return add


def _answer_loss(model: PreTrainedModel, record: Encoded) -> Tensor:
    """The loss of one record; logits are computed for the answer's tokens alone."""
    ids = torch.tensor([record.ids], device=model.device)
    keep = torch.arange(first_predicted(record) - 1, ids.shape[1] - 1, device=model.device)
    return answer_cross_entropy(model(input_ids=ids, use_cache=False, logits_to_keep=keep).logits[0], record)

"""Training the hypernetwork on the frozen student's own loss, with translated neurons added to it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from pkt_bench import DivergedError, Encoded, Record, TransferContext
from pkt_bench_laten import anatomy
from pkt_bench_laten.anatomy import Module
from pkt_bench_laten.batching import groups_by_length, pad_right
from pkt_bench_laten.hypernetwork import Hypernetwork
from pkt_bench_laten.inject import injected
from pkt_bench_laten.locate import Places

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Lesson:
    """What a step learns from: teacher's neurons [K, n, d_T], their places in the student, the records."""

    knowledge: Mapping[Module, Tensor]
    places: Places
    records: Sequence[Encoded]


@dataclass(frozen=True)
class StepLoss:
    """What a step saw: each record's mean cross-entropy, in order, and the sum over modules of mean(g^2)."""

    records: tuple[float, ...]
    magnitude: float


def align(
    student: PreTrainedModel,
    hypernetwork: Hypernetwork,
    lesson: Callable[[int], Lesson],
    *,
    steps: int,
    total_steps: int,
    learning_rate: float,
    weight_decay: float,
    magnitude_penalty: float,
    keep: Sequence[int],
    progress: Callable[[float], None],
) -> tuple[dict[int, dict[str, Tensor]], list[StepLoss]]:
    """Trains `hypernetwork` by AdamW for the first `steps` of a cycle of `total_steps`.

    Returns copies of its weights after each number of steps in `keep`, and the loss of every step.

    Raises:
        DivergedError: a loss is not finite.
    """
    optimizer = torch.optim.AdamW(
        hypernetwork.parameters(), lr=learning_rate, betas=(0.95, 0.95), eps=1e-8, weight_decay=weight_decay
    )
    checkpoints: dict[int, dict[str, Tensor]] = {}
    losses: list[StepLoss] = []
    with frozen(student):
        for step in range(steps):
            rate, beta = one_cycle(step, total_steps, learning_rate)
            for group in optimizer.param_groups:
                group["lr"], group["betas"] = rate, (beta, 0.95)
            optimizer.zero_grad(set_to_none=True)
            loss = accumulate_gradients(student, hypernetwork, lesson(step), magnitude_penalty)
            if not math.isfinite(sum(loss.records) + loss.magnitude):
                raise DivergedError(
                    f"laten: alignment step {step + 1} has a loss that is not finite"
                    f" (learning rate {rate:.3g}).\n"
                    "  Lower laten.learning_rate."
                )
            losses.append(loss)
            optimizer.step()
            if step + 1 in keep:
                checkpoints[step + 1] = {
                    name: weight.detach().clone() for name, weight in hypernetwork.state_dict().items()
                }
            progress((step + 1) / steps)
    return checkpoints, losses


def accumulate_gradients(
    student: PreTrainedModel, hypernetwork: Hypernetwork, lesson: Lesson, magnitude_penalty: float
) -> StepLoss:
    """Adds to the hypernetwork's gradients those of sum over records of (LM + penalty * sum_m mean(g_m^2)).

    The neurons are translated once. Records meet the result as detached leaves, which gather what all of them
    say, and one backward through the hypernetwork ends the step.
    """
    deltas = hypernetwork(lesson.knowledge)
    leaves = {module: delta.detach().requires_grad_() for module, delta in deltas.items()}
    losses = [math.nan] * len(lesson.records)
    with injected(student, lesson.places, leaves):
        for group in groups_by_length([len(record.ids) for record in lesson.records]):
            per_record = record_losses(student, [lesson.records[i] for i in group])
            per_record.sum().backward()
            for index, loss in zip(group, per_record.tolist(), strict=True):
                losses[index] = loss
    magnitude = torch.stack([delta.square().mean() for delta in deltas.values()]).sum()
    penalty = magnitude_penalty * len(lesson.records) * magnitude
    torch.autograd.backward(
        [*deltas.values(), penalty], [*(cast("Tensor", leaf.grad) for leaf in leaves.values()), None]
    )
    return StepLoss(tuple(losses), float(magnitude.detach()))


def record_losses(model: PreTrainedModel, records: Sequence[Encoded]) -> Tensor:
    """Mean cross-entropy in float32 over each record's supervised tokens, in one padded forward: [B].

    The head runs at the positions that predict a supervised token, nowhere else.
    """
    device = model.device
    ids = pad_right([record.ids for record in records], 0, device)
    labels = pad_right([record.labels for record in records], -100, device)[:, 1:]
    hidden = cast("Any", anatomy.decoder(model)(input_ids=ids, use_cache=False)).last_hidden_state[:, :-1]
    rows, columns = (labels != -100).nonzero(as_tuple=True)
    logits = hidden[rows, columns] @ anatomy.head_weight(model).T
    losses = functional.cross_entropy(logits.float(), labels[rows, columns], reduction="none")
    counts = torch.bincount(rows, minlength=len(records)).to(losses.dtype)
    return losses.new_zeros(len(records)).index_add(0, rows, losses) / counts


@torch.no_grad()
def mean_loss(model: PreTrainedModel, records: Sequence[Encoded]) -> float:
    """Mean over records of their mean cross-entropy."""
    total = 0.0
    for group in groups_by_length([len(record.ids) for record in records]):
        total += float(record_losses(model, [records[i] for i in group]).double().sum())
    return total / len(records)


def supervised(context: TransferContext, records: Sequence[Record]) -> tuple[list[Encoded], int]:
    """Records with a supervised token within the settings' `max_length`, and how many had none."""
    encoded = context.encoded(records, context.settings.max_length)
    kept = [record for record in encoded if record.supervised > 0]
    return kept, len(encoded) - len(kept)


def one_cycle(step: int, steps: int, peak: float) -> tuple[float, float]:
    """Learning rate and beta1 before step number `step` of `steps`.

    Cosine from peak / 25 to the peak in the first tenth and back to peak / 25; beta1 goes 0.95, 0.85, 0.95
    against it. These are the numbers of `torch.optim.lr_scheduler.OneCycleLR(pct_start=0.1,
    final_div_factor=1)` with its default momentum cycle, which divides by zero for 10 steps.
    """
    top, end = 0.1 * steps - 1, steps - 1
    rising = top > 0 and step <= top
    height = _cosine(step / top) if rising else 1 - _cosine((step - top) / (end - top))
    low = peak / 25
    return low + (peak - low) * height, 0.95 - 0.10 * height


def _cosine(share: float) -> float:
    """From 0 to 1 along half a cosine."""
    return (1 - math.cos(math.pi * share)) / 2


@contextlib.contextmanager
def frozen(model: PreTrainedModel) -> Iterator[None]:
    """The model with no parameter asking for gradients; what asked before asks again afterwards."""
    asking = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in asking:
        weight.requires_grad = False
    try:
        yield
    finally:
        for weight in asking:
            weight.requires_grad = True

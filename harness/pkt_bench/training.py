"""The one fine-tuning loop: every tuned method trains here, so that methods differ by their start alone.

The loss of a step is the mean cross-entropy over all supervised tokens of its batch, as in the Hugging Face Trainer: a
long answer weighs more than a short one. A batch runs in several passes over records of like length, which changes
nothing but the time: gradients add up to those of the whole batch. Records are padded on the right, where causal
attention never looks, so there is no mask and no position shifts; logits are computed from the first supervised
position on.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pkt_bench.domain import TrainingKnobs
from pkt_bench.errors import ContractError, DivergedError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from pkt_bench.data import Encoded
    from pkt_bench.domain import Record
    from pkt_bench.settings import FinetuneSettings
    from pkt_bench.transfer import TransferContext

PROBED = 4
"""Records on which the model is compared with the untouched student before it is tuned."""


Objective = Callable[["PreTrainedModel", "Sequence[Encoded]"], "torch.Tensor"]
"""`objective(model, records)`: the loss summed over the supervised tokens of one pass, a scalar with a gradient."""

Redraw = Callable[["PreTrainedModel", "list[Encoded]"], "list[Encoded]"]
"""`redraw(model, batch)`: what to learn from instead of `batch`, such as answers that the model has just written."""


@dataclass(frozen=True)
class Trained:
    """What a fine-tuning did.

    Attributes:
        losses: the loss of every step of the training that was kept.
        learning_rate: its peak rate.
        tried: the validation loss each rate came to, by rate; empty where one rate was given, None where it diverged.
        left_out: how many records were not trained on because their prompt alone fills the window.
    """

    losses: tuple[float, ...]
    learning_rate: float
    tried: Mapping[float, float | None]
    left_out: int = 0

    @property
    def selection(self) -> Literal["fixed", "validation"]:
        """How the learning rate was chosen, for the row."""
        return "validation" if self.tried else "fixed"

    @property
    def notes(self) -> dict[str, Any]:
        """What a reader of the row may want to know, as plain JSON."""
        return {
            "learning_rate": self.learning_rate,
            "validation_loss_by_rate": {f"{rate:g}": loss for rate, loss in self.tried.items()},
            "final_loss": self.losses[-1],
            "records_left_out": self.left_out,
        }


def finetune(
    context: TransferContext,
    model: PreTrainedModel,
    settings: FinetuneSettings,
    records: Sequence[Record] | None = None,
    *,
    objective: Objective | None = None,
    redraw: Redraw | None = None,
) -> Trained:
    """Tunes whatever in `model` requires a gradient, and leaves it in evaluation mode.

    AdamW; the learning rate warms up linearly over `warmup_ratio` of the steps and falls linearly to 0 after the last.
    The order of records comes from the stage's seed alone, whatever the model, so methods see the same batches. Where
    the settings give several rates, each is tried from the same start, and the lowest loss on the validation split
    decides; a rate that diverges is out of the choice. The ledger counts the tokens of every try, and holds how far the
    logits of `model` are from those of the untouched student before the first step.

    Args:
        context: gives records, seed and device; its ledger and live view are kept up to date.
        model: the student, usually a `PeftModel`.
        settings: the schedule.
        records: what to train on; by default the suite's train split, cut to `settings.train_records`.
        objective: the loss to train by instead of `cross_entropy`. The choice between rates always goes by the
            cross-entropy on the validation split, so that it is the same for every method.
        redraw: replaces the records of each batch before its step. It runs in evaluation mode and without gradients,
            under the stage's random state.

    Raises:
        ContractError: nothing requires a gradient, or no record has a supervised token.
        DivergedError: at every rate the loss or the gradient left the finite numbers.
        OverBudgetError: it takes more tokens, steps or trainable parameters than the sweep allows.
    """
    if records is None:
        records = context.records("train")[: settings.train_records]
    data = readable(context, model, records, settings.max_length)
    parameters = [weight for weight in model.parameters() if weight.requires_grad]
    if not parameters:
        raise ContractError(f"there is nothing to train: no weight of {type(model).__name__} requires a gradient")
    rates = settings.learning_rate
    steps = settings.epochs * math.ceil(len(data) / settings.batch_size)
    tokens = settings.epochs * sum(len(record.ids) for record in data)
    context.spend(trainable=sum(weight.numel() for weight in parameters))
    # what is written anew for each batch may be longer or shorter than the records: it is counted as it comes
    context.check_budget(steps=steps * len(rates), tokens=0 if redraw else tokens * len(rates))
    context.ledger.injection_change = _injection_change(context, model, data[:PROBED])
    context.ledger.tunings += 1
    left_out = len(records) - len(data)
    course = _Course(data, settings, objective or cross_entropy, redraw, steps)
    if len(rates) == 1:
        losses = _train(context, model, parameters, course, rates[0], (0.0, 1.0))
        return Trained(losses, rates[0], {}, left_out)
    if not context.records("validation"):
        raise ContractError(
            f"suite '{context.suite.name}' has no validation records to choose a learning rate on; give one rate alone."
        )
    start = [weight.detach().clone() for weight in parameters]
    tried: dict[float, float | None] = {}
    kept: _Try | None = None
    diverged: DivergedError | None = None
    for number, rate in enumerate(rates):
        share = number / len(rates), 1 / len(rates)
        try:
            reached = _try(context, model, parameters, start, course, rate, share)
        except DivergedError as error:
            tried[rate], diverged = None, error
            continue
        tried[rate] = reached.loss
        if kept is None or reached.loss < kept.loss:
            kept = reached
    if kept is None:
        assert diverged is not None  # noqa: S101 - with no rate kept, the last one raised
        raise diverged
    _put(parameters, kept.weights)
    return Trained(kept.losses, kept.rate, tried, left_out)


@dataclass(frozen=True)
class _Try:
    """Where training at one rate came to: its validation loss, the loss of each step, the weights (on the CPU)."""

    rate: float
    loss: float
    losses: tuple[float, ...]
    weights: list[torch.Tensor]


def _try(
    context: TransferContext,
    model: PreTrainedModel,
    parameters: list[torch.nn.Parameter],
    start: list[torch.Tensor],
    course: _Course,
    rate: float,
    share: tuple[float, float],
) -> _Try:
    """Trains at one rate from `start`, or finds that an attempt at this cell which was cut short had done so."""
    import torch

    ledger = context.ledger
    spent = (ledger.tokens_trained or 0, ledger.steps or 0)
    computed = False

    def compute() -> dict[str, torch.Tensor]:
        nonlocal computed
        computed = True
        _put(parameters, start)
        losses = _train(context, model, parameters, course, rate, share)
        loss = mean_loss(context, model, context.records("validation"), course.settings.max_length)
        if not math.isfinite(loss):
            raise DivergedError(f"the loss on the validation split is {loss} after training at rate {rate:g}.")
        return {
            "loss": torch.tensor([loss], dtype=torch.float64),
            "losses": torch.tensor(losses, dtype=torch.float64),
            "tokens": torch.tensor([(ledger.tokens_trained or 0) - spent[0]]),
            **{f"weight {number}": weight for number, weight in enumerate(parameters)},
        }

    found = context.resumable(f"tuning {ledger.tunings} at {rate!r}", compute, {"pass_tokens": context.pass_tokens})
    if not computed:
        context.spend(tokens=int(found["tokens"]), steps=len(found["losses"]))
    weights = [found[f"weight {number}"] for number in range(len(parameters))]
    return _Try(rate, float(found["loss"]), tuple(found["losses"].tolist()), weights)


def _injection_change(context: TransferContext, model: PreTrainedModel, data: Sequence[Encoded]) -> float:
    """The largest change of a logit on `data` against the untouched student: about 0 for a start that keeps it."""
    import torch

    model.eval()
    with torch.no_grad():
        changes = [
            (supervised_logits(model, [record])[0] - supervised_logits(context.pair.pristine_student, [record])[0])
            for record in data
        ]
    return max(float(change.float().abs().max()) for change in changes)


@dataclass(frozen=True)
class _Course:
    """What is trained on, how, and by which loss: the same for every rate that is tried."""

    data: Sequence[Encoded]
    settings: FinetuneSettings
    objective: Objective
    redraw: Redraw | None
    steps: int


def _train(
    context: TransferContext,
    model: PreTrainedModel,
    parameters: list[torch.nn.Parameter],
    course: _Course,
    peak: float,
    share: tuple[float, float],
) -> tuple[float, ...]:
    """One training at one peak rate; `share` is where it begins and how long it is on the stage's bar."""
    import torch

    data, settings = course.data, course.settings
    steps = course.steps
    order = torch.Generator().manual_seed(context.stage_seed("tune"))

    def learnt() -> Iterator[list[Encoded]]:
        for indices in batches(len(data), settings, order):
            batch = [data[index] for index in indices]
            if course.redraw is not None:
                model.eval()
                with torch.no_grad():
                    batch = course.redraw(model, batch)
                model.train()
            context.spend(tokens=sum(len(record.ids) for record in batch), steps=1)
            yield batch

    losses: list[float] = []
    with context.stage("tune") as progress:
        descent = descend(
            model,
            parameters,
            learnt(),
            Descent(settings, peak, steps, context.pass_tokens, course.objective, context.training),
        )
        for loss in descent:
            losses.append(loss)
            progress(share[0] + share[1] * len(losses) / steps)
    return tuple(losses)


@dataclass(frozen=True)
class Descent:
    """How to go down: the schedule up to the `peak` rate over so many `steps`, by which loss, in how large passes."""

    settings: FinetuneSettings
    peak: float
    steps: int
    pass_tokens: int
    objective: Objective
    knobs: TrainingKnobs = field(default_factory=TrainingKnobs)


def descend(
    model: PreTrainedModel,
    parameters: list[torch.nn.Parameter],
    drawn: Iterable[list[Encoded]],
    how: Descent,
) -> Iterator[float]:
    """The optimiser's steps: one for each batch that is `drawn`, in training mode; yields the loss of each.

    The model is left in evaluation mode when the last batch is through.

    Raises:
        DivergedError: the loss or the gradient left the finite numbers.
    """
    import torch

    settings = how.settings
    optimizer = _optimizer(parameters, settings, how.peak)
    model.train()
    with _checkpointed(model, on=how.knobs.gradient_checkpointing):
        for step, batch in enumerate(drawn):
            rate = how.peak * schedule(step, how.steps, settings.warmup_ratio)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = _backward(model, batch, how)
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm))
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise DivergedError(
                    f"training diverged at step {step + 1} of {how.steps}: loss {loss}, gradient norm {norm}.\n"
                    f"  The learning rate was {rate:.3g} (peak {how.peak:.3g}),"
                    f" gradients are clipped to {settings.max_grad_norm:g}."
                    "\n  Lower the method's learning_rate, or raise its warmup_ratio."
                )
            optimizer.step()
            optimizer.zero_grad()
            yield loss
    model.eval()


@contextlib.contextmanager
def _checkpointed(model: PreTrainedModel, *, on: bool) -> Iterator[None]:
    """Keeps the input of each layer alone while training, if `on`; afterwards the model is as it was.

    The recomputation sees the random state of the first pass, so that dropout drops the same.
    """
    if not on:
        yield
        return
    # transformers 5.24 gave it another name
    name = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    # the reentrant kind passes no gradient where a layer's input needs none, as under a frozen embedding
    getattr(model, f"{name}_checkpointing_enable")({"use_reentrant": False})
    try:
        yield
    finally:
        getattr(model, f"{name}_checkpointing_disable")()


def _autocast(model: PreTrainedModel, kind: str | None) -> contextlib.AbstractContextManager[None]:
    import torch

    if kind is None:
        return contextlib.nullcontext()
    return torch.autocast(model.device.type, dtype=getattr(torch, kind))


def _put(parameters: list[torch.nn.Parameter], values: list[torch.Tensor]) -> None:
    import torch

    with torch.no_grad():
        for weight, value in zip(parameters, values, strict=True):
            weight.copy_(value)
            weight.grad = None


def mean_loss(context: TransferContext, model: PreTrainedModel, records: Sequence[Record], max_length: int) -> float:
    """Mean cross-entropy over all supervised tokens of `records`, in evaluation mode: for choosing on `validation`."""
    return mean_cross_entropy(model, readable(context, model, records, max_length), context.pass_tokens)


def mean_cross_entropy(model: PreTrainedModel, data: Sequence[Encoded], pass_tokens: int) -> float:
    """Mean cross-entropy over all supervised tokens of `data`, in evaluation mode and without gradients."""
    import torch

    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            total = sum(float(cross_entropy(model, part)) for part in passes(data, pass_tokens))
    finally:
        model.train(training)
    return total / sum(_supervised(record) for record in data)


def readable(
    context: TransferContext, model: PreTrainedModel, records: Sequence[Record], max_length: int
) -> list[Encoded]:
    """Records as token ids within the model's positions, without those whose prompt alone fills the window.

    Raises:
        ContractError: none is left.
    """
    positions = getattr(model.config, "max_position_embeddings", None) or max_length
    window = min(max_length, int(positions))
    data = [record for record in context.encoded(records, window) if _supervised(record)]
    if not data:
        raise ContractError(
            f"suite '{context.suite.name}': none of {len(records)} records has a token to learn within {window} tokens."
            "\n  Raise max_length, or give the suite records with shorter prompts."
        )
    return data


def schedule(step: int, steps: int, warmup_ratio: float) -> float:
    """The factor of the learning rate at `step` (0 to steps - 1): never 0; 1 at the first step after the warm-up."""
    warmup = math.ceil(warmup_ratio * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return (steps - step) / max(1, steps - warmup)


def passes(data: Sequence[Encoded], budget: int) -> list[list[Encoded]]:
    """Records grouped by like length, shortest first, into passes of at most `budget` padded tokens."""
    groups: list[list[Encoded]] = []
    for record in sorted(data, key=lambda record: len(record.ids)):
        if groups and (len(groups[-1]) + 1) * len(record.ids) <= budget:
            groups[-1].append(record)
        else:
            groups.append([record])
    return groups


def _optimizer(parameters: list[torch.nn.Parameter], settings: FinetuneSettings, peak: float) -> torch.optim.Optimizer:
    import torch

    # norm weights and biases are not decayed, as is usual; an adapter has none
    groups = [
        {"params": [w for w in parameters if w.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [w for w in parameters if w.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=peak, fused=True)


def batches(count: int, settings: FinetuneSettings, order: torch.Generator) -> Iterator[list[int]]:
    """The indices of each batch, every record once an epoch, in an order that `order` alone decides."""
    import torch

    for _ in range(settings.epochs):
        indices = torch.randperm(count, generator=order).tolist()
        for start in range(0, count, settings.batch_size):
            yield indices[start : start + settings.batch_size]


def _backward(model: PreTrainedModel, batch: list[Encoded], how: Descent) -> float:
    """Adds the gradient of the batch's mean loss to the weights' and returns that loss."""
    supervised = sum(_supervised(record) for record in batch)
    total = 0.0
    for part in passes(batch, how.pass_tokens):
        with _autocast(model, how.knobs.autocast):
            loss = how.objective(model, part) / supervised
        loss.backward()
        total += float(loss.detach())
    return total


def cross_entropy(model: PreTrainedModel, records: Sequence[Encoded]) -> torch.Tensor:
    """Summed cross-entropy over the supervised tokens of `records` in one pass, as a scalar in float32."""
    import torch

    logits, targets = supervised_logits(model, records)
    return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum")


def supervised_logits(model: PreTrainedModel, records: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
    """One pass over `records`: the logits `(n, V)` that predict their n supervised tokens, and these tokens `(n,)`.

    Records follow each other in order, and so do the tokens of each.
    """
    import torch

    width = max(len(record.ids) for record in records)
    # the token at position t is predicted at t - 1, so the very first one never is
    first = min(max(record.prompt_length, 1) for record in records)
    ids = torch.zeros(len(records), width, dtype=torch.long)
    labels = torch.full((len(records), width), -100)
    for row, record in enumerate(records):
        ids[row, : len(record.ids)] = torch.tensor(record.ids)
        labels[row, : len(record.ids)] = torch.tensor(record.labels)
    labels = labels[:, first:].to(model.device)
    keep = torch.arange(first - 1, width - 1, device=model.device)
    logits = model(input_ids=ids.to(model.device), use_cache=False, logits_to_keep=keep).logits
    wanted = labels != -100
    return logits[wanted], labels[wanted]


def _supervised(record: Encoded) -> int:
    return len(record.ids) - max(record.prompt_length, 1)

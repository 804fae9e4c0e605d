"""Tunes all weights of a pruned model on records for a number of steps, in the one loop that methods train in."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pkt_bench.settings import FinetuneSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pkt_bench.data import Encoded
    from pkt_bench.pruning import Healing

SAID_EVERY = 10


def heal(
    model: PreTrainedModel,
    data: Sequence[Encoded],
    healing: Healing,
    seed: int,
    pass_tokens: int,
    say: Callable[[str], None],
) -> None:
    """Tunes `model` in place; records come round again, in another order, where the steps outlast them.

    Raises:
        DivergedError: the loss or the gradient left the finite numbers.
    """
    import torch

    from pkt_bench import training

    rate = healing.learning_rate
    settings = FinetuneSettings(learning_rate=(rate,), batch_size=healing.batch_size, warmup_ratio=0.1)
    order = torch.Generator().manual_seed(seed)

    def drawn() -> Iterator[list[Encoded]]:
        while True:
            for indices in training.batches(len(data), settings.model_copy(update={"epochs": 1}), order):
                yield [data[index] for index in indices]

    how = training.Descent(settings, rate, healing.steps, pass_tokens, training.cross_entropy)
    steps = itertools.islice(drawn(), healing.steps)
    parameters = list(model.requires_grad_(requires_grad=True).parameters())
    for step, loss in enumerate(training.descend(model, parameters, steps, how), 1):
        if step % SAID_EVERY == 0:
            say(f"  step {step} of {healing.steps}: loss {loss:.3f}")

"""What a transfer really did, seen from outside: optimiser steps, weights trained, tokens, use of the teacher.

What a row says of training is what the method booked. It is compared with what was seen, and where the two cannot both
be true the row says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from pkt_bench.domain import Method
    from pkt_bench.transfer import Ledger, Transferred

# of the tokens that went through an embedding, so many at least were trained on; others may have been asked about
LEAST_SHARE = 0.5
# tries of a grid that may have ended between the booking of a step and the step
UNFINISHED = 16


@dataclass
class Seen:
    """What was seen of a transfer.

    Attributes:
        steps: steps of each optimiser of torch; several may make one step of the training together.
        sizes: numbers in the weights of each optimiser that made a step, by what identifies these weights.
        tokens: tokens that went through an embedding with gradients on, padding included.
        unpadded: the same from the first step on, without what looks like padding; a sum for each device.
    """

    steps: dict[int, int] = field(default_factory=dict)
    sizes: dict[frozenset[int], int] = field(default_factory=dict)
    tokens: int = 0
    unpadded: dict[torch.device, torch.Tensor] = field(default_factory=dict)

    def as_json(self) -> dict[str, int]:
        """The figures, as they are kept beside the student."""
        return {
            "steps_at_least": max(self.steps.values(), default=0),
            "steps_at_most": sum(self.steps.values()),
            "trained_at_least": max(self.sizes.values(), default=0),
            "trained_at_most": sum(self.sizes.values()),
            "tokens_at_least": int(sum(int(count) for count in self.unpadded.values()) * LEAST_SHARE),
            "tokens_at_most": self.tokens,
        }


@contextlib.contextmanager
def watching() -> Iterator[Seen]:
    """Counts while a method works. Costs a call for each step and each embedding, and changes nothing."""
    import torch
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    seen = Seen()
    plain = torch.nn.functional.embedding

    def embedding(ids: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:  # noqa: ANN401 - torch's own
        if torch.is_grad_enabled():
            seen.tokens += ids.numel()
            if seen.steps:
                # added up where they are: to read a count would make the device wait
                count = _unpadded(ids)
                seen.unpadded[ids.device] = seen.unpadded[ids.device] + count if ids.device in seen.unpadded else count
        return plain(ids, *rest, **more)

    def step(optimizer: torch.optim.Optimizer, *_: Any) -> None:  # noqa: ANN401 - the hook's signature
        seen.steps[id(optimizer)] = seen.steps.get(id(optimizer), 0) + 1
        weights = [weight for group in optimizer.param_groups for weight in group["params"] if weight.requires_grad]
        seen.sizes[frozenset(map(id, weights))] = sum(weight.numel() for weight in weights)

    hook = register_optimizer_step_pre_hook(step)
    torch.nn.functional.embedding = embedding  # type: ignore[assignment]
    try:
        yield seen
    finally:
        torch.nn.functional.embedding = plain
        hook.remove()


def _unpadded(ids: torch.Tensor) -> torch.Tensor:
    """Tokens without the runs of one and the same at both ends of each row `(..., t)`: a scalar, where `ids` are."""
    same = (ids[..., 1:] == ids[..., :-1]).long()
    return ids.numel() - same.cumprod(-1).sum() - same.flip(-1).cumprod(-1).sum()


def contradictions(
    seen: Seen, ledger: Ledger, method: Method, transferred: Transferred, *, teacher_used: bool
) -> list[str]:
    """What of the row cannot be true, a sentence each; empty where all of it can.

    A part that was found computed was not seen: then training is not compared.
    """
    found: list[str] = []
    whole = not (ledger.inherited_seconds or ledger.reused_seconds)
    if whole:
        found += _of_training(seen, ledger)
    if method.paradigm == "reference":
        return found
    if method.uses == "nothing" and teacher_used:
        found.append("uses='nothing' is declared, and the teacher's weights were loaded")
    if method.uses != "nothing" and not teacher_used and whole:
        found.append(f"uses='{method.uses}' is declared, and the teacher was never loaded")
    moved = transferred.payload
    if method.uses == "nothing" and moved:
        found.append("uses='nothing' is declared, and payload names tensors that moved from the teacher")
    if method.uses != "nothing" and moved is not None and not moved:
        found.append(
            f"uses='{method.uses}' is declared, and payload={{}} says that nothing moved from the teacher;"
            " leave payload out where it is not known"
        )
    return found


def _of_training(seen: Seen, ledger: Ledger) -> Iterator[str]:
    """Where no optimiser of torch made a step, training may have been done by hand, and nothing is known of it."""
    saw = seen.as_json()
    trainable, tokens, steps = ledger.trainable_parameters, ledger.tokens_trained, ledger.steps
    if not seen.steps:
        return
    if trainable is not None and not saw["trained_at_least"] <= trainable <= saw["trained_at_most"]:
        changed = _range(saw["trained_at_least"], saw["trained_at_most"])
        yield f"trainable_parameters is {trainable:,}, and optimisers changed {changed} numbers"
    # a step is booked before its loss is known to be finite
    if steps is not None and not saw["steps_at_least"] <= steps <= saw["steps_at_most"] + UNFINISHED:
        made = _range(saw["steps_at_least"], saw["steps_at_most"])
        yield f"{steps:,} optimiser steps were booked, and {made} were made"
    if tokens is not None and not saw["tokens_at_least"] <= tokens <= saw["tokens_at_most"]:
        yield (
            f"tokens_trained is {tokens:,}, and {saw['tokens_at_most']:,} tokens, padding included, went through an"
            " embedding with gradients on"
        )


def _range(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"

"""Which candidate is injected: the number of alignment steps and the rate, by a rule that the row names."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pkt_bench import PktBenchError, TransferContext
from pkt_bench_laten.align import mean_loss, supervised
from pkt_bench_laten.anatomy import Module
from pkt_bench_laten.inject import injected

if TYPE_CHECKING:
    from pkt_bench_laten.locate import Places
    from pkt_bench_laten.settings import LatenSettings

Offer = Callable[[int, float], "tuple[Places, Mapping[Module, Tensor]]"]
"""`offer(step, rate)`: the student's places, and what would be added there."""


@dataclass(frozen=True)
class Candidate:
    """What could be injected: the checkpoint of `step` at `rate`; its validation loss, and its test score if asked."""

    step: int
    rate: float
    loss: float | None
    test_score: float | None = None


@dataclass(frozen=True)
class Verdict:
    """The candidate to inject, and what the row says of the choice."""

    best: Candidate
    notes: Mapping[str, Any]


def choose(context: TransferContext, steps: Sequence[int], offer: Offer, progress: Callable[[float], None]) -> Verdict:
    """The best candidate, the first one if several are equal.

    By `validation` that with the lowest loss on the validation split, by `oracle` that with the highest score on the
    test documents (an upper bound, not a result), by `fixed` the only one there is. It is taken even where the
    untouched student does better: a transfer that does not help shall be seen not to help.
    """
    settings: LatenSettings = context.settings
    student = context.pair.student
    validation, _ = supervised(context, context.records("validation")[: settings.validation_records])
    untouched = mean_loss(student, validation) if validation else None
    candidates: list[Candidate] = []
    total = len(settings.inject_rates) * len(steps)
    for rate in settings.inject_rates:
        for step in steps:
            with _as_if(context, offer, step, rate):
                loss = mean_loss(student, validation) if validation else None
                score = context.test_score(student) if settings.selection == "oracle" else None
            candidates.append(Candidate(step, rate, loss, score))
            progress(len(candidates) / total)
    if settings.selection == "oracle":
        best = max(candidates, key=lambda candidate: candidate.test_score or 0.0)
    else:
        best = min(candidates, key=_finite_loss)
        if validation and not math.isfinite(_finite_loss(best)):
            raise PktBenchError(
                "laten: with every candidate the loss on the validation split is no number.\n"
                "  Lower laten.learning_rate, or run with --dtype float32."
            )
    notes: dict[str, Any] = {
        "step": best.step,
        "rate": best.rate,
        "validation_records": len(validation),
        "validation_loss_student": short(untouched),
        "validation_loss_injected": short(best.loss),
        "validation_losses": [[c.step, c.rate, short(c.loss)] for c in candidates],
    }
    if settings.selection == "oracle":
        notes["test_scores"] = [[c.step, c.rate, short(c.test_score)] for c in candidates]
    if untouched is not None and best.loss is not None and best.loss >= untouched:
        notes["validation_verdict"] = "no candidate is better than the untouched student; the best one is injected"
    return Verdict(best, notes)


def _finite_loss(candidate: Candidate) -> float:
    """0 where there is none to go by; infinite where it is no number, so that it never wins."""
    if candidate.loss is None:
        return 0.0
    return candidate.loss if math.isfinite(candidate.loss) else math.inf


@contextlib.contextmanager
def _as_if(context: TransferContext, offer: Offer, step: int, rate: float) -> Iterator[None]:
    """The student with a candidate in it, for as long as it is looked at."""
    places, deltas = offer(step, rate)
    with injected(context.pair.student, places, deltas):
        yield


def short(value: float | None) -> float | None:
    """Six significant digits."""
    return None if value is None else float(f"{value:.6g}")

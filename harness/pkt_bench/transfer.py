"""What a method is given and what it gives back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pkt_bench import environment, stopping
from pkt_bench.data import Encoded, Locating, alignment_batches, encode, locating
from pkt_bench.domain import Budget, Record, Split, Suite, TrainingKnobs, digest_of
from pkt_bench.errors import ContractError, OverBudgetError
from pkt_bench.stages import StageCache

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from pkt_bench.models import LoadedPair

Report = Callable[[str, float | None], None]


@dataclass(frozen=True)
class Transferred:
    """What a method hands over.

    Attributes:
        student: the new student: a `PreTrainedModel`, or a `PeftModel` around one. The harness saves it, loads it again
            in a clean process, checks that the logits match, and scores that: never this object.
        payload: the tensors that moved from teacher to student; the harness counts their bytes. Empty says that nothing
            moved, None that it is not known.
        selection: `fixed`, `validation` or `oracle`: how any choice between settings was made.
        notes: small facts for the reader of the row (plain JSON values).
    """

    student: PreTrainedModel
    payload: Mapping[str, torch.Tensor] | None = None
    selection: Literal["fixed", "validation", "oracle"] = "fixed"
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Ledger:
    """What a transfer spent, filled in as it goes. None is unknown.

    `stage_seconds` has an entry for each stage, and `NAME (reused)` for what a cached result had cost when it was made.
    """

    stage_seconds: dict[str, float] = field(default_factory=dict)
    trainable_parameters: int | None = None
    tokens_trained: int | None = None
    steps: int | None = None
    tunings: int = 0
    reused_seconds: float = 0.0
    """What stages had taken that were found computed by this or another cell."""
    inherited_seconds: float = 0.0
    """What an earlier attempt at this cell had taken for what was found of it."""
    injection_change: float | None = None


def _no_test_score(student: PreTrainedModel) -> float:  # noqa: ARG001 - the signature
    raise ContractError("test scores can be had in a cell of a run alone")


@dataclass(frozen=True)
class TransferContext:
    """Everything a method may touch, in one argument.

    Attributes:
        pair: the models. `pair.student` is the method's own copy to change; `pair.teacher` must stay as it is.
        suite: the domain; read its records through `records` and `encoded`.
        settings: the validated settings, an instance of the method's settings class.
        seed: the cell's seed. Inside `stage(...)` Python, NumPy and torch are already seeded from it.
        device: where to compute, a torch device as text.
        cache: stage results by content, shared by all cells of a run folder.
        test_score: a student's headline score on the test documents. Whoever asks for it hands over a student with
            `selection="oracle"`: a choice by test scores is an upper bound, and its row says so.
        ledger: what the transfer spent; `finetune` fills in its part.
        made_by: the code, libraries and threads at work, which the cache takes into account by itself.
        budget: what the transfer may spend; `spend` holds it to that.
        partial: results of this very cell that an attempt which was cut short had come to; see `resumable`.
        batching: gives `pass_tokens`, and tells the harness that it was asked.
        training: how every method of the sweep trains.
    """

    pair: LoadedPair
    suite: Suite
    settings: Any
    seed: int
    device: str
    cache: StageCache
    report: Report
    test_score: Callable[[PreTrainedModel], float] = _no_test_score
    ledger: Ledger = field(default_factory=Ledger)
    made_by: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    partial: StageCache | None = None
    batching: Callable[[], int] | None = None
    training: TrainingKnobs = field(default_factory=TrainingKnobs)

    @property
    def pass_tokens(self) -> int:
        """Padded tokens to compute on at once. Where memory runs out, the cell is tried again with half of it."""
        return environment.pass_tokens(self.device) if self.batching is None else self.batching()

    def spend(self, *, tokens: int = 0, steps: int = 0, trainable: int = 0) -> None:
        """Books work, before it is done: tokens trained on, optimiser steps, parameters that training may change.

        Raises:
            OverBudgetError: with it the transfer takes more than every method of the sweep may have.
        """
        ledger = self.ledger
        if tokens:
            ledger.tokens_trained = (ledger.tokens_trained or 0) + tokens
        if steps:
            ledger.steps = (ledger.steps or 0) + steps
        if trainable:
            ledger.trainable_parameters = trainable
        self.check_budget()

    def check_budget(self, *, tokens: int = 0, steps: int = 0) -> None:
        """Checks what was booked, and `tokens` and `steps` that are to come, against the budget.

        Raises:
            OverBudgetError: it is more than every method of the sweep may have.
        """
        ledger, budget = self.ledger, self.budget
        for name, asked, allowed in (
            ("tokens", (ledger.tokens_trained or 0) + tokens, budget.tokens),
            ("steps", (ledger.steps or 0) + steps, budget.steps),
            ("trainable", ledger.trainable_parameters or 0, budget.trainable),
        ):
            if allowed is not None and asked > allowed:
                what = {"tokens": "training tokens", "steps": "optimiser steps", "trainable": "trainable parameters"}
                raise OverBudgetError(
                    f"{asked:,} {what[name]} are needed, the budget of the sweep is {allowed:,}."
                    f"\n  Lower the method's own settings, or raise --budget {name}=... for all methods."
                )

    def resumable(
        self,
        name: str,
        compute: Callable[[], Mapping[str, torch.Tensor]],
        inputs: Mapping[str, Any] | None = None,
    ) -> dict[str, torch.Tensor]:
        """The tensors `compute` gives, on the CPU; kept until the cell is done, so that a crash does not cost them.

        `name` is unique within the cell; `inputs` are what else an attempt may do otherwise, such as `pass_tokens`.
        Random state afterwards depends on the name alone, whether the result was computed or found.
        """
        if self.partial is None:
            found = {key: tensor.detach().to("cpu", copy=True) for key, tensor in compute().items()}
        else:
            found, reused = self.partial.tensors(name, inputs or {}, compute)
            if reused is not None:
                self.ledger.stage_seconds[f"{name} (resumed)"] = reused
                self.ledger.inherited_seconds += reused
        environment.seed_everything(self.stage_seed(f"after {name}"))
        return found

    def records(self, split: Split) -> Sequence[Record]:
        """The records of one split of the suite, always in the same order."""
        return self.suite.records(split)

    def encoded(self, records: Sequence[Record], max_length: int) -> list[Encoded]:
        """Records as token ids by the suite's one prompt spec, cut to `max_length` tokens."""
        return [encode(record, self.suite.prompt, self.pair.tokenizer, max_length) for record in records]

    def locating_records(self, count: int, max_length: int) -> list[tuple[Record, Locating, Locating]]:
        """Which of the first `count` extract records both models can be asked on, as tokens of either.

        One needs an answer with more than punctuation in it, and at most `max_length` tokens in either.
        """
        found = []
        for record in self.records("extract")[:count]:
            prompt, _ = self.suite.prompt.render(record)
            theirs, ours = (
                locating(prompt, record.answer, tokenizer, bos=self.suite.prompt.bos)
                for tokenizer in (self.pair.teacher_tokenizer, self.pair.tokenizer)
            )
            if theirs and ours and max(len(theirs.ids), len(ours.ids)) <= max_length:
                found.append((record, theirs, ours))
        return found

    def alignment_batches(
        self, steps: int, batch_size: int, locating: Sequence[Record] | None = None
    ) -> list[list[Record]]:
        """The records of each alignment step of this cell, the locating one first: see `data.alignment_batches`.

        `locating` are by default all records of the extract split. Methods that name the same numbers see the same
        records, whatever they do with them.
        """
        return alignment_batches(
            self.records("extract") if locating is None else locating,
            self.records("align"),
            steps=steps,
            batch_size=batch_size,
            seed=self.seed,
            order_seed=self.stage_seed("locate"),
        )

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Callable[[float], None]]:
        """A named stretch of work: timed, shown live, with all random state seeded from (seed, name).

        Yields a function to call with the fraction done.
        """
        stopping.check()
        environment.seed_everything(self.stage_seed(name))
        self.report(name, None)
        started = time.perf_counter()
        try:
            yield lambda fraction: self.report(name, fraction)
        finally:
            spent = self.ledger.stage_seconds.get(name, 0.0)
            self.ledger.stage_seconds[name] = spent + time.perf_counter() - started

    def stage_seed(self, name: str) -> int:
        """A seed below 2**32 that depends on the cell's seed and the stage's name alone."""
        return int(digest_of({"seed": self.seed, "stage": name})[:8], 16)

    def cached(
        self, stage: str, inputs: Mapping[str, Any], compute: Callable[[], Mapping[str, torch.Tensor]]
    ) -> dict[str, torch.Tensor]:
        """The tensors `compute` gives, from the cache where the same `inputs` were computed before.

        `inputs` must name everything the result depends on, as plain JSON: start from `teacher_key` or `student_key`
        and add the settings that matter. The plugin's code, the harness's, libraries and threads are added here.
        """
        found, reused = self.cache.tensors(stage, {"inputs": inputs, "made_by": self.made_by}, compute)
        self._book(stage, reused)
        return found

    def cached_files(self, stage: str, inputs: Mapping[str, Any], write: Callable[[Path], None]) -> Path:
        """As `cached`, for a result too large to hold at once: the folder that `write` fills with files, to be read."""
        folder, reused = self.cache.files(stage, {"inputs": inputs, "made_by": self.made_by}, write)
        self._book(stage, reused)
        return folder

    def _book(self, stage: str, reused: float | None) -> None:
        if reused is not None:
            self.ledger.stage_seconds[f"{stage} (reused)"] = reused
            self.ledger.reused_seconds += reused

    @property
    def teacher_key(self) -> dict[str, Any]:
        """What identifies the teacher and the way the suite's records reach it."""
        return {"teacher": self.pair.teacher_digest, "device": self.device, **self._reading}

    @property
    def student_key(self) -> dict[str, Any]:
        """What identifies the student and the way the suite's records reach it."""
        return {"student": self.pair.student_digest, "device": self.device, **self._reading}

    @property
    def _reading(self) -> dict[str, Any]:
        from pkt_bench.data import data_digest

        return {"data": data_digest(self.suite), "dtype": self.pair.dtype}

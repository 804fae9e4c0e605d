"""The nouns of the bench: frozen records that every room passes along and every plugin speaks."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from pkt_bench.errors import ContractError

if TYPE_CHECKING:
    import torch
    from pydantic import BaseModel
    from transformers import PreTrainedModel

    from pkt_bench.executors.base import Execute
    from pkt_bench.transfer import TransferContext, Transferred

Split = Literal["extract", "align", "train", "validation"]
SPLITS: tuple[Split, ...] = get_args(Split)

Paradigm = Literal["reference", "language", "post-align", "pre-align", "control"]
PARADIGMS: tuple[Paradigm, ...] = get_args(Paradigm)

CONSENTS = ("pickle", "remote-code")
"""What is refused of a checkpoint unless the user allows it: unpickling its weights, running its own code."""

Use = Literal["weights", "outputs", "nothing"]
USES: tuple[Use, ...] = get_args(Use)


class Outcome(StrEnum):
    """How an attempt at a cell ended. Only `done` counts as done when a run is resumed.

    `failed`: something raised, or a process ended without a result. `contract`: the method broke a promise of its hook.
    `diverged`: numbers left the finite range. `crashed`: the process made a fault of its own (SIGSEGV, SIGABRT).
    `killed`: somebody else ended it. `timeout`, `out-of-memory`, `out-of-disk`: a limit of the cell, or of the machine.
    `over-budget`: the method asked for more than every method of the sweep may have.
    """

    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    NO_EFFECT = "no-effect"
    CONTRACT = "contract"
    DIVERGED = "diverged"
    CRASHED = "crashed"
    KILLED = "killed"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out-of-memory"
    OUT_OF_DISK = "out-of-disk"
    OVER_BUDGET = "over-budget"


# ---------------------------------------------------------------- models


@dataclass(frozen=True)
class ModelRef:
    """A checkpoint by reference: a local folder in Hugging Face layout, or what can be made into one.

    What identifies the weights is the digest the harness takes of the files, wherever they came from.

    Attributes:
        path: the folder; of a model of the hub, empty until a plan has found it in the cache or fetched it.
        revision: the commit of the hub's repository, or a label of its author's.
        name: how reports call it; by default the folder's name.
        hub: the repository on the Hugging Face Hub, `owner/name`.
        gguf: the GGUF file in the folder or repository that holds the weights; a plan converts it once.
        consents: what the user allowed for this checkpoint, of `CONSENTS`; recorded in its rows.
    """

    path: Path = Path()
    revision: str = ""
    name: str = ""
    hub: str = ""
    gguf: str = ""
    consents: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        """Whether its folder is known."""
        return self.path != Path()

    @property
    def label(self) -> str:
        """How people call it: never with this machine's folders."""
        return self.name or (self.path.name if self.found else self.hub)


@dataclass(frozen=True)
class Architecture:
    """What a `config.json` says of a model: enough to plan with, read without loading a weight.

    Sizes in numbers of units: `hidden` d, `ffn` f, `layers` L, `heads` and `kv_heads` of `head_dim` channels each,
    `vocabulary` rows of the embedding, `positions` the longest sequence. `tied` says that the head is the embedding.
    """

    family: str
    hidden: int
    ffn: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    positions: int
    tied: bool

    def module_shape(self, module: str) -> tuple[int, int]:
        """The shape `(out, in)` of a module's weight, grouped-query attention included; the embedding's is transposed.

        Raises:
            KeyError: a Llama-like model has no module of this name.
        """
        query, shared = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (query, self.hidden),
            "k_proj": (shared, self.hidden),
            "v_proj": (shared, self.hidden),
            "o_proj": (self.hidden, query),
            "gate_proj": (self.ffn, self.hidden),
            "up_proj": (self.ffn, self.hidden),
            "down_proj": (self.hidden, self.ffn),
            "embed_tokens": (self.hidden, self.vocabulary),
            "lm_head": (self.vocabulary, self.hidden),
        }[module]

    @property
    def layer_parameters(self) -> int:
        """Numbers in the matrices of one layer (norm weights and biases, some thousandths more, are left out)."""
        inside = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
        return sum(math.prod(self.module_shape(module)) for module in inside)

    @property
    def parameters(self) -> int:
        """Numbers in all matrices, N: the layers, the embedding, and the head where it is not the embedding."""
        tables = 1 if self.tied else 2
        return self.layers * self.layer_parameters + tables * self.vocabulary * self.hidden


@dataclass(frozen=True)
class Pair:
    """A large teacher and a small student, by reference.

    Attributes:
        name: as typed on the command line.
        summary: one line for `ls pairs`.
        teacher: the large one.
        student: the small one.
        suites: what it is run on where no suites are asked for; empty: those that need nothing fetched.
        caveats: what whoever reads its numbers should know, in a sentence each; shown with the plan and kept in rows.
        licence: of the two checkpoints, as their pages say.
    """

    name: str
    summary: str
    teacher: ModelRef
    student: ModelRef
    suites: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    licence: str = ""


# ---------------------------------------------------------------- data


@dataclass(frozen=True)
class Message:
    """One turn of a record."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Record:
    """One example: any turns, the last of which is the assistant's answer."""

    messages: tuple[Message, ...]

    @classmethod
    def of(cls, prompt: str, answer: str) -> Record:
        """The common case: one question, one answer."""
        return cls((Message("user", prompt), Message("assistant", answer)))

    @property
    def answer(self) -> str:
        """The text of the last turn."""
        return self.messages[-1].content

    @property
    def prompt(self) -> str:
        """The text of the user's turns, joined."""
        return "\n".join(message.content for message in self.messages if message.role == "user")


@dataclass(frozen=True)
class PromptSpec:
    """How a record becomes text. Locate, extract, align, tune and score all render through one spec (trap 9).

    Every turn but the last is rendered by the template of its role, then `open_answer`, then the answer, then
    `close_answer` (text) and, with `eos`, the tokenizer's end token. `bos` puts its begin token in front.
    """

    system: str = "{content}"
    user: str = "{content}"
    assistant: str = "{content}"
    open_answer: str = ""
    close_answer: str = ""
    bos: bool = True
    eos: bool = True

    def render(self, record: Record) -> tuple[str, str]:
        """The record as `(prompt text, answer text)`."""
        templates = {"system": self.system, "user": self.user, "assistant": self.assistant}
        turns = (templates[turn.role].replace("{content}", turn.content) for turn in record.messages[:-1])
        return "".join(turns) + self.open_answer, record.answer + self.close_answer


@dataclass(frozen=True)
class Task:
    """An lm-eval task and every knob that moves its number.

    `metric` and `filter` name the headline figure as lm-eval does (`exact_match` under filter `strict`); `chance` is
    what guessing gives, if it is known; `limit` takes the first documents only (None: all of them).
    """

    name: str
    metric: str
    filter: str = "none"
    shots: int = 0
    limit: int | None = None
    chance: float | None = None


@dataclass(frozen=True)
class DataRef:
    """A data set by reference: what it is called in a folder of data, and where the hub has it.

    Attributes:
        name: its folder under a `--data-dir`, with a JSON Lines file for each split: `NAME/SPLIT.jsonl`.
        hub: the repository on the Hugging Face Hub, `owner/name`; empty: it is nowhere else.
        config: the configuration of it that is meant.
        revision: the commit.
        splits: those that are needed.
        licence: as its page says.
    """

    name: str
    hub: str = ""
    config: str = ""
    revision: str = ""
    splits: tuple[str, ...] = ()
    licence: str = ""


@dataclass(frozen=True)
class Suite:
    """A domain of knowledge: where its records come from, how they are rendered, which tasks score it.

    Attributes:
        name: as typed on the command line.
        summary: one line for `ls suites`.
        records: `records(split)` gives that split; splits share no record, and none is a test document.
        prompt: the one rendering all stages share.
        tasks: the lm-eval tasks that score the suite; the first one's metric is the suite's headline.
        task_path: the folder with the tasks' YAML files; None: they are among lm-eval's own.
        test_prompts: the prompts of the test documents, for the overlap check in the plan.
        runs_code: scoring runs code that a model wrote, so it needs a sandbox.
        needs: the data sets it is made of that do not come with its plugin.
    """

    name: str
    summary: str
    records: Callable[[Split], Sequence[Record]]
    prompt: PromptSpec
    tasks: tuple[Task, ...]
    task_path: Path | None
    test_prompts: Callable[[], Sequence[str]]
    runs_code: bool = False
    needs: tuple[DataRef, ...] = ()


# ---------------------------------------------------------------- methods


LARGE = 10**9
"""Parameters from which a teacher is read layer by layer where a method's `stream` is unset."""


@dataclass(frozen=True)
class Question:
    """What a method is asked before anything is loaded: could you do this pair and suite, with these settings?

    `control` is what is taken away from the method, where it is asked as one of its controls.
    """

    pair: Pair
    teacher: Architecture
    student: Architecture
    same_tokenizer: bool
    suite: Suite
    settings: Any
    control: Control | None = None

    def streams_teacher(self, *, stream: bool | None) -> bool:
        """Whether a method reads the teacher layer by layer: as its setting says, or where unset, if it is large.

        A teacher that a control changes in memory cannot be read from its files.
        """
        if stream is not None:
            return stream
        in_memory = self.control is not None and self.control.teacher is not None
        return self.teacher.parameters >= LARGE and not in_memory


def never_skip(question: Question) -> str | None:  # noqa: ARG001 - the signature of every `skip`
    """The `skip` of a method that can do every pair."""
    return None


@dataclass(frozen=True)
class Estimate:
    """One line of what a method would need: `amount` in `unit` (bytes or FLOP), and the formula that gave it."""

    what: str
    formula: str
    amount: float
    unit: Literal["bytes", "FLOP"]


@dataclass(frozen=True)
class Control:
    """The same method with one ingredient taken away: how much of a gain comes without it?

    Written `METHOD:CONTROL` on the command line and on the board; `--controls` adds those of the methods asked for.

    Attributes:
        name: as typed after the colon.
        summary: one line for `ls controls`.
        of: the methods it is a control of; empty: all that use the teacher.
        settings: fields of the method's settings that it sets.
        teacher: puts something else into the teacher's weights, in place, from a generator seeded by the cell's seed.
        pair: the pair to run with instead.
    """

    name: str
    summary: str
    of: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    teacher: Callable[[PreTrainedModel, torch.Generator], None] | None = None
    pair: Callable[[Pair], Pair] | None = None


@dataclass(frozen=True)
class Method:
    """What a plugin yields from `pkt_bench_methods`.

    Attributes:
        name: as typed on the command line and shown on the board.
        summary: one line for `ls methods`.
        paradigm: `reference` (an untouched model), `language` (text moves), `post-align` (inject, then tune),
            `pre-align` (align, then inject), `control` (what the same effort gives without the teacher's knowledge).
        transfer: does the work, see `TransferContext`; returns a `Transferred`.
        settings: the pydantic model of its settings; defaults are what the board shows unless told otherwise.
        skip: a sentence saying why it cannot do what a `Question` asks, or None. Cheap: no weight is read.
        paper: address or citation of the source.
        version: raise it whenever the same input may give another result: it is part of a cell's key.
        changes_student: a method that says so and moves no byte ends as `no-effect`.
        control_of: the method this one is a control of, if it is one. Controls are left out of `all`.
        control: what was taken away, where the harness made this control from another method.
        uses: what of the teacher it takes: `weights`, `outputs` (what it says), or `nothing`.
        estimate: what a `Question` would need at most, by formula, for `plan --estimate`. Cheap, as `skip` is.
    """

    name: str
    summary: str
    paradigm: Paradigm
    transfer: Callable[[TransferContext], Transferred]
    settings: type[BaseModel]
    skip: Callable[[Question], str | None] = never_skip
    paper: str = ""
    version: str = "1"
    changes_student: bool = True
    control_of: str = ""
    control: Control | None = None
    uses: Use = "weights"
    estimate: Callable[[Question], Sequence[Estimate]] | None = None

    def __post_init__(self) -> None:
        for field_, value, allowed in (("paradigm", self.paradigm, PARADIGMS), ("uses", self.uses, USES)):
            if value not in allowed:
                raise ContractError(f"method '{self.name}' has {field_} '{value}'; allowed: {', '.join(allowed)}")

    def under(self, control: Control) -> Method:
        """This method without what `control` takes away."""
        return replace(
            self,
            name=f"{self.name}:{control.name}",
            summary=f"{self.name} with {control.summary}",
            paradigm="control",
            control_of=self.name,
            control=control,
        )


# ---------------------------------------------------------------- who runs cells, and who is told


@dataclass(frozen=True)
class Executor:
    """What a plugin yields from `pkt_bench_executors`: a way to run cells.

    Attributes:
        name: as typed after `--executor`.
        summary: one line for `ls executors`.
        execute: `execute(jobs, slots, moments, settings)`, see `executors.base.Execute`.
        settings: the pydantic model of what `--set NAME.FIELD=VALUE` may say to it.
        missing: a sentence naming the extra to install, where it cannot be used here; called before anything starts.
    """

    name: str
    summary: str
    execute: Execute
    settings: type[BaseModel]
    missing: Callable[[], str | None] = lambda: None


@dataclass(frozen=True)
class Tracker:
    """What a plugin yields from `pkt_bench_trackers`: a service that is told how a run goes, if `--track` names it.

    Attributes:
        name: as typed after `--track`.
        summary: one line for `ls trackers`.
        start: `start(settings, out)` opens it for the run folder `out` and gives an object whose methods implement the
            moments (`pkt_bench_cell_started` and so on, marked with `hookimpl`). What it raises is said, and the run
            goes on without it.
        settings: the pydantic model of what `--set NAME.FIELD=VALUE` may say to it.
        missing: as an executor's.
    """

    name: str
    summary: str
    start: Callable[[Any, Path], object]
    settings: type[BaseModel]
    missing: Callable[[], str | None] = lambda: None


# ---------------------------------------------------------------- cells and runs


@dataclass(frozen=True)
class Budget:
    """What every method of a sweep may spend on one student; None is as much as it likes.

    `tokens` and `steps` of all training a transfer does, every try of a grid included; `trainable` parameters at once;
    `seconds` of the transfer, loading the models left out. A method that needs more ends as `over-budget`.
    """

    tokens: int | None = None
    steps: int | None = None
    trainable: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class TrainingKnobs:
    """How every method of a sweep trains, where it trains.

    `train_records`: the first so many records of a train split, None all of them. `gradient_checkpointing`: keep the
    input of each layer alone and compute the rest again on the way back. `autocast`: the type that matrices are
    multiplied in while weights stay in theirs (`bfloat16`); None: theirs.
    """

    train_records: int | None = None
    gradient_checkpointing: bool = False
    autocast: str | None = None


@dataclass(frozen=True)
class Knobs:
    """What the run sets for every cell alike, and what can move a number: part of every cell's key.

    `teacher_dtype` is the type of the teacher's weights, where it is not `dtype`; `device_map` how it is spread over
    devices (None: whole on `device`); `scorer` which of the two scorers answers lm-eval's requests.
    """

    device: str = "cpu"
    dtype: str = "float32"
    batch_size: int = 16
    threads: int = 1
    limit: int | None = None
    budget: Budget = field(default_factory=Budget)
    scorer: Literal["fast", "stock"] = "fast"
    teacher_dtype: str | None = None
    device_map: str | None = None
    training: TrainingKnobs = field(default_factory=TrainingKnobs)


@dataclass(frozen=True)
class CellLimits:
    """What one cell may take of the machine before it is ended: no part of its key, for it moves no number.

    `seconds` of wall time for both phases together, `memory_bytes` resident in its processes, `disk_bytes` written by
    it. None: no limit.
    """

    seconds: float | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None


@dataclass(frozen=True)
class BatchSizes:
    """How much a phase computes at once; halved when the memory does not suffice.

    `pass_tokens` are the padded tokens of one training pass: gradients of several passes add up to the same step, so
    it changes bits at most. `score_batch` are the documents of a scoring batch, and the row's `batch_size`.
    """

    pass_tokens: int
    score_batch: int


@dataclass(frozen=True)
class Cell:
    """One square of the plan: a method with its settings, on a pair, for a suite, with a seed.

    `identity` holds everything that can change the result (names, versions, settings, digests of weights, data, prompt
    and task files, knobs) and nothing that cannot; `key` is its digest. `teacher` and `student` label the checkpoints
    for people, `variation` the settings that a sweep varies; `called` is the method for people, with its distribution
    where the name alone does not say whose it is.
    """

    method: str
    distribution: str
    settings: str
    pair: str
    suite: str
    seed: int
    knobs: Knobs
    identity: Mapping[str, Any] = field(hash=False)
    teacher: str = ""
    student: str = ""
    variation: str = ""
    called: str = ""

    @property
    def key(self) -> str:
        """32 hexadecimal digits that name this cell and nothing else."""
        return digest_of(self.identity)

    @property
    def title(self) -> str:
        """The method as people read it, with what a sweep varies of its settings."""
        return f"{self.called or self.method} {self.variation}".rstrip()

    @property
    def label(self) -> str:
        """The cell as people read it."""
        return f"{self.title}, {self.pair}, {self.suite}, seed {self.seed}"


@dataclass(frozen=True)
class Job:
    """A cell with everything a process needs to run it: plain data that pickles.

    `method` and `suite` are qualified names (`distribution/name`), so that the process finds the very same plugin; the
    settings travel as JSON in the cell, because a single-file plugin's class cannot be unpickled before it is loaded.
    """

    cell: Cell
    method: str
    pair: Pair
    suite: str
    plugins: tuple[Path, ...]
    out: Path
    also_score: tuple[str, ...] = ()
    """Qualified names of the other suites that the student is scored on too, to see what it forgot."""
    fresh: bool = False
    limits: CellLimits = CellLimits()
    device: str = "cpu"
    """The device as asked for; `Knobs.device` is its kind alone, for which of several it is moves no number."""
    signatures: Mapping[str, str] = field(default_factory=dict, hash=False)
    """`models.signature` of teacher and student, when their digests were taken: what has the same need not be read."""
    expected_seconds: float | None = None
    """What a cell like it took before, for whoever shows the time left."""
    pass_tokens: int | None = None
    """Padded tokens of one training pass, where they were asked for."""
    data_dirs: tuple[Path, ...] = ()
    """Folders of data sets to look in before the hub's cache."""


@dataclass(frozen=True)
class Skip:
    """Why a cell will not run, in a sentence: an empty square always says why."""

    cell: Cell
    reason: str


@dataclass(frozen=True)
class Score:
    """One figure of one task. `value` is None where there is none: never a magic number.

    `part_of` is the group that was asked for, where the task is one of its members.
    """

    task: str
    metric: str
    filter: str
    value: float | None
    stderr: float | None
    n: int
    higher_is_better: bool
    headline: bool
    task_version: str
    task_hash: str
    shots: int
    chance: float | None = None
    part_of: str = ""

    def __post_init__(self) -> None:
        if self.value is not None and not math.isfinite(self.value):
            object.__setattr__(self, "value", None)


@dataclass(frozen=True)
class Item:
    """One document under one metric: what the model was asked, what it said, what that was worth."""

    task: str
    metric: str
    filter: str
    doc_id: int
    doc_hash: str
    prompt_hash: str
    prompt: str
    target: str
    response: str
    value: float | None


@dataclass(frozen=True)
class Cost:
    """What a cell took. Null means unknown, never zero.

    `payload_bytes` moved from teacher to student; `artifact_bytes` is the size of what was saved.
    """

    load_seconds: float | None = None
    transfer_seconds: float | None = None
    score_seconds: float | None = None
    transfer_cpu_seconds: float | None = None
    score_cpu_seconds: float | None = None
    peak_rss_bytes: int | None = None
    peak_device_bytes: int | None = None
    trainable_parameters: int | None = None
    tokens_trained: int | None = None
    payload_bytes: int | None = None
    artifact_bytes: int | None = None
    stage_seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Health:
    """Whether the transfer did what it claims.

    `delta_over_weight`: Frobenius norm of the change over that of the changed weights. `logit_change`: largest change
    of a logit on the probe against the pristine student. `injection_change`: the same right after a method's
    injection, before it tunes (a function-preserving one gives about 0). `reload_difference`: largest difference
    between the logits in memory and those of the saved artifact, loaded again. `selection`: how a setting was chosen.
    """

    delta_over_weight: float | None = None
    logit_change: float | None = None
    injection_change: float | None = None
    reload_difference: float | None = None
    changed_tensors: int | None = None
    selection: Literal["fixed", "validation", "oracle"] = "fixed"
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One attempt at a cell: how it ended, what it scored, what it cost, where it ran."""

    run_id: str
    cell: Cell
    outcome: Outcome
    reason: str
    created_at: str
    scores: tuple[Score, ...] = ()
    cost: Cost = field(default_factory=Cost)
    health: Health = field(default_factory=Health)
    environment: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None


# ---------------------------------------------------------------- digests


def canonical(value: Mapping[str, Any]) -> str:
    """A mapping as JSON that does not depend on the order of its keys. NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: Mapping[str, Any]) -> str:
    """BLAKE2b-128 of the canonical JSON, in hexadecimal."""
    return hashlib.blake2b(canonical(value).encode(), digest_size=16).hexdigest()

"""The two phases of a cell, each run in a process of its own: what the plugin does, and what its student scores.

    transfer   loads the pair, lets the method work, saves what it returns and checks what it promised
    score      loads what was saved in a clean process, checks it against the logits in memory, and scores it

What passes between them, and back to whoever runs the cell, are files: see `handover`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench import artifacts, environment, mirrors, models, plugins, sandbox, scoring, stopping, witness
from pkt_bench.batches import Phase
from pkt_bench.data import cut, encode
from pkt_bench.domain import SPLITS, BatchSizes, Cost, Health, Job, Knobs, Method, Outcome, Record, Suite
from pkt_bench.errors import (
    ContractError,
    DivergedError,
    IntegrityError,
    Interrupted,
    OverBudgetError,
    PktBenchError,
    Promise,
)
from pkt_bench.handover import (
    Handover,
    Scored,
    aside_of,
    folder_of,
    put_in_place,
    read_handover,
    read_scored,
    spoil,
    work_of,
    write_scored,
)
from pkt_bench.kept_settings import from_kept
from pkt_bench.stages import StageCache
from pkt_bench.transfer import Ledger, Report, TransferContext, Transferred

if TYPE_CHECKING:
    import torch

PROBE = "probe.safetensors"
# logits of the saved student may differ from those in memory by this share of the largest logit
RELOAD_TOLERANCE = 1e-3
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_SAID = re.compile(r"os error (28|122|27)\b|No space left on device")
_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|Cannot allocate memory|CUBLAS_STATUS_ALLOC_FAILED")


@dataclass(frozen=True)
class Ended:
    """How a phase ended: well (no outcome), or with the outcome that ends the cell here, and why.

    `batch` is the size it computed with, where less of it may help; `again` says that somebody else ended it, so that
    another try may go well; `disk_full` that the disk has no room for anybody; `promise` which one a method broke.
    """

    outcome: Outcome | None = None
    reason: str = ""
    batch: int | None = None
    again: bool = False
    disk_full: bool = False
    promise: Promise = ""


@dataclass(frozen=True)
class Means:
    """What a phase is run with, beside its job: how much to compute at once, and whom to tell of it.

    `report(stage, fraction)` tells where it is; `batched(size)` that it computes in batches of that size;
    `over(reason)` ends the process as over budget from another thread, where there is a process to end.
    """

    sizes: BatchSizes
    report: Report
    batched: Callable[[int], None] = lambda _: None
    over: Callable[[str], None] | None = None


def attempt(phase: Phase, job: Job, means: Means) -> Ended:
    """Runs a phase and turns what it raises into how the cell ends; the trace goes to the cell's log."""
    used: list[int] = []

    def batched(size: int) -> None:
        used.append(size)
        means.batched(size)

    try:
        return _PHASES[phase](job, replace(means, batched=batched))
    except Interrupted:
        if not stopping.asked():
            # a signal to a process that runs cells itself: its executor has to know
            raise
        return Ended(Outcome.INTERRUPTED, "the run was interrupted; what its finished stages gave is kept")
    except Exception as error:  # noqa: BLE001 - a stranger's method may raise anything
        traceback.print_exc()
        ended = _ending(error, phase)
        return replace(ended, batch=used[-1]) if used and ended.outcome is Outcome.OUT_OF_MEMORY else ended


def _ending(error: Exception, phase: Phase) -> Ended:
    known = {ContractError: Outcome.CONTRACT, DivergedError: Outcome.DIVERGED, OverBudgetError: Outcome.OVER_BUDGET}
    text = str(error)
    for kind, outcome in known.items():
        if isinstance(error, kind):
            return Ended(outcome, _readable(text), promise=getattr(error, "promise", ""))
    if isinstance(error, PktBenchError):
        return Ended(Outcome.FAILED, _readable(text))
    if (isinstance(error, OSError) and error.errno in _FULL) or _FULL_SAID.search(text):
        own = isinstance(error, OSError) and error.errno == errno.EFBIG
        return Ended(Outcome.OUT_OF_DISK, _readable(f"the disk is full in {phase}: {text}"), disk_full=not own)
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(text)):
        first = text.strip().partition("\n")[0]
        said = f" ({first})" if first else ""
        return Ended(
            Outcome.OUT_OF_MEMORY, _readable(f"out of memory in {phase}{said}. Raise --cell-memory, or lower --slots.")
        )
    if isinstance(error, PermissionError):
        text += (
            "\n  A cell may not write into the run folder's rows, nor make files beside the run folder: write to the"
            " working directory, which is a scratch folder of its own"
        )
    return Ended(Outcome.FAILED, _readable(f"{type(error).__name__} in {phase}: {text}"))


def _readable(text: str) -> str:
    """A stranger's message without what would move a terminal's cursor or colour it, and not endless."""
    plain = re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]", "", text)
    plain = "".join(c for c in plain if c.isprintable() or c == "\n")
    return plain if len(plain) <= 2000 else f"{plain[:2000]} ... (the whole of it is in the cell's log)"


# ---------------------------------------------------------------- transfer


def transfer(job: Job, means: Means) -> Ended:
    """Loads the pair, lets the method work, saves what it returns and checks what it promised.

    Raises:
        IntegrityError: the checkpoints are no longer what was planned with.
        ContractError: the method changed the teacher, or returned something other than a student.
        DivergedError: its student is not finite.
        OverBudgetError: it took more than the sweep allows.
    """
    knobs = job.cell.knobs
    environment.pin_threads(knobs.threads)
    registry = _registry(job)
    method, suite = _method_and_suite(job, registry)
    means.report("load", None)
    started, cpu_started = time.monotonic(), time.process_time()
    _check_code(job, registry)
    _check_checkpoints(job)
    loaded = _loaded_pair(job, method)
    oracle = _Oracle(suite, loaded, knobs)
    ledger = Ledger()
    clock = _Clock(loaded, knobs.budget.seconds, ledger)

    def report(stage: str, fraction: float | None) -> None:
        clock.check()
        means.report(stage, fraction)

    asked_for_size = False

    def batching() -> int:
        nonlocal asked_for_size
        asked_for_size = True
        means.batched(means.sizes.pass_tokens)
        return means.sizes.pass_tokens

    context = TransferContext(
        pair=loaded,
        suite=suite,
        settings=from_kept(method.settings, job.cell.settings),
        seed=job.cell.seed,
        device=knobs.device,
        cache=StageCache(job.out / "stages"),
        report=report,
        test_score=oracle,
        ledger=ledger,
        made_by={
            "method": job.cell.identity["method"]["code"],
            **{name: job.cell.identity[name] for name in ("harness", "libraries")},
            "threads": knobs.threads,
        },
        budget=knobs.budget,
        partial=StageCache(work_of(job, "partial")),
        batching=batching,
        training=knobs.training,
    )
    environment.seed_everything(context.stage_seed("transfer"))
    before = environment.process_state()

    with clock.running(means.over), witness.watching() as seen:
        transferred = method.transfer(context)

    context.check_budget()
    took, loading = clock.seconds + ledger.inherited_seconds, sum(loaded.load_seconds.values())
    left_behind = environment.differences(before, environment.process_state())
    _check_transferred(transferred, method, oracle)
    means.report("save", None)
    environment.pin_threads(knobs.threads)
    loaded.check_untouched()
    try:
        _check_checkpoints(job)
    except IntegrityError as error:
        said = f"{error}\n  They were as planned before {method.name} began: it changed them."
        raise ContractError(said, "teacher") from None
    artifact, probe = _save(job, loaded, context, transferred)
    health = Health(
        delta_over_weight=artifact.delta_over_weight,
        logit_change=probe,
        injection_change=context.ledger.injection_change,
        changed_tensors=artifact.changed_tensors,
        selection=transferred.selection,
        notes=_notes(
            transferred,
            left_behind=left_behind,
            untrue=witness.contradictions(seen, ledger, method, transferred, teacher_used=loaded.teacher_used),
        ),
    )
    cost = Cost(
        load_seconds=loading,
        transfer_seconds=took,
        transfer_cpu_seconds=time.process_time() - cpu_started,
        peak_rss_bytes=environment.peak_rss_bytes(),
        peak_device_bytes=environment.peak_device_bytes(knobs.device),
        trainable_parameters=_known(context.ledger.trainable_parameters, method),
        tokens_trained=_known(context.ledger.tokens_trained, method),
        payload_bytes=_bytes_moved(transferred),
        artifact_bytes=artifact.bytes,
        stage_seconds=context.ledger.stage_seconds,
    )
    described = {
        **environment.describe(knobs.device, knobs.threads),
        "pass_tokens": means.sizes.pass_tokens if asked_for_size else None,
        "caveats": [
            *models.caveats(job.pair),
            *(
                f"{method.name}: what its row says cannot all be true: {each}"
                for each in health.notes.get("untrue", ())
            ),
        ],
    }
    ended = Ended()
    if method.changes_student and artifact.changed_tensors == 0:
        ended = Ended(Outcome.NO_EFFECT, f"{method.name} claims to change the student and moved no byte")
    kept = Handover(cost, health, described, time.monotonic() - started, ended.outcome, ended.reason)
    put_in_place(job, replace(kept, seen=seen.as_json()))
    return ended


def _check_transferred(transferred: object, method: Method, oracle: _Oracle) -> None:
    if not isinstance(transferred, Transferred):
        said = f"{method.name}.transfer returned {type(transferred).__name__}, not Transferred"
        raise ContractError(said, "returns")
    if oracle.asked and transferred.selection != "oracle":
        raise ContractError(
            f"{method.name} read test scores and says it selected by '{transferred.selection}':"
            " a choice by test scores is selection='oracle'",
            "selection",
        )


def _registry(job: Job) -> plugins.Registry:
    mirrors.use(job.data_dirs)
    return plugins.load(job.plugins, tell=plugins.quiet)


def _method_and_suite(job: Job, registry: plugins.Registry) -> tuple[Method, Suite]:
    """What a cell is of; of the suite's train split what every method trains on."""
    suite = registry.suites.get(job.suite).item
    return registry.methods.get(job.method).item, cut(suite, job.cell.knobs.training.train_records)


class _Clock:
    """The seconds a method takes, those of loading the models left out, held to the budget.

    What it found computed counts as what that had taken: a budget must not depend on what others did before.
    """

    def __init__(self, loaded: models.LoadedPair, allowed: float | None, ledger: Ledger) -> None:
        self._loaded, self._allowed, self._ledger = loaded, allowed, ledger
        self._began: float | None = None
        self._ended: float | None = None

    @property
    def seconds(self) -> float:
        if self._began is None:
            return 0.0
        until = time.monotonic() if self._ended is None else self._ended
        return until - self._began - self._loaded.loading_seconds(until)

    @property
    def spent(self) -> float:
        return self.seconds + self._ledger.inherited_seconds + self._ledger.reused_seconds

    def check(self) -> None:
        if self._allowed is not None and self.spent > self._allowed:
            raise OverBudgetError(self._said())

    @contextlib.contextmanager
    def running(self, over: Callable[[str], None] | None) -> Iterator[None]:
        """While a method works; one that is over budget and tells nothing is ended through `over`."""
        done = threading.Event()
        self._began = time.monotonic()
        if over is not None and self._allowed is not None:
            threading.Thread(target=self._watch, args=(done, over), daemon=True).start()
        try:
            yield
        finally:
            done.set()
            self._ended = time.monotonic()
        self.check()

    def _watch(self, done: threading.Event, over: Callable[[str], None]) -> None:
        while not done.wait(0.1):
            try:
                self.check()
            except OverBudgetError as error:
                over(str(error))
                return

    def _said(self) -> str:
        return (
            f"the transfer has taken {self.spent:.1f} s, the budget of the sweep is {self._allowed:g} s."
            "\n  Lower the method's own settings, or raise --budget seconds=... for all methods."
        )


def _loaded_pair(job: Job, method: Method) -> models.LoadedPair:
    """The pair of a cell; under a control, with what the control puts into its place."""
    knobs, control = job.cell.knobs, method.control
    if control is None:
        return models.LoadedPair(job.pair, knobs.device, knobs.dtype, **_held(job))
    pair = control.pair(job.pair) if control.pair is not None else job.pair
    if (change := control.teacher) is None:
        return models.LoadedPair(pair, knobs.device, knobs.dtype, **_held(job))
    code, seed = job.cell.identity["method"]["code"], job.cell.seed

    def put_in(teacher: Any) -> None:  # noqa: ANN401 - a PreTrainedModel
        import torch

        with torch.no_grad():
            change(teacher, torch.Generator().manual_seed(seed))

    stand_in = models.StandIn(f"{control.name} {code} seed {seed}", put_in)
    return models.LoadedPair(pair, knobs.device, knobs.dtype, stand_in, **_held(job))


# what the libraries take of a process
_LIBRARIES_BYTES = 1 << 30


def _held(job: Job) -> dict[str, Any]:
    """How the teacher is held: in a type of its own, and spread beside the method's and the untouched student."""
    knobs = job.cell.knobs
    if knobs.device_map is None:
        return {"teacher_dtype": knobs.teacher_dtype}
    students = 2 * models.parameter_count(job.pair.student) * (4 if knobs.dtype == "float32" else 2)
    limit, on_host = job.limits.memory_bytes, knobs.device == "cpu"
    spread = models.Spread(
        knobs.device_map,
        host_bytes=None if limit is None else limit - _LIBRARIES_BYTES - (students if on_host else 0),
        kept_bytes=0 if on_host else students,
        folder=work_of(job, "offloaded"),
    )
    return {"teacher_dtype": knobs.teacher_dtype, "spread": spread}


@dataclass
class _Oracle:
    """`TransferContext.test_score`, which remembers whether it was asked."""

    suite: Suite
    loaded: models.LoadedPair
    knobs: Knobs
    asked: bool = False

    def __call__(self, student: Any) -> float:  # noqa: ANN401 - a PreTrainedModel
        self.asked = True
        found = scoring.score(student, self.loaded.tokenizer, self.suite, self.knobs)
        headline = next(s for s in found.scores if s.headline and s.task == self.suite.tasks[0].name)
        if headline.value is None:
            raise ContractError(f"the test score of suite '{self.suite.name}' is no number")
        return headline.value if headline.higher_is_better else -headline.value


def _save(
    job: Job, loaded: models.LoadedPair, context: TransferContext, transferred: Transferred
) -> tuple[artifacts.Artifact, float | None]:
    """Puts the student together beside its place. Gives the change of the logits too."""
    from safetensors.torch import save_file

    aside = aside_of(job)
    shutil.rmtree(aside, ignore_errors=True)
    artifact = artifacts.save(transferred.student, loaded, aside)
    tokenizer = loaded.teacher_tokenizer if artifact.kind == "teacher" else loaded.tokenizer
    records = next((found for split in SPLITS if (found := context.records(split)[:4])), [Record.of("a", "b")])
    prompts = [list(encode(record, context.suite.prompt, tokenizer, 64).ids) for record in records]
    ids = artifacts.probe_ids(loaded, prompts)
    logits = artifacts.logits_on(transferred.student, ids)
    change = None
    if artifact.kind != "teacher":
        change = float((logits - artifacts.logits_on(loaded.pristine_student, ids)).abs().max())
    save_file({"ids": ids.cpu(), "logits": logits.contiguous()}, aside / PROBE)
    return artifact, change


def _notes(transferred: Transferred, **seen: list[str]) -> dict[str, Any]:
    """What the method noted, and what was seen of it, as plain JSON."""
    notes = {**transferred.notes, **{name: found for name, found in seen.items() if found}}
    plain: dict[str, Any] = json.loads(json.dumps(notes, default=_plain))
    return plain


def _known(count: int | None, method: Method) -> int | None:
    """A reference trains nothing, and that is known; of another method it is known if it said so."""
    return 0 if count is None and not method.changes_student else count


def _bytes_moved(transferred: Transferred) -> int | None:
    if transferred.payload is None:
        return None
    return sum(tensor.numel() * tensor.element_size() for tensor in transferred.payload.values())


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a method noted
    """Numbers of NumPy and torch as Python's own; anything else as what it says of itself."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


# ---------------------------------------------------------------- score


def score(job: Job, means: Means) -> Ended:
    """Loads the saved student in a clean process, checks it against the logits in memory, and scores it.

    Raises:
        IntegrityError: the checkpoints are no longer what was planned with, or the saved student is not what was made.
    """
    size = means.sizes.score_batch
    knobs = replace(job.cell.knobs, batch_size=size)
    environment.pin_threads(knobs.threads)
    registry = _registry(job)
    _check_code(job, registry)
    suites = [registry.suites.get(name).item for name in (job.suite, *job.also_score)]
    stopping.check()
    means.report("load", None)
    started, cpu_started = time.monotonic(), time.process_time()
    environment.seed_everything(0)
    handed_over = read_handover(job)
    if handed_over is None:
        raise IntegrityError(f"{folder_of(job)} does not hold what the transfer saved. Run the cell again.")
    _check_checkpoints(job)

    def figures(folder: Path) -> None:
        try:
            model, tokenizer = artifacts.load_artifact(
                folder_of(job), job.pair, knobs.dtype, knobs.device, **_held(job)
            )
            difference = _reload_difference(job, model)
        except IntegrityError:
            spoil(job)
            raise
        means.report("score", None)
        # from here on, and not while loading, less at once may help
        means.batched(size)
        found = scoring.together(scoring.score(model, tokenizer, suite, knobs) for suite in suites)
        write_scored(
            folder,
            Scored(
                scores=found.scores,
                items=found.items,
                seconds=time.monotonic() - started,
                cpu_seconds=time.process_time() - cpu_started,
                peak_rss_bytes=environment.peak_rss_bytes(),
                reload_difference=difference,
                batch_size=size,
                scoring={**found.how, **_sandbox(suites)},
            ),
        )

    if job.fresh or artifacts.kind_of(folder_of(job)) not in {"student", "teacher"}:
        figures(folder_of(job))
        return Ended()
    # an untouched model has the same figures whatever the seed
    cache = StageCache(job.out / "stages")
    entry, reused = cache.files("score", _what_is_scored(job, handed_over.files, knobs), figures)
    scored = read_scored(entry)
    if scored is None:
        raise IntegrityError(f"{entry} does not hold what scoring found. Run: pkt-bench cache gc {job.out}")
    if reused is not None:
        scored = replace(
            scored,
            seconds=time.monotonic() - started,
            cpu_seconds=time.process_time() - cpu_started,
            reused_seconds=reused,
        )
    write_scored(folder_of(job), scored)
    return Ended()


def _sandbox(suites: list[Suite]) -> dict[str, Any]:
    """What held the programs that were scored, where some were."""
    return {"sandbox": sandbox.describe()} if any(suite.runs_code for suite in suites) else {}


def _what_is_scored(job: Job, files: Mapping[str, str], knobs: Knobs) -> dict[str, Any]:
    """All that figures depend on."""
    identity = job.cell.identity
    kept = ("harness", "teacher", "student", "suite", "data_hash", "prompt_hash", "tasks", "scorer", "libraries")
    names = ("device", "dtype", "teacher_dtype", "device_map", "scorer", "batch_size", "threads", "limit")
    knobs_of = {name: getattr(knobs, name) for name in names}
    also = identity.get("also_score", [])
    return {"files": dict(files), "knobs": knobs_of, "also_score": also, **{name: identity[name] for name in kept}}


def _check_code(job: Job, registry: plugins.Registry) -> None:
    """The plugins' code is imported anew in each process: it has to be what the cell's key was made of."""
    method = registry.methods.get(job.method)
    control = method.item.control
    parts = () if control is None else tuple(part for part in (control.teacher, control.pair) if part is not None)
    identity = job.cell.identity
    checked = [(job.method, identity["method"], plugins.code_digest(method.module, method.item.transfer, *parts))]
    for name, planned in zip((job.suite, *job.also_score), (identity, *identity.get("also_score", ())), strict=True):
        suite = registry.suites.get(name)
        checked.append((name, planned["suite"], plugins.code_digest(suite.module, suite.item.records)))
    for what, planned, now in checked:
        if planned["code"] != now:
            raise IntegrityError(
                f"{job.cell.label}: the code of {what} changed after the run was planned."
                " Run again, so that the plan sees what is there now."
            )


def _check_checkpoints(job: Job) -> None:
    for role, ref in (("teacher", job.pair.teacher), ("student", job.pair.student)):
        seen = models.signature(ref)
        if job.signatures.get(role) == seen:
            # nobody has touched it since its digest was taken: it need not be read again
            models.remember(ref, seen, job.cell.identity[role]["digest"])
            continue
        if models.checkpoint_digest(ref) != job.cell.identity[role]["digest"]:
            raise IntegrityError(
                f"{job.cell.label}: the {role}'s files in {ref.path} changed after the run was planned."
                " Run again, so that the plan sees what is there now."
            )


def _reload_difference(job: Job, model: torch.nn.Module) -> float:
    from safetensors.torch import load_file

    probe = load_file(folder_of(job) / PROBE)
    logits = artifacts.logits_on(model, probe["ids"].to(job.cell.knobs.device))
    difference = float((logits - probe["logits"]).abs().max())
    allowed = RELOAD_TOLERANCE * max(1.0, float(probe["logits"].abs().max()))
    if not difference <= allowed:
        raise IntegrityError(
            f"{job.cell.label}: the saved student is not the one the method returned:"
            f" its logits differ by {difference:.3g}, at most {allowed:.3g} is allowed"
        )
    return difference


_PHASES: Mapping[Phase, Callable[[Job, Means], Ended]] = {"transfer": transfer, "score": score}

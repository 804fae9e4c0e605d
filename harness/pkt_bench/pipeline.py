"""One cell, from load to record: the file to read.

    load      the models are what the plan saw                     LoadedPair
    transfer  the plugin does its work; what it returns is saved   artifacts
    score     another process loads what was saved, and scores it  scoring
    record    scores, items, costs and health become rows          store

`transfer` and `score` are phases: an executor runs each in a process of its own, so that nothing a plugin left behind
(a patched forward, a hook, a thread, random state) can touch a score. What passes between them are files.
"""

from __future__ import annotations

import json
import re
import shutil
import time
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pkt_bench import artifacts, environment, models, plugins, scoring
from pkt_bench.data import encode
from pkt_bench.domain import SPLITS, Cost, Health, Job, Knobs, Method, Outcome, Record, Run, Skip, Suite
from pkt_bench.errors import ContractError, IntegrityError, PktBenchError
from pkt_bench.stages import StageCache
from pkt_bench.store import Store
from pkt_bench.transfer import Report, TransferContext, Transferred

if TYPE_CHECKING:
    from filelock import FileLock

Phase = Literal["transfer", "score"]
HANDOVER = "handover.json"
PROBE = "probe.safetensors"
# logits of the saved student may differ from those in memory by this share of the largest logit
RELOAD_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Ended:
    """How a phase ended: nothing, or the outcome that ends the cell here and why."""

    outcome: Outcome | None = None
    reason: str = ""
    run: Run | None = None


Call = Callable[[Phase, Job], Ended]


def claim(job: Job) -> FileLock:
    """The lock on a cell: who holds it runs the cell, so that two runs on one folder share the work.

    A dead holder's lock is free at once. Locks save work; that a row is whole is the store's affair.
    """
    from filelock import FileLock

    folder_of(job).parent.mkdir(parents=True, exist_ok=True)
    return FileLock(folder_of(job).with_name(f".{job.cell.key}.lock"))


def run_cell(job: Job, call: Call) -> Run:
    """Runs one cell, under its lock; `call` runs a phase, here or in another process, and says how it ended.

    Every cell ends as a row: a phase that fails, or a process that dies, gives a `Run` with its reason. A cell that
    another run finished in the meantime is not run again.
    """
    store = Store(job.out)
    if not job.fresh and store.is_done(job.cell.key):
        return Run(new_run_id(), job.cell, Outcome.DONE, "done by another run in the meantime", now())
    started = time.monotonic()
    # what an earlier attempt left must not be taken for this one's
    shutil.rmtree(folder_of(job), ignore_errors=True)
    ended = call("transfer", job)
    if ended.outcome is None:
        ended = call("score", job)
    if ended.run is not None:
        return ended.run
    handover = _read_handover(job)
    run = Run(
        run_id=new_run_id(),
        cell=job.cell,
        outcome=ended.outcome or Outcome.FAILED,
        reason=ended.reason,
        created_at=now(),
        cost=handover.cost,
        health=handover.health,
        environment=handover.environment,
        seconds=time.monotonic() - started,
    )
    store.record(run, ())
    return run


def record_skips(skips: Sequence[Skip], store: Store) -> None:
    """Records the cells that will not run, each with its reason, where the store does not say so already."""
    known = store.outcomes()
    for skip in skips:
        if known.get(skip.cell.key) != Outcome.SKIPPED:
            run = Run(new_run_id(), skip.cell, Outcome.SKIPPED, skip.reason, now())
            store.record(run, ())


# ---------------------------------------------------------------- the two phases


@dataclass(frozen=True)
class Handover:
    """What the transfer phase tells the score phase, beside the saved student."""

    cost: Cost = field(default_factory=Cost)
    health: Health = field(default_factory=Health)
    environment: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def transfer(job: Job, report: Report) -> Ended:
    """Loads the pair, lets the method work, saves what it returns and checks what it promised.

    Raises:
        IntegrityError: the checkpoints are no longer what was planned with.
        ContractError: the method changed the teacher, or returned something other than a finite student.
    """
    knobs = job.cell.knobs
    environment.pin_threads(knobs.threads)
    registry = plugins.load(job.plugins)
    method, suite = registry.methods.get(job.method).item, registry.suites.get(job.suite).item
    report("load", None)
    started, cpu_started = time.monotonic(), time.process_time()
    _check_checkpoints(job)
    loaded = _loaded_pair(job, method)
    oracle = _Oracle(suite, loaded, knobs)
    context = TransferContext(
        pair=loaded,
        suite=suite,
        settings=method.settings.model_validate_json(job.cell.settings),
        seed=job.cell.seed,
        device=knobs.device,
        cache=StageCache(job.out / "stages"),
        report=report,
        test_score=oracle,
        made_by={
            "method": job.cell.identity["method"]["code"],
            **{name: job.cell.identity[name] for name in ("harness", "libraries")},
            "threads": knobs.threads,
        },
    )
    environment.seed_everything(context.stage_seed("transfer"))
    began = time.monotonic()

    transferred = method.transfer(context)

    took = time.monotonic() - began
    loading = sum(loaded.load_seconds.values())
    if not isinstance(transferred, Transferred):
        raise ContractError(f"{method.name}.transfer returned {type(transferred).__name__}, not Transferred")
    if oracle.asked and transferred.selection != "oracle":
        raise ContractError(
            f"{method.name} read test scores and says it selected by '{transferred.selection}':"
            " a choice by test scores is selection='oracle'"
        )
    report("save", None)
    loaded.check_untouched()
    artifact, probe = _save(job, loaded, context, transferred)
    health = Health(
        delta_over_weight=artifact.delta_over_weight,
        logit_change=probe,
        injection_change=context.ledger.injection_change,
        changed_tensors=artifact.changed_tensors,
        selection=transferred.selection,
        notes=json.loads(json.dumps(dict(transferred.notes), default=_plain)),
    )
    cost = Cost(
        load_seconds=loading,
        transfer_seconds=took - loading,
        transfer_cpu_seconds=time.process_time() - cpu_started,
        peak_rss_bytes=environment.peak_rss_bytes(),
        peak_device_bytes=environment.peak_device_bytes(knobs.device),
        trainable_parameters=_known(context.ledger.trainable_parameters, method),
        tokens_trained=_known(context.ledger.tokens_trained, method),
        payload_bytes=_bytes_moved(transferred),
        artifact_bytes=artifact.bytes,
        stage_seconds=context.ledger.stage_seconds,
    )
    described = environment.describe(knobs.device, knobs.threads)
    _write_handover(job, Handover(cost, health, described, time.monotonic() - started))
    if method.changes_student and artifact.changed_tensors == 0:
        return Ended(Outcome.NO_EFFECT, f"{method.name} claims to change the student and moved no byte")
    return Ended()


def score(job: Job, report: Report) -> Ended:
    """Loads the saved student in a clean process, checks it against the logits in memory, scores and records it.

    Raises:
        IntegrityError: the checkpoints are no longer what was planned with, or the saved student is not what was made.
    """
    knobs = job.cell.knobs
    environment.pin_threads(knobs.threads)
    registry = plugins.load(job.plugins)
    suite = registry.suites.get(job.suite).item
    handover = _read_handover(job)
    report("score", None)
    started, cpu_started = time.monotonic(), time.process_time()
    environment.seed_everything(0)
    _check_checkpoints(job)
    model, tokenizer = artifacts.load_artifact(folder_of(job), job.pair, knobs.dtype, knobs.device)
    difference = _reload_difference(job, model)
    scores, items = scoring.score(model, tokenizer, suite, knobs)
    seconds = time.monotonic() - started
    spent = handover.cost
    run = Run(
        run_id=new_run_id(),
        cell=job.cell,
        outcome=Outcome.DONE,
        reason="",
        created_at=now(),
        scores=scores,
        cost=replace(
            spent,
            score_seconds=seconds,
            score_cpu_seconds=time.process_time() - cpu_started,
            peak_rss_bytes=max(spent.peak_rss_bytes or 0, environment.peak_rss_bytes()),
        ),
        health=replace(handover.health, reload_difference=difference),
        environment=handover.environment,
        seconds=handover.seconds + seconds,
    )
    Store(job.out).record(run, items)
    return Ended(run=run)


PHASES: Mapping[Phase, Callable[[Job, Report], Ended]] = {"transfer": transfer, "score": score}


def attempt(phase: Phase, job: Job, report: Report) -> Ended:
    """Runs a phase and turns what it raises into the reason the cell ends with; the trace goes to the cell's log."""
    try:
        return PHASES[phase](job, report)
    except PktBenchError as error:
        traceback.print_exc()
        return Ended(Outcome.FAILED, _readable(str(error)))
    except MemoryError:
        traceback.print_exc()
        return Ended(Outcome.FAILED, f"out of memory in {phase}. Lower --batch-size or --slots.")
    except Exception as error:  # noqa: BLE001 - a stranger's method may raise anything
        traceback.print_exc()
        return Ended(Outcome.FAILED, _readable(f"{type(error).__name__} in {phase}: {error}"))


# ---------------------------------------------------------------- what they are made of


def _readable(text: str) -> str:
    """A stranger's message without what would move a terminal's cursor or colour it, and not endless."""
    plain = re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]", "", text)
    plain = "".join(c for c in plain if c.isprintable() or c == "\n")
    return plain if len(plain) <= 2000 else f"{plain[:2000]} ... (the whole of it is in the cell's log)"


def folder_of(job: Job) -> Path:
    """Where a cell's student is kept."""
    return job.out / "artifacts" / job.cell.key


def new_run_id() -> str:
    """A name for an attempt that no other has."""
    return uuid.uuid4().hex


def now() -> str:
    """The time, UTC, as ISO 8601 text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _check_checkpoints(job: Job) -> None:
    for role, ref in (("teacher", job.pair.teacher), ("student", job.pair.student)):
        if models.checkpoint_digest(ref) != job.cell.identity[role]["digest"]:
            raise IntegrityError(
                f"{job.cell.label}: the {role}'s files in {ref.path} changed after the run was planned."
                " Run again, so that the plan sees what is there now."
            )


def _loaded_pair(job: Job, method: Method) -> models.LoadedPair:
    """The pair of a cell; under a control, with what the control puts into its place."""
    knobs, control = job.cell.knobs, method.control
    if control is None:
        return models.LoadedPair(job.pair, knobs.device, knobs.dtype)
    pair = control.pair(job.pair) if control.pair is not None else job.pair
    if (change := control.teacher) is None:
        return models.LoadedPair(pair, knobs.device, knobs.dtype)
    code, seed = job.cell.identity["method"]["code"], job.cell.seed

    def put_in(teacher: Any) -> None:  # noqa: ANN401 - a PreTrainedModel
        import torch

        with torch.no_grad():
            change(teacher, torch.Generator().manual_seed(seed))

    stand_in = models.StandIn(f"{control.name} {code} seed {seed}", put_in)
    return models.LoadedPair(pair, knobs.device, knobs.dtype, stand_in)


@dataclass
class _Oracle:
    """`TransferContext.test_score`, which remembers whether it was asked."""

    suite: Suite
    loaded: models.LoadedPair
    knobs: Knobs
    asked: bool = False

    def __call__(self, student: Any) -> float:  # noqa: ANN401 - a PreTrainedModel
        self.asked = True
        scores, _ = scoring.score(student, self.loaded.tokenizer, self.suite, self.knobs)
        headline = next(s for s in scores if s.headline and s.task == self.suite.tasks[0].name)
        if headline.value is None:
            raise ContractError(f"the test score of suite '{self.suite.name}' is no number")
        return headline.value if headline.higher_is_better else -headline.value


def _save(
    job: Job, loaded: models.LoadedPair, context: TransferContext, transferred: Transferred
) -> tuple[artifacts.Artifact, float | None]:
    """Saves beside its place and renames, so that a folder in place is whole. Gives the change of the logits too."""
    from safetensors.torch import save_file

    aside = folder_of(job).with_name(f".{job.cell.key}.aside")
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
    shutil.rmtree(folder_of(job), ignore_errors=True)
    aside.rename(folder_of(job))
    return artifact, change


def _reload_difference(job: Job, model: Any) -> float:  # noqa: ANN401 - a PreTrainedModel
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


def _known(count: int | None, method: Method) -> int | None:
    """A reference trains nothing, and that is known; of another method it is known if it said so."""
    return 0 if count is None and not method.changes_student else count


def _bytes_moved(transferred: Transferred) -> int | None:
    if transferred.payload is None:
        return None
    return sum(tensor.numel() * tensor.element_size() for tensor in transferred.payload.values())


def _write_handover(job: Job, handover: Handover) -> None:
    (folder_of(job) / HANDOVER).write_text(json.dumps(asdict(handover), indent=1), encoding="utf-8")


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a method noted
    """Numbers of NumPy and torch as Python's own; anything else as what it says of itself."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _read_handover(job: Job) -> Handover:
    try:
        content = json.loads((folder_of(job) / HANDOVER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Handover()
    cost, health = Cost(**content["cost"]), Health(**content["health"])
    return Handover(cost, health, content["environment"], content["seconds"])

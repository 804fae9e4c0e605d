"""What a method does: judged by what its cells left, in the words of the promise each of them is about."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pkt_bench.contract.findings import Finding, counted
from pkt_bench.contract.trying import Attempt
from pkt_bench.domain import Method, Outcome, Skip

if TYPE_CHECKING:
    import torch

NAMED = {
    "teacher": "teacher and pristine student are left alone",
    "shapes": "the student keeps its tensors and shapes",
    "returns": "it hands over a student that can be saved",
    "selection": "it says how it chose",
}
FINITE = "its student is finite"
CHANGES = "it changes the student as it says"
RUNS = "each pair is done, or skipped with a reason"
RELOADED = "what was saved is what was handed over"
COSTS = "what it says of its cost is true"
SEEDED = "the same seed gives the same student"
RESUMED = "a kill costs it nothing but time"
STATE = "it leaves its process as it was"
UNKNOWN_COSTS = "the board knows what it cost"

# the outcomes of a cell that are a promise of its own
_BY_OUTCOME = {Outcome.DIVERGED: FINITE, Outcome.NO_EFFECT: CHANGES}
_WHAT_TO_DO = {
    "teacher": "Work on `context.pair.student`; clone what you change of the teacher.",
    "shapes": "Return a model of the student's architecture: what it learnt has to fit into its tensors.",
    "returns": "return Transferred(student): a PreTrainedModel, or a PeftModel with one LoRA adapter named default.",
    "selection": "Transferred(..., selection='oracle') where test scores chose; better choose on the validation split.",
    FINITE: "Check what you divide by, and the step: a NaN in one weight makes every score one.",
    CHANGES: "A transfer that moves no byte is none. If that is meant, say changes_student=False.",
    RELOADED: "What the student computes must be in its weights: no patched forward, hook or buffer survives saving.",
    RUNS: "Make it work there, or have skip(question) say in a sentence why it cannot. --keep DIR keeps the logs.",
}


def of_cells(method: Method, attempts: Sequence[Attempt], skips: Sequence[Skip]) -> Iterator[Finding]:
    """What its cells, one for each pair it does not skip, say of the promises."""
    failed: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        if not attempt.done:
            failed.setdefault(_broken_by(attempt), []).append(attempt)
    done = [attempt for attempt in attempts if attempt.done]
    for promise in (RUNS, *NAMED.values(), FINITE, CHANGES, RELOADED):
        if promise in failed:
            key = next((name for name, said in NAMED.items() if said == promise), promise)
            seen = "\n".join(f"{each.label}: {_shown(each)}" for each in failed[promise])
            yield Finding(promise, "broken", seen, _WHAT_TO_DO[key])
        elif promise == RUNS:
            yield _of_runs(done, skips)
        elif not done:
            yield Finding(promise, "untried", "no cell was done")
        elif promise == CHANGES:
            yield from _of_change(method, done)
        elif promise == RELOADED:
            most = max(attempt.run.health.reload_difference or 0.0 for attempt in done)
            yield Finding(promise, "kept", f"logits differ by at most {most:.2g}")
        elif promise != NAMED["selection"]:
            yield Finding(promise, "kept", f"on {counted(len(done), 'pair')}")


def _broken_by(attempt: Attempt) -> str:
    promise = attempt.promise
    if promise:
        return NAMED[promise]
    if attempt.run.outcome in _BY_OUTCOME:
        return _BY_OUTCOME[attempt.run.outcome]
    reloaded = attempt.run.outcome is Outcome.FAILED and "the saved student is not the one" in attempt.run.reason
    return RELOADED if reloaded else RUNS


def _shown(attempt: Attempt) -> str:
    run = attempt.run
    first = run.reason.strip().partition("\n")[0]
    return f"{run.outcome}: {first}" if first else str(run.outcome)


def _of_runs(done: Sequence[Attempt], skips: Sequence[Skip]) -> Finding:
    said = [f"done on {', '.join(attempt.label for attempt in done)}"] if done else []
    said += [f"{skip.cell.pair}: skipped, {skip.reason.strip().partition(chr(10))[0]}" for skip in skips]
    if done:
        return Finding(RUNS, "kept", "\n".join(said))
    return Finding(
        RUNS,
        "untried",
        "\n".join(["it skips every pair it was tried on", *said]),
        "Name one that it can do: --pair TEACHER:STUDENT, and --suite where it needs a certain one.",
    )


def _of_change(method: Method, done: Sequence[Attempt]) -> Iterator[Finding]:
    moved = [attempt.run.health.changed_tensors or 0 for attempt in done]
    if not method.changes_student and any(moved):
        yield Finding(
            CHANGES,
            "broken",
            f"changes_student=False is declared, and {max(moved)} tensors changed",
            "Leave changes_student out.",
        )
    elif method.changes_student:
        change = done[0].run.health.delta_over_weight
        said = "" if change is None else f", by {change:.2g} of their norm on {done[0].label}"
        yield Finding(CHANGES, "kept", f"{_range(moved)} tensors changed{said}")
    else:
        yield Finding(CHANGES, "kept", "nothing changed, as declared")


def _range(counts: Sequence[int]) -> str:
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"


def of_costs(done: Sequence[Attempt]) -> Iterator[Finding]:
    """Whether the cost columns that it fills can be true, and which it leaves open."""
    wrong: list[str] = []
    for attempt in done:
        cost, health = attempt.run.cost, attempt.run.health
        wrong += health.notes.get("untrue", [])
        stages = sum(
            seconds for name, seconds in cost.stage_seconds.items() if not name.endswith(("(reused)", "(resumed)"))
        )
        # models that are first touched in a stage are loaded in it
        whole = (cost.transfer_seconds or 0.0) + (cost.load_seconds or 0.0)
        if stages > whole * 1.01 + 0.01:
            wrong.append(
                f"its stages add up to {stages:.3g} s, and all of it took {whole:.3g} s: a stage within a stage counts"
                " twice"
            )
    if wrong:
        yield Finding(
            COSTS,
            "broken",
            "\n".join(dict.fromkeys(wrong)),
            "context.spend(tokens=, steps=, trainable=) books what is trained, a step for each optimizer.step();"
            " `uses` and `payload` say what came from the teacher.",
        )
    else:
        cost = done[0].run.cost
        known = {
            "bytes moved": cost.payload_bytes,
            "trainable parameters": cost.trainable_parameters,
            "tokens trained": cost.tokens_trained,
        }
        said = ", ".join(f"{count:,} {name}" for name, count in known.items() if count is not None)
        yield Finding(COSTS, "kept", said or "it says nothing")
    cost, seen = done[0].run.cost, done[0].seen
    unknown = [] if cost.payload_bytes is not None else ["payload (bytes moved from the teacher)"]
    if seen.get("steps_at_most"):
        unknown += [] if cost.trainable_parameters is not None else ["trainable parameters"]
        unknown += [] if cost.tokens_trained is not None else ["tokens trained"]
    if unknown:
        yield Finding(
            UNKNOWN_COSTS,
            "remark",
            f"unknown, and shown so: {', '.join(unknown)}",
            "Transferred(..., payload={name: tensor}) and context.spend(...) make them known.",
        )


def of_state(done: Sequence[Attempt]) -> Iterator[Finding]:
    """Whether its process was as before when it was over."""
    left = sorted({each for attempt in done for each in attempt.run.health.notes.get("left_behind", [])})
    if left:
        yield Finding(
            STATE,
            "remark",
            ", ".join(left),
            "It ends with the process, and the row says so; under --executor inline it would reach the next cell.",
        )
    else:
        yield Finding(STATE, "kept", "threads, types, environment, working directory")


def of_seed(first: Attempt, again: Attempt) -> Finding:
    """Whether a program started anew makes the same student, bit for bit."""
    if not again.done:
        return Finding(SEEDED, "broken", f"the second time it ended as {_shown(again)}", "It must not depend on luck.")
    if first.files == again.files:
        return Finding(SEEDED, "kept", "bit for bit, in two programs with different hashes of text")
    return Finding(
        SEEDED,
        "broken",
        f"in another program the student is another: {_how_far(first.student, again.student)}",
        "Draw random numbers inside `with context.stage(name):`, which seeds Python, NumPy and torch; sort what comes"
        " from sets and folders; read no clock.",
    )


def of_kill(first: Attempt, again: Attempt) -> Finding:
    """Whether what was killed, and taken up again, ends with the same student."""
    if not again.kills:
        return Finding(RESUMED, "untried", "it was over before it could be killed")
    where = " and ".join(dict.fromkeys(map(_moment, again.kills)))
    said = f"killed {counted(len(again.kills), 'time')}, at {where}"
    if not again.done:
        return Finding(
            RESUMED,
            "broken",
            f"{said}; taken up again it ended as {_shown(again)}",
            "Whatever it finds of an earlier attempt may be half of it: write aside and rename, or use context.cached"
            " and context.resumable.",
        )
    if first.files == again.files:
        return Finding(RESUMED, "kept", f"{said}; the same student, bit for bit")
    return Finding(
        RESUMED,
        "broken",
        f"{said}; then the student is another: {_how_far(first.student, again.student)}",
        "What context.cached and context.resumable give must be all that later stages depend on; draw random numbers"
        " inside a stage of its own.",
    )


def _moment(name: str) -> str:
    from pkt_bench.contract.ground import SAVING

    return "the saving of the student" if name == SAVING else f"stage '{name}'"


def _how_far(one: Path, other: Path) -> str:
    """How far the logits and the tensors of two saved students are apart."""
    logits = [_tensors(folder / "probe.safetensors").get("logits") for folder in (one, other)]
    said = []
    if logits[0] is not None and logits[1] is not None and logits[0].shape == logits[1].shape:
        said.append(f"logits differ by up to {float((logits[0] - logits[1]).abs().max()):.3g}")
    for name in ("changed.safetensors", "adapter/adapter_model.safetensors"):
        ours, theirs = _tensors(one / name), _tensors(other / name)
        apart = [key for key in sorted({*ours, *theirs}) if not _equal(ours.get(key), theirs.get(key))]
        if apart:
            said.append(f"{len(apart)} tensors differ, {apart[0]} among them")
    return ", ".join(said) or f"files differ: {json.dumps(sorted(file.name for file in other.iterdir()))}"


def _equal(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    return one is not None and other is not None and one.shape == other.shape and bool((one == other).all())


def _tensors(file: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(file) if file.is_file() else {}

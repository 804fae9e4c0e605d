"""A Run as rows of the two tables: what each column is taken from, and null for what is unknown or no number."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from pkt_bench import __version__
from pkt_bench.domain import Budget, Item, Run, Score, canonical, digest_of
from pkt_bench.environment import LIBRARIES
from pkt_bench_leaderboards import schema

# what of an identity belongs to one cell of many; the rest is the variant
_NOT_OF_THE_VARIANT = frozenset({"seed", "suite", "data_hash", "prompt_hash", "tasks", "pair", "also_score"})


def run_rows(run: Run, items: Sequence[Item] = ()) -> list[dict[str, Any]]:
    """One row per score in the columns of `schema.RUNS`; one without task and value where there is none.

    `items` are what the scores were worked out from.
    """
    common = _identity(run) | _costs(run) | _health(run) | _provenance(run)
    common |= {"outcome": str(run.outcome), "reason": run.reason}
    if not run.scores:
        return [common]
    headline = _headline_task(run)
    return [
        _with_comparability(
            common
            | _score(score, headline)
            | _judged(run, score.part_of or score.task)
            | {"documents_hash": documents_hash([item for item in items if item.task == score.task])}
        )
        for score in run.scores
    ]


def _judged(run: Run, task: str) -> dict[str, Any]:
    """What a task of another suite was asked and judged by: that suite's, not the cell's own."""
    for other in run.cell.identity.get("also_score", ()):
        if any(each["name"] == task for each in other["tasks"]):
            return {
                "data_hash": other["data_hash"],
                "prompt_hash": other["prompt_hash"],
                "scoring_hash": scoring_hash(other["suite"]),
            }
    return {}


def _identity(run: Run) -> dict[str, Any]:
    cell, identity = run.cell, run.cell.identity
    method, teacher, student = (identity.get(name) or {} for name in ("method", "teacher", "student"))
    return {
        "run_id": run.run_id,
        "cell_key": cell.key,
        "method": cell.method,
        "method_version": method.get("version"),
        "paradigm": method.get("paradigm"),
        "control_of": method.get("control_of") or None,
        "distribution": cell.distribution,
        "distribution_version": method.get("distribution_version"),
        "settings": cell.settings,
        "variant": _variant(run),
        "pair": cell.pair,
        "teacher": cell.teacher or None,
        "teacher_revision": teacher.get("revision") or None,
        "teacher_hash": teacher.get("digest"),
        "student": cell.student or None,
        "student_revision": student.get("revision") or None,
        "student_hash": student.get("digest"),
        "suite": cell.suite,
        "seed": cell.seed,
        "limit": cell.knobs.limit,
        "data_hash": identity.get("data_hash"),
        "prompt_hash": identity.get("prompt_hash"),
        "scoring_hash": scoring_hash(identity.get("suite")),
        "scorer": _scorer(run),
    }


def _variant(run: Run) -> str:
    """What made the run, whatever it was made for: alike for all suites, seeds and limits."""
    identity = run.cell.identity
    kept = {name: value for name, value in identity.items() if name not in _NOT_OF_THE_VARIANT}
    knobs = {name: value for name, value in (identity.get("knobs") or {}).items() if name != "limit"}
    return digest_of(kept | {"knobs": knobs})


def scoring_hash(suite: object) -> str | None:
    """Digest of what judges an answer; null where the plan recorded none of it."""
    judges = {name: suite.get(name) for name in ("code", "task_files")} if isinstance(suite, Mapping) else {}
    return digest_of(judges) if any(judges.values()) else None


def documents_hash(items: Sequence[Item]) -> str | None:
    """Digest of the documents: each counts once, under however many metrics and filters it was scored."""
    documents = sorted({(item.task, item.doc_id, item.doc_hash) for item in items})
    return digest_of({"documents": documents}) if documents else None


def _scorer(run: Run) -> str | None:
    """The scorer as the plan knew it: a cell that failed must have the same one as a cell that did not."""
    version = (run.cell.identity.get("scorer") or {}).get("lm_eval")
    return f"lm-eval {version}" if version else None


def _headline_task(run: Run) -> str:
    """The suite's first task: a suite may score others beside it, to show what was forgotten."""
    tasks = run.cell.identity.get("tasks") or ()
    named = [task["name"] for task in tasks if isinstance(task, Mapping) and "name" in task]
    scored = [score.task for score in run.scores if score.headline]
    return next((name for name in (*named, *scored) if name in scored), "")


def _score(score: Score, headline_task: str) -> dict[str, Any]:
    row = {field.name: getattr(score, field.name) for field in fields(score) if field.name != "part_of"}
    return row | {
        "stderr": _finite(score.stderr),
        "headline": score.headline and score.task == headline_task,
        "chance": _finite(score.chance),
    }


def _with_comparability(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"comparability": digest_of({name: row.get(name) for name in schema.COMPARED})}


def _costs(run: Run) -> dict[str, Any]:
    row = {
        name: value if isinstance(value, int) else _finite(value)
        for name, value in asdict(run.cost).items()
        if name != "stage_seconds"
    }
    return row | {"stage_seconds": _json(run.cost.stage_seconds), "seconds": _finite(run.seconds)}


def _health(run: Run) -> dict[str, Any]:
    health = run.health
    return {
        "delta_over_weight": _finite(health.delta_over_weight),
        "logit_change": _finite(health.logit_change),
        "injection_change": _finite(health.injection_change),
        "reload_difference": _finite(health.reload_difference),
        "changed_tensors": health.changed_tensors,
        "selection": health.selection,
        "notes": _json(health.notes),
    }


def _provenance(run: Run) -> dict[str, Any]:
    knobs, environment = run.cell.knobs, run.environment
    return {
        "pkt_bench_version": __version__,
        "git_revision": environment.get("git_revision"),
        "python": environment.get("python"),
        "platform": environment.get("platform"),
        "hardware": environment.get("hardware"),
        "libraries": _json({name: environment[name] for name in LIBRARIES if name in environment}),
        "scoring": _json(scoring) if (scoring := environment.get("scoring")) else None,
        "caveats": json.dumps(caveats, ensure_ascii=False) if (caveats := environment.get("caveats")) else None,
        "device": knobs.device,
        "dtype": knobs.dtype,
        "threads": knobs.threads,
        "batch_size": environment.get("batch_size", knobs.batch_size),
        "pass_tokens": environment.get("pass_tokens"),
        "budget": _json(budget) if (budget := _given(knobs.budget)) else None,
        "host": environment.get("host"),
        "created_at": timestamp(run.created_at),
    }


def _given(budget: Budget) -> dict[str, float]:
    return {name: value for name, value in asdict(budget).items() if value is not None}


def item_rows(run: Run, items: Sequence[Item]) -> list[dict[str, Any]]:
    """One row per item, in the columns of `schema.ITEMS`."""
    names = [field.name for field in fields(Item)]
    return [
        {name: getattr(item, name) for name in names}
        | {"run_id": run.run_id, "cell_key": run.cell.key, "value": _finite(item.value)}
        for item in items
    ]


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _json(value: Mapping[str, Any]) -> str:
    """Canonical JSON; what is no number is null, and what is no JSON is written as Python shows it."""
    return canonical(_plain(value))


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return _finite(value)
    return value if value is None or isinstance(value, str | int) else repr(value)


def timestamp(created_at: str) -> datetime:
    """ISO 8601 text as a time in UTC, which is what a text without a zone is taken to be."""
    when = datetime.fromisoformat(created_at)
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)

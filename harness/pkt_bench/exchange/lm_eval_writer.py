"""Runs as lm-eval's EvaluationTracker writes its own: `results_*.json` and `samples_*.jsonl` of each student.

What lm-eval says and our rows do not hold (documents, answers before filters, its environment) is null. Beside what it
says, `OURS` holds the columns of our rows, so that nothing is lost on the way back.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench.exchange.students import Row, Student
from pkt_bench_leaderboards import schema

if TYPE_CHECKING:
    import pyarrow as pa

OURS = "pkt_bench"
"""The key of our columns: a list of rows."""
_KEPT_HERE = frozenset({"host"})
# of what lm-eval says, what no row of ours holds
_UNKNOWN = (
    "pretty_env_info",
    "upper_git_hash",
    "tokenizer_pad_token",
    "tokenizer_eos_token",
    "tokenizer_bos_token",
    "eot_token_id",
    "max_length",
    "system_instruction",
    "system_instruction_sha",
    "fewshot_as_multiturn",
    "chat_template",
    "chat_template_sha",
)
_UNKNOWN_CONFIG = (
    "model_args",
    "model_num_parameters",
    "model_sha",
    "batch_sizes",
    "use_cache",
    "bootstrap_iters",
    "gen_kwargs",
    "random_seed",
    "numpy_seed",
    "torch_seed",
    "fewshot_seed",
)

Sample = dict[str, Any]


def files(students: Iterable[Student], items: pa.Table) -> Iterator[tuple[Path, bytes]]:
    """The files of each student, in a folder of its own."""
    of_run = _places(items)
    for student in students:
        found = items.take(of_run.get((student.first["cell_key"], student.first["run_id"]), []))
        samples = _samples(found.to_pylist())
        date = student.first["created_at"].astimezone(UTC).strftime("%Y-%m-%dT%H-%M-%S.%f")
        folder = Path(student.name)
        said = json.dumps(_report(student, samples), indent=2, ensure_ascii=False)
        yield folder / f"results_{date}.json", said.encode()
        for task, each in samples.items():
            lines = "".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in each)
            yield folder / samples_name(task, date), lines.encode()


def samples_name(task: str, date: str) -> str:
    """The name of the file with a task's samples beside `results_{date}.json`: lm-eval's, but never another folder."""
    safe = re.sub(r"[/\\]", "_", task)
    return f"samples_{safe}_{date}.jsonl"


def _places(items: pa.Table) -> dict[tuple[str, str], list[int]]:
    """The numbers of the rows of each run."""
    found: dict[tuple[str, str], list[int]] = {}
    names = zip(items["cell_key"].to_pylist(), items["run_id"].to_pylist(), strict=True)
    for number, name in enumerate(names):
        found.setdefault(name, []).append(number)
    return found


def _report(student: Student, samples: dict[str, list[Sample]]) -> dict[str, Any]:
    row = student.first
    by_task: dict[str, list[Row]] = {}
    for each in student.rows:
        by_task.setdefault(each["task"], []).append(each)
    first = {task: rows[0] for task, rows in by_task.items()}
    seconds = row["score_seconds"] or 0.0
    return {
        "results": {task: _figures(task, rows) for task, rows in by_task.items()},
        "group_subtasks": {},
        "configs": {task: {"task": task, "num_fewshot": each["shots"]} for task, each in first.items()},
        "versions": {task: _version(each["task_version"]) for task, each in first.items()},
        "n-shot": {task: each["shots"] for task, each in first.items()},
        "higher_is_better": {
            task: {each["metric"]: each["higher_is_better"] for each in rows} for task, rows in by_task.items()
        },
        "n-samples": {
            task: {"original": each["n"] if each["limit"] is None else None, "effective": each["n"]}
            for task, each in first.items()
        },
        "config": {
            "model": student.name,
            "model_dtype": f"torch.{row['dtype']}" if row["dtype"] else None,
            "model_revision": row["student_revision"],
            "batch_size": row["batch_size"],
            "device": row["device"],
            "limit": row["limit"],
            **dict.fromkeys(_UNKNOWN_CONFIG),
        },
        "git_hash": row["git_revision"],
        "date": (row["created_at"] - timedelta(seconds=seconds)).timestamp(),
        "transformers_version": json.loads(row["libraries"] or "{}").get("transformers"),
        "lm_eval_version": (row["scorer"] or "").removeprefix("lm-eval ") or None,
        "task_hashes": {
            task: _sha256("".join(s["doc_hash"] + s["prompt_hash"] + s["target_hash"] for s in each))
            for task, each in samples.items()
        },
        "model_source": "pkt-bench",
        "model_name": student.name,
        "model_name_sanitized": student.name,
        "total_evaluation_time_seconds": str(seconds),
        **dict.fromkeys(_UNKNOWN),
        OURS: [_ours(each) for each in student.rows],
    }


def _figures(task: str, rows: Iterable[Row]) -> dict[str, Any]:
    figures: dict[str, Any] = {"name": task, "alias": task}
    for row in rows:
        figures["sample_len"] = row["n"]
        figures[f"{row['metric']},{row['filter']}"] = row["value"]
        # as lm-eval writes what it could not work out
        figures[f"{row['metric']}_stderr,{row['filter']}"] = "N/A" if row["stderr"] is None else row["stderr"]
    return figures


def _version(version: str | None) -> float | str | None:
    """A task's version, a number in most tasks' files, which a row holds as text."""
    for kind in (int, float):
        try:
            number = kind(version or "")
        except ValueError:
            continue
        if str(number) == version:
            return number
    return version


def _ours(row: Row) -> dict[str, Any]:
    return {
        field.name: row[field.name].isoformat() if field.kind == "time" else row[field.name]
        for field in schema.RUNS
        if row[field.name] is not None and field.name not in _KEPT_HERE
    }


def _samples(items: Iterable[Row]) -> dict[str, list[Sample]]:
    """Samples by task: one for each filter and document, with all its metrics, in the order of the items."""
    found: dict[str, dict[str, dict[int, Sample]]] = {}
    for item in items:
        documents = found.setdefault(item["task"], {}).setdefault(item["filter"], {})
        if item["doc_id"] not in documents:
            documents[item["doc_id"]] = _sample(item)
        documents[item["doc_id"]]["metrics"].append(item["metric"])
        documents[item["doc_id"]][item["metric"]] = item["value"]
    return {
        task: [sample for documents in filters.values() for _, sample in sorted(documents.items())]
        for task, filters in found.items()
    }


def _sample(item: Row) -> Sample:
    return {
        "doc_id": item["doc_id"],
        "doc": None,
        "target": item["target"],
        "arguments": {"gen_args_0": {"arg_0": item["prompt"]}},
        "resps": None,
        "filtered_resps": _as_text(_response(item["response"])),
        "filter": item["filter"],
        "metrics": [],
        "doc_hash": item["doc_hash"],
        "prompt_hash": item["prompt_hash"],
        "target_hash": _sha256(item["target"]),
    }


def _response(text: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(text)
    except ValueError:
        return text


def _as_text(response: Any) -> Any:  # noqa: ANN401 - any JSON
    """What lm-eval makes of a response in a file: every leaf as Python writes it."""
    return [_as_text(each) for each in response] if isinstance(response, list) else str(response)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

"""What lm-eval's EvaluationTracker wrote, read and checked: scores, and answers where there are any."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pkt_bench import reports
from pkt_bench.domain import Item
from pkt_bench.errors import RequestError, StorageError
from pkt_bench.exchange.lm_eval_writer import OURS, samples_name

T = TypeVar("T", bound=BaseModel)

VERSIONS = "0.4.13 and later ones of 0.4"
_KNOWN_VERSION = re.compile(r"0\.4\.(?P<patch>\d+)(?!\d).*")
_FIRST_PATCH = 13
_LIKELIHOODS = frozenset({"loglikelihood", "multiple_choice", "loglikelihood_rolling"})
_NO_NUMBER = "N/A"

# task, metric, filter
Figure = tuple[str, str, str]


class _Count(BaseModel):
    effective: int = Field(ge=1)


class _Results(BaseModel):
    """A results file, as far as it is used."""

    results: dict[str, dict[str, Any]]
    configs: dict[str, dict[str, Any]]
    versions: dict[str, float | int | str | None]
    shots: dict[str, int] = Field(alias="n-shot")
    higher_is_better: dict[str, dict[str, bool | None]]
    counts: dict[str, _Count] = Field(alias="n-samples")
    config: dict[str, Any]
    date: float
    lm_eval_version: str
    transformers_version: str | None = None
    total_evaluation_time_seconds: float = 0.0
    group_subtasks: dict[str, list[str]] = {}
    # as the writer's `OURS`
    ours: list[dict[str, Any]] = Field(default=[], alias="pkt_bench")


class _Sample(BaseModel):
    """A line of a samples file, as far as it is used; the values of its metrics are beside these."""

    model_config = ConfigDict(extra="allow")

    doc_id: int
    target: str
    arguments: dict[str, dict[str, Any]]
    filtered_resps: Any
    filter: str
    metrics: list[str]
    doc_hash: str
    prompt_hash: str


@dataclass(frozen=True)
class Evaluation:
    """One evaluation by lm-eval.

    `scores` are rows in the columns of the runs table that the file says something of; `ours` are the columns that
    pkt-bench itself wrote beside, by figure; `items` are empty for a task without samples.
    """

    path: Path
    created_at: datetime
    scores: Mapping[Figure, Mapping[str, Any]]
    ours: Mapping[Figure, Mapping[str, Any]]
    items: tuple[Item, ...]


def read(path: Path) -> Evaluation:
    """Reads a results file, or the folder with one, and the samples files beside it.

    Raises:
        RequestError: there is no such file, or several, or it is not what lm-eval of a version we know writes.
        StorageError: it cannot be read.
    """
    path = _results_file(path)
    found = _parsed(path, _Results, _json(path, _text(path)))
    match = _KNOWN_VERSION.fullmatch(found.lm_eval_version)
    if match is None or int(match["patch"]) < _FIRST_PATCH:
        _refuse(path, f"it is of lm-eval {found.lm_eval_version}, and what is read here is of {VERSIONS}.")
    try:
        ended = datetime.fromtimestamp(found.date + found.total_evaluation_time_seconds, UTC)
    except (OverflowError, ValueError, OSError):
        _refuse(path, f"its date {found.date!r} is none.")
    scores = dict(_scores(path, found))
    if not scores:
        _refuse(path, "it has no scores.")
    ours = {(str(row.get("task")), str(row.get("metric")), str(row.get("filter"))): row for row in found.ours}
    if ours and ours.keys() != scores.keys():
        _refuse(path, f"its '{OURS}' is of other scores than its results.")
    items = [item for task in dict.fromkeys(task for task, *_ in scores) for item in _items(path, task, found)]
    return Evaluation(path, ended, scores, ours, tuple(items))


# ---------------------------------------------------------------- files


def _results_file(path: Path) -> Path:
    if path.is_file():
        return path
    found = sorted(path.rglob("results_*.json")) if path.is_dir() else []
    if len(found) == 1:
        return found[0]
    if not found:
        raise RequestError(
            f"there is no results file {path}.\n  Name a results_*.json that lm-eval wrote with --output_path, or its"
            " folder."
        )
    listed = "".join(f"\n  {each}" for each in found[:10])
    raise RequestError(f"{path} holds {len(found)} results files, and one evaluation is imported at a time:{listed}")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        _refuse(path, f"it is not UTF-8 ({error.reason}).")
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from None


def _json(path: Path, text: str, line: int | None = None) -> Any:  # noqa: ANN401 - any JSON
    where = "" if line is None else f"line {line}: "

    def no_number(word: str) -> NoReturn:
        _refuse(path, f"{where}it holds {word}, which is no number.")

    try:
        return json.loads(text, parse_constant=no_number)
    except (json.JSONDecodeError, RecursionError) as error:
        _refuse(path, f"{where}it is not JSON ({error}).")


def _parsed(path: Path, kind: type[T], found: object, line: int | None = None) -> T:
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        where = "" if line is None else f"line {line}: "
        said = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'it'}: {each['msg'].lower()}" for each in error.errors()[:5]
        )
        _refuse(path, f"{where}it is not what lm-eval writes: {said}.")


def _refuse(path: Path, why: str) -> NoReturn:
    raise RequestError(f"{path} cannot be imported: {why}\n  Nothing was written. Name a file of lm-eval {VERSIONS}.")


# ---------------------------------------------------------------- scores


def _scores(path: Path, found: _Results) -> Iterator[tuple[Figure, dict[str, Any]]]:
    for task, figures in found.results.items():
        if task not in found.configs and task in found.group_subtasks:
            continue  # the mean of a group's tasks, which are here themselves
        for name in ("configs", "versions", "shots", "counts", "higher_is_better"):
            if task not in getattr(found, name):
                said = _Results.model_fields[name].alias or name
                _refuse(path, f"its '{said}' lacks the task {task} of its results.")
        for key, value in figures.items():
            metric, comma, filter_name = key.partition(",")
            if not comma or metric.endswith("_stderr"):
                continue
            stderr = figures.get(f"{metric}_stderr,{filter_name}", _NO_NUMBER)
            yield (
                (task, metric, filter_name),
                {
                    "task": task,
                    "metric": metric,
                    "filter": filter_name,
                    "value": _number(path, f"{task} {key}", value),
                    "stderr": None if stderr == _NO_NUMBER else _number(path, f"{task} {key}, stderr", stderr),
                    "n": found.counts[task].effective,
                    "higher_is_better": found.higher_is_better[task].get(metric),
                    "task_version": str(found.versions[task]),
                    "task_hash": reports.config_hash(found.configs[task]),
                    "shots": found.shots[task],
                    "limit": _limit(found.config.get("limit"), found.counts[task].effective),
                    "device": _word(found.config.get("device")),
                    "dtype": (_word(found.config.get("model_dtype")) or "").removeprefix("torch.") or None,
                    "batch_size": _whole(found.config.get("batch_size")),
                    "scorer": f"lm-eval {found.lm_eval_version}",
                    "libraries": json.dumps(
                        {"lm_eval": found.lm_eval_version, "transformers": found.transformers_version},
                        separators=(",", ":"),
                    ),
                },
            )


def _number(path: Path, what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        _refuse(path, f"{what} is {value!r}, which is no number.")
    return float(value)


def _limit(limit: object, effective: int) -> int | None:
    """As a number of documents, where lm-eval was given a share of them too."""
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        return None
    return int(limit) if limit >= 1 else effective


def _whole(value: object) -> int | None:
    """A batch size, which lm-eval writes as it was given; `auto` says none."""
    return int(value) if isinstance(value, int | str) and str(value).isdecimal() else None


def _word(value: object) -> str | None:
    return value if isinstance(value, str) else None


# ---------------------------------------------------------------- answers


def _items(results: Path, task: str, found: _Results) -> Iterator[Item]:
    path = results.with_name(samples_name(task, results.stem.rpartition("_")[2]))
    if not path.is_file():
        return
    convert = _responses(_word(found.configs[task].get("output_type")))
    for line, text in enumerate(_text(path).split("\n"), 1):
        if not text:
            continue
        sample = _parsed(path, _Sample, _json(path, text, line), line)
        values = sample.model_extra or {}
        response = json.dumps(convert(sample.filtered_resps), ensure_ascii=False)
        prompt = str(next(iter(sample.arguments.values()), {}).get("arg_0", ""))
        for metric in sample.metrics:
            if metric not in values:
                _refuse(path, f"line {line}: it has no value of its metric {metric}.")
            value = values[metric]
            if isinstance(value, float):
                _number(path, f"line {line}, {metric}", value)
            yield Item(
                task=task,
                metric=metric,
                filter=sample.filter,
                doc_id=sample.doc_id,
                doc_hash=sample.doc_hash,
                prompt_hash=sample.prompt_hash,
                prompt=prompt,
                target=sample.target,
                response=response,
                value=float(value) if isinstance(value, int | float) else None,
            )


def _responses(kind: str | None) -> Callable[[Any], Any]:
    """How to undo what lm-eval does to responses in a file, where every leaf is text.

    An answer of a likelihood is its logarithm and whether it was the likeliest; where the kind of task is unknown, a
    pair that looks like one is taken for one.
    """

    def convert(response: Any) -> Any:  # noqa: ANN401 - any JSON
        if not isinstance(response, list):
            return _float(response) if kind == "loglikelihood_rolling" else response
        if len(response) == 2 and response[1] in ("True", "False"):
            number = _float(response[0])
            return [number, response[1] == "True"] if isinstance(number, float) else response
        return [convert(each) for each in response]

    return convert if kind is None or kind in _LIKELIHOODS else lambda response: response


def _float(text: Any) -> Any:  # noqa: ANN401 - any JSON
    try:
        return float(text)
    except (TypeError, ValueError):
        return text

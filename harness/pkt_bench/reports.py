"""What lm-eval reports of a task or of a group of tasks, as Scores and Items.

A group's headline figure is recorded with answers it can be worked out from again. Where it is the mean over all
documents, these are the documents of all its tasks, numbered through: a document's number is its place in its own task
plus the sizes of the tasks before it, whatever the limit. Where each task counts alike, they are the tasks themselves.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pkt_bench.domain import Item, Score, Task, digest_of


@dataclass(frozen=True)
class Report:
    """What lm-eval says of one task.

    Attributes:
        name: of the task, or the group.
        raw: as lm-eval's `evaluate` returns it.
        sizes: how many documents each task has that it is made of, in the group's order; of a task, of itself.
        by_size: of a group, by metric, whether a task counts by the number of its documents.
    """

    name: str
    raw: Mapping[str, Any]
    sizes: Mapping[str, int]
    by_size: Mapping[str, bool] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[str, ...]:
        """The tasks it is made of that were run."""
        return tuple(part for part in self.sizes if part in self.raw["samples"])

    @property
    def is_group(self) -> bool:
        """Whether it is made of other tasks."""
        return tuple(self.sizes) != (self.name,)

    def samples(self, part: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """The answers of one of its tasks, each with the document's number among all documents."""
        before = sum(self.sizes[each] for each in list(self.sizes)[: list(self.sizes).index(part)])
        for sample in self.raw["samples"][part]:
            yield before + int(sample["doc_id"]), sample


def scores(task: Task, report: Report) -> list[Score]:
    """The figures of a task, of a group those of its tasks after its own; one of them may be the headline."""
    if not report.is_group:
        return list(_scores(task, report.raw, report.name))
    own = list(_group_scores(task, report))
    # a task's own figure beside the group's is none that the suite is known by
    beside = (_scores(Task(part, metric=""), report.raw, part) for part in report.parts)
    return [*own, *(replace(score, part_of=report.name) for part in beside for score in part)]


def items(report: Report) -> list[Item]:
    """The answers behind every figure that `scores` gives."""
    if not report.is_group:
        return list(_items(report.raw, report.name))
    own = [item for key in _figures(report.raw, report.name) for item in _group_items(report, *key)]
    return [*own, *(item for part in report.parts for item in _items(report.raw, part))]


def responses(report: Report) -> Iterator[tuple[int, str, str, Any, float | None]]:
    """Document, metric, filter, what was answered and what that was worth, as `items` numbers them."""
    for part in report.parts:
        for number, sample in report.samples(part):
            for metric in sample["metrics"]:
                said = json.loads(json.dumps(sample["filtered_resps"], default=str))
                yield number, metric, sample["filter"], said, number_or_none(sample[metric])


# ---------------------------------------------------------------- one task


def _figures(raw: Mapping[str, Any], name: str) -> dict[tuple[str, str], Any]:
    """The figures of a task or group, by metric and filter."""
    found = {}
    for key, value in raw["results"][name].items():
        metric, comma, filter_name = key.partition(",")
        if comma and not metric.endswith("_stderr"):
            found[metric, filter_name] = value
    return found


def _scores(task: Task, raw: Mapping[str, Any], name: str) -> Iterator[Score]:
    for (metric, filter_name), value in _figures(raw, name).items():
        headline = (metric, filter_name) == (task.metric, task.filter)
        yield Score(
            task=name,
            metric=metric,
            filter=filter_name,
            value=number_or_none(value),
            stderr=number_or_none(raw["results"][name].get(f"{metric}_stderr,{filter_name}")),
            n=int(raw["n-samples"][name]["effective"]),
            higher_is_better=bool(raw["higher_is_better"][name].get(metric, True)),
            headline=headline,
            task_version=str(raw["versions"][name]),
            task_hash=config_hash(raw["configs"][name]),
            shots=int(raw["n-shot"][name]),
            chance=task.chance if headline else None,
        )


def _items(raw: Mapping[str, Any], name: str) -> Iterator[Item]:
    for sample in raw["samples"][name]:
        for metric in sample["metrics"]:
            yield _item(name, metric, int(sample["doc_id"]), sample)


def _item(task: str, metric: str, number: int, sample: Mapping[str, Any]) -> Item:
    return Item(
        task=task,
        metric=metric,
        filter=sample["filter"],
        doc_id=number,
        doc_hash=sample["doc_hash"],
        prompt_hash=sample["prompt_hash"],
        prompt=str(sample["arguments"][0][0]),
        target=str(sample["target"]),
        response=json.dumps(sample["filtered_resps"], ensure_ascii=False, default=str),
        value=number_or_none(sample[metric]),
    )


# ---------------------------------------------------------------- groups


def _group_scores(task: Task, report: Report) -> Iterator[Score]:
    raw = report.raw
    hashes = {part: config_hash(raw["configs"][part]) for part in report.parts}
    task_hash = digest_of({"parts": hashes, "by_size": dict(report.by_size)})
    for (metric, filter_name), value in _figures(raw, report.name).items():
        headline = (metric, filter_name) == (task.metric, task.filter)
        values = [item.value for item in _group_items(report, metric, filter_name)]
        better = {bool(raw["higher_is_better"][part].get(metric, True)) for part in report.parts}
        yield Score(
            task=report.name,
            metric=metric,
            filter=filter_name,
            value=number_or_none(value),
            stderr=_stderr(values, raw["results"][report.name], metric, filter_name),
            n=len(values),
            higher_is_better=better != {False},
            headline=headline,
            task_version=str(raw["versions"].get(report.name, "N/A")),
            task_hash=task_hash,
            shots=max(int(raw["n-shot"][part]) for part in report.parts),
            chance=task.chance if headline else None,
        )


def _stderr(values: Sequence[float | None], figures: Mapping[str, Any], metric: str, filter_name: str) -> float | None:
    """The standard error of a mean over what it is the mean of, as every other row has it; else what lm-eval says.

    lm-eval pools the spreads within the tasks, and leaves out how far the tasks lie apart.
    """
    known = [value for value in values if value is not None]
    value = number_or_none(figures[f"{metric},{filter_name}"])
    mean = math.fsum(known) / len(known) if len(known) == len(values) > 1 else math.nan
    if value is not None and math.isclose(mean, value, rel_tol=1e-9, abs_tol=1e-9):
        return statistics.stdev(known) / math.sqrt(len(known))
    return number_or_none(figures.get(f"{metric}_stderr,{filter_name}"))


def _group_items(report: Report, metric: str, filter_name: str) -> list[Item]:
    """What a group's figure is the mean of: documents, or tasks."""
    if not report.by_size.get(metric, True):
        return list(_parts_as_items(report, metric, filter_name))
    return [
        _item(report.name, metric, number, sample)
        for part in report.parts
        for number, sample in report.samples(part)
        if sample["filter"] == filter_name and metric in sample["metrics"]
    ]


def _parts_as_items(report: Report, metric: str, filter_name: str) -> Iterator[Item]:
    for number, part in enumerate(report.parts):
        figures = _figures(report.raw, part)
        if (metric, filter_name) not in figures:
            continue
        documents = {(int(sample["doc_id"]), sample["doc_hash"]) for sample in report.raw["samples"][part]}
        value = number_or_none(figures[metric, filter_name])
        yield Item(
            task=report.name,
            metric=metric,
            filter=filter_name,
            doc_id=number,
            doc_hash=digest_of({"documents": sorted(documents)}),
            prompt_hash=config_hash(report.raw["configs"][part]),
            prompt=f"{part}: {len(documents)} documents",
            target="",
            response=json.dumps(value),
            value=value,
        )


# ---------------------------------------------------------------- parts of both


def number_or_none(value: object) -> float | None:
    """A figure as a number; None where lm-eval has a word for it."""
    return float(value) if isinstance(value, int | float) else None


def config_hash(config: Mapping[str, Any]) -> str:
    """A digest of the resolved task: addresses and folders of this machine are left out."""
    # lm-eval says there which file the task was read from
    metadata = {name: value for name, value in (config.get("metadata") or {}).items() if name != "config_source"}
    text = json.dumps(
        {**config, "metadata": metadata},
        sort_keys=True,
        default=lambda value: getattr(value, "__name__", str(type(value))),
    )
    text = re.sub(r" at 0x[0-9a-f]+", "", text)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def part_of(sizes: Mapping[str, int], number: int) -> tuple[str, int]:
    """The task that a document of a group of tasks belongs to, and its number there.

    Raises:
        IndexError: the tasks have no such document.
    """
    left = number
    for part, size in sizes.items():
        if 0 <= left < size:
            return part, left
        left -= size
    raise IndexError(f"no document {number} among {sum(sizes.values())}")

"""Stored answers put before their tasks again: what lm-eval makes of a response now, against what is stored."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pkt_bench import lm_tasks
from pkt_bench.errors import RequestError, UnavailableError
from pkt_bench.integrity import Fault
from pkt_bench.rows import scoring_hash
from pkt_bench.task_suites import LM_EVAL

if TYPE_CHECKING:
    import pyarrow as pa

    from pkt_bench.domain import Pair, Suite, Task
    from pkt_bench.plugins import Offer


@dataclass(frozen=True)
class Rescored:
    """How many answers were scored again, which of them are worth something else, and in words what was passed over."""

    checked: int
    faults: tuple[Fault, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class Judge:
    """A task with its documents, as installed here; of a group, the documents of all its tasks."""

    documents: Sequence[Any]
    tasks: Sequence[Any]
    """For each document the task it belongs to."""


def rescore(runs: pa.Table, items: pa.Table, *, sample: int | None, seed: int) -> Rescored:
    """Scores stored answers again: all of them, or `sample` drawn with `seed`, by the suites installed here.

    An answer whose suite has other code or task files than those installed is passed over: its judge is not here.
    """
    import numpy as np

    if items.num_rows == 0:
        return Rescored(0, (), ())
    if sample is not None and sample < items.num_rows:
        drawn = np.random.default_rng(seed).choice(items.num_rows, sample, replace=False)
        items = items.take(np.sort(drawn))
    rows = {(row["run_id"], row["task"]): row for row in runs.to_pylist() if row["task"] is not None}
    judges = Judges()
    faults: list[Fault] = []
    skipped: dict[str, int] = {}
    known: dict[tuple[str, int, str], Mapping[str, Any]] = {}
    checked = 0
    for item in items.to_pylist():
        row = rows.get((item["run_id"], item["task"]))
        if row is None:
            continue
        judge = judges.of(row)
        if isinstance(judge, str):
            skipped[judge] = skipped.get(judge, 0) + 1
            continue
        found = _document_fault(judge, item, row)
        if found is not None:
            faults.append(found)
            continue
        same = (item["task"], item["doc_id"], item["response"])
        try:
            if same not in known:
                responses = json.loads(item["response"])
                known[same] = judge.tasks[item["doc_id"]].process_results(judge.documents[item["doc_id"]], responses)
            value = known[same].get(item["metric"])
        except Exception as error:  # noqa: BLE001 - a suite's own code judges, on a response that may be anything
            words = f"not scored again: {item['task']} cannot judge what is stored ({type(error).__name__}: {error})"
            skipped[words] = skipped.get(words, 0) + 1
            continue
        checked += 1
        value = float(value) if isinstance(value, int | float) else None
        if value != item["value"]:
            faults.append(
                fault_of(row, item, "an answer is not worth what is stored", repr(item["value"]), repr(value))
            )
    said = tuple(f"{reason} ({count:,} answers)" for reason, count in skipped.items())
    return Rescored(checked, tuple(faults), said)


class Judges:
    """The tasks of the suites installed here, each loaded when it is first asked for."""

    def __init__(self) -> None:
        from pkt_bench import plugins

        registry = plugins.load()
        self._shelf = registry.suites
        self.pairs: dict[str, Pair] = {offer.item.name: offer.item for offer in registry.pairs}
        self._suites: dict[str, Offer[Suite]] = {}
        for offer in registry.suites:
            for task in offer.item.tasks:
                self._suites.setdefault(task.name, offer)
        self._found: dict[tuple[str, str | None], Judge | str] = {}

    def of(self, row: Mapping[str, Any]) -> Judge | str:
        """The judge of a row's task, or in words why there is none."""
        key = (row["task"], row["scoring_hash"])
        if key not in self._found:
            self._found[key] = self._look(*key)
        return self._found[key]

    def suite_of(self, task: str) -> Suite:
        """The suite installed here that has a task."""
        return self._suites[task].item

    def task_of(self, name: str) -> Task:
        """The task of this name, as its suite has it."""
        return next(task for task in self._suites[name].item.tasks if task.name == name)

    def _look(self, task: str, judged_by: str | None) -> Judge | str:
        from pkt_bench.planning import suite_identity

        if judged_by is None:
            return f"not scored again: by what task files and code {task} was judged is unknown"
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        try:
            # a member of a group was judged by the group's files, and the group's rows come before its own
            if (member := self._member(task, judged_by)) is not None:
                return member
            if task not in self._suites:
                # one of lm-eval's own, which every student may be scored on
                self._suites[task] = self._shelf.get(f"{LM_EVAL}/{task}")
            if judged_by != scoring_hash(suite_identity(self._suites[task])["suite"]):
                return f"not scored again: {task} was judged by other task files or code than those installed here"
            return judge_of(self._suites[task].item, self.task_of(task))
        except RequestError:
            return f"not scored again: no suite installed here has the task {task}"
        except UnavailableError as error:
            return f"not scored again: {task} cannot be had here: {' '.join(str(error).split())}"

    def _member(self, task: str, judged_by: str) -> Judge | None:
        """The judge of a member of a group that was looked at before, with the same files and code."""
        groups = [name for name, digest in self._found if digest == judged_by and name != task]
        for group in groups:
            if group in self._suites:
                loaded = lm_tasks.load(self._suites[group].item, self.task_of(group))
                if group in loaded["groups"] and task in loaded["tasks"]:
                    documents = list(loaded["tasks"][task].eval_docs)
                    return Judge(documents, [loaded["tasks"][task]] * len(documents))
        return None


def judge_of(suite: Suite, task: Task) -> Judge | str:
    """The judge of a suite's task or group, or in words why it has none."""
    loaded = lm_tasks.load(suite, task)
    if task.name in loaded["tasks"]:
        parts = [loaded["tasks"][task.name]]
    else:
        group = loaded["groups"][task.name]
        if not all(each.weight_by_size for each in group.aggregate_metric_list or ()):
            return f"not scored again: {task.name} is the mean of its tasks' figures, which are no answers"
        parts = group.get_all_tasks()
    documents = [(part, document) for part in parts for document in part.eval_docs]
    return Judge([document for _, document in documents], [part for part, _ in documents])


def _document_fault(judge: Judge, item: Mapping[str, Any], row: Mapping[str, Any]) -> Fault | None:
    """An answer to a document that the task, whose files are the same, does not have."""
    if not 0 <= item["doc_id"] < len(judge.documents):
        return fault_of(
            row, item, "the task has no such document", str(item["doc_id"]), f"below {len(judge.documents)}"
        )
    expected = document_hash(judge.documents[item["doc_id"]])
    if item["doc_hash"] != expected:
        return fault_of(row, item, "it is not the document of that number", item["doc_hash"], expected)
    return None


def document_hash(document: Any) -> str:  # noqa: ANN401 - whatever a task has for documents
    """The digest lm-eval gives a document."""
    from lm_eval.utils import handle_non_serializable, hash_string

    return str(hash_string(json.dumps(document, indent=2, default=handle_non_serializable, ensure_ascii=False)))


def fault_of(row: Mapping[str, Any], item: Mapping[str, Any], what: str, stored: str, should_be: str) -> Fault:
    """What is wrong with one answer."""
    return Fault(
        what,
        "items",
        stored,
        should_be,
        run_id=item["run_id"],
        method=row["method"],
        suite=row["suite"],
        seed=row["seed"],
        task=item["task"],
        metric=item["metric"],
        filter=item["filter"],
        document=item["doc_id"],
    )

"""The only room that knows lm-eval: runs its tasks and turns what it says into Scores and Items."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pkt_bench import lm_tasks
from pkt_bench.domain import Item, Knobs, Score, Suite, Task
from pkt_bench.errors import ContractError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# fixed for every run: a score must not depend on the cell's seed where decoding is greedy
FEWSHOT_SEED = 1234


def score(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, suite: Suite, knobs: Knobs
) -> tuple[tuple[Score, ...], tuple[Item, ...]]:
    """Scores a model on every task of a suite through the stock lm-eval library.

    Its request cache is never used: it is keyed by the request and not by the model (trap 1).

    Raises:
        UnavailableError: a task is not among the suite's files, or cannot be loaded.
        ContractError: a task does not report the metric its suite names, or does not ask in the suite's words.
    """
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(
        pretrained=model,
        tokenizer=tokenizer,
        batch_size=knobs.batch_size,
        add_bos_token=suite.prompt.bos and tokenizer.bos_token_id is not None,
    )
    scores: list[Score] = []
    items: list[Item] = []
    for task in suite.tasks:
        loaded = lm_tasks.load(suite, task)
        report = run_task(lm, loaded, task.shots, limit=_limit(task, knobs), bootstrap_iters=1000)
        found = list(_scores(task, report))
        if not any(s.headline for s in found):
            offered = ", ".join(f"{s.metric} (filter {s.filter})" for s in found)
            raise ContractError(
                f"suite '{suite.name}': task '{task.name}' reports no {task.metric} under filter {task.filter};"
                f" it reports {offered}."
            )
        scores += found
        items += _items(task, report)
    _check_prompts(suite, items)
    return tuple(scores), tuple(items)


def run_task(
    lm: Any,  # noqa: ANN401 - lm_eval ships no types
    loaded: lm_tasks.TaskDict,
    shots: int,
    *,
    limit: int | None = None,
    documents: Sequence[int] | None = None,
    bootstrap_iters: int = 0,
) -> Mapping[str, Any]:
    """What lm-eval's `simple_evaluate` reports of tasks, `documents` of them or the first `limit`.

    Seeds and settings are those of `simple_evaluate` in 0.4.13. It is not called, because it asks git and `pip list`
    about the machine each time, which takes a second and is thrown away here.
    """
    import random

    import numpy as np
    import torch
    from lm_eval.evaluator import evaluate

    random.seed(0)
    # the generator of all the process is lm-eval's to draw from
    np.random.seed(FEWSHOT_SEED)  # noqa: NPY002
    torch.manual_seed(FEWSHOT_SEED)
    for task in loaded["tasks"].values():
        # a task that says 0 itself is never asked with more
        if task.get_config("num_fewshot") != 0:
            task.set_config(key="num_fewshot", value=shots)
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
    report: Mapping[str, Any] = evaluate(
        lm=lm,
        task_dict=loaded,
        limit=limit,
        samples=None if documents is None else {name: list(documents) for name in loaded["tasks"]},
        bootstrap_iters=bootstrap_iters,
        log_samples=True,
        fewshot_as_multiturn=True,
    )
    return report


def _check_prompts(suite: Suite, items: list[Item]) -> None:
    """Scoring must ask in the very words that training used (trap 9); a suite says what they are in `test_prompts`."""
    known = set(suite.test_prompts())
    first = suite.tasks[0]
    if first.shots or not known:
        return
    strange = next((item for item in items if item.task == first.name and item.prompt not in known), None)
    if strange is not None:
        raise ContractError(
            f"suite '{suite.name}': its task '{first.name}' asks {strange.prompt!r} (document {strange.doc_id}), which"
            " is none of the suite's test prompts: scoring and training would render records differently."
        )


def _limit(task: Task, knobs: Knobs) -> int | None:
    limits = [limit for limit in (task.limit, knobs.limit) if limit is not None]
    return min(limits) if limits else None


def _scores(task: Task, report: Mapping[str, Any]) -> Iterator[Score]:
    figures = report["results"][task.name]
    for key, value in figures.items():
        metric, comma, filter_name = key.partition(",")
        if not comma or metric.endswith("_stderr"):
            continue
        stderr = figures.get(f"{metric}_stderr,{filter_name}")
        headline = (metric, filter_name) == (task.metric, task.filter)
        yield Score(
            task=task.name,
            metric=metric,
            filter=filter_name,
            value=_number(value),
            stderr=_number(stderr),
            n=int(report["n-samples"][task.name]["effective"]),
            higher_is_better=bool(report["higher_is_better"][task.name].get(metric, True)),
            headline=headline,
            task_version=str(report["versions"][task.name]),
            task_hash=config_hash(report["configs"][task.name]),
            shots=int(report["n-shot"][task.name]),
            chance=task.chance if headline else None,
        )


def _items(task: Task, report: Mapping[str, Any]) -> Iterator[Item]:
    for sample in report["samples"][task.name]:
        response = sample["filtered_resps"]
        for metric in sample["metrics"]:
            yield Item(
                task=task.name,
                metric=metric,
                filter=sample["filter"],
                doc_id=int(sample["doc_id"]),
                doc_hash=sample["doc_hash"],
                prompt_hash=sample["prompt_hash"],
                prompt=str(sample["arguments"][0][0]),
                target=str(sample["target"]),
                response=json.dumps(response, ensure_ascii=False, default=str),
                value=_number(sample[metric]),
            )


def _number(value: object) -> float | None:
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

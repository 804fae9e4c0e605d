"""The only room that knows lm-eval: runs its tasks, with the fast scorer or the stock one, and gives what it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pkt_bench import lm_tasks, reports
from pkt_bench.domain import Item, Knobs, Score, Suite, Task
from pkt_bench.errors import ContractError
from pkt_bench.reports import Report

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# fixed for every run: a score must not depend on the cell's seed where decoding is greedy
FEWSHOT_SEED = 1234


@dataclass(frozen=True)
class Scoring:
    """Figures, the answers behind them, and how these were had.

    `how` is what a row says of it: the scorer, what it took, how it compared with stock lm-eval on a sample.
    """

    scores: tuple[Score, ...]
    items: tuple[Item, ...]
    how: Mapping[str, Any]


def score(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, suite: Suite, knobs: Knobs) -> Scoring:
    """Scores a model on every task of a suite.

    lm-eval's request cache is never used: it is keyed by the request and not by the model (trap 1).

    Raises:
        UnavailableError: a task is not among the suite's files, or cannot be loaded.
        ContractError: a task does not report the metric its suite names, or does not ask in the suite's words.
    """
    lm = scorer_of(model, tokenizer, suite, knobs)
    scores: list[Score] = []
    items: list[Item] = []
    for task in suite.tasks:
        loaded = lm_tasks.load(suite, task)
        report = run_task(lm, loaded, task.name, task.shots, limit=_limit(task, knobs), bootstrap_iters=1000)
        found = reports.scores(task, report)
        if not any(s.headline for s in found):
            offered = ", ".join(f"{s.metric} (filter {s.filter})" for s in found if s.task == task.name) or "nothing"
            raise ContractError(
                f"suite '{suite.name}': task '{task.name}' reports no {task.metric} under filter {task.filter};"
                f" it reports {offered}."
            )
        scores += found
        items += reports.items(report)
    _check_prompts(suite, items)
    return Scoring(tuple(scores), tuple(items), _how(lm))


def together(found: Iterable[Scoring]) -> Scoring:
    """Several scorings of one model as one."""
    found = list(found)
    how: dict[str, Any] = {}
    for name, value in ((name, value) for each in found for name, value in each.how.items()):
        before = how.get(name)
        if before is None or name not in _COMBINED:
            how[name] = value if value is not None else before
        elif value is not None:
            how[name] = _COMBINED[name](before, value)
    return Scoring(
        tuple(score for each in found for score in each.scores),
        tuple(item for each in found for item in each.items),
        how,
    )


def _more(before: list[str], new: list[str]) -> list[str]:
    return list(dict.fromkeys([*before, *new]))


_COMBINED: Mapping[str, Any] = {
    "parity_max_dloglik": max,
    "reasons": _more,
    **dict.fromkeys(
        ("parity_requests", "tokens_computed", "tokens_distinct", "requests_fast", "requests_stock"), int.__add__
    ),
}


# ---------------------------------------------------------------- scorers


def scorer_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, suite: Suite, knobs: Knobs) -> Any:  # noqa: ANN401
    """What lm-eval asks: the fast scorer, or stock lm-eval's own."""
    from lm_eval.models.huggingface import HFLM

    from pkt_bench.fastscore.lm import FastLM

    return (HFLM if knobs.scorer == "stock" else FastLM)(
        pretrained=model,
        tokenizer=tokenizer,
        batch_size=knobs.batch_size,
        add_bos_token=suite.prompt.bos and tokenizer.bos_token_id is not None,
    )


def _how(lm: Any) -> dict[str, Any]:  # noqa: ANN401 - an HFLM
    count = getattr(lm, "count", None)
    return (
        {"scorer": "stock", "batch_size": lm.batch_size} if count is None else {"scorer": "fast", **count.described(lm)}
    )


# ---------------------------------------------------------------- tasks


def run_task(
    lm: Any,  # noqa: ANN401 - lm_eval ships no types
    loaded: lm_tasks.TaskDict,
    name: str,
    shots: int,
    *,
    limit: int | None = None,
    documents: Sequence[int] | None = None,
    bootstrap_iters: int = 0,
) -> Report:
    """What lm-eval's `simple_evaluate` reports of a task or group: of `documents` of it, or the first `limit` of each.

    Seeds and settings are those of `simple_evaluate` in 0.4.13. It is not called, because it asks git and `pip list`
    about the machine each time, which takes a second and is thrown away here. Of a group, `documents` are numbered as
    `reports` does, and only the tasks that have some of them are run.

    Raises:
        ContractError: `name` is a tag, which has no figure of its own.
    """
    import random

    import numpy as np
    import torch
    from lm_eval.evaluator import evaluate

    random.seed(0)
    # the generator of all the process is lm-eval's to draw from
    np.random.seed(FEWSHOT_SEED)  # noqa: NPY002
    torch.manual_seed(FEWSHOT_SEED)
    tasks, groups = dict(loaded["tasks"]), dict(loaded.get("groups") or {})
    if name not in tasks and name not in groups:
        raise ContractError(f"'{name}' is lm-eval's word for several tasks: name one of {', '.join(tasks)}.")
    for task in tasks.values():
        # a task that says 0 itself is never asked with more
        if task.get_config("num_fewshot") != 0:
            task.set_config(key="num_fewshot", value=shots)
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
    names, by_size = [name], {}
    if name in groups:
        names = [task.task_name for task in groups[name].get_all_tasks()]
        by_size = {each.metric: bool(each.weight_by_size) for each in groups[name].aggregate_metric_list or ()}
    sizes = {each: len(tasks[each].eval_docs) for each in names}
    samples: dict[str, list[int]] | None = None
    if documents is not None:
        samples = {}
        for part, number in (reports.part_of(sizes, each) for each in documents):
            samples.setdefault(part, []).append(number)
        tasks, groups = {part: tasks[part] for part in samples}, {}
    raw: dict[str, Any] = evaluate(
        lm=lm,
        task_dict={"tasks": tasks, "groups": groups},
        limit=limit,
        samples=samples,
        bootstrap_iters=bootstrap_iters,
        log_samples=True,
        fewshot_as_multiturn=True,
    )
    return Report(name, raw, sizes, by_size)


def _limit(task: Task, knobs: Knobs) -> int | None:
    limits = [limit for limit in (task.limit, knobs.limit) if limit is not None]
    return min(limits) if limits else None


def _check_prompts(suite: Suite, items: Sequence[Item]) -> None:
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

"""Suites made on the fly from lm-eval's tasks: records from the training documents, rendered as the task renders them.

Any task is one, `lm-eval/arc_easy`, or a task of a folder of YAML files, `FOLDER/TASK`. Whoever only scores it needs
its test documents alone; whoever trains on it needs a training split. What was rendered is kept in the cache folder, by
the task's files and the rows of its data.

**Records**: the training documents, each once, none of them a test document; shuffled by a seed that is the task's
name, then so many to extract, align and train as `SIZES` says, and to validate. **Headline**: the first metric the task
lists under the first of its filters; of a group, the first that it aggregates. **Shots**: as many as the task says.
**Chance**, of multiple choice: what picking a choice at random gives on these documents.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pkt_bench import durable, homes, lm_tasks, mirrors, task_index
from pkt_bench.domain import DataRef, PromptSpec, Record, Split, Suite, Task
from pkt_bench.errors import PktBenchError, RequestError, UnavailableError
from pkt_bench.task_data import data_of, needed

LM_EVAL = "lm-eval"
"""Who offers lm-eval's own tasks as suites."""

SIZES: Mapping[Split, int] = {"extract": 20, "align": 80, "train": 1000, "validation": 100}
"""Records of each split, as in arXiv 2505.14436; of fewer documents each gets its share."""

# rooms whose code decides what is rendered
_MADE_BY = ("task_suites", "lm_tasks", "mirrored_tasks", "task_data", "mirrors", "known_datasets")


@dataclass(frozen=True)
class Made:
    """A suite made of a task, and who offers it: lm-eval, or the folder its YAML is in."""

    suite: Suite
    distribution: str
    version: str


@dataclass(frozen=True)
class _Rendered:
    """What a task is as a suite: JSON in the cache."""

    tasks: tuple[Task, ...]
    records: Mapping[str, Sequence[tuple[str, str]]]
    why_none: str
    test_prompts: tuple[str, ...]
    documents: str
    runs_code: bool


@dataclass(frozen=True)
class Looked:
    """A task as it was looked up: whose it is, and the folder of its YAML where that is not lm-eval's."""

    listed: task_index.Listed
    distribution: str
    folder: Path | None

    @property
    def index(self) -> Mapping[str, task_index.Listed]:
        """The tasks it is among."""
        return _index(self.folder)


def find(distribution: str, name: str, folders: Iterable[Path] = ()) -> Made | None:
    """The suite that a task is, by a qualified name; `folders` are those of suites that are installed.

    Raises:
        RequestError: it is asked for as lm-eval's, and lm-eval has none of this name; a folder has several.
        UnavailableError: its data or something else of it is not to be had.
    """
    looked = look_up(distribution, name, folders)
    if looked is None:
        return None
    suite = _suite(looked.listed.name, looked.folder, mirrors.folders())
    return Made(suite, looked.distribution, task_index.version())


def look_up(distribution: str, name: str, folders: Iterable[Path] = ()) -> Looked | None:
    """The task of a qualified name, without reading its data.

    Raises:
        RequestError: it is asked for as lm-eval's, and lm-eval has none of this name; a folder has several.
    """
    folder = Path(distribution).expanduser()
    if distribution not in {"", LM_EVAL}:
        return _in_folder(folder, name) if folder.is_dir() else None
    if name in (index := task_index.of_lm_eval()):
        return Looked(index[name], LM_EVAL, None)
    for each in dict.fromkeys(folders):
        if name in (beside := lm_tasks.index_of_folder(each)):
            return Looked(beside[name], LM_EVAL, each)
    if distribution:
        raise task_index.unknown(name, index)
    return None


def _in_folder(folder: Path, name: str) -> Looked | None:
    """`FOLDER/TASK`, or `FOLDER` alone where it has one task."""
    inside = (folder / name).resolve()
    if inside.is_dir():
        index = lm_tasks.index_of_folder(inside)
        names = [each.name for each in index.values() if each.kind != "TAG"]
        if len(names) == 1:
            return Looked(index[names[0]], str(inside), inside)
        said = f"has the tasks {', '.join(sorted(names)[:20])}" if names else "has no YAML file that defines a task"
        raise RequestError(f"the folder {inside} {said}.\n  Name one of its tasks: --suite {folder / name}/TASK")
    folder = folder.resolve()
    index = lm_tasks.index_of_folder(folder)
    return Looked(index[name], str(folder), folder) if name in index else None


@functools.lru_cache(maxsize=256)
def _suite(name: str, folder: Path | None, data: tuple[Path, ...]) -> Suite:  # noqa: ARG001 - where the data come from
    listed = _index(folder)[name]
    rendered = _rendered(listed, folder)
    records = {split: tuple(Record.of(*pair) for pair in pairs) for split, pairs in rendered.records.items()}
    own = f"{len(listed.tags)} tasks" if listed.kind == "TAG" else "a group" if listed.kind == "GROUP" else "a task"
    return Suite(
        name=name,
        summary=f"{own} of {folder.name if folder else 'lm-eval'}",
        records=_Of(records),
        prompt=PromptSpec(),
        tasks=rendered.tasks,
        task_path=folder,
        test_prompts=lambda: rendered.test_prompts,
        runs_code=rendered.runs_code,
        needs=(*needs(listed, _index(folder)), DataRef(name, revision=rendered.documents)),
    )


class _Of:
    """`Suite.records` of what was rendered."""

    def __init__(self, records: Mapping[str, Sequence[Record]]) -> None:
        self._records = records

    def __call__(self, split: Split) -> Sequence[Record]:
        return self._records.get(split, ())


def why_no_records(suite: Suite) -> str | None:
    """Why a suite made here has no records; None where it has some, or is not made here."""
    if not made_here(suite) or any(len(suite.records(split)) for split in SIZES):
        return None
    return _rendered(_index(suite.task_path)[suite.name], suite.task_path).why_none


def made_here(suite: Suite) -> bool:
    """Whether a suite is made of a task, and not a plugin's."""
    return isinstance(inspect.unwrap(suite.records), _Of)


def _index(folder: Path | None) -> Mapping[str, task_index.Listed]:
    return task_index.of_lm_eval() if folder is None else lm_tasks.index_of_folder(folder)


# ---------------------------------------------------------------- data


def needs(listed: task_index.Listed, index: Mapping[str, task_index.Listed]) -> tuple[DataRef, ...]:
    """The data sets that scoring a task, or a group of them, needs, with the splits it cannot do without."""
    found: dict[tuple[str, str], DataRef] = {}
    for config in _configurations(listed, index):
        ref = data_of(config)
        if ref is None:
            continue
        before = found.get((ref.hub, ref.config))
        splits = (*(before.splits if before else ()), *needed(config, _shots(config)))
        found[ref.hub, ref.config] = DataRef(
            ref.name, ref.hub, ref.config, ref.revision, tuple(dict.fromkeys(splits)), ref.licence
        )
    return tuple(found.values())


def training_data(listed: task_index.Listed) -> DataRef | None:
    """The data set that records of a task are made of, with its training split."""
    if listed.kind != "TASK" or listed.file is None:
        return None
    config = task_index.configuration(listed.file)
    ref, split = data_of(config), config.get("training_split")
    if ref is None or not isinstance(split, str):
        return None
    return DataRef(ref.name, ref.hub, ref.config, ref.revision, (split,), ref.licence)


def _configurations(listed: task_index.Listed, index: Mapping[str, task_index.Listed]) -> Iterator[dict[str, Any]]:
    for each in task_index.members(listed, index):
        if each.file is not None:
            yield task_index.configuration(each.file)


def _shots(config: Mapping[str, Any]) -> int:
    shots = config.get("num_fewshot")
    return shots if isinstance(shots, int) else 0


def lacking(listed: task_index.Listed, index: Mapping[str, task_index.Listed]) -> list[str]:
    """The files that folders of data would have to hold and do not, of data sets that some folder stands for."""
    return [
        mirrors.expected(ref, split)
        for ref in needs(listed, index)
        for split in ref.splits
        if not mirrors.files(ref, split) and mirrors.stands_for(ref)
    ]


# ---------------------------------------------------------------- rendering, and keeping it


def _rendered(listed: task_index.Listed, folder: Path | None) -> _Rendered:
    index = _index(folder)
    if absent := lacking(listed, index):
        where = ", ".join(str(each) for each in mirrors.folders())
        raise UnavailableError(
            f"task '{listed.name}': {len(absent)} files of its data are missing (looked for in {where}):"
            f" {', '.join(absent[:60])}.\n  Give a folder that has them with --data-dir, or fetch them where there is"
            " a network: pkt-bench prefetch --to DIR, with the same flags."
        )
    key = _key(listed, index)
    kept = homes.cache_folder() / "suites" / f"{key}.json"
    if key:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(kept.read_text(encoding="utf-8"))
            return _Rendered(
                **content
                | {
                    "tasks": tuple(Task(**task) for task in content["tasks"]),
                    "test_prompts": tuple(content["test_prompts"]),
                }
            )
    found = _render(listed, folder)
    if key:
        with contextlib.suppress(OSError):
            durable.publish(kept, json.dumps(asdict(found), ensure_ascii=False).encode())
    return found


def _key(listed: task_index.Listed, index: Mapping[str, task_index.Listed]) -> str:
    """Digest of all that decides what is rendered; empty where the task makes its own documents."""
    state = hashlib.blake2b(digest_size=16)
    state.update(f"{task_index.version()} {listed.name} ".encode())
    for room in _MADE_BY:
        state.update(Path(__file__).with_name(f"{room}.py").read_bytes())
    configs = list(_configurations(listed, index))
    if any(data_of(config) is None for config in configs):
        return ""
    state.update(digest_of_sources(listed, index).encode())
    shown = [*needs(listed, index), *([ref] if (ref := training_data(listed)) is not None else ())]
    for ref in shown:
        for split in ref.splits:
            with contextlib.suppress(UnavailableError):
                state.update(f"{ref.name} {ref.config} {split} {mirrors.digest(ref, split)} ".encode())
    return state.hexdigest()


def source_digest(suite: Suite) -> str:
    """`digest_of_sources` of a suite made here."""
    index = _index(suite.task_path)
    return digest_of_sources(index[suite.name], index)


def digest_of_sources(listed: task_index.Listed, index: Mapping[str, task_index.Listed]) -> str:
    """BLAKE2b-128 over the files that a task, or the tasks of a group, are made of."""
    state = hashlib.blake2b(digest_size=16)
    for file in sources(listed, index):
        state.update("/".join(file.parts[-2:]).encode())
        state.update(file.read_bytes())
    return state.hexdigest()


def sources(listed: task_index.Listed, index: Mapping[str, task_index.Listed]) -> list[Path]:
    """The files that a task, or the tasks of a group, are made of."""
    files = [listed.file, *(each.file for each in task_index.members(listed, index))]
    return sorted({source for file in dict.fromkeys(files) if file is not None for source in task_index.sources(file)})


def _render(listed: task_index.Listed, folder: Path | None) -> _Rendered:
    """Loads the tasks and lets them render their documents."""
    bare = Suite(listed.name, "", lambda _: (), PromptSpec(), (), folder, lambda: ())
    loaded = lm_tasks.load(bare, Task(listed.name, "", shots=0))
    try:
        return _rendering(listed, loaded)
    except PktBenchError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise UnavailableError(
            f"task '{listed.name}' cannot render its documents: {type(error).__name__}: {first}\n"
            "  Choose another task, or tell its author."
        ) from error


def _rendering(listed: task_index.Listed, loaded: lm_tasks.TaskDict) -> _Rendered:
    tasks, state = list(loaded["tasks"].values()), hashlib.blake2b(digest_size=16)
    prompts: list[str] = []
    chances: dict[str, tuple[float | None, int]] = {}
    for task in tasks:
        documents = list(task.eval_docs)
        for document in documents:
            prompts += _prompts(task, document)
            state.update(json.dumps(document, sort_keys=True, ensure_ascii=False, default=str).encode())
        chances[task.config.task] = (_chance(task, documents), len(documents))
    records, why_none = _records(listed, tasks, set(prompts))
    return _Rendered(
        tasks=tuple(_headlines(listed, loaded, chances)),
        records=records,
        why_none=why_none,
        test_prompts=tuple(prompts),
        documents=state.hexdigest(),
        runs_code=any(bool(task.config.unsafe_code) for task in tasks),
    )


def _prompts(task: Any, document: Any) -> list[str]:  # noqa: ANN401 - lm_eval ships no types
    """What a document is asked with: several where each choice has a beginning of its own."""
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        return [task.doc_to_target(document)]
    asked = task.fewshot_context(document, 0, gen_prefix=task.doc_to_prefix(document))
    return [asked] if isinstance(asked, str) else list(asked)


def _chance(task: Any, documents: Sequence[Any]) -> float | None:  # noqa: ANN401
    if task.OUTPUT_TYPE != "multiple_choice" or not documents:
        return None
    return sum(1 / len(task.doc_to_choice(document)) for document in documents) / len(documents)


def _headlines(
    listed: task_index.Listed, loaded: lm_tasks.TaskDict, chances: Mapping[str, tuple[float | None, int]]
) -> Iterator[Task]:
    group = loaded["groups"].get(listed.name)
    aggregates = [each for each in (getattr(group, "aggregate_metric_list", None) or ()) if each]
    shots = {_shots(vars(task.config)) for task in loaded["tasks"].values()}
    # tasks that are shown different numbers of examples have no figure that one of them describes
    if aggregates and len(shots) == 1:
        first = aggregates[0]
        metric = _of(first, "metric")
        names = _of(first, "filter_list") or [_headline(next(iter(loaded["tasks"].values())))[1]]
        parts = [(value, count if _of(first, "weight_by_size") else 1) for value, count in chances.values()]
        known = [(value, weight) for value, weight in parts if value is not None]
        total = sum(weight for _, weight in known)
        chance = sum(value * weight for value, weight in known) / total if len(known) == len(parts) else None
        yield Task(listed.name, metric, names if isinstance(names, str) else names[0], max(shots), chance=chance)
        return
    for name, task in loaded["tasks"].items():
        metric, filter_name = _headline(task)
        chance = chances[name][0] if metric in {"acc", "acc_norm", "acc_bytes"} else None
        yield Task(name, metric, filter_name, _shots(vars(task.config)), chance=chance)


def _of(record: Any, name: str) -> Any:  # noqa: ANN401 - a mapping or a dataclass, as lm-eval likes
    return record.get(name) if isinstance(record, Mapping) else getattr(record, name)


def _headline(task: Any) -> tuple[str, str]:  # noqa: ANN401 - lm_eval ships no types
    first = next(iter(task.aggregation()), "acc")
    counts = (task._metric_fn_kwargs.get(first) or {}).get("k")  # noqa: SLF001 - lm-eval's own list
    if "pass_at_k" in first and counts:
        # a metric that gives several figures: its own name is none of them
        first = f"pass@{counts[0] if isinstance(counts, list) else counts}"
    filters = [each.name for each in task._filters]  # noqa: SLF001 - see above
    return first, filters[0] if filters else "none"


# ---------------------------------------------------------------- records


def _records(
    listed: task_index.Listed, tasks: Sequence[Any], asked: set[str]
) -> tuple[dict[str, list[tuple[str, str]]], str]:
    """The splits, or why there are none."""
    if len(tasks) != 1 or listed.kind == "TAG":
        return {}, f"'{listed.name}' is {len(tasks)} tasks: name one of them to train on"
    task = tasks[0]
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        return {}, f"task '{listed.name}' measures running text: it has no questions with answers to train on"
    if not task.has_training_docs():
        return {}, f"task '{listed.name}' has no training split"
    documents = list(task.training_docs())
    if not documents:
        ref = data_of(vars(task.config))
        where = mirrors.expected(ref, task.config.training_split) if ref is not None else task.config.training_split
        return {}, f"the training split of task '{listed.name}' is not here: {where}"
    pairs: dict[str, str] = {}
    for document in documents:
        prompt, answer = _pair(task, document)
        if prompt not in asked and answer.strip():
            pairs.setdefault(prompt, answer)
    return split(list(pairs.items()), listed.name), ""


def _pair(task: Any, document: Any) -> tuple[str, str]:  # noqa: ANN401 - lm_eval ships no types
    """A document as prompt and answer: the text that the right answer is scored by, or the target of a generation."""
    asked = _prompts(task, document)
    target = task.doc_to_target(document)
    if task.multiple_input:
        # each choice has a beginning of its own, and the rest is the same
        return asked[task.doc_to_text(document)], f"{task.config.target_delimiter}{target}"
    if task.config.doc_to_choice is not None:
        choices = task.doc_to_choice(document)
        gold = target[0] if isinstance(target, list) else target
        target = choices[gold] if isinstance(gold, int) else gold
    elif isinstance(target, list):
        target = target[0]
    # lm-eval puts nothing between the context and a string that is only compared with
    delimiter = "" if task.OUTPUT_TYPE == "loglikelihood" else task.config.target_delimiter
    return asked[0], f"{delimiter}{target}"


def split(pairs: Sequence[tuple[str, str]], seed: str) -> dict[str, list[tuple[str, str]]]:
    """Deals records out, shuffled by `seed`: sizes as `SIZES`, or of fewer records each its share, one at least."""
    drawn = list(pairs)
    random.Random(f"pkt-bench {seed}").shuffle(drawn)  # noqa: S311 - no secret
    share = min(1.0, len(drawn) / sum(SIZES.values()))
    found: dict[str, list[tuple[str, str]]] = {}
    taken = 0
    for name in ("extract", "align", "validation", "train"):
        size = max(1, int(SIZES[name] * share)) if name != "train" else SIZES["train"]
        found[name] = drawn[taken : taken + size]
        taken += len(found[name])
    return found

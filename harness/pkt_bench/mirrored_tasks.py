"""lm-eval's tasks as they are, but that they read their data from a folder of files where one has them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks._factory import TaskFactory

from pkt_bench import mirrors
from pkt_bench.domain import DataRef
from pkt_bench.errors import PktBenchError, UnavailableError
from pkt_bench.task_data import data_of, needed


class MirroredTask(ConfigurableTask):
    """A task that a YAML file defines."""

    UNSAFE_CODE: bool | None = None

    def __init__(self, config: dict[str, Any], shots: int) -> None:
        self._shots = shots
        super().__init__(config=config)
        unknown = [name for name, function in self._metric_fn_list.items() if function is None]
        if unknown and self.config.process_results is None:
            raise UnavailableError(
                f"task '{self.config.task}' measures {', '.join(unknown)}, which lm-eval does not have itself: the"
                " `evaluate` library fetches it as a script, and cannot here.\n"
                "  Choose another task, or run where there is a network."
            )
        if _judges_code(self):
            # what is unsafe about it is done in the sandbox
            self.UNSAFE_CODE = False

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:  # noqa: ANN401
        """Gives the task its documents: this is where lm-eval fetches them."""
        config = vars(self.config)
        ref = data_of(config)
        if ref is not None and mirrors.stands_for(ref):
            self.dataset = _from_folder(ref, config, needed(config, self._shots))
            return
        try:
            super().download(dataset_kwargs, **kwargs)
        except PktBenchError:
            raise
        except Exception as error:
            if ref is None:
                raise
            first = (str(error).strip().splitlines() or [""])[0]
            raise UnavailableError(
                f"task '{self.config.task}': {mirrors.missing(ref, ref.splits[0])}\n"
                f"  The hub: {type(error).__name__}: {first}"
            ) from None

    def process_results(self, doc: Any, results: Any) -> Any:  # noqa: ANN401 - lm-eval's own
        """What answers are worth; a judge of code may ask which document it is at."""
        if self.UNSAFE_CODE is not False:
            return super().process_results(doc, results)
        from pkt_bench.code_eval import judging

        with judging(doc):
            return super().process_results(doc, results)


class MirroringFactory(TaskFactory):
    """Makes a `MirroredTask` of what a YAML file defines; `shots` are those it will be asked with."""

    def __init__(self, shots: int) -> None:
        super().__init__()
        self._shots = shots

    def _build_task(self, entry: Any, overrides: dict[str, Any] | None) -> Any:  # noqa: ANN401 - lm-eval's own
        config = self._load_full_config(entry, overrides)
        if "class" in config:
            return super()._build_task(entry, overrides)
        for key in ("tag", "group", "task_list"):
            config.pop(key, None)
        return MirroredTask(config, self._shots)


def _from_folder(ref: DataRef, config: Mapping[str, Any], wanted: tuple[str, ...]) -> Any:  # noqa: ANN401
    found = {split: _table(ref, split, _seen(files)) for split in ref.splits if (files := mirrors.files(ref, split))}
    for split in wanted or ref.splits[:1]:
        if split not in found:
            raise UnavailableError(f"task '{config['task']}': {mirrors.missing(ref, split)}")
    # one that is named and not used has no rows: a task asks for it when it is made
    empty = next(iter(found.values())).select([])
    return datasets.DatasetDict({split: found.get(split, empty) for split in ref.splits})


def _seen(files: tuple[Path, ...]) -> tuple[tuple[Path, int], ...]:
    return tuple((file, file.stat().st_mtime_ns) for file in files)


@functools.lru_cache(maxsize=256)
def _table(ref: DataRef, split: str, files: tuple[tuple[Path, int], ...]) -> Any:  # noqa: ANN401 - datasets ships no types
    try:
        return datasets.Dataset.from_list([dict(row) for row in mirrors.dataset_rows(ref, split)])
    except PktBenchError:
        raise
    except Exception as error:
        raise UnavailableError(
            f"{', '.join(str(file) for file, _ in files)}: the rows do not make one table: {error}.\n"
            "  Every row has the same fields, of the same types."
        ) from error


def _judges_code(task: Any) -> bool:  # noqa: ANN401 - lm_eval ships no types
    """Whether what runs a model's code in a task is ours: its module holds our `code_eval`."""
    if "pkt_bench.code_eval" not in sys.modules:
        return False
    from pkt_bench.code_eval import CodeEval

    functions = [task.config.process_results, *task._metric_fn_list.values()]  # noqa: SLF001 - lm-eval's own list
    # a metric of a YAML file is bound to its `__call__`
    functions += [getattr(function, "__self__", None) for function in functions]
    modules = [sys.modules.get(getattr(function, "__module__", None) or "") for function in functions]
    return any(isinstance(value, CodeEval) for module in modules if module for value in vars(module).values())

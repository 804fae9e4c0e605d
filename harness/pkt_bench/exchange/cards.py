"""Scores as the Hugging Face hub shows them: the `model-index` of a model card, and `.eval_results`.

A student that learnt for one suite is other weights than one that learnt for the next, so each run has a card.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench.errors import UnavailableError
from pkt_bench.exchange.students import Row, Student

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, EvalResultEntry

_OF_THE_TASK = ("task_version", "task_hash", "shots", "limit", "data_hash", "prompt_hash", "documents_hash")
_OF_THE_FIGURE = ("filter", "stderr", "n", "higher_is_better", "chance", "comparability")
_OF_THE_RUN = ("pair", "suite", "method", "method_version", "settings", "seed", "scorer", "device", "dtype")


def files(students: Iterable[Student], dataset: str) -> Iterator[tuple[Path, bytes]]:
    """`README.md` of each student, and `.eval_results/pkt-bench.yaml` where the hub's name of the data set is given.

    Raises:
        UnavailableError: huggingface_hub is missing, or too old to know `.eval_results`.
    """
    import yaml

    try:
        from huggingface_hub import ModelCardData, eval_result_entries_to_yaml
    except ImportError:
        raise UnavailableError(
            "--as model-index needs a huggingface_hub that knows .eval_results.\n  pip install -U huggingface_hub"
        ) from None
    for student in students:
        folder = Path(student.name)
        card = ModelCardData(
            model_name=student.name, tags=["pkt-bench"], eval_results=[_result(row) for row in student.rows]
        )
        yield folder / "README.md", f"---\n{card.to_yaml()}\n---\n\n{_text(student)}".encode()
        if dataset:
            entries = eval_result_entries_to_yaml([_entry(row, dataset) for row in student.rows if row["headline"]])
            yield (
                folder / ".eval_results" / "pkt-bench.yaml",
                yaml.safe_dump(entries, sort_keys=False, allow_unicode=True).encode(),
            )


def _result(row: Row) -> EvalResult:
    from huggingface_hub import EvalResult

    return EvalResult(
        task_type="text-generation",
        dataset_type=row["task"],
        dataset_name=row["task"],
        dataset_args=_known(row, _OF_THE_TASK),
        metric_type=row["metric"],
        metric_name=f"{row['metric']} ({row['filter']})",
        metric_value=row["value"],
        metric_args=_known(row, _OF_THE_FIGURE),
    )


def _entry(row: Row, dataset: str) -> EvalResultEntry:
    from huggingface_hub import EvalResultEntry

    said = json.dumps(_known(row, (*_OF_THE_RUN, "metric", "filter", "shots", "limit")), ensure_ascii=False)
    return EvalResultEntry(
        dataset_id=dataset, task_id=row["task"], value=row["value"], date=row["created_at"].isoformat(), notes=said
    )


def _text(student: Student) -> str:
    lines = [f"- {name}: `{value}`" for name, value in _known(student.first, _OF_THE_RUN).items()]
    return "\n".join((f"# {student.name}", "", "Scored by pkt-bench.", "", *lines, ""))


def _known(row: Row, names: Iterable[str]) -> dict[str, Any]:
    return {name: row[name] for name in names if row[name] is not None}

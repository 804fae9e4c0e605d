"""What runs answered, lined up: one number per item and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Answers:
    """What one run's answers to a task were worth: `documents` (n,) numbers that name them, `values` (n,)."""

    documents: NDArray[Any]
    values: NDArray[Any]


def shared_documents(runs: Sequence[Answers]) -> NDArray[Any]:
    """The documents (n,) that every run answered, in rising order."""
    import numpy as np

    first = runs[0].documents
    shared = first if _rises(first) else np.sort(first)
    for run in runs[1:]:
        if not _same(run.documents, shared):
            shared = np.intersect1d(shared, run.documents)
    return shared


def lined_up(runs: Sequence[Answers], documents: NDArray[Any]) -> NDArray[Any]:
    """What the runs' answers to `documents` (n,), all of which they answered, were worth: (n, number of runs)."""
    import numpy as np

    table = np.empty((documents.size, len(runs)))
    for column, run in enumerate(runs):
        if _same(run.documents, documents):
            table[:, column] = run.values
        else:
            order = np.argsort(run.documents)
            table[:, column] = run.values[order[np.searchsorted(run.documents, documents, sorter=order)]]
    return table


def _same(documents: NDArray[Any], others: NDArray[Any]) -> bool:
    return documents is others or (documents.size == others.size and bool((documents == others).all()))


def _rises(documents: NDArray[Any]) -> bool:
    return bool((documents[1:] > documents[:-1]).all())


def by_seed(runs: Mapping[int, Answers] | Sequence[Answers]) -> Mapping[int, Answers]:
    """Runs by seed; those of a plain sequence are the seeds 0, 1, 2 and so on."""
    return runs if isinstance(runs, Mapping) else dict(enumerate(runs))


def is_right_or_wrong(values: NDArray[Any]) -> bool:
    """Whether every answer is worth 0 or 1."""
    return bool(((values == 0) | (values == 1)).all())

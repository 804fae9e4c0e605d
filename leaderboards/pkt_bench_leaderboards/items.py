"""What each run answered to each document, from the items table to arrays that pair up."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from pkt_bench_leaderboards.statistics import Answers

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

# run, task, metric, filter
ItemKey = tuple[str, str, str, str]
COLUMNS = ("run_id", "task", "metric", "filter", "doc_id", "doc_hash", "value")


def read_answers(items: pa.Table, wanted: Collection[ItemKey]) -> dict[ItemKey, Answers]:
    """The answers behind the figures `wanted`, documents numbered alike in all of them.

    A document is its number and its hash: one that was edited pairs with nothing. One without a value is left out.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    table = items.select(COLUMNS)
    table = table.filter(pc.is_valid(table["value"])).combine_chunks()
    if table.num_rows == 0:
        return {}
    document = _codes(table, ("doc_id", "doc_hash"))
    group = _codes(table, ("run_id", "task", "metric", "filter"))
    # from_dlpack, because pyarrow's to_numpy imports pandas where it is installed, which takes longer than the board
    values = np.from_dlpack(table["value"].combine_chunks())
    order = np.lexsort((document, group))
    group, document, values = group[order], document[order], values[order]
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    first = np.ascontiguousarray(order[starts], dtype=np.int64)
    # from its buffer, because pa.array imports pandas where it is installed
    firsts = table.select(COLUMNS[:4]).take(pa.Array.from_buffers(pa.int64(), first.size, [None, pa.py_buffer(first)]))
    keys = zip(*(firsts[name].to_pylist() for name in COLUMNS[:4]), strict=True)
    repeated = bool(((np.diff(group) == 0) & (np.diff(document) == 0)).any())
    alike: dict[bytes, NDArray[Any]] = {}
    found = {}
    for key, start, end in zip(keys, starts, [*starts[1:], group.size], strict=True):
        if key not in wanted:
            continue
        documents, worth = document[start:end], values[start:end]
        if repeated:
            documents, worth = _one_per_document(documents, worth)
        # runs that answered the same documents share them, which makes lining them up cheap
        found[key] = Answers(alike.setdefault(documents.tobytes(), documents), worth)
    return found


def _one_per_document(documents: NDArray[Any], values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Repeats of a document count as their mean."""
    import numpy as np

    unique, where, repeats = np.unique(documents, return_inverse=True, return_counts=True)
    return unique, np.bincount(where, weights=values) / repeats


def _codes(table: pa.Table, names: Iterable[str]) -> NDArray[Any]:
    """One whole number per row that is the same where all the named columns are the same."""
    import numpy as np

    codes = np.zeros(table.num_rows, dtype=np.int64)
    for name in names:
        encoded = table[name].combine_chunks().dictionary_encode()
        codes = codes * max(1, len(encoded.dictionary)) + np.from_dlpack(encoded.indices)
    return codes

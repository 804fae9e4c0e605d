"""What a reader names when it asks for a board: a run folder, and what else holds recorded runs."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pkt_bench.store import Contents, Store


def read(name: str | Path, *, items: bool = True, item_columns: Collection[str] = ()) -> Contents:
    """The runs and items behind `name`; `item_columns` spares the rest of the items table.

    Raises:
        RequestError: there is nothing of that name, or nothing is recorded in it.
        StorageError: it cannot be read.
    """
    return Store(Path(name)).read(items=items, item_columns=item_columns)

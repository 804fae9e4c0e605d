"""Lines of CSV and TSV that a spreadsheet reads as what they are."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

_STARTS_A_FORMULA = frozenset("=+-@\t\r")


def lines(heading: Sequence[str], rows: Iterable[Sequence[Any]], *, tabs: bool = False) -> str:
    """A heading and rows, with commas or `tabs` between; null is nothing.

    Names and reasons come from strangers. Spreadsheets run text that begins with = + - @ (or a tab) as a formula, so
    such text gets a ' in front, which they take as: this is text. Numbers, however written, stay as they are.
    """
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter="\t" if tabs else ",", lineterminator="\n")
    writer.writerow(heading)
    writer.writerows([[_harmless(value) if type(value) is str else value for value in row] for row in rows])
    return sink.getvalue()


def _harmless(value: str) -> str:
    if value[:1] not in _STARTS_A_FORMULA:
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value

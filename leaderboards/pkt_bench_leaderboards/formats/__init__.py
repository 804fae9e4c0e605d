"""Boards and pivots in the formats of other programs; figures are written by `text`, so they are those of the screen.

boards.py  boards whole, for programs: JSON, CSV, TSV
pivots.py  the same of pivots
delimited.py  how lines of CSV and TSV are written
markdown.py, page.py, latex.py  written sheets, for people: Markdown, an HTML page, LaTeX
"""

from __future__ import annotations

from pkt_bench_leaderboards.formats.boards import CSV_COLUMNS, as_csv, as_json
from pkt_bench_leaderboards.formats.latex import as_latex
from pkt_bench_leaderboards.formats.markdown import as_markdown
from pkt_bench_leaderboards.formats.page import as_html
from pkt_bench_leaderboards.formats.pivots import pivot_as_csv, pivot_as_json

FORMATS = ("table", "md", "html", "latex", "csv", "tsv", "json")
"""What a board can be had as."""

__all__ = [
    "CSV_COLUMNS",
    "FORMATS",
    "as_csv",
    "as_html",
    "as_json",
    "as_latex",
    "as_markdown",
    "pivot_as_csv",
    "pivot_as_json",
]

"""Sheets as a page of HTML that runs nothing and loads nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from pkt_bench_leaderboards.sheet import Cell, Line, Sheet

_STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 2rem; }
section { overflow-x: auto; margin-bottom: 3rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; text-align: left; white-space: nowrap; vertical-align: bottom; }
thead th { border-bottom: 1px solid #888; }
thead small { display: block; font-weight: normal; color: #666; }
tbody th[colspan] { padding-top: .8rem; }
.right { text-align: right; }
.reference { font-style: italic; color: #666; }
.winner { font-weight: bold; }
.better { color: #17692a; } .worse { color: #a51d1d; } .missing { color: #777; } .warning { color: #7a5200; }
dl { display: grid; grid-template-columns: max-content auto; gap: .1rem 1rem; color: #555; max-width: 75rem; }
dd { margin: 0; overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) {
body { color: #e6e6e6; background: #16181c; }
thead small, .reference, .missing, dl { color: #a5a5a5; }
.better { color: #6fcf85; } .worse { color: #ff8d8d; } .warning { color: #e3b341; }
}
"""


def as_html(sheets: Iterable[Sheet], *, title: str = "pkt-bench board", fragment: bool = False) -> str:
    """A page with a section for each sheet; as a `fragment` the sections alone, which bring no style of their own."""
    sections = "".join(line + "\n" for sheet in sheets for line in _section(sheet))
    if fragment:
        return sections
    head = f'<meta charset="utf-8">\n<title>{escape(title)}</title>\n<style>\n{_STYLE}</style>'
    view = '<meta name="viewport" content="width=device-width">'
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n{view}\n</head>\n<body>\n{sections}</body>\n</html>\n'


def _section(sheet: Sheet) -> Iterator[str]:
    yield f"<section>\n<h2>{escape(sheet.title)}</h2>\n<p>{escape(sheet.subtitle)}</p>\n<table>\n<thead>\n<tr>"
    for heading in sheet.headings:
        detail = f"<small>{escape(heading.detail)}</small>" if heading.detail else ""
        yield f'<th scope="col"{_class("right" if heading.right else "")}>{escape(heading.title)}{detail}</th>'
    yield "</tr>\n</thead>"
    for group, lines in sheet.sections():
        yield "<tbody>"
        if group:
            yield f'<tr><th scope="rowgroup" colspan="{len(sheet.headings)}">{escape(group)}</th></tr>'
        for line in lines:
            yield _row(sheet, line)
        yield "</tbody>"
    yield "</table>\n<dl>"
    for note in sheet.notes:
        yield f"<dt>{escape(note.mark)}</dt><dd>{escape(note.words)}</dd>"
    yield "</dl>\n</section>"


def _row(sheet: Sheet, line: Line) -> str:
    kind = "reference" if line.reference else "winner" if line.winner else ""
    cells = (_cell(cell, right=heading.right) for cell, heading in zip(line.cells, sheet.headings, strict=True))
    return f"<tr{_class(kind)}>{''.join(cells)}</tr>"


def _cell(cell: Cell, *, right: bool) -> str:
    tone = "" if cell.tone == "plain" else cell.tone
    return f"<td{_class(' '.join(filter(None, ('right' if right else '', tone))))}>{escape(cell.written)}</td>"


def _class(names: str) -> str:
    return f' class="{names}"' if names else ""

"""Sheets as Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from pkt_bench_leaderboards.sheet import Line, Sheet


def as_markdown(sheets: Iterable[Sheet]) -> str:
    """The tables of the screen, with their notes; what lines stand under is a line of its own."""
    return "\n".join(_markdown(sheet) for sheet in sheets)


def _markdown(sheet: Sheet) -> str:
    titles = [f"{heading.title} ({heading.detail})" if heading.detail else heading.title for heading in sheet.headings]
    rules = ["---:" if heading.right else ":---" for heading in sheet.headings]
    rows = [[_escaped(title) for title in titles], rules]
    # a number is no place for the name of a group
    named = next((index for index, heading in enumerate(sheet.headings) if not heading.right), 0)
    for group, lines in sheet.sections():
        if group:
            name = f"**{_escaped(group)}**"
            rows.append([name if index == named else "" for index in range(len(sheet.headings))])
        rows += [_cells(line) for line in lines]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    notes = "\n".join(f"- **{_escaped(note.mark)}** {_escaped(note.words)}" for note in sheet.notes)
    return f"### {_escaped(sheet.title)}\n\n{_escaped(sheet.subtitle)}\n\n{table}\n\n{notes}\n"


def _cells(line: Line) -> list[str]:
    return [_emphasised(_escaped(cell.written), italic=line.reference, bold=line.winner) for cell in line.cells]


def _escaped(words: str) -> str:
    for letter in "\\|*_`<[":
        words = words.replace(letter, f"\\{letter}")
    return " ".join(words.split())


def _emphasised(words: str, *, italic: bool, bold: bool) -> str:
    if not words:
        return ""
    return f"*{words}*" if italic else f"**{words}**" if bold else words

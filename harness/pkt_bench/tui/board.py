"""Boards on a terminal: tables that break into parts where the screen is narrow, so that nothing is ever cut off."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from pkt_bench.tui.console import UNBOUNDED, results
from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.sheet import Cell, Line, Sheet

_BAR = 8
_NARROWEST_NOTES = 40
_NARROWEST_PICTURE = 72
_STYLES = {"plain": "", "better": "green", "worse": "red", "missing": "bright_black", "warning": "yellow"}


def print_boards(sheets: Sequence[Sheet], console: Console | None = None) -> None:
    """Prints boards to standard output, or to `console`.

    A table wider than the terminal (or than COLUMNS, if that is set) is shown in parts below each other. Off a terminal
    it has the width it needs and no line is broken.
    """
    console = console or results()
    unicode = console.encoding.lower().startswith("utf")
    for number, sheet in enumerate(sheets):
        if number:
            console.print()
        for part in _Renderer(sheet, console, unicode=unicode).parts():
            # a column that alone is wider than the screen makes a long line, not a cut one
            console.print(part, crop=False)


def as_svg(sheets: Sequence[Sheet]) -> str:
    """The screen as an SVG picture, as wide as the widest board, that loads nothing from elsewhere."""
    probe = _recorder(UNBOUNDED)
    tables = [part for sheet in sheets for part in _Renderer(sheet, probe, unicode=True).tables()]
    console = _recorder(max([_NARROWEST_PICTURE, *(_width(table, probe) for table in tables)]))
    print_boards(sheets, console)
    svg = console.export_svg(title="pkt-bench board")
    # rich's template fetches a web font; the picture must not depend on anybody's server
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def _recorder(width: int) -> Console:
    return Console(
        width=width,
        file=io.StringIO(),
        record=True,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
        # the picture is the same whatever the terminal it is asked for from
        _environ={},
    )


class _Renderer:
    """One sheet on one console."""

    def __init__(self, sheet: Sheet, console: Console, *, unicode: bool) -> None:
        self._sheet = sheet
        self._console = console
        self._unicode = unicode
        self._limit = None if console.width >= UNBOUNDED else console.width
        self._marks = [
            max((len(line.cells[index].marks) for line in sheet.lines), default=0)
            for index in range(len(sheet.headings))
        ]

    def parts(self) -> Iterator[RenderableType]:
        """Title, tables and notes, with space between."""
        title = self._words(self._sheet.title, "bold")
        if self._sheet.subtitle:
            title.append("   ").append_text(self._words(self._sheet.subtitle, "bright_black"))
        yield title
        yield ""
        for table in self.tables():
            yield table
            yield ""
        yield self._notes()

    def tables(self) -> Iterator[Table]:
        """One table with bars if it fits; if it does not, without; then in as few parts as fit."""
        every = list(range(self._sheet.fixed, len(self._sheet.headings)))
        with_bars = self._table(every, bars=True)
        if self._unicode and self._console.is_terminal and self._fits(with_bars):
            yield with_bars
        else:
            for indices in self._packed(every):
                table = self._table(indices, bars=False)
                table.width = _width(table, self._console)
                yield table

    def _notes(self) -> Table:
        notes = Table.grid(padding=(0, 2, 0, 0))
        notes.add_column(style="bright_black", no_wrap=True)
        notes.add_column(style="bright_black", overflow="fold")
        if self._limit is not None and self._limit < _NARROWEST_NOTES:
            notes.width = _NARROWEST_NOTES  # a number that is broken in two is another number
        for note in self._sheet.notes:
            notes.add_row(self._words(note.mark, ""), self._words(note.words, ""))
        return notes

    def _packed(self, indices: list[int]) -> Iterator[list[int]]:
        """The columns in parts, each as many as fit; a column alone may be too wide, and then the line is long."""
        part: list[int] = []
        for index in indices:
            if part and not self._fits(self._table([*part, index], bars=False)):
                yield part
                part = []
            part.append(index)
        if part or not indices:
            yield part

    def _fits(self, table: Table) -> bool:
        return self._limit is None or _width(table, self._console) <= self._limit

    def _table(self, indices: list[int], *, bars: bool) -> Table:
        table = Table(
            box=box.SIMPLE_HEAD if self._unicode else box.ASCII2,
            show_edge=False,
            pad_edge=False,
            header_style="bold",
            border_style="bright_black",
        )
        shown = [*range(self._sheet.fixed), *indices]
        detailed = any(self._sheet.headings[index].detail for index in shown)
        for index in shown:
            table.add_column(
                self._heading(index, detailed=detailed),
                justify="right" if self._sheet.headings[index].right else "left",
                no_wrap=True,
                vertical="bottom",
            )
        for group, lines in self._sheet.sections():
            if group:
                table.add_row(*self._group(group, shown))
            for line in lines:
                cells = (self._cell(line, line.cells[index], index, bars=bars) for index in shown)
                table.add_row(*cells, style=_line_style(line))
        return table

    def _group(self, group: str, shown: list[int]) -> Iterator[Text]:
        """The line that lines stand under: its name where names stand, in the first column of words."""
        named = next((index for index in shown if not self._sheet.headings[index].right), shown[0])
        for index in shown:
            yield self._words(group, "bold") if index == named else Text()

    def _heading(self, index: int, *, detailed: bool) -> Text:
        heading = self._sheet.headings[index]
        pad = " " * (self._marks[index] + bool(self._marks[index]))
        title = self._words(heading.title + pad, "bold")
        if detailed:
            title.append("\n").append_text(self._words(f"{heading.detail}{pad}", "not bold bright_black"))
        return title

    def _cell(self, line: Line, cell: Cell, index: int, *, bars: bool) -> Text:
        written = self._words(cell.text, "" if cell.tone == "better" else _STYLES[cell.tone])
        if self._marks[index]:
            marks = f" {cell.marks:<{self._marks[index]}}"
            written.append_text(self._words(marks, _STYLES[cell.tone]))
        if bars and cell.share is not None and not line.reference:
            # all bars begin below each other, however long what follows them is
            room = max(len(other.cells[index].text) for other in self._sheet.lines)
            return _bar(cell.share).append(" " * (room - len(cell.text))).append_text(written)
        return written

    def _words(self, words: str, style: str) -> Text:
        if not words.isprintable():  # nobody's name or reason moves the cursor
            words = "".join(letter if letter.isprintable() else "?" for letter in " ".join(words.split()))
        return Text(words if self._unicode else text.ascii_only(words), style=style)


def _width(table: Table, console: Console) -> int:
    return console.measure(table, options=console.options.update(max_width=UNBOUNDED)).maximum


def _line_style(line: Line) -> str:
    if line.reference:
        return "bright_black italic"
    return "bold" if line.winner else ""


def _bar(share: float) -> Text:
    full = round(_BAR * min(max(share, 0.0), 1.0))
    bar = Text("█" * full, style="green" if share > 0 else "red")
    return bar.append("░" * (_BAR - full), style="bright_black").append(" ")

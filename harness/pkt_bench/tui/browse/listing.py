"""The one table of all screens: any number of lines, drawn as they are seen; words are shown as they are."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, overload

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.sheet import Cell, Heading

WIDEST = 60
"""A cell wider than this is cut in a table; where it leads shows all of it."""
_MEASURED = 500
_GAP = 2
_TONES = {
    "plain": Style(),
    "better": Style(color="green", bold=True),
    "worse": Style(color="red", bold=True),
    "missing": Style(dim=True),
    "warning": Style(color="yellow"),
}


@dataclass(frozen=True)
class Entry:
    """One line of a table: `key` is what a screen knows it by; `quiet` lines are references."""

    key: str
    cells: tuple[Cell, ...]
    quiet: bool = False


class Lazy(Sequence[Entry]):
    """Lines that are made when they are seen."""

    def __init__(self, count: int, make: Callable[[int], Entry]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        if isinstance(index, slice):
            return [self._make(number) for number in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return self._make(index % self._count)


def one_line(words: str) -> str:
    """Words of a stranger on one line: what would break it or move the cursor is shown as a sign of its own."""
    shown = words.replace("\r\n", "⏎").replace("\n", "⏎").replace("\t", " ")
    return "".join(letter if unicodedata.category(letter)[0] != "C" else "�" for letter in shown)


class Listing(ScrollView, can_focus=True):
    """Lines under headings. The first `fixed` columns stay where the others scroll; Enter or a click chooses a line."""

    DEFAULT_CSS = """
    Listing { height: 1fr; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown,space", "page(1)", "Page down", show=False),
        Binding("home,g", "first", "First", show=False),
        Binding("end,G", "last", "Last", show=False),
        Binding("left", "sideways(-8)", "Left", show=False),
        Binding("right", "sideways(8)", "Right", show=False),
        Binding("enter", "choose", "Open", show=True),
    ]
    cursor: reactive[int] = reactive(0)

    class Chosen(Message):
        """A line was chosen with Enter or the mouse."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    class Headed(Message):
        """A heading was clicked."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, *, ascii_only: bool = False, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._ascii = ascii_only
        self._headings: tuple[Heading, ...] = ()
        self._count = 0
        self._entry: Callable[[int], Entry] = lambda _: Entry("", ())
        self._widths: list[int] = []
        self._fixed = 1
        self._sorted = ""

    # ------------------------------------------------------------ what it shows

    def show(
        self,
        headings: Sequence[Heading],
        entries: Sequence[Entry],
        *,
        fixed: int = 1,
        sorted_by: str = "",
        widest: int = WIDEST,
    ) -> None:
        """Shows these lines; the cursor stays on the line it is on, where that is still there."""
        before = self.key
        self._headings, self._fixed, self._sorted = tuple(headings), fixed, sorted_by
        self._count, self._entry = len(entries), entries.__getitem__
        self._widths = self._measured(entries, widest)
        self.virtual_size = Size(sum(self._widths) + _GAP * len(self._widths), self._count + self._header)
        keys = [entry.key for entry in entries[:_MEASURED]]
        self.cursor = keys.index(before) if before in keys else min(self.cursor, max(0, self._count - 1))
        self.refresh()

    def _measured(self, entries: Sequence[Entry], widest: int) -> list[int]:
        widths = [
            max(cell_len(self._plain(heading.title)) + 2, cell_len(self._plain(heading.detail)))
            for heading in self._headings
        ]
        for entry in entries[:_MEASURED]:
            for index, cell in enumerate(entry.cells):
                widths[index] = max(widths[index], min(widest, cell_len(self._plain(cell.written))))
        return widths

    @property
    def _header(self) -> int:
        return 2 if any(heading.detail for heading in self._headings) else 1

    @property
    def key(self) -> str:
        """The key of the line under the cursor, or nothing."""
        return self._entry(self.cursor).key if 0 <= self.cursor < self._count else ""

    @property
    def count(self) -> int:
        """How many lines there are."""
        return self._count

    # ------------------------------------------------------------ drawing

    def render_line(self, y: int) -> Strip:
        """One line of the screen: a heading, or the line that is scrolled there."""
        width = self.scrollable_content_region.width
        if y < self._header:
            return self._strip([self._title(heading, y) for heading in self._headings], Style(bold=True), width)
        index = y - self._header + self.scroll_offset.y
        if index >= self._count:
            return Strip.blank(width, self.rich_style)
        entry = self._entry(index)
        whole = (
            Style(reverse=True) if index == self.cursor else Style(italic=True, dim=True) if entry.quiet else Style()
        )
        cells = [(self._plain(cell.written), _TONES[cell.tone]) for cell in entry.cells]
        return self._strip(cells, whole, width)

    def _title(self, heading: Heading, line: int) -> tuple[str, Style]:
        if line:
            return self._plain(heading.detail), Style(dim=True)
        mark = ("v" if self._ascii else "▾") if heading.key == self._sorted else ""
        return f"{self._plain(heading.title)}{mark}", Style()

    def _strip(self, cells: Sequence[tuple[str, Style]], whole: Style, width: int) -> Strip:
        parts = []
        for number, ((words, style), room, heading) in enumerate(zip(cells, self._widths, self._headings, strict=True)):
            shown = words if cell_len(words) <= room else f"{set_cell_size(words, room - 1)}…"
            pad = " " * (room - cell_len(shown))
            written = f"{pad}{shown}" if heading.right else f"{shown}{pad}"
            gap = " " * (_GAP if number else 1)
            parts.append(Segment(gap + written, self.rich_style + style + whole))
        fixed = Strip(parts[: self._fixed])
        rest = Strip(parts[self._fixed :])
        left = fixed.cell_length
        if left > width * 2 // 3:
            # so narrow that nothing may stand still
            strip = Strip(parts).crop(self.scroll_offset.x, self.scroll_offset.x + width)
        else:
            strip = Strip.join([fixed, rest.crop(self.scroll_offset.x, self.scroll_offset.x + width - left)])
        return strip.extend_cell_length(width, self.rich_style + whole).crop(0, width)

    def _plain(self, words: str) -> str:
        line = one_line(words)
        return text.ascii_only(line) if self._ascii else line

    # ------------------------------------------------------------ moving

    def watch_cursor(self) -> None:
        """Keeps the line under the cursor in sight."""
        self.scroll_to_region(
            Region(self.scroll_offset.x, max(0, self.cursor), 1, self._header + 1), animate=False, force=True
        )
        self.refresh()

    def action_move(self, by: int) -> None:
        """Moves the cursor by so many lines."""
        self.cursor = max(0, min(self._count - 1, self.cursor + by))

    def action_page(self, by: int) -> None:
        """Moves the cursor by a screen."""
        self.action_move(by * max(1, self.size.height - self._header - 1))

    def action_first(self) -> None:
        """Moves the cursor to the first line."""
        self.cursor = 0

    def action_last(self) -> None:
        """Moves the cursor to the last line."""
        self.cursor = max(0, self._count - 1)

    def action_sideways(self, by: int) -> None:
        """Scrolls the columns that do not stand still."""
        self.scroll_relative(x=by, animate=False)
        self.refresh()

    def action_choose(self) -> None:
        """Opens the line under the cursor."""
        if self.key:
            self.post_message(self.Chosen(self.key))

    def on_click(self, event: Click) -> None:
        """A click on a heading sorts, on a line moves there, on the line under the cursor opens it."""
        self.focus()
        if event.y < self._header:
            if heading := self._heading_at(event.x):
                self.post_message(self.Headed(heading.key))
            return
        index = event.y - self._header + self.scroll_offset.y
        if index < self._count:
            if index == self.cursor or event.chain > 1:
                self.cursor = index
                self.action_choose()
            self.cursor = index

    def _heading_at(self, x: int) -> Heading | None:
        start = 0
        for number, (heading, room) in enumerate(zip(self._headings, self._widths, strict=True)):
            if number == self._fixed:
                x += self.scroll_offset.x
            start += room + (_GAP if number else 1)
            if x < start:
                return heading
        return None

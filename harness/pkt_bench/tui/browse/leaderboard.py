"""The first screen: the boards of a source, sorted and filtered, and from there down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input, Static

from pkt_bench.tui.browse.flips import Flips
from pkt_bench.tui.browse.frontier import Frontier
from pkt_bench.tui.browse.listing import Entry, Listing
from pkt_bench.tui.browse.method import Method
from pkt_bench.tui.browse.page import Asking, Page, Reading
from pkt_bench.tui.browse.side import Side
from pkt_bench_leaderboards import expressions
from pkt_bench_leaderboards.board import Board, Row
from pkt_bench_leaderboards.figures import figures, kinds
from pkt_bench_leaderboards.sheet import sort_keys, write

_SIGNS = ("==", "!=", "<", ">", " in ", "like(")


class Leaderboard(Page):
    """Boards, one at a time."""

    DEFAULT_CSS = """
    Leaderboard > Input { height: 1; border: none; padding: 0 1; display: none; }
    Leaderboard > Input.open { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "plain_board", "Clear", show=False),
        Binding("slash", "filter", "Filter"),
        Binding("s", "sort(1)", "Sort"),
        Binding("S", "sort(-1)", "Sort back", show=False),
        Binding("o", "turn", "Order", show=False),
        Binding("f", "flips", "Flips"),
        Binding("c", "side", "Compare"),
        Binding("p", "frontier", "Cost"),
        Binding("n", "notes", "Notes"),
        Binding("a", "everything", "All columns", show=False),
        Binding("b,right_square_bracket", "board(1)", "Board", show=False),
        Binding("left_square_bracket", "board(-1)", "Board", show=False),
    ]

    def __init__(self) -> None:
        super().__init__([])
        self._number = 0
        self._sort = "place"
        self._turned = False
        self._all = False
        self._filter = ""

    def body(self) -> Sequence[Widget]:
        """The board, and a line to filter it with."""
        return [
            Input(placeholder="words, or an expression: p < 0.05 and seconds < 60", id="filter"),
            Listing(ascii_only=self.browser.plain),
        ]

    @property
    def board(self) -> Board:
        """The board that is shown."""
        return self.recorded.boards[self._number % len(self.recorded.boards)]

    @property
    def row(self) -> Row | None:
        """The row under the cursor."""
        return next((row for row in self.board.rows if row.label == self.listing.key), None)

    def fill(self) -> None:
        """Writes the board anew."""
        board = self.board
        kept, problem = self._kept(board)
        sheet = write(board, sort=self._sort, everything=self._all, only=kept)
        lines = list(reversed(sheet.lines)) if self._turned else list(sheet.lines)
        labels = [row.label for row in write_order(board, self._sort) if row.label in kept]
        labels = labels[::-1] if self._turned else labels
        entries = [Entry(label, line.cells, line.reference) for label, line in zip(labels, lines, strict=True)]
        # names are never cut: what is wide is scrolled to
        self.listing.show(sheet.headings, entries, fixed=sheet.fixed, sorted_by=self._sort, widest=200)
        boards = self.recorded.boards
        which = f" (board {boards.index(board) + 1} of {len(boards)}: b for the next)" if len(boards) > 1 else ""
        self.query_one("#path", Static).update(self.plain(f"{sheet.title}{which}  {sheet.subtitle}"))
        self._remark(board, len(entries), problem)

    def _remark(self, board: Board, shown: int, problem: str) -> None:
        said = []
        if not self.recorded.tested:
            said.append("reading answers: tests, intervals and places follow")
        if problem:
            said.append(problem)
        elif shown < len(board.rows):
            said.append(f"{shown} of {len(board.rows)} rows")
        if board.apart:
            said.append(f"apart from the other boards: {'; '.join(board.apart)}")
        if self.recorded.problems:
            said.append(f"{len(self.recorded.problems)} files could not be used: n says which")
        self.say(
            " · ".join(said) or "▲▼ better, worse than the baseline, p < 0.05 after Holm; △▽ from one seed: n says how"
        )

    def _kept(self, board: Board) -> tuple[set[str], str]:
        """The labels of the rows that pass the filter, and what is wrong with it."""
        asked = self._filter.strip()
        if not asked:
            return {row.label for row in board.rows}, ""
        if any(sign in asked for sign in _SIGNS):
            try:
                wanted = expressions.parse(asked, kinds([board]))
            except expressions.ExpressionError as error:
                return {row.label for row in board.rows}, f"the filter cannot be read: {str(error).splitlines()[0]}"
            return {row.label for row in board.rows if wanted.holds(figures(board, row))}, ""
        words = asked.casefold().split()

        def passes(row: Row) -> bool:
            known = f"{row.label} {row.settings} {row.paradigm} {row.distribution} {row.control_of}".casefold()
            return all(word in known for word in words)

        return {row.label for row in board.rows if passes(row)}, ""

    # ------------------------------------------------------------ answers, later

    def on_mount(self) -> None:
        """Shows the boards at once, and their tests as soon as the answers are read."""
        super().on_mount()
        self.listing.focus()
        if not self.recorded.tested:
            # once the board is seen: reading answers would keep it from being drawn
            self.set_timer(0.1, self._test)

    @work(thread=True, exclusive=True)
    def _test(self) -> None:
        from pkt_bench.errors import PktBenchError

        try:
            tested = self.recorded.test()
        except PktBenchError as error:
            self.app.call_from_thread(self.notify, str(error), severity="warning", markup=False)
            tested = self.recorded.boards
        self.app.call_from_thread(self._tested, tested)

    def _tested(self, boards: tuple[Board, ...]) -> None:
        self.recorded.boards, self.recorded.tested = boards, True
        self.fill()

    # ------------------------------------------------------------ keys

    def action_plain_board(self) -> None:
        """Closes the filter, or clears it."""
        field = self.query_one(Input)
        field.value = ""
        field.remove_class("open")
        self.listing.focus()

    def action_filter(self) -> None:
        """Opens the line that filters."""
        field = self.query_one(Input)
        field.add_class("open")
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filters as it is typed."""
        self._filter = event.value
        self.fill()

    def on_input_submitted(self) -> None:
        """Leaves the filter as it is, and goes back to the rows."""
        self.listing.focus()

    def action_sort(self, by: int) -> None:
        """Sorts by the next column."""
        keys = sort_keys(self.board)
        self._sort = keys[(keys.index(self._sort) + by) % len(keys)] if self._sort in keys else keys[0]
        self.notify(f"sorted by {self._sort}", timeout=2, markup=False)
        self.fill()

    def action_turn(self) -> None:
        """Turns the order round."""
        self._turned = not self._turned
        self.fill()

    def on_listing_headed(self, event: Listing.Headed) -> None:
        """Sorts by the heading that was clicked; once more turns the order round."""
        if event.key == self._sort:
            self._turned = not self._turned
        elif event.key in sort_keys(self.board):
            self._sort, self._turned = event.key, False
        else:
            self.notify(f"rows are not sorted by {event.key}", timeout=2, markup=False)
        self.fill()

    def action_everything(self) -> None:
        """Shows every column, or the usual ones."""
        self._all = not self._all
        self.fill()

    def action_board(self, by: int) -> None:
        """Shows the next board."""
        self._number = (self._number + by) % len(self.recorded.boards)
        self.fill()

    def on_listing_chosen(self, event: Listing.Chosen) -> None:
        """Goes down into the row."""
        event.stop()
        if self.row is not None:
            self.app.push_screen(Method(self.board, self.row))

    def action_flips(self) -> None:
        """Which documents the row answered differently than the baseline."""
        row, board = self.row, self.board
        other = next((each for each in board.rows if each.label == board.baseline), None)
        if row is None or other is None or row is other:
            self.notify("choose a row that is not the baseline, or press c", timeout=3)
            return
        self.app.push_screen(Flips(board, row, other))

    def action_side(self) -> None:
        """Sets the row beside another."""
        row, board = self.row, self.board
        if row is None:
            return

        def chosen(label: str | None) -> None:
            other = next((each for each in board.rows if each.label == label), None)
            if other is not None:
                self.app.push_screen(Side(board, row, other))

        names = [each.label for each in board.rows if each is not row]
        self.app.push_screen(Asking(f"{row.label} beside", names, ascii_only=self.browser.plain), chosen)

    def action_frontier(self) -> None:
        """Plots score against cost."""
        self.app.push_screen(Frontier(self.board))

    def action_notes(self) -> None:
        """What the marks mean, and everything a reader should know."""
        self.app.push_screen(Notes(self.board))


class Notes(Reading):
    """What stands under a board."""

    def __init__(self, board: Board) -> None:
        super().__init__([board.pair, "notes"])
        self._board = board

    def fill(self) -> None:
        """The notes, one below the other."""
        notes = [(note.mark, note.words) for note in write(self._board, everything=True).notes]
        self.write([*(("could not be used", problem) for problem in self.recorded.problems), *notes])


def write_order(board: Board, sort: str) -> list[Row]:
    """The rows in the order in which `sheet.write` writes them."""
    labels = [line.cells[0].text for line in write(board, sort=sort, columns=("method",)).lines]
    by_label = {row.label: row for row in board.rows}
    return [by_label[label] for label in labels]

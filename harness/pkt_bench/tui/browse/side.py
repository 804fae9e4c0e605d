"""Two rows side by side: what differs in their settings, what they score and cost."""

from __future__ import annotations

import json
from typing import ClassVar

from textual.binding import Binding, BindingType

from pkt_bench.tui.browse.flips import Flips
from pkt_bench.tui.browse.listing import Entry
from pkt_bench.tui.browse.page import Page
from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.board import Board, Row
from pkt_bench_leaderboards.figures import probability
from pkt_bench_leaderboards.sheet import Cell, Heading


class Side(Page):
    """Two rows of a board; `f` shows the documents they answered differently."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("f", "flips", "Flips"), Binding("x", "swap", "Swap")]

    def __init__(self, board: Board, row: Row, other: Row) -> None:
        super().__init__([board.pair, f"{row.label} beside {other.label}"])
        self._board, self._row, self._other = board, row, other

    def fill(self) -> None:
        """One line for each thing that can be said of both."""
        headings = [Heading("what", "", right=False), *(Heading(r.label, r.label) for r in (self._row, self._other))]
        entries = [
            Entry(str(number), tuple(Cell(words) for words in line)) for number, line in enumerate(self._lines())
        ]
        self.listing.show(headings, entries, fixed=1)
        self.listing.focus()
        self.say(self._ahead())

    def _ahead(self) -> str:
        """What the board's tests say of the two."""
        lacking = [row.label for row in (self._row, self._other) if row.place is None]
        if lacking:
            return (
                f"not among the pairs that the board tests, for {' and '.join(lacking)} has no place: pkt-bench compare"
            )
        if self._board.place_note:
            return f"not tested as a pair: {self._board.place_note}"
        tested = "all pairs of the board, after Holm"
        for one, other in self._both():
            if other.label in one.beats:
                return f"{one.label} is significantly ahead of {other.label} ({tested})"
        return f"neither is significantly ahead of the other ({tested})"

    def _both(self) -> tuple[tuple[Row, Row], tuple[Row, Row]]:
        return (self._row, self._other), (self._other, self._row)

    def _lines(self) -> list[tuple[str, ...]]:
        rows, board = (self._row, self._other), self._board
        fraction = board.columns[0].fraction
        lines: list[tuple[str, ...]] = [
            ("mean", *(text.score(row.mean, row.mean_stderr, fraction=fraction) for row in rows))
        ]
        for index, column in enumerate(board.columns):
            squares = [row.squares[index] for row in rows]
            lines.append(
                (
                    column.suite,
                    *(
                        text.score(square.value, square.stderr, fraction=column.fraction)
                        if square.outcome == "done"
                        else square.outcome
                        for square in squares
                    ),
                )
            )
        lines += [
            ("gap closed", *(text.percent(row.gap_closed) for row in rows)),
            (f"p against {board.baseline or 'nobody'}", *(text.probability(probability(row.paired)) for row in rows)),
            ("place", *(text.UNKNOWN if row.place is None else str(row.place) for row in rows)),
            ("seeds", *(text.spans(row.seeds) for row in rows)),
            ("seconds", *(text.seconds(row.costs.seconds) for row in rows)),
            ("moved", *(text.size(row.costs.payload_bytes) for row in rows)),
            ("trained", *(text.quantity(row.costs.trainable_parameters) for row in rows)),
            ("memory", *(text.size(row.costs.peak_rss_bytes) for row in rows)),
            ("artifact", *(text.size(row.costs.artifact_bytes) for row in rows)),
            ("paradigm", *(row.paradigm for row in rows)),
            ("version", *(row.version for row in rows)),
            ("offered by", *(row.distribution for row in rows)),
        ]
        return [*lines, *self._settings()]

    def _settings(self) -> list[tuple[str, ...]]:
        one, other = (json.loads(row.settings or "{}") for row in (self._row, self._other))
        names = sorted({*one, *other})
        differing = [name for name in names if one.get(name) != other.get(name)]
        return [(f"setting {name}", *(_setting(chosen, name) for chosen in (one, other))) for name in differing]

    def action_flips(self) -> None:
        """The documents they answered differently."""
        self.app.push_screen(Flips(self._board, self._row, self._other))

    def action_swap(self) -> None:
        """The other one first."""
        self._row, self._other = self._other, self._row
        self.fill()


def _setting(chosen: dict[str, object], name: str) -> str:
    return json.dumps(chosen[name], ensure_ascii=False) if name in chosen else text.UNKNOWN

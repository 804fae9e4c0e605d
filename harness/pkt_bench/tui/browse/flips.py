"""Which documents two rows answered differently, gained and lost, with what was asked and what either said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual import work

from pkt_bench.tui.browse.listing import Entry, Listing
from pkt_bench.tui.browse.page import Page, Reading
from pkt_bench.tui.browse.recorded import Recorded
from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.board import Board, Row
from pkt_bench_leaderboards.figures import probability
from pkt_bench_leaderboards.sheet import Cell, Heading

_HEADINGS = (
    Heading("change", "change", right=False),
    Heading("suite", "suite", right=False),
    Heading("document", "document"),
    Heading("theirs", "was worth"),
    Heading("ours", "is worth"),
    Heading("target", "right answer", right=False),
    Heading("prompt", "prompt", right=False),
)


class Flips(Page):
    """The documents on which a row differs from another, on means over seeds, as their paired test counts them."""

    def __init__(self, board: Board, row: Row, other: Row) -> None:
        super().__init__([board.pair, f"{row.label} against {other.label}", "flips"])
        self._board, self._row, self._other = board, row, other
        self._found: list[Flipped] = []

    def fill(self) -> None:
        """Reads the answers meanwhile."""
        self.listing.focus()
        self.say("reading answers")
        self._read()

    @work(thread=True)
    def _read(self) -> None:
        with self.reading():
            found = [
                flipped
                for column in self._board.columns
                for flipped in flipped_on(self.recorded, self._board, self._row, self._other, column.suite)
            ]
            self.app.call_from_thread(self._show, found)

    def _show(self, found: list[Flipped]) -> None:
        self._found = found
        entries = [
            Entry(
                str(number),
                (
                    Cell(flip.change, tone="better" if flip.change == "gained" else "worse"),
                    Cell(flip.suite),
                    Cell(str(flip.doc_id)),
                    Cell(f"{flip.theirs:.2f}"),
                    Cell(f"{flip.ours:.2f}"),
                    Cell(flip.target),
                    Cell(flip.prompt),
                ),
            )
            for number, flip in enumerate(found)
        ]
        self.listing.show(_HEADINGS, entries, fixed=3)
        self.say(self._counts(found))

    def _counts(self, found: Sequence[Flipped]) -> str:
        """Per suite what was gained and lost, and the board's p where it has this comparison."""
        said = []
        for index, column in enumerate(self._board.columns):
            of_suite = [flip for flip in found if flip.suite == column.suite]
            gained = sum(flip.change == "gained" for flip in of_suite)
            paired = self._row.squares[index].paired if self._other.label == self._board.baseline else None
            p = f", p {text.probability(probability(paired))}" if paired is not None else ""
            said.append(f"{column.suite}: {gained} gained, {len(of_suite) - gained} lost{p}")
        return " · ".join(said) if found else "no document with answers on record differs"

    def on_listing_chosen(self, event: Listing.Chosen) -> None:
        """Opens the document."""
        event.stop()
        flip = self._found[int(event.key)]
        self.app.push_screen(
            Flip([*self.path, f"{flip.suite} {flip.doc_id}"], flip, self._row.label, self._other.label)
        )


class Flip(Reading):
    """One document that two rows answered differently."""

    def __init__(self, path: Sequence[str], flip: Flipped, ours: str, theirs: str) -> None:
        super().__init__(path)
        self._flip, self._ours, self._theirs = flip, ours, theirs

    def fill(self) -> None:
        """What was asked, and what either said under each seed."""
        flip = self._flip
        self.write(
            [
                (f"{flip.change} by {self._ours}", f"{flip.theirs:.2f} before, {flip.ours:.2f} now, means over seeds"),
                ("prompt", flip.prompt),
                ("right answer", flip.target),
                *((f"{self._theirs}, seed {seed}", said) for seed, said in flip.their_answers),
                *((f"{self._ours}, seed {seed}", said) for seed, said in flip.our_answers),
            ]
        )


class Flipped:
    """A document, what it is worth to both on average over seeds, and every answer by seed."""

    def __init__(self, suite: str, items: Sequence[tuple[bool, int, dict[str, Any]]], *, more_is_better: bool) -> None:
        first = items[0][2]
        self.suite, self.doc_id = suite, int(first["doc_id"])
        self.prompt, self.target = first["prompt"], first["target"]
        own = [item["value"] for ours, _, item in items if ours]
        other = [item["value"] for ours, _, item in items if not ours]
        self.ours, self.theirs = sum(own) / len(own), sum(other) / len(other)
        self.differs = abs(self.ours - self.theirs) > 1e-12
        self.change = "gained" if (self.ours > self.theirs) is more_is_better else "lost"
        self.our_answers = [(seed, item["response"]) for ours, seed, item in items if ours]
        self.their_answers = [(seed, item["response"]) for ours, seed, item in items if not ours]


def flipped_on(recorded: Recorded, board: Board, row: Row, other: Row, suite: str) -> list[Flipped]:
    """The documents of a suite on which two rows differ: those every run of both answered, lost ones first.

    As in the paired test, the means are over the seeds that both have; an untouched model is the same under all.
    """
    column = next(each for each in board.columns if each.suite == suite)
    ours, theirs = (recorded.counted(board, each, suite) for each in (row, other))
    shared = {run.seed for run in ours} & {run.seed for run in theirs}
    if shared and not (row.reference or other.reference):
        ours, theirs = ([run for run in runs if run.seed in shared] for runs in (ours, theirs))
    runs = {run.run_id: (mine, run.seed) for mine, each in ((True, ours), (False, theirs)) for run in each}
    if not ours or not theirs:
        return []
    documents: dict[tuple[int, str], list[tuple[bool, int, dict[str, Any]]]] = {}
    for item in recorded.answers(runs, column.task):
        if (item["metric"], item["filter"]) == (column.metric, column.filter) and item["value"] is not None:
            mine, seed = runs[item["run_id"]]
            documents.setdefault((item["doc_id"], item["doc_hash"]), []).append((mine, seed, item))
    whole = [items for items in documents.values() if len(items) == len(runs)]
    found = [Flipped(suite, items, more_is_better=column.higher_is_better) for items in whole]
    return sorted((flip for flip in found if flip.differs), key=lambda flip: (flip.change != "lost", flip.doc_id))

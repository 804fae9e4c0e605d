"""What a browser looks at: the runs of a source and their boards at once, answers when somebody asks for them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pkt_bench import sources
from pkt_bench_leaderboards.board import Board, Row, boards
from pkt_bench_leaderboards.comparable import Conditions, Entry, RowKey, read_entries
from pkt_bench_leaderboards.items import COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN = (
    *("run_id", "cell_key", "outcome", "method", "method_version", "distribution", "settings", "pair", "suite", "seed"),
    *("task", "metric", "filter", "headline", "value", "seconds", "reason", "created_at"),
)


@dataclass
class Recorded:
    """A source as it was when it was opened. `items` are read once, by whoever needs them first."""

    name: str
    baseline: str = "student"
    runs: pa.Table = None
    problems: tuple[str, ...] = ()
    boards: tuple[Board, ...] = ()
    tested: bool = False
    _items: pa.Table | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self) -> None:
        """Reads the runs and folds them, without their answers: tests come with `test`.

        Raises:
            PktBenchError: there is nothing to read.
        """
        found = sources.read(self.name, items=False)
        self.runs, self.problems = found.runs, found.problems
        self.boards = boards(self.runs, None, (), self.baseline)

    def test(self) -> tuple[Board, ...]:
        """The boards with what their answers tell: takes as long as reading them does.

        Raises:
            PktBenchError: they cannot be read any more.
        """
        # a test needs no prompts, which are most of what there is
        items = sources.read(self.name, item_columns=COLUMNS).items
        return boards(self.runs, items, (), self.baseline) if items.num_rows else self.boards

    @property
    def items(self) -> pa.Table:
        """Every answer, read when first asked for.

        Raises:
            PktBenchError: they cannot be read any more.
        """
        with self._lock:
            if self._items is None:
                self._items = sources.read(self.name).items
            return self._items

    # ------------------------------------------------------------ looking things up

    def runs_of(self, board: Board, row: Row) -> pa.Table:
        """Every run of a row on its pair, by suite, seed and time: that of its headline figure where it has one.

        Those of its pair's other boards and of older code are among them; `counted` are the ones behind its figures.
        """
        import pyarrow.compute as pc

        table = self._of_row(board, row)
        wanted = pc.or_kleene(pc.is_null(table["task"]), table["headline"])
        found = table.select(_SHOWN).filter(wanted)
        return found.sort_by([("suite", "ascending"), ("seed", "ascending"), ("created_at", "ascending")])

    def _of_row(self, board: Board, row: Row) -> pa.Table:
        import pyarrow.compute as pc

        table = self.runs
        mask = pc.equal(table["pair"], board.pair)
        for name, value in zip(RowKey._fields, (row.method, row.version, row.distribution, row.settings), strict=True):
            column = table["method_version" if name == "version" else name]
            # a board writes unknown as nothing
            mask = pc.and_(mask, pc.equal(pc.fill_null(column, ""), value))
        return table.filter(mask)

    def details(self, run_id: str) -> list[dict[str, Any]]:
        """Every row of a run, with all that is known of it; its headline figure first."""
        import pyarrow.compute as pc

        rows = self.runs.filter(pc.equal(self.runs["run_id"], run_id)).to_pylist()
        return sorted(rows, key=lambda each: not each["headline"])

    def answers(self, run_ids: Iterable[str], task: str | None = None) -> list[dict[str, Any]]:
        """What runs answered, by document and run."""
        import pyarrow as pa
        import pyarrow.compute as pc

        items = self.items
        mask = pc.is_in(items["run_id"], pa.array(sorted(set(run_ids)), pa.string()))
        if task is not None:
            mask = pc.and_kleene(mask, pc.equal(items["task"], task))
        found = items.filter(mask).to_pylist()
        return sorted(found, key=lambda item: (item["task"], item["doc_id"], item["metric"], item["run_id"]))

    def counted(self, board: Board, row: Row, suite: str) -> list[Entry]:
        """The done runs behind a square, one per seed, chosen as the board chooses them.

        A folder may hold runs of the same row under other conditions, of other code, or that may not be ranked with
        these: the board has them on other boards or leaves them out, and so do its tests.
        """
        import pyarrow.compute as pc

        index = [column.suite for column in board.columns].index(suite)
        seeds, comparability = set(row.squares[index].seeds), board.columns[index].comparability
        conditions = Conditions(*(getattr(board, name) for name in Conditions._fields))
        table = self._of_row(board, row)
        # all attempts at a cell are of one row and suite, so that the one that counts is found among these
        entries = read_entries(table.filter(pc.equal(table["suite"], suite)))
        newest: dict[int, Entry] = {}
        for entry in sorted(entries, key=lambda entry: entry.age):
            same = entry.conditions == conditions and entry.comparability == comparability
            if same and entry.done and entry.variant == row.variant and entry.seed in seeds:
                newest[entry.seed] = entry
        return [newest[seed] for seed in sorted(newest)]


def label_of(boards_shown: Iterable[Board], label: str) -> Row | None:
    """The row of that label on any of the boards."""
    return next((row for board in boards_shown for row in board.rows if row.label == label), None)

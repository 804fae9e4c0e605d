"""What a browser looks at: the runs of a source and their boards at once, answers when somebody asks for them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pkt_bench import sources
from pkt_bench_leaderboards.board import Board, Row, boards

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
        """The boards with what their answers tell: takes as long as reading them does."""
        items = self.items
        return boards(self.runs, items, (), self.baseline) if items.num_rows else self.boards

    @property
    def items(self) -> pa.Table:
        """Every answer, read when first asked for."""
        with self._lock:
            if self._items is None:
                self._items = sources.read(self.name).items
            return self._items

    # ------------------------------------------------------------ looking things up

    def runs_of(self, board: Board, row: Row) -> pa.Table:
        """Every run of a row on its pair, by suite, seed and time: that of its headline figure where it has one."""
        import pyarrow.compute as pc

        table = self.runs
        mask = pc.equal(table["method"], row.method)
        for name, value in (("pair", board.pair), ("settings", row.settings), ("distribution", row.distribution)):
            mask = pc.and_kleene(mask, pc.equal(table[name], value))
        mask = pc.and_kleene(mask, pc.or_kleene(pc.is_null(table["task"]), table["headline"]))
        found = table.select(_SHOWN).filter(mask)
        return found.sort_by([("suite", "ascending"), ("seed", "ascending"), ("created_at", "ascending")])

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

    def counted(self, board: Board, row: Row, suite: str) -> list[dict[str, Any]]:
        """The runs behind a square, one per seed: the newest done ones of the seeds that count."""
        index = [column.suite for column in board.columns].index(suite)
        seeds = set(row.squares[index].seeds)
        newest = {
            run["seed"]: run
            for run in self.runs_of(board, row).to_pylist()
            if run["suite"] == suite and run["outcome"] == "done" and run["seed"] in seeds
        }
        return [newest[seed] for seed in sorted(newest)]


def label_of(boards_shown: Iterable[Board], label: str) -> Row | None:
    """The row of that label on any of the boards."""
    return next((row for board in boards_shown for row in board.rows if row.label == label), None)

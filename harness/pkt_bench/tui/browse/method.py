"""Down from a row: its runs, one run, the documents it answered, one document under every seed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

from textual import work
from textual.binding import Binding, BindingType

from pkt_bench.tui.browse.listing import Entry, Lazy, Listing
from pkt_bench.tui.browse.page import Page, Reading
from pkt_bench.tui.browse.recorded import Recorded
from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.board import Board, Row
from pkt_bench_leaderboards.figures import probability
from pkt_bench_leaderboards.sheet import Cell, Heading

_RUNS = (
    Heading("suite", "suite", right=False),
    Heading("seed", "seed"),
    Heading("outcome", "outcome", right=False),
    Heading("value", "score"),
    Heading("seconds", "seconds"),
    Heading("when", "when", right=False),
    Heading("run", "run", right=False),
    Heading("reason", "reason", right=False),
)
_DOCUMENTS = (
    Heading("task", "task", right=False),
    Heading("document", "document"),
    Heading("worth", "worth"),
    Heading("target", "right answer", right=False),
    Heading("response", "answer", right=False),
    Heading("prompt", "prompt", right=False),
)
_GROUPS = {
    "what it is": (
        *("run_id", "cell_key", "method", "method_version", "distribution", "distribution_version", "paradigm"),
        *("control_of", "settings", "pair", "teacher", "student", "suite", "seed", "limit", "created_at"),
    ),
    "how it ended": ("outcome", "reason"),
    "what it took": (
        *("seconds", "load_seconds", "transfer_seconds", "score_seconds", "transfer_cpu_seconds", "score_cpu_seconds"),
        *("peak_rss_bytes", "peak_device_bytes", "trainable_parameters", "tokens_trained", "payload_bytes"),
        *("artifact_bytes", "stage_seconds", "budget"),
    ),
    "its health": (
        *("delta_over_weight", "logit_change", "injection_change", "reload_difference", "changed_tensors"),
        *("selection", "notes"),
    ),
    "where it ran": (
        *("host", "hardware", "platform", "python", "libraries", "git_revision", "pkt_bench_version", "scorer"),
        *("device", "dtype", "threads", "batch_size", "pass_tokens"),
    ),
}


class Method(Page):
    """The runs of one row, on every suite and seed."""

    def __init__(self, board: Board, row: Row) -> None:
        super().__init__([board.pair, row.label])
        self._board, self._row = board, row

    def fill(self) -> None:
        """One line a run, and which scores this board's figures do not rest on; what is said of the row above them."""
        fractions = {column.suite: column.fraction for column in self._board.columns}
        runs = self.recorded.runs_of(self._board, self._row)
        counted = {
            entry.run_id
            for column in self._board.columns
            for entry in self.recorded.counted(self._board, self._row, column.suite)
        }

        def line(number: int) -> Entry:
            (run,) = runs.slice(number, 1).to_pylist()
            return Entry(
                run["run_id"],
                (
                    Cell(run["suite"]),
                    Cell(str(run["seed"])),
                    Cell(run["outcome"], tone="plain" if run["outcome"] == "done" else "warning"),
                    Cell(
                        text.score(run["value"], None, fraction=fractions.get(run["suite"], False)),
                        "" if run["value"] is None or run["run_id"] in counted else "not counted",
                    ),
                    Cell(text.seconds(run["seconds"])),
                    Cell(f"{run['created_at']:%Y-%m-%d %H:%M}"),
                    Cell(run["run_id"]),
                    Cell(run["reason"]),
                ),
            )

        entries = Lazy(runs.num_rows, line)
        self.listing.show(_RUNS, entries, fixed=2)
        self.listing.focus()
        self.say(_verdict(self._board, self._row))

    def on_listing_chosen(self, event: Listing.Chosen) -> None:
        """Opens the run."""
        event.stop()
        self.app.push_screen(Run([*self.path], event.key))


def _verdict(board: Board, row: Row) -> str:
    """In a line, what the board says of a row."""
    said = [f"mean {text.score(row.mean, row.mean_stderr, fraction=board.columns[0].fraction)}"]
    if row.place is not None:
        said.append(f"place {row.place}")
    if row.paired is not None:
        said.append(f"against {board.baseline}: p {text.probability(probability(row.paired))}")
    if row.gap_closed is not None:
        said.append(f"gap closed {text.percent(row.gap_closed)}")
    if row.one_seed:
        said.append("one seed")
    said += [f"against {each.label}: p {text.probability(probability(each.paired))}" for each in row.controls]
    return " · ".join(said)


class Run(Reading):
    """Everything that is known of one run."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,i", "documents", "Documents")]

    def __init__(self, path: Sequence[str], run_id: str) -> None:
        super().__init__([*path, run_id])
        self._run_id = run_id

    def fill(self) -> None:
        """Its rows: what they share, and each figure."""
        rows = self.recorded.details(self._run_id)
        first = rows[0]
        parts = [
            (heading, "\n".join(f"{name:22} {_written(first[name])}" for name in names if first[name] is not None))
            for heading, names in _GROUPS.items()
        ]
        figures = "\n".join(
            f"{row['task']} {row['metric']} ({row['filter']}): {_written(row['value'])}"
            f" ± {_written(row['stderr'])}, n {_written(row['n'])}{', headline' if row['headline'] else ''}"
            for row in rows
            if row["task"]
        )
        self.write([("its figures, as stored", figures or "none"), *parts])

    def action_documents(self) -> None:
        """What it answered."""
        self.app.push_screen(Documents([*self.path, "documents"], self._run_id))


def _written(value: Any) -> str:  # noqa: ANN401 - a cell of any column
    """A stored value for a reader; JSON spread over lines where it is long."""
    if value is None:
        return text.UNKNOWN
    if isinstance(value, str) and value.startswith("{") and len(value) > 60:
        try:
            return "\n" + json.dumps(json.loads(value), indent=2, ensure_ascii=False)
        except ValueError:
            return value
    return str(value)


class Documents(Page):
    """What a run answered to each document."""

    def __init__(self, path: Sequence[str], run_id: str) -> None:
        super().__init__(path)
        self._run_id = run_id
        self._items: list[dict[str, Any]] = []

    def fill(self) -> None:
        """Reads the answers meanwhile."""
        self.listing.focus()
        self.say("reading answers")
        self._read()

    @work(thread=True)
    def _read(self) -> None:
        with self.reading():
            items = self.recorded.answers([self._run_id])
            self.app.call_from_thread(self._show, items)

    def _show(self, items: list[dict[str, Any]]) -> None:
        self._items = items

        def line(number: int) -> Entry:
            item = items[number]
            return Entry(
                str(number),
                (
                    Cell(item["task"]),
                    Cell(str(item["doc_id"])),
                    Cell(worth(item["value"]), tone="worse" if item["value"] == 0 else "plain"),
                    Cell(item["target"]),
                    Cell(item["response"]),
                    Cell(item["prompt"]),
                ),
            )

        entries = Lazy(len(items), line)
        self.listing.show(_DOCUMENTS, entries, fixed=3)
        self.say(f"{len(items)} answers" if items else "this run has no answers on record")

    def on_listing_chosen(self, event: Listing.Chosen) -> None:
        """Opens the document."""
        event.stop()
        item = self._items[int(event.key)]
        self.app.push_screen(Document([*self.path, f"{item['task']} {item['doc_id']}"], item))


class Document(Reading):
    """One document: what was asked, what is right, and what was answered by every run of the source."""

    def __init__(self, path: Sequence[str], item: dict[str, Any]) -> None:
        super().__init__(path)
        self._item = item

    def fill(self) -> None:
        """The prompt and the right answer at once, all answers meanwhile."""
        self._write(
            [(f"answer of run {self._item['run_id']}, worth {worth(self._item['value'])}", self._item["response"])]
        )
        self._read()

    def _write(self, answers: Sequence[tuple[str, str]]) -> None:
        self.write([("prompt", self._item["prompt"]), ("right answer", self._item["target"]), *answers])

    @work(thread=True)
    def _read(self) -> None:
        with self.reading():
            answers = answers_to(self.recorded, self._item)
            self.app.call_from_thread(self._write, answers)


def answers_to(recorded: Recorded, item: dict[str, Any]) -> list[tuple[str, str]]:
    """Who answered the document of `item`, worth what, and what was said: by method, suite and seed."""
    import pyarrow.compute as pc

    items = recorded.items
    mask = pc.equal(items["doc_hash"], item["doc_hash"])
    for name in ("task", "metric", "filter", "doc_id"):
        mask = pc.and_kleene(mask, pc.equal(items[name], item[name]))
    found = items.filter(mask).to_pylist()
    runs = recorded.runs.select(["run_id", "method", "suite", "seed"]).to_pylist()
    known = {run["run_id"]: f"{run['method']}, {run['suite']}, seed {run['seed']}" for run in runs}
    names = {each["run_id"]: known.get(each["run_id"], "a run that is not recorded") for each in found}
    said = Counter(names.values())
    # settings, pair or limit may be all that tells two apart
    names = {run: name if said[name] == 1 else f"{name}, run {run}" for run, name in names.items()}
    answers = sorted(found, key=lambda each: (names[each["run_id"]], each["run_id"]))
    return [(f"{names[each['run_id']]}: worth {worth(each['value'])}", each["response"]) for each in answers]


def worth(value: float | None) -> str:
    """What an answer was worth: right, wrong, or the number."""
    return text.UNKNOWN if value is None else {0.0: "wrong", 1.0: "right"}.get(value, f"{value:.3f}")

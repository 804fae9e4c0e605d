"""A recorded board and its page, made once, and a reader of pages that knows what HTML must be."""

import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

VOID = {"meta", "br", "col", "hr"}


class Page(HTMLParser):
    """A page as it was parsed: whether elements nest, their attributes, and the text outside of style and script."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.problems, self.elements, self.texts, self._open = [], [], [], []
        self.feed(source)
        self.close()
        self.problems += [f"<{name}> is not closed" for name in self._open]

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        if name not in VOID:
            self._open.append(name)

    def handle_endtag(self, name):
        if not self._open or self._open.pop() != name:
            self.problems.append(f"</{name}> closes something else")

    def handle_data(self, data):
        if self._open and self._open[-1] not in {"style", "script"}:
            self.texts.append(data)

    @property
    def text(self):
        return "".join(self.texts)

    def all(self, name, class_=None):
        return [
            found
            for each, found in self.elements
            if each == name and (class_ is None or class_ in (found.get("class") or "").split())
        ]


@pytest.fixture(scope="session")
def parsed():
    return Page


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    from boards import record_board

    return record_board(tmp_path_factory.mktemp("board") / "runs")


@pytest.fixture(scope="session")
def contents(recorded):
    return recorded.read()


@pytest.fixture(scope="session")
def made(contents):
    from pkt_bench_leaderboards.board import boards
    from pkt_bench_leaderboards.report import page

    return page(boards(contents.runs, contents.items), contents.runs, contents.items)


@pytest.fixture
def board():
    """A board of rows given as label: scores on each suite; None where it has none."""
    from pkt_bench_leaderboards.records import Board, Column, Costs, Row, Square

    def make(scores, suites=("a",), *, pair="tiny", rows=None, costs=None, higher=True, **given):
        def row(label):
            cost = (costs or {}).get(label, Costs())
            squares = tuple(
                Square("not run")
                if v is None
                else Square("done", v, 0.01, v - 0.02, v + 0.02, (0, 1), (v, v), costs=cost)
                for v in scores[label]
            )
            known = [square.value for square in squares if square.value is not None]
            fields = {
                "method": label,
                "label": label,
                "version": "1",
                "distribution": "d",
                "settings": "{}",
                "paradigm": "reference" if label in {"student", "teacher"} else "language",
                "control_of": "",
                "oracle": False,
                "variant": None,
                "older_runs": 0,
                "squares": squares,
                "costs": cost,
                "mean": sum(known) / len(known) if len(known) == len(squares) else None,
            }
            return Row(**(fields | (rows or {}).get(label, {})))

        fields = {
            "pair": pair,
            "teacher": "t",
            "student": "s",
            "teacher_hash": None,
            "student_hash": None,
            "device": None,
            "dtype": None,
            "threads": None,
            "batch_size": None,
            "scorer": None,
            "limit": None,
            "outcomes": {"done": 1},
            "columns": tuple(Column(suite, task=suite, metric="acc", higher_is_better=higher) for suite in suites),
            "rows": tuple(row(label) for label in scores),
        }
        return Board(**(fields | given))

    return make

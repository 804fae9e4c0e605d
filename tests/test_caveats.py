"""What a reader should know of the models, and how answers were had: from a run to its row and under the board."""

import json
from pathlib import Path

import pytest

from pkt_bench import models
from pkt_bench.domain import ModelRef, Pair
from pkt_bench_leaderboards.board import boards
from pkt_bench_leaderboards.formats.boards import as_json
from recorded import Store, make_cell, make_run

CUT = "the student is cut from the teacher"


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "runs")
    for seed, caveats in enumerate([[CUT], [CUT, "4-bit weights"], []]):
        about = {"caveats": caveats, "scoring": {"scorer": "fast", "tokens_computed": 7} if seed == 0 else {}}
        store.record(make_run(make_cell(seed=seed), minute=seed, run_id=str(seed), environment=about))
    return store


def test_a_row_keeps_what_was_said_of_the_models_and_of_the_scoring_and_null_where_nothing_was(store):
    rows = {row["run_id"]: row for row in store.read().runs.to_pylist()}

    assert [rows[run]["caveats"] and json.loads(rows[run]["caveats"]) for run in "012"] == [
        [CUT],
        [CUT, "4-bit weights"],
        None,
    ]
    assert json.loads(rows["0"]["scoring"]) == {"scorer": "fast", "tokens_computed": 7}
    assert rows["1"]["scoring"] is None


def test_each_caveat_is_said_once_under_the_board_and_in_json(store, capsys, warm):
    (board,) = boards(store.read().runs)

    shown = warm("board", str(store.root)).out

    assert board.caveats == (CUT, "4-bit weights")
    assert json.loads(as_json([board]))["boards"][0]["caveats"] == [CUT, "4-bit weights"]
    assert shown.count(CUT) == shown.count("4-bit weights") == 1


def test_what_the_user_allowed_for_a_checkpoint_is_a_caveat_without_this_machines_folders():
    risky = ModelRef(Path("/home/me/odd"), consents=("pickle", "remote-code"))
    pair = Pair("p", "", teacher=risky, student=ModelRef(Path("/home/me/plain")), caveats=(CUT,))

    said = models.caveats(pair)

    assert said[0] == CUT
    assert [sentence.startswith("odd: ") for sentence in said[1:]] == [True, True]
    assert "/home" not in "".join(said)

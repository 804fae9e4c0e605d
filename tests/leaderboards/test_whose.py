"""Methods of one name that two distributions offer: rows of their own, under names that say whose they are."""

import pytest

from pkt_bench_leaderboards import pivot
from pkt_bench_leaderboards.board import boards
from pkt_bench_leaderboards.compared import Side, compare, rows_of
from pkt_bench_leaderboards.ranking import ranking
from pkt_bench_leaderboards.sheet import write


@pytest.fixture
def shared(row, runs):
    """A method and its control, each of two distributions, with one seed each, among others."""

    def make(**given):
        rows = [row("student", "code", 0.4), row("lora", "code", 0.5)]
        for whose, value in (("alpha", 0.6), ("beta", 0.8)):
            ids = {"run_id": f"x {whose}", "cell_key": f"x {whose}"}
            rows.append(row("x", "code", value, distribution=whose, **ids, **given))
            ids = {"run_id": f"x:noise {whose}", "cell_key": f"x:noise {whose}"}
            control = {"control_of": "x", "paradigm": "control"}
            rows.append(row("x:noise", "code", value - 0.1, distribution=whose, **ids, **control))
        return runs(*rows)

    return make


def test_they_are_rows_of_their_own_with_their_distributions_in_front(shared):
    (board,) = boards(shared())

    values = {each.label: each.squares[0].value for each in board.rows}
    assert values == {
        "beta/x": 0.8,
        "beta/x:noise": pytest.approx(0.7),
        "alpha/x": 0.6,
        "alpha/x:noise": pytest.approx(0.5),
        "lora": 0.5,
        "student": 0.4,
    }
    assert all(each.squares[0].seeds == (0,) for each in board.rows)


def test_a_control_is_set_against_the_method_of_its_own_distribution(row, runs, items):
    rows, answered = [row("student", "code", 0.5)], []
    for whose in ("alpha", "beta"):
        for method, value, more in (("x", 0.75, {}), ("x:noise", 0.5, {"control_of": "x", "paradigm": "control"})):
            ids = {"run_id": f"{method} {whose}", "cell_key": f"{method} {whose}"}
            rows.append(row(method, "code", value, distribution=whose, **ids, **more))
            answered.append((rows[-1], [1.0] * int(100 * value) + [0.0] * (100 - int(100 * value))))

    (board,) = boards(runs(*rows), items(*answered))

    against = {each.label: [control.label for control in each.controls] for each in board.rows if each.method == "x"}
    assert against == {"alpha/x": ["alpha/x:noise"], "beta/x": ["beta/x:noise"]}


def test_a_control_that_is_a_method_of_somebody_else_finds_the_only_method_of_that_name(row, runs, items):
    rows = [
        row("x", "code", 0.75, distribution="alpha"),
        row("crippled", "code", 0.5, distribution="beta", control_of="x", paradigm="control"),
    ]
    answered = [(rows[0], [1.0] * 75 + [0.0] * 25), (rows[1], [1.0] * 50 + [0.0] * 50)]

    (board,) = boards(runs(*rows), items(*answered))

    assert [[each.label for each in found.controls] for found in board.rows if found.method == "x"] == [["crippled"]]


def test_settings_tell_rows_of_one_distribution_apart_and_not_those_of_two(shared, row, runs):
    import pyarrow as pa

    more = runs(row("x", "code", 0.9, distribution="beta", settings='{"rank":8}', cell_key="b8", run_id="b8"))

    (board,) = boards(pa.concat_tables([shared(settings='{"rank":4}'), more]))

    assert {"alpha/x", "beta/x rank=4", "beta/x rank=8"} <= {each.label for each in board.rows}


def test_ranks_keep_them_apart(row, runs):
    rows = []
    for suite in ("code", "knowledge", "arithmetic"):
        rows += [row("lora", suite, 0.5), row("full", suite, 0.55)]
        for whose, value in (("alpha", 0.6), ("beta", 0.8)):
            ids = {"run_id": f"x {whose} {suite}", "cell_key": f"x {whose} {suite}"}
            rows.append(row("x", suite, value, distribution=whose, **ids))

    found = ranking(boards(runs(*rows)))

    assert dict(zip(found.methods, found.mean_ranks, strict=True)) == {
        "beta/x": 1.0,
        "alpha/x": 2.0,
        "full": 3.0,
        "lora": 4.0,
    }


def test_a_pivot_by_method_averages_neither_with_the_other(shared):
    folded = pivot.fold(shared(), ["method"], "suite")

    assert {key[0]: folded.squares[key, "code"].value for key in folded.rows} == {
        "alpha/x": 0.6,
        "alpha/x:noise": pytest.approx(0.5),
        "beta/x": 0.8,
        "beta/x:noise": pytest.approx(0.7),
        "lora": 0.5,
        "student": 0.4,
    }


def test_what_only_one_of_two_folders_has_says_whose_it_is(row, runs):
    ours = runs(row("lora", "code", 0.5), row("x", "code", 0.6, distribution="alpha"))
    theirs = runs(row("lora", "code", 0.5), row("x", "code", 0.8, distribution="beta"))

    found = compare(Side("A", ours, None), Side("B", theirs, None))

    assert [(alone.side, alone.label) for alone in found.alone] == [("A", "alpha/x"), ("B", "beta/x")]


def test_boards_of_two_pairs_say_whose_a_method_is_where_it_is_not_the_same(row, runs):
    table = runs(
        row("x", "code", 0.6, distribution="alpha"),
        row("x", "code", 0.8, distribution="beta", pair="other", run_id="b", cell_key="b"),
    )

    labels = {board.pair: [each.label for each in board.rows] for board in boards(table)}

    assert labels == {"tiny": ["alpha/x"], "other": ["beta/x"]}


def test_a_strangers_student_is_not_what_everything_is_measured_against(row, runs):
    table = runs(
        row("student", "code", 0.4),
        row("student", "code", 0.1, distribution="stranger", run_id="s", cell_key="s", at=5),
        row("lora", "code", 0.5),
    )

    (board,) = boards(table)

    assert board.baseline == "pkt-bench/student"


def test_a_baseline_may_be_named_with_its_distribution(shared):
    assert boards(shared(), baseline="alpha/x")[0].baseline == "alpha/x"
    assert boards(shared(), baseline="pkt-bench/lora")[0].baseline == "lora"


def test_a_method_that_one_distribution_offers_keeps_its_plain_name(row, runs):
    table = runs(row("student", "code", 0.4), row("x", "code", 0.6, distribution="alpha"))

    assert set(rows_of(table).values()) == {"student", "x"}


def test_a_note_says_whose_the_methods_are_that_the_bench_does_not_offer(row, runs):
    table = runs(
        row("student", "code", 0.4),
        row("lora", "code", 0.5, distribution="alpha"),
        row("x", "code", 0.6, distribution="beta"),
    )

    found = {note.mark: note.words for note in write(boards(table)[0]).notes}

    assert found["offered"] == "x by beta; lora by alpha"


def test_a_board_of_the_benchs_own_methods_has_no_such_note(row, runs):
    table = runs(row("student", "code", 0.4), row("lora", "code", 0.5))

    assert "offered" not in {note.mark for note in write(boards(table)[0]).notes}

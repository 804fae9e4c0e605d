"""The verdict never says more than a corrected test found."""

import pytest

from pkt_bench_leaderboards.records import Against, Square
from pkt_bench_leaderboards.report.verdict import listed, sentences, standings
from pkt_bench_leaderboards.statistics import Paired


def paired(difference, p, holm):
    return Paired(p, difference, 100, 10, 5, "exact", p_holm=holm)


def one_seed(value):
    return {"squares": (Square("done", value, 0.01, seeds=(0,), values=(value,)),)}


def test_who_is_ahead_of_all_is_said_to_be(board):
    made = board(
        {"a": (0.9,), "b": (0.5,), "c": (0.4,)},
        rows={"a": {"place": 1, "beats": ("b", "c")}, "b": {"place": 2}, "c": {"place": 2}},
    )

    assert sentences(made)[:2] == [
        "a is significantly ahead of every other method with a place.",
        "Not told apart: b and c.",
    ]


def test_the_highest_mean_alone_is_no_win(board):
    made = board({"a": (0.9,), "b": (0.5,)}, rows={"a": {"place": 1}, "b": {"place": 1}})

    said = sentences(made)
    assert said[0] == (
        "No method is significantly ahead of all others. a and b have nobody significantly ahead of them."
    )
    assert not any("a is significantly ahead" in words for words in said)


def test_a_difference_that_rests_on_one_seed_is_no_win(board):
    made = board(
        {"a": (0.9,), "b": (0.5,)}, rows={"a": {"place": 1, "beats": ("b",), **one_seed(0.9)}, "b": {"place": 2}}
    )

    assert standings(made)[0].ahead == ()
    assert standings(made)[0].provisional == ("ahead of b",)
    assert not any("is significantly ahead of b" in words for words in sentences(made))
    assert "Resting on one seed somewhere: a. What another seed would give is unknown." in sentences(made)


def test_places_without_tests_are_no_wins(board):
    made = board({"a": (0.9,), "b": (0.5,)}, rows={"a": {"place": 1}, "b": {"place": 2}})

    assert standings(made) == []
    assert "no method is said to be ahead of another" in sentences(made)[0]


@pytest.mark.parametrize(
    ("difference", "p", "holm", "higher", "words"),
    [
        (0.1, 0.001, 0.01, True, "Significantly better than the untouched student: a."),
        (-0.1, 0.001, 0.01, True, "Significantly worse than the untouched student: a."),
        (-0.1, 0.001, 0.01, False, "Significantly better than the untouched student: a."),
        (0.1, 0.01, 0.06, True, "Not told apart from the untouched student: a."),
    ],
)
def test_the_student_is_beaten_by_the_corrected_p_alone(board, difference, p, holm, higher, words):
    made = board(
        {"student": (0.5,), "a": (0.6,)}, rows={"a": {"place": 1, "paired": paired(difference, p, holm)}}, higher=higher
    )

    assert words in sentences(made)


@pytest.mark.parametrize(
    ("difference", "holm", "end"),
    [
        (0.1, 0.01, "(corrected p = 0.010): significantly ahead."),
        (-0.1, 0.01, "(corrected p = 0.010): significantly behind."),
        (0.1, 0.2, "(corrected p = 0.200): not told apart, so nothing here shows that the teacher's knowledge counts."),
    ],
)
def test_methods_are_set_against_their_controls(board, difference, holm, end):
    against = Against("a:noise", "a", paired(difference, 0.001, holm))
    made = board({"a": (0.6,), "a:noise": (0.5,)}, rows={"a": {"controls": (against,)}})

    assert f"a against its control a:noise {end}" in sentences(made)


def test_rows_without_a_mean_are_named(board):
    made = board({"a": (0.6, 0.5), "b": (0.5, None)}, ("x", "y"), rows={"a": {"place": 1}})

    assert "No mean, and so no place, for want of a score on some suite: b." in sentences(made)


def test_a_board_without_the_student_says_that_nothing_is_known_of_helping(board):
    made = board({"a": (0.6,)}, rows={"a": {"place": 1}}, baseline="")

    assert any("no untouched student" in words for words in sentences(made))


def test_names_are_listed_as_in_a_sentence():
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_of_many_methods_only_the_table_says_who_is_ahead_of_whom(board):
    labels = [f"m{number:02}" for number in range(20)]
    rows = {
        label: {"place": 1 + max(0, number - 1), "beats": tuple(labels[number + 2 :])}
        for number, label in enumerate(labels)
    }
    said = sentences(board({label: (1 - n / 20,) for n, label in enumerate(labels)}, rows=rows))

    assert "The table of every pair, below the board, says for each method whom it is ahead of." in said
    assert "19 of the 190 pairs of methods cannot be told apart; the table below names them." in said
    assert not any(words.startswith("m05 is significantly") for words in said)

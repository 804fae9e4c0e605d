"""Mean ranks, Friedman and Nemenyi, against Demsar's own numbers and scikit-posthocs."""

import numpy as np
import pytest

from pkt_bench_leaderboards.ranking import average_ranks, critical_difference, friedman, ranking
from pkt_bench_leaderboards.report.ranks import cliques

# Demsar (2006), table 6: AUC of C4.5, C4.5+m, C4.5+cf, C4.5+m+cf on 14 data sets
DEMSAR = [
    (0.763, 0.768, 0.771, 0.798), (0.599, 0.591, 0.590, 0.569), (0.954, 0.971, 0.968, 0.967),
    (0.628, 0.661, 0.654, 0.657), (0.882, 0.888, 0.886, 0.898), (0.936, 0.931, 0.916, 0.931),
    (0.661, 0.668, 0.609, 0.685), (0.583, 0.583, 0.563, 0.625), (0.775, 0.838, 0.866, 0.875),
    (1.000, 1.000, 1.000, 1.000), (0.940, 0.962, 0.965, 0.962), (0.619, 0.666, 0.614, 0.669),
    (0.972, 0.981, 0.9751, 0.975), (0.957, 0.978, 0.946, 0.970),
]  # fmt: skip
NAMES = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")


def demsar(board):
    suites = [f"set {number}" for number in range(len(DEMSAR))]
    return board(dict(zip(NAMES, zip(*DEMSAR, strict=True), strict=True)), suites)


def test_mean_ranks_are_those_of_demsar():
    assert average_ranks(DEMSAR) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)


def test_friedmans_statistic_is_that_of_demsar():
    # 9.28 before, and by scipy 9.8 after the correction for ties, with 3 degrees of freedom
    ranks = np.array(average_ranks(DEMSAR))
    uncorrected = 12 * 14 / (4 * 5) * ((ranks**2).sum() - 4 * 25 / 4)

    assert uncorrected == pytest.approx(9.28, abs=5e-3)
    assert friedman(DEMSAR) < 0.026


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_is_from_demsars_table_of_q(methods, q):
    expected = q * (methods * (methods + 1) / (6 * 14)) ** 0.5

    assert critical_difference(methods, 14) == pytest.approx(expected, abs=1e-3)


def test_within_the_critical_difference_is_where_posthoc_nemenyi_finds_nothing():
    posthocs = pytest.importorskip("scikit_posthocs")

    p = posthocs.posthoc_nemenyi_friedman(np.array(DEMSAR)).to_numpy()
    ranks = np.array(average_ranks(DEMSAR))

    apart = np.abs(ranks[:, None] - ranks[None, :]) > critical_difference(4, 14)
    assert (apart == (p < 0.05)).all()


def test_blocks_come_from_boards_and_the_best_is_first(board):
    found = ranking([demsar(board)])

    assert found.methods == ("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5")
    assert found.mean_ranks == pytest.approx((1.964, 2.0, 2.893, 3.143), abs=5e-4)
    assert found.blocks == 14
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)


def test_a_bar_joins_what_demsars_text_cannot_tell_apart(board):
    # the best and the worst are 1.18 apart, which is less than 1.25
    assert cliques(ranking([demsar(board)])) == [(0, 3)]


def test_untouched_models_take_no_rank(board):
    found = ranking([board({"teacher": (0.9, 0.9), "a": (0.1, 0.1), "b": (0.2, 0.3), "c": (0.3, 0.2)}, ("x", "y"))])

    assert set(found.methods) == {"a", "b", "c"}


def test_a_method_that_most_blocks_lack_is_named_and_left_out(board):
    scores = {"a": (0.1, 0.1, 0.1), "b": (0.2, 0.2, 0.2), "c": (0.3, 0.3, 0.3), "rare": (0.4, None, None)}
    found = ranking([board(scores, ("x", "y", "z"))])

    assert found.methods == ("c", "b", "a")
    assert found.left_out == ("rare",)
    assert found.blocks == 3


def test_a_block_that_a_kept_method_lacks_does_not_count(board):
    scores = {"a": (0.1, 0.1, 0.1), "b": (0.2, 0.2, 0.2), "c": (0.3, 0.3, None)}
    found = ranking([board(scores, ("x", "y", "z"))])

    assert (found.blocks, found.left_out) == (2, ())


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        ({"a": (0.1, 0.2), "b": (0.1, 0.2)}, "no ranks: 2 methods have a score in half of the blocks, 3 are needed"),
        (
            {"a": (0.1, None), "b": (0.1, None), "c": (0.2, None)},
            "no ranks: 1 of 1 (pair, suite) blocks have a score of every method, 2 are needed",
        ),
        ({}, "no ranks: 0 methods have a score in half of the blocks, 3 are needed"),
    ],
)
def test_too_few_methods_or_blocks_give_none_and_the_reason(board, scores, why):
    found = ranking([board(scores, ("x", "y"))])

    assert (found.methods, found.critical_difference, found.note) == ((), None, why)


def test_of_several_boards_of_a_pair_the_first_counts(board):
    first = board({"a": (0.1, 0.1), "b": (0.2, 0.2), "c": (0.3, 0.3)}, ("x", "y"))
    second = board({"a": (0.9, 0.9), "b": (0.2, 0.2), "c": (0.3, 0.3)}, ("x", "y"))

    assert ranking([first, second]) == ranking([first])


def test_where_lower_is_better_the_lowest_is_first(board):
    found = ranking([board({"a": (3.0, 3.0), "b": (2.0, 2.0), "c": (1.0, 1.0)}, ("x", "y"), higher=False)])

    assert found.methods == ("c", "b", "a")


def test_methods_that_tie_everywhere_share_the_middle_rank_and_p_is_one(board):
    found = ranking([board({"a": (0.5, 0.5), "b": (0.5, 0.5), "c": (0.5, 0.5)}, ("x", "y"))])

    assert found.mean_ranks == (2.0, 2.0, 2.0)
    assert found.p == 1.0

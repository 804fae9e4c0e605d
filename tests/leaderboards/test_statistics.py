import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar

from pkt_bench_leaderboards import statistics
from pkt_bench_leaderboards.statistics import Answers, signs


def answers(*values):
    return Answers(np.arange(len(values)), np.array(values, dtype=float))


def test_the_error_of_several_seeds_holds_the_items_and_the_spread():
    # mean(0.03^2, 0.04^2) + var(0.5, 0.6) / 2 = 0.00125 + 0.005 / 2
    expected = math.sqrt(0.00375)

    stderr = statistics.seeds_stderr([0.5, 0.6], [0.03, 0.04])

    assert stderr == pytest.approx(expected)


def test_the_error_of_one_seed_is_that_of_its_items():
    assert statistics.seeds_stderr([0.5], [0.03]) == pytest.approx(0.03)


def test_an_unknown_item_error_makes_the_error_unknown():
    assert statistics.seeds_stderr([0.5, 0.6], [0.03, None]) is None


def test_more_seeds_never_average_out_the_items():
    assert statistics.seeds_stderr([0.5] * 100, [0.04] * 100) == pytest.approx(0.04)


def test_suites_have_different_items_so_their_errors_average_out():
    # the square root of 0.03^2 + 0.04^2, halved
    assert statistics.suites_stderr([0.03, 0.04]) == pytest.approx(0.025)


@pytest.mark.parametrize(("teacher", "settled"), [(0.61, True), (0.59, False), (0.39, True)])
def test_a_gap_counts_beyond_two_standard_errors_of_the_difference(teacher, settled):
    # two standard errors are 2 * sqrt(0.03^2 + 0.04^2), which is 0.1
    assert statistics.gap_is_settled(0.5, 0.03, teacher, 0.04) is settled


def test_gap_closed_is_the_share_of_the_way_to_the_teacher():
    assert statistics.gap_closed(0.35, student=0.2, teacher=0.8) == pytest.approx(0.25)


@given(gained=st.integers(0, 60), lost=st.integers(0, 60), same=st.integers(1, 40))
def test_with_one_seed_the_test_is_the_exact_mcnemar_test(gained, lost, same):
    ours = answers(*[1] * gained, *[0] * lost, *[1] * same)
    theirs = answers(*[0] * gained, *[1] * lost, *[1] * same)
    expected = scipy.stats.binomtest(gained, gained + lost, 0.5).pvalue if gained + lost else 1.0

    paired = statistics.paired_test([ours], [theirs])

    assert paired.p == pytest.approx(expected, rel=1e-9)
    assert (paired.n, paired.gained, paired.lost) == (gained + lost + same, gained, lost)
    assert paired.test == "exact McNemar"


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_the_exact_distribution_is_that_of_all_signs(steps):
    sums = [
        sum(s * x for s, x in zip(signs, steps, strict=True)) for signs in itertools.product((1, -1), repeat=len(steps))
    ]
    expected = sum(abs(total) >= abs(sum(steps)) for total in sums) / len(sums)

    p = statistics.sign_flip_exact(np.array(steps))

    assert p == pytest.approx(expected)


def test_seeds_are_averaged_per_item_before_signs_are_flipped():
    # items differ by 1, 1/2 and 1/2, the same mean under both seeds: of the 8 sign patterns only +++ and --- reach 2
    seeds = [answers(1, 1, 0, 1), answers(1, 0, 1, 1)]
    student = [answers(0, 0, 0, 1)]

    paired = statistics.paired_test(seeds, student, fixed=True)

    assert paired.p >= 2 / 8
    assert statistics.sign_flip_exact(np.array([2, 1, 1, 0])) == pytest.approx(2 / 8)
    assert paired.difference == pytest.approx(0.5)
    assert paired.seeds == 2
    assert paired.test == "exact sign-flip permutation; t over items and seeds"


def test_the_test_is_mcnemars_as_statsmodels_has_it():
    ours, theirs = answers(*[1] * 14, *[0] * 4, *[1] * 50, *[0] * 9), answers(*[0] * 14, *[1] * 4, *[1] * 50, *[0] * 9)
    table = [[50, 14], [4, 9]]

    paired = statistics.paired_test([ours], [theirs])

    assert paired.p == pytest.approx(mcnemar(table, exact=True).pvalue, rel=1e-12)


@given(st.lists(st.integers(-3, 3), min_size=30, max_size=200))
def test_the_transform_and_the_convolution_give_the_same_chances(steps):
    steps = np.array(steps)
    sizes, counts = np.unique(np.abs(steps[steps != 0]), return_counts=True)
    assume(sizes.size)
    observed = abs(int(steps.sum()))

    by_transform = signs._by_transform(sizes, counts, int((sizes * counts).sum()), observed)

    assert by_transform == pytest.approx(signs._by_convolution(sizes.tolist(), counts.tolist(), observed), abs=1e-9)


def test_values_between_right_and_wrong_are_tested_by_drawn_signs_that_repeat():
    ours = [answers(*np.linspace(0.2, 0.9, 12))]
    theirs = [answers(*np.linspace(0.1, 0.95, 12) ** 2)]
    differences = ours[0].values - theirs[0].values
    sums = [abs(np.dot(s, differences)) for s in itertools.product((1, -1), repeat=12)]
    expected = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-12)

    first, second = (statistics.paired_test(ours, theirs) for _ in range(2))

    assert first == second
    # three standard errors of 9,999 draws
    assert first.p == pytest.approx(expected, abs=3 * math.sqrt(expected * (1 - expected) / 9999) + 1e-4)


def test_only_items_both_answered_are_compared():
    ours = Answers(np.array([5, 1, 2]), np.array([1.0, 1.0, 0.0]))
    theirs = Answers(np.array([2, 5, 9]), np.array([0.0, 0.0, 1.0]))

    paired = statistics.paired_test([ours], [theirs])

    assert (paired.n, paired.gained, paired.lost) == (2, 1, 0)


def test_seeds_that_answered_in_different_orders_are_lined_up():
    first = Answers(np.array([1, 2, 3]), np.array([1.0, 1.0, 0.0]))
    shuffled = Answers(np.array([3, 1, 2]), np.array([0.0, 1.0, 1.0]))
    student = Answers(np.array([2, 3, 1]), np.array([1.0, 0.0, 0.0]))

    paired = statistics.paired_test([first, shuffled], [student], fixed=True)

    assert (paired.gained, paired.lost) == (1, 0)
    assert paired.difference == pytest.approx(1 / 3)


def test_no_item_in_common_is_no_test():
    ours, theirs = Answers(np.array([1]), np.ones(1)), Answers(np.array([2]), np.ones(1))

    assert statistics.paired_test([ours], [theirs]) is None


def test_a_thousand_differences_are_tested_exactly_without_overflow():
    expected = scipy.stats.binomtest(1100, 2000, 0.5).pvalue

    p = statistics.sign_flip_exact(np.array([1] * 1100 + [-1] * 900))

    assert p == pytest.approx(expected, rel=1e-9)

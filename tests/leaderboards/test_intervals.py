"""Intervals and errors over items and seeds: against analysis of variance, textbook intervals, and by simulation."""

import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.proportion import proportion_confint

from pkt_bench_leaderboards import statistics
from pkt_bench_leaderboards.statistics import Answers
from pkt_bench_leaderboards.statistics.gap import Three


def by_seed(values):
    """A table of items by seeds as runs."""
    return {seed: Answers(np.arange(len(values)), values[:, seed]) for seed in range(values.shape[1])}


def logistic(x):
    return 1 / (1 + np.exp(-x))


def test_the_mean_squares_are_those_of_a_two_way_analysis_of_variance():
    values = np.random.default_rng(0).normal(size=(7, 4)) + np.arange(7)[:, None] + 0.5 * np.arange(4)
    frame = pd.DataFrame([(i, s, values[i, s]) for i in range(7) for s in range(4)], columns=["item", "seed", "x"])
    expected = anova_lm(ols("x ~ C(item) + C(seed)", frame).fit())["mean_sq"]

    table = statistics.crossed(values)

    assert table.ms_items == pytest.approx(expected["C(item)"])
    assert table.ms_seeds == pytest.approx(expected["C(seed)"])
    assert table.ms_rest == pytest.approx(expected["Residual"])
    # (MS_items - MS_rest + MS_seeds) / (n S)
    variance = (expected["C(item)"] - expected["Residual"] + expected["C(seed)"]) / 28
    assert table.stderr == pytest.approx(variance**0.5)


def test_the_error_of_one_seed_is_the_standard_error_over_its_items():
    values = np.random.default_rng(1).random((30, 1))

    table = statistics.crossed(values)

    assert table.stderr == pytest.approx(scipy.stats.sem(values[:, 0]))


def test_the_interval_of_one_seed_is_students():
    values = np.random.default_rng(2).normal(size=(25, 1))
    expected = scipy.stats.ttest_1samp(values[:, 0], 0).confidence_interval(0.95)

    found = statistics.interval([statistics.crossed(values)])

    assert found == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("right", [3, 40, 397, 400])
def test_the_interval_of_a_share_is_wilsons(right):
    values = np.array([1.0] * right + [0.0] * (400 - right))[:, None]

    found = statistics.interval([statistics.crossed(values)], proportion=True)

    # Student's quantile instead of the normal one, n - 1 instead of n
    assert found == pytest.approx(proportion_confint(right, 400, method="wilson"), abs=4e-4)


def test_seeds_that_tie_by_chance_make_nothing_certain():
    # three seeds of the same score, and items that differ less than chance
    values = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float)

    table = statistics.crossed(values)
    mixed = statistics.crossed(np.vstack([values, [[1, 1, 1]], [[0, 0, 0]]]))
    low, high = statistics.interval([mixed])

    assert (table.ms_items, table.ms_seeds) == pytest.approx((0, 0))
    assert mixed.ms_rest > mixed.ms_items > 0
    means = np.array([1 / 3] * 6 + [1, 0])
    ms_items = 3 * means.var(ddof=1)
    assert mixed.stderr == pytest.approx((ms_items / 2 / 24) ** 0.5)
    assert high - low == pytest.approx(2 * scipy.stats.t.ppf(0.975, 7) * mixed.stderr)


def test_seeds_that_agree_in_everything_say_no_more_than_one():
    one = np.random.default_rng(3).integers(0, 2, (50, 1)).astype(float)

    assert statistics.interval([statistics.crossed(np.repeat(one, 4, axis=1))]) == pytest.approx(
        statistics.interval([statistics.crossed(one)])
    )


@pytest.mark.parametrize(
    ("n", "seeds", "spread", "of_seeds", "level"),
    [
        (100, 3, 1.5, 0.0, 0),
        (200, 3, 1.5, 0.2, -1),
        (200, 5, 2.5, 0.3, 0),
        (100, 2, 2.0, 0.4, 0),
        (200, 3, 1.5, 1.0, 0),
    ],
)
def test_95_percent_intervals_hold_the_truth_in_93_to_97_of_100_boards(n, seeds, spread, of_seeds, level):
    random = np.random.default_rng(n + seeds)
    # what such students are worth over all items and seeds
    truth = logistic(level + random.normal(0, np.hypot(spread, of_seeds), 2_000_000)).mean()
    boards = 2000
    chances = logistic(
        level + random.normal(0, spread, (boards, n, 1)) + random.normal(0, of_seeds, (boards, 1, seeds))
    )
    answers = (random.random(chances.shape) < chances).astype(float)

    found = [statistics.interval([statistics.crossed(each)], proportion=True) for each in answers]

    held = np.mean([low <= truth <= high for low, high in found])
    assert 0.93 <= held <= 0.97


# ---------------------------------------------------------------- differences


def test_the_interval_of_a_difference_is_that_of_the_paired_t_test_where_seeds_agree():
    random = np.random.default_rng(4)
    ours, theirs = random.random((40, 1)), random.random((40, 1))
    expected = scipy.stats.ttest_rel(ours[:, 0], theirs[:, 0]).confidence_interval(0.95)

    paired = statistics.paired_test(by_seed(np.repeat(ours, 3, axis=1)), by_seed(np.repeat(theirs, 3, axis=1)))

    assert (paired.low, paired.high) == pytest.approx((expected.low, expected.high))


def test_p_is_below_five_percent_exactly_where_the_interval_leaves_out_zero():
    random = np.random.default_rng(5)
    seen = set()
    for effect in np.linspace(0, 0.4, 60):
        ours = (random.random((60, 3)) < 0.4 + effect).astype(float)
        theirs = (random.random((60, 3)) < 0.4).astype(float)
        paired = statistics.paired_test(by_seed(ours), by_seed(theirs))
        leaves_out = not paired.low <= 0 <= paired.high
        # the permutation test may be more doubtful, never less
        assert leaves_out or paired.p >= 0.05
        seen.add(leaves_out)
    assert seen == {True, False}


def test_what_is_needed_to_find_a_difference_finds_it():
    random = np.random.default_rng(6)
    ours, theirs = random.random((80, 3)) + 0.1, random.random((80, 3))
    paired = statistics.paired_test(by_seed(ours), by_seed(theirs))
    table = statistics.crossed(ours - theirs)
    # quantiles of a two-sided test at 5 % that finds four of five: 1.960 + 0.842
    reach = 2.8016

    lasting, chance = max(0, table.ms_items - table.ms_rest) / 3, table.ms_rest
    seeds = max(0, table.ms_seeds - table.ms_rest) / 80

    def variance(n, s):
        return lasting / n + seeds / s + chance / (n * s)

    assert paired.detectable == pytest.approx(reach * paired.stderr, rel=1e-4)
    for n, s in ((paired.items_needed, 3), (80, paired.seeds_needed)):
        assert reach * variance(n, s) ** 0.5 <= abs(paired.difference) * 1.001
    assert reach * variance(paired.items_needed - 1, 3) ** 0.5 > abs(paired.difference) * 0.999


def test_where_items_alone_hide_a_difference_no_number_of_seeds_is_said_to_find_it():
    random = np.random.default_rng(7)
    items = random.normal(0, 1, (50, 1))

    paired = statistics.paired_test(by_seed(items + random.normal(0.05, 0.01, (50, 3))), by_seed(np.zeros((50, 3))))

    assert paired.seeds_needed is None
    assert paired.items_needed > 50


# ---------------------------------------------------------------- the gap


def test_the_gaps_interval_ends_where_the_rest_of_the_way_can_just_be_told_from_nothing():
    random = np.random.default_rng(8)
    student, teacher = random.random(60), random.random(60) + 0.5
    method = (0.6 * student + 0.4 * teacher + random.normal(0, 0.2, 60))[:, None]

    gap = statistics.gap_interval([Three(method, student, teacher)])

    assert gap.closed == pytest.approx((method.mean() - student.mean()) / (teacher.mean() - student.mean()))
    for end in (gap.low, gap.high):
        rest = method[:, 0] - student - end * (teacher - student)
        assert scipy.stats.ttest_1samp(rest, 0).pvalue == pytest.approx(0.05)


def test_a_gap_that_cannot_be_told_from_nothing_has_no_interval():
    random = np.random.default_rng(9)
    student, method = random.random(30), random.random((30, 1))
    teacher = student + random.normal(0.02, 0.4, 30)
    assert scipy.stats.ttest_rel(student, teacher).pvalue > 0.05

    assert statistics.gap_interval([Three(method, student, teacher)]) is None


def test_the_gaps_interval_holds_the_truth_in_93_to_97_of_100_boards():
    random = np.random.default_rng(10)
    held = []
    for _ in range(2000):
        level = random.normal(0, 1.5, (150, 1))
        low, high = (random.random((150, 1)) < logistic(level + shift) for shift in (-0.8, 0.8))
        # halfway, in chances and not in answers
        chance = (logistic(level - 0.8) + logistic(level + 0.8)) / 2
        method = (random.random((150, 3)) < chance).astype(float)
        gap = statistics.gap_interval([Three(method, low[:, 0].astype(float), high[:, 0].astype(float))])
        held.append(gap.low <= 0.5 <= gap.high)

    assert 0.93 <= np.mean(held) <= 0.97


def test_several_suites_count_alike_however_many_items_they_have():
    tables = [np.full((10, 1), 0.2), np.full((1000, 1), 0.8)]

    low, high = statistics.interval([statistics.crossed(table) for table in tables])

    assert (low, high) == pytest.approx((0.5, 0.5))


def test_all_kinds_of_overlap_of_seeds_are_lined_up():
    values = np.random.default_rng(11).integers(0, 2, (20, 3)).astype(float)
    ours = by_seed(values)

    found = {
        (fixed, seeds): statistics.paired_test(ours, dict.fromkeys(seeds, ours[0]), fixed=fixed).seeds
        for fixed, seeds in itertools.product((True, False), ((0,), (1, 2), (7,)))
    }

    assert found == {
        (True, (0,)): 3,
        (True, (1, 2)): 3,
        (True, (7,)): 3,
        (False, (0,)): 1,
        (False, (1, 2)): 2,
        (False, (7,)): 1,
    }

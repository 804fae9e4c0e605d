"""Many tests at once: Holm against statsmodels, and boards on which nothing is true."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from pkt_bench_leaderboards.statistics import Answers, compare_all, holm
from pkt_bench_leaderboards.statistics.paired import differences

BOARDS = 2000
METHODS = 3


def logistic(x):
    return 1 / (1 + np.exp(-x))


def answered(random, chances):
    values = (random.random(chances.shape) < chances).astype(float)
    return {seed: Answers(np.arange(len(values)), values[:, seed]) for seed in range(values.shape[1])}


@settings(max_examples=12, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30).map(tuple))
def test_holm_is_statsmodels_holm(ps):
    assert holm(ps) == pytest.approx(multipletests(ps, method="holm")[1], abs=1e-12)


@pytest.mark.parametrize(("seeds", "of_seeds"), [(1, 0.0), (3, 0.0), (3, 0.4)])
def test_of_2000_null_boards_at_most_55_in_1000_call_any_method_different_from_the_student(seeds, of_seeds):
    random = np.random.default_rng(seeds)
    families = single = 0
    for _ in range(BOARDS):
        level = random.normal(0, 2, (120, 1))
        # a seed's part averages out to the student's own chance
        student = answered(random, logistic(level / np.sqrt(1 + 0.346 * of_seeds**2)))
        found = compare_all(
            {
                method: {
                    "suite": differences(
                        answered(random, logistic(level + random.normal(0, of_seeds, (1, seeds)))), student, fixed=True
                    )
                }
                for method in range(METHODS)
            }
        )
        families += any(paired.p_holm < 0.05 for paired in found.values())
        single += sum(paired.p < 0.05 for paired in found.values())

    assert families / BOARDS <= 0.055
    assert single / BOARDS / METHODS <= 0.055


@pytest.mark.parametrize("of_seeds", [0.1, 0.5])
def test_of_2000_null_boards_at_most_55_in_1000_put_any_method_ahead_of_another(of_seeds):
    random = np.random.default_rng(0)
    wrong = 0
    for _ in range(BOARDS):
        level = random.normal(0, 2, (100, 1))
        runs = [answered(random, logistic(level + random.normal(0, of_seeds, (1, 3)))) for _ in range(METHODS)]
        pairs = {(a, b): {"suite": differences(runs[a], runs[b])} for a, b in itertools.combinations(range(METHODS), 2)}
        wrong += any(paired.p_holm < 0.05 for paired in compare_all(pairs, independent=METHODS - 1).values())

    assert wrong / BOARDS <= 0.055


def test_a_difference_of_fifteen_points_is_found_in_a_family_of_forty_with_three_seeds():
    random = np.random.default_rng(1)
    level = random.normal(0, 2, (200, 1))
    student = answered(random, logistic(level))
    family = {
        method: {
            "suite": differences(answered(random, logistic(level + shift + np.zeros((1, 3)))), student, fixed=True)
        }
        for method, shift in enumerate([1.3] + [0.0] * 39)
    }

    found = compare_all(family)

    assert found[0].p_holm < 0.05
    assert sum(paired.p_holm < 0.05 for paired in found.values()) == 1

"""The border scan against sums taken one window at a time."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from pkt_bench_nuggets import window
from pkt_bench_nuggets.window import best_window


def by_table(scores, rows, columns):
    """The published form: a summed-area table, then the first strict maximum in row-major order."""
    table = torch.nn.functional.pad(scores.double().cumsum(0).cumsum(1), (1, 0, 1, 0))
    best, place = -math.inf, None
    for i in range(scores.shape[0] - rows + 1):
        for j in range(scores.shape[1] - columns + 1):
            total = float(table[i + rows, j + columns] - table[i, j + columns] - table[i + rows, j] + table[i, j])
            if total > best:
                best, place = total, (i, j)
    return (*place, best)


@st.composite
def matrices(draw):
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    rows, columns = draw(st.integers(1, height)), draw(st.integers(1, width))
    largest = draw(st.sampled_from([1, 3, 1000]))  # small integers make ties
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return torch.randint(0, largest + 1, (height, width), generator=random).float(), rows, columns


@given(matrices())
@settings(deadline=None, max_examples=300)
def test_the_window_is_the_published_one_on_integer_matrices_with_ties(case):
    scores, rows, columns = case

    found = best_window(scores, rows, columns)

    assert (found.row, found.column, found.total) == by_table(scores, rows, columns)


@pytest.mark.parametrize("where", [0, 1, window.STRIP, window.STRIP + 1, 2 * window.STRIP + 30])
def test_the_window_is_the_float64_one_in_whichever_strip_it_lies(where):
    torch.manual_seed(0)
    scores = (torch.randn(2 * window.STRIP + 90, 70) * torch.randn(70)).abs()
    scores[where : where + 60, 11:61] += 50

    found = best_window(scores, 60, 50)

    row, column, total = by_table(scores, 60, 50)
    assert (found.row, found.column) == (row, column) == (where, 11)
    assert found.total == pytest.approx(total, rel=1e-6)


def test_all_equal_scores_give_the_first_corner():
    found = best_window(torch.full((300, 20), 0.1), 120, 7)

    assert (found.row, found.column) == (0, 0)
    assert found.contrast == pytest.approx(1.0)


def test_a_window_as_large_as_the_matrix_has_one_place():
    scores = torch.arange(12.0).reshape(3, 4)

    found = best_window(scores, 3, 4)

    assert (found.row, found.column, found.total, found.mean) == (0, 0, 66.0, 66.0)


def test_contrast_is_the_best_sum_over_the_mean_sum():
    scores = torch.tensor([[1.0, 2.0, 6.0]])

    found = best_window(scores, 1, 1)

    assert (found.column, found.contrast) == (2, 2.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [(0, 0), (9, 9), (5, 0)])
def test_a_score_that_is_not_finite_is_refused_wherever_it_is(bad, place):
    scores = torch.ones(10, 10)
    scores[place] = bad

    with pytest.raises(ValueError, match="NaN or infinity"):
        best_window(scores, 4, 4)


def test_a_window_larger_than_the_matrix_is_refused():
    with pytest.raises(ValueError, match="5 x 2 does not fit a matrix of 4 x 4"):
        best_window(torch.ones(4, 4), 5, 2)

import pytest
import torch

from docs.tutorial.step_7_stage import explained


def test_rows_that_are_sent_exactly_are_explained_in_full():
    ours = torch.randn(40, 4)

    assert explained(ours, ours) == 1


def test_sending_every_token_the_mean_explains_nothing():
    ours = torch.randn(40, 4)

    assert explained(ours.mean(dim=0).expand(40, 4), ours) == pytest.approx(0, abs=1e-6)


def test_noise_explains_less_than_nothing():
    ours, noise = torch.randn(40, 4), torch.randn(40, 4)

    assert explained(noise, ours) < 0

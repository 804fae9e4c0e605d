"""A sweep whose processes are killed at random ends as if nothing had happened: see `kills.py` for the long form."""

import random

import pytest

from faults import kills


@pytest.mark.slow
def test_random_kills_leave_no_trace(pico, warm, tmp_path):
    seeds, count = 3, 8
    calm = tmp_path / "calm"
    assert warm(*kills.arguments(pico.plugin, calm, seeds)).code == 0
    expected = kills.picture(calm)
    sweep = kills.Sweep(pico.plugin, tmp_path / "runs", seeds)

    hit = kills.disturb(sweep, count, random.Random(20261126))

    assert sum(hit.values()) >= 3
    kills.check(sweep, expected, 3 * seeds)

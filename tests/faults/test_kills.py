"""A sweep whose processes are killed at random ends as if nothing had happened: see `kills.py` for the long form."""

import random
import subprocess

import pytest

from faults import kills


@pytest.mark.slow
def test_random_kills_leave_no_trace(pico, tmp_path):
    seeds, count = 3, 8
    calm = tmp_path / "calm"
    subprocess.run(
        kills.command(pico.plugin, calm, seeds), env=kills.environment(), check=True, capture_output=True, timeout=300
    )
    expected = kills.picture(calm)
    sweep = kills.Sweep(pico.plugin, tmp_path / "runs", seeds)

    hit = kills.disturb(sweep, count, random.Random(20261126))

    assert sum(hit.values()) >= 3
    kills.check(sweep, expected, 3 * seeds)

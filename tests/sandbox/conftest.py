"""Every sandbox that holds on this machine, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pkt_bench.sandbox import Refusal, Sandbox, probe
from pkt_bench.sandbox.backends import DEFAULT_BACKENDS
from sandbox.targets import Range

_BY_NAME = {each.name: each for each in DEFAULT_BACKENDS}


@pytest.fixture(scope="session", params=sorted(_BY_NAME))
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    backend = _BY_NAME[request.param]
    found = probe([backend])
    if isinstance(found, Refusal):
        pytest.skip(f"{request.param}: {found.backends[0].why}")
    return found


@pytest.fixture
def aim(tmp_path: Path) -> Iterator[Range]:
    there = Range(tmp_path)
    yield there
    there.close()

"""The small world that documents are tried in, made once."""

import pytest

from docs.workplace import World


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("world"))
    yield made
    made.close()

"""Fixtures for authors of plugins: pytest finds them wherever pkt-bench is installed.

tiny_pair         a Pair of random models of a few thousand weights, saved once a session
pkt_bench_run     runs methods with the real `pkt-bench run`, and gives their rows and students
pkt_bench_check   holds a method to its contract, as `pkt-bench plugins check` does
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pkt_bench.contract import Report
    from pkt_bench.domain import Pair
    from pkt_bench.testing import Ran


@pytest.fixture(scope="session")
def tiny_pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A teacher of 3 layers and width 48, a student of 2 and 32, Llama-like, with one byte tokenizer (257 tokens)."""
    from pkt_bench.testing import pico_pair

    return pico_pair(tmp_path_factory.mktemp("tiny-pair"), name="tiny-pair")


@pytest.fixture
def pkt_bench_run(tmp_path_factory: pytest.TempPathFactory, tiny_pair: Pair) -> Callable[..., Ran]:
    """`pkt_bench_run("mine", settings={"rank": 4})` runs one cell and gives what it left, a `pkt_bench.testing.Ran`.

    See `pkt_bench.testing.run_methods` for what else it takes; the pair is `tiny_pair` and the suite one of letters
    unless they are named.
    """
    from pkt_bench.testing import run_methods

    def run(*methods: str, pair: Pair | str = tiny_pair, out: Path | None = None, **more: Any) -> Ran:  # noqa: ANN401
        return run_methods(*methods, pair=pair, out=out or tmp_path_factory.mktemp("runs"), **more)

    return run


@pytest.fixture
def pkt_bench_check() -> Callable[..., Report]:
    """`pkt_bench_check("mine")` gives a `pkt_bench.contract.Report`; `assert report.keeps, report` says all of it."""

    def check(
        method: str,
        *,
        settings: Mapping[str, Any] | None = None,
        plugin: Path | Sequence[Path] = (),
        pairs: Sequence[str] = (),
        suite: str = "",
    ) -> Report:
        from pkt_bench import contract
        from pkt_bench.testing import assigned

        files = [plugin] if isinstance(plugin, Path) else list(plugin)
        (report,) = contract.check(
            [method], files, assignments=assigned(method, settings or {}), pairs=pairs, suite=suite
        )
        return report

    return check

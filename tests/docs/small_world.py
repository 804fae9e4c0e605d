"""The embedded pair and its suites by their own names, of pico size: what the commands of documents run on in tests.

Installed in the place of `pkt_bench_tiny`, so that a command stays as its document has it and takes seconds.
"""

from dataclasses import replace
from pathlib import Path

from pkt_bench import ModelRef, Pair, hookimpl
from pkt_bench.testing import pico_suite

HERE = Path(__file__).parent
SUITES = ("arithmetic", "code", "knowledge")


@hookimpl
def pkt_bench_pairs():
    yield Pair(
        "tiny",
        "random models of a few thousand weights",
        *(ModelRef(HERE / "pico" / role, name=f"tiny-{role}") for role in ("teacher", "student")),
    )


@hookimpl
def pkt_bench_suites():
    for name in SUITES:
        yield replace(pico_suite(HERE, name=name), summary="letters, as if they were more")

"""The checks that need torch and lm-eval, made before the first cell in a process forked from the cells' own server."""

from __future__ import annotations

from collections.abc import Sequence

from pkt_bench.domain import Job
from pkt_bench.executors.asking import ask
from pkt_bench.preflight import check_heavy


def check(jobs: Sequence[Job]) -> None:
    """See `preflight.check_heavy`. Where its process is killed, the cells themselves will tell what is wrong.

    Raises:
        PktBenchError: what was found, of the worst kind among it.
    """
    if jobs:
        # one job of each suite and pair says all there is to say
        distinct = list({(job.pair, job.suite): job for job in jobs}.values())
        ask(check_heavy, distinct, threads=jobs[0].cell.knobs.threads)

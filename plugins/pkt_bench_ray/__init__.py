"""`--executor ray`: cells on a Ray cluster, each a task with its share of the processors and GPUs.

Without an address a cluster of this machine alone is started for the run and taken down with it. Results travel through
the run folder, which every node has to see under the same path, as it has to see the checkpoints.

  cluster.py  starts or joins one, and says in time what it can never do
  driver.py   hands out the cells, follows them, tries again what was lost with a node
  worker.py   one cell, on a node
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from pkt_bench import Executor, Settings, hookimpl

if TYPE_CHECKING:
    from pkt_bench import Job, Moments


class RaySettings(Settings):
    """Which cluster, and what of it a cell gets."""

    address: str | None = Field(default=None, pattern=r"^(auto|[^\s/]+:[0-9]{1,5})$")
    """A running cluster to join: auto, or HOST:PORT as `ray start --head` says it; unset starts one for this run."""
    gpus_per_cell: float | None = Field(default=None, ge=0, le=64)
    """GPUs of a cell; below 1, several cells share one. Unset means 0 on the processor and 1 on cuda."""
    cpus_per_cell: float | None = Field(default=None, gt=0, le=1024)
    """Processors of a cell; unset means as many as it has threads."""
    retries: int = Field(default=2, ge=0, le=100)
    """How often a cell is tried again whose node or worker died under it."""

    @field_validator("gpus_per_cell")
    @classmethod
    def _whole(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and value != int(value):
            raise ValueError("a share of one GPU is wanted, or whole ones")
        return value


def missing() -> str | None:
    """What to install where Ray is not, found out without importing it."""
    return None if importlib.util.find_spec("ray") else "Ray is not installed: pip install 'pkt-bench[ray]'"


def execute(jobs: Sequence[Job], slots: int | None, moments: Moments, settings: RaySettings) -> None:
    """See `Execute`."""
    from pkt_bench_ray.driver import follow

    if jobs:
        follow(jobs, slots, moments, settings)


@hookimpl
def pkt_bench_executors() -> Iterable[Executor]:
    """Offers `ray`."""
    yield Executor(
        "ray", "a task on a Ray cluster for each cell: several machines, shared GPUs", execute, RaySettings, missing
    )

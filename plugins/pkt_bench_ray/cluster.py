"""A Ray cluster: started for a run or joined, and asked whether it could ever run a cell."""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pkt_bench import Job, RequestError, UnavailableError

if TYPE_CHECKING:
    from pkt_bench_ray import RaySettings

CONNECT_SECONDS = 5.0
# what Ray keeps of results in memory: ours are a few kilobytes, the rest goes through the run folder
OBJECT_STORE_BYTES = 100 << 20
OF_OUR_OWN = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # cells that ask for no GPU keep the environment they have; the other way is going, and warns of it
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # the limit of a cell's memory is the harness's own affair; Ray would end the process that watches it instead
    "RAY_memory_monitor_refresh_ms": "0",
    # the one switch by which Ray listens on the loopback address alone, whatever system it names
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


@dataclass(frozen=True)
class Share:
    """What one cell takes of a node."""

    cpus: float
    gpus: float

    @classmethod
    def of(cls, job: Job, settings: RaySettings) -> Share:
        """What `settings` say; where they say nothing, the cell's threads, and a GPU if it runs on one."""
        knobs = job.cell.knobs
        on_cuda = knobs.device.partition(":")[0] == "cuda"
        return cls(
            cpus=knobs.threads if settings.cpus_per_cell is None else settings.cpus_per_cell,
            gpus=float(on_cuda) if settings.gpus_per_cell is None else settings.gpus_per_cell,
        )

    def __str__(self) -> str:
        return f"{self.cpus:g} processors and {self.gpus:g} GPUs"

    def fits(self, resources: dict[str, float]) -> int:
        """How many cells find room in a node's `resources` at once."""
        counts = [resources.get("CPU", 0.0) / self.cpus]
        if self.gpus:
            counts.append(resources.get("GPU", 0.0) / self.gpus)
        return math.floor(min(counts) + 1e-6)


@contextmanager
def connected(settings: RaySettings, share: Share, slots: int | None) -> Iterator[Any]:
    """The `ray` module, connected; what was started is taken down at the end, what was joined is left.

    Raises:
        UnavailableError: there is no such cluster, or none of its nodes has room for a single cell.
    """
    if settings.address is None:
        for name, value in OF_OUR_OWN.items():
            os.environ.setdefault(name, value)
    elif settings.address != "auto":
        _check_reachable(settings.address)
    import ray

    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": "pkt-bench"}
    try:
        if settings.address is None:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            ray.init(
                address="local",
                num_cpus=max(cores, math.ceil(share.cpus * (slots or 1))),
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                **quiet,
            )
        else:
            ray.init(address=settings.address, **quiet)
    except Exception as error:
        ray.shutdown()
        where = "be started here" if settings.address is None else f"be joined at {settings.address}"
        raise UnavailableError(f"no Ray cluster could {where}: {_first_lines(error)}") from error
    try:
        if not room(ray, share):
            raise UnavailableError(_no_room(ray, share))
        yield ray
    finally:
        ray.shutdown()


def room(ray: Any, share: Share) -> int:  # noqa: ANN401 - the module
    """How many cells the nodes that live now could run at once."""
    return sum(share.fits(node["Resources"]) for node in ray.nodes() if node["Alive"])


def check_device(job: Job) -> None:
    """Which GPU a cell gets is for Ray to say: inside a task the ones it was given are numbered from 0.

    Raises:
        RequestError: the run names one.
    """
    device = job.cell.knobs.device
    if device.startswith("cuda:"):
        raise RequestError(f"--device {device}: with --executor ray, Ray chooses the GPU. Say --device cuda.")


def _no_room(ray: Any, share: Share) -> str:  # noqa: ANN401 - the module
    nodes = [
        f"{node['NodeManagerAddress']}: {node['Resources'].get('CPU', 0):g} processors,"
        f" {node['Resources'].get('GPU', 0):g} GPUs"
        for node in ray.nodes()
        if node["Alive"]
    ]
    return (
        f"no node of the Ray cluster can ever run a cell, which takes {share}.\n  Nodes: {'; '.join(nodes)}"
        "\n  Lower --set ray.gpus_per_cell=... or --set ray.cpus_per_cell=..., or join a larger cluster with"
        " --set ray.address=..."
    )


def _check_reachable(address: str) -> None:
    """Ray itself tries for a minute, and then ends the process."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UnavailableError(
            f"no Ray cluster answers at {address}: {error}."
            "\n  Start one with `ray start --head` and give the address it says, or leave --set ray.address out to"
            " start one of this machine for the run."
        ) from None


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__

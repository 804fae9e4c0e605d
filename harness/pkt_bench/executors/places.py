"""What each slot has of the machine: on a CPU a share of the memory, on accelerators a device."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

import psutil

VISIBLE = "CUDA_VISIBLE_DEVICES"
# the rest is for the run itself, for pages of files, and for whoever else is on the machine
USED_SHARE = 0.9
_GROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_share(slots: int) -> int:
    """What a cell of each of `slots` may hold in memory, in bytes, so that together they fit the machine."""
    total = psutil.virtual_memory().total
    for file in _GROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int(Path(file).read_text(encoding="ascii")))
    return int(total * USED_SHARE) // slots


def places(device: str, slots: int, jobs: int) -> list[Mapping[str, str]]:
    """The environment of each slot: `slots` of them on a CPU; on GPUs one for each that may be used.

    `cuda` is every GPU that this process may see, `cuda:1` that one alone; `slots` beyond the GPUs share them in turn.
    There are never more slots than `jobs`.
    """
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return [{} for _ in range(max(1, min(slots, jobs)))]
    devices = visible_gpus()
    if index:
        devices = devices[int(index) : int(index) + 1] or [index]
    count = max(1, min(max(slots, len(devices)), jobs))
    return [{VISIBLE: devices[number % len(devices)]} for number in range(count)]


def visible_gpus() -> list[str]:
    """The GPUs this process may use, as `CUDA_VISIBLE_DEVICES` names them; at least one."""
    named = os.environ.get(VISIBLE)
    if named:
        return [name.strip() for name in named.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(max(1, torch.cuda.device_count()))]

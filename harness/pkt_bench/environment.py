"""Where a cell runs: random state, threads, memory, and what a row records of the machine and its libraries."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "transformers", "peft", "lm_eval", "tokenizers", "numpy")


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and torch (all devices) with `seed`, which is below 2**32."""
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries we call read the global state
    torch.manual_seed(seed)


def pin_threads(threads: int) -> None:
    """Pins torch to so many intra-op threads: another number of threads gives other bits (trap 14)."""
    import torch

    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)


def peak_rss_bytes() -> int:
    """The largest resident set this process has had, in bytes."""
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kibibytes if sys.platform == "darwin" else kibibytes * 1024


def peak_device_bytes(device: str) -> int | None:
    """The most memory torch has held on an accelerator, in bytes; None on a CPU."""
    import torch

    return torch.cuda.max_memory_allocated(device) if device.startswith("cuda") else None


def library_versions() -> dict[str, str]:
    """Versions of the libraries that can move a number, from their metadata: nothing is imported."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions


def describe(device: str, threads: int) -> dict[str, Any]:
    """What a row records of where it was made."""
    import torch

    cuda = device.startswith("cuda")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "hardware": torch.cuda.get_device_name(device) if cuda else cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": threads,
        "git_revision": git_revision(),
        **library_versions(),
    }


@functools.cache
def cpu_name() -> str:
    """The processor as the machine names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@functools.cache
def git_revision() -> str | None:
    """The revision of the pkt-bench checkout this code runs from; None where it was installed from a wheel."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    answer = subprocess.run(
        ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False, timeout=10
    )
    return answer.stdout.strip() or None

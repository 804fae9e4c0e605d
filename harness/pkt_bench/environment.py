"""Where a cell runs: random state, threads, memory, and what a row records of the machine and its libraries."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TOKENS_PER_PASS = {"cpu": 512}
"""Padded tokens of one training pass: on a CPU larger passes leave the cache and cost up to 1.6 times more a token."""
TOKENS_PER_PASS_ELSEWHERE = 16384

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


def pass_tokens(device: str) -> int:
    """Padded tokens of one training pass on a device, where the memory allows it."""
    return TOKENS_PER_PASS.get(device.split(":", maxsplit=1)[0], TOKENS_PER_PASS_ELSEWHERE)


def process_state() -> dict[str, Any]:
    """What a plugin can change for its whole process, beside random state: to see whether it did.

    Environment variables are named with a digest of their value, which may be a secret.
    """
    import torch

    state = {
        "threads": torch.get_num_threads(),
        "default dtype": str(torch.get_default_dtype()),
        "default device": str(torch.get_default_device()),
        "gradients": torch.is_grad_enabled(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "working directory": os.getcwd(),  # noqa: PTH109 - compared as text
        "recursion limit": sys.getrecursionlimit(),
        "file mode mask": _umask(),
    }
    return state | {f"environment {name}": hash(value) for name, value in os.environ.items()}


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What is not as it was, in words: `threads 1 -> 4`, `environment HOME`."""
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [
        name if name.startswith("environment ") else f"{name} {before.get(name)} -> {after.get(name)}"
        for name in sorted(changed)
    ]


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Puts back what a plugin can change for its process: for whoever runs one in a process that goes on after it.

    Random state, threads, default dtype and device, gradients, determinism, environment, working directory. It does
    not undo what was done to classes and modules: only another process does.
    """
    import random

    import numpy as np
    import torch

    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - libraries read it
    threads, dtype, gradients = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    deterministic, device = torch.are_deterministic_algorithms_enabled(), torch.get_default_device()
    environ, folder, mask = dict(os.environ), Path.cwd(), _umask()
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002 - see above
        torch.set_rng_state(kept[2])
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.set_default_device(None if str(device) == "cpu" else device)
        torch.set_grad_enabled(gradients)
        torch.use_deterministic_algorithms(deterministic)
        os.environ.clear()
        os.environ.update(environ)
        os.chdir(folder)
        os.umask(mask)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


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
        "host": platform.node(),
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

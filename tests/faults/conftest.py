"""Distributions of misbehaving plugins, installed for real: found by their entry points on a path of their own."""

import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

HEAD = """
import os, signal, threading, time
from pkt_bench import Method, Settings, Transferred, hookimpl


def scaled(context, factor=1.5):
    import torch
    with torch.no_grad():
        context.pair.student.lm_head.weight *= factor
    return Transferred(context.pair.student)


@hookimpl
def pkt_bench_methods():
    yield Method(NAME, "misbehaves", "post-align", transfer, Settings)
"""

MISBEHAVING = {
    "import-error": """
        raise RuntimeError("the library it stands on is broken")
        """,
    "raiser": """
        def transfer(context):
            raise ValueError("no such layer: 7")
        """,
    "hanger": """
        def transfer(context):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.fork() == 0:
                os.setsid()
                time.sleep(600)
            with context.stage("wait"):
                time.sleep(600)
        """,
    "segfaulter": """
        def transfer(context):
            import ctypes
            ctypes.string_at(0)
        """,
    "glutton": """
        def transfer(context):
            import torch
            held = []
            with context.stage("eat"):
                while True:
                    held.append(torch.ones(16 << 20))
        """,
    "vandal": """
        def transfer(context):
            import torch
            with torch.no_grad():
                context.pair.teacher.lm_head.weight[0, 0] += 1
            return scaled(context)
        """,
    "litterer": """
        def transfer(context):
            import random, sys
            import numpy as np
            import torch
            student = scaled(context)
            for seed in (random.seed, np.random.seed, torch.manual_seed):
                seed(7)
            torch.set_num_threads(3)
            torch.set_default_dtype(torch.float64)
            os.environ["HF_HOME"] = "/nowhere"
            os.environ["LITTER"] = "1"
            os.makedirs("dropped", exist_ok=True)
            os.chdir("/")
            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
            return student
        """,
    "poisoner": """
        def transfer(context):
            return scaled(context, float("nan"))
        """,
}


@dataclass(frozen=True)
class Installed:
    """A folder to put on PYTHONPATH, and the names of the methods that its distributions offer."""

    path: Path
    methods: tuple[str, ...]


def lay_out(folder: Path, name: str, code: str) -> None:
    """A distribution with one module and one entry point, as an installer lays it out."""
    module = f"misbehaving_{name.replace('-', '_')}"
    body = f"NAME = {name!r}\n{HEAD}\n{textwrap.dedent(code)}"
    (folder / f"{module}.py").write_text(body, encoding="utf-8")
    about = folder / f"{module}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(f"[pkt_bench]\n{module} = {module}\n", encoding="utf-8")


@pytest.fixture(scope="session")
def misbehaving(tmp_path_factory):
    """All eight, installed."""
    folder = tmp_path_factory.mktemp("site")
    for name, code in MISBEHAVING.items():
        lay_out(folder, name, code)
    return Installed(folder, tuple(name for name in MISBEHAVING if name != "import-error"))


@pytest.fixture(scope="session")
def install():
    """`install(folder, name, code)`: one more of them, whose code defines `transfer`."""
    return lay_out

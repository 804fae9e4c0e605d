"""Runs cells once more in a program started anew, in which texts have other hashes than in the one that asks.

That program runs what `RUN_DIR/jobs` holds, and writes `RUN_DIR/attempts`.
"""

from __future__ import annotations

import os
import pickle
import site
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pkt_bench.contract.trying import Attempt, tried
from pkt_bench.domain import Job
from pkt_bench.errors import UnavailableError
from pkt_bench.store import Store

JOBS, ATTEMPTS = "jobs", "attempts"
# any number: the program that asks was given one by luck
HASH_SEED = "20240229"


def elsewhere(jobs: Sequence[Job], out: Path) -> list[Attempt]:
    """The same cells into another run folder, run by a program started anew.

    Raises:
        UnavailableError: that program did not come to its end; its last words.
    """
    Store(out).create()
    (out / JOBS).write_bytes(pickle.dumps([replace(job, out=out) for job in jobs]))
    done = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import main; main()", str(out)],
        env=_environment(out / "home"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UnavailableError(f"a second program, to repeat the cells, ended with {done.returncode}: {last}")
    attempts: list[Attempt] = pickle.loads((out / ATTEMPTS).read_bytes())  # noqa: S301 - written a moment ago
    return attempts


def _environment(home: Path) -> dict[str, str]:
    """Another hash of texts and a home of its own: what a method keeps in a user's folders is not there."""
    hub = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return {
        "HF_HOME": str(hub),
        # where programs of this user are installed
        "PYTHONUSERBASE": site.getuserbase(),
        **os.environ,
        "PYTHONHASHSEED": HASH_SEED,
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "PKT_BENCH_HOME": str(home / ".pkt-bench"),
    }


def main() -> None:
    """What that program does, in the run folder that is its argument."""
    out = Path(sys.argv[1])
    jobs = pickle.loads((out / JOBS).read_bytes())  # noqa: S301 - of the program that started this one
    (out / ATTEMPTS).write_bytes(pickle.dumps(tried(jobs)))

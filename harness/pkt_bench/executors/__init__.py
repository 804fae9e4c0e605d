"""Who runs the cells: `inline` in this process, `process` with a process for each phase of each cell."""

from __future__ import annotations

from pkt_bench.executors.base import Execute, Moments
from pkt_bench.executors.inline import execute_inline
from pkt_bench.executors.process import execute_in_processes

EXECUTORS: dict[str, Execute] = {"inline": execute_inline, "process": execute_in_processes}

__all__ = ["EXECUTORS", "Execute", "Moments"]

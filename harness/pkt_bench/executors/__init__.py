"""Who runs the cells: `inline` in this process, `process` with a process for each phase of each cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pkt_bench.domain import Executor
from pkt_bench.errors import UnavailableError, unknown_name
from pkt_bench.executors.base import Execute, Moments
from pkt_bench.executors.inline import execute_inline
from pkt_bench.executors.process import execute_in_processes
from pkt_bench.settings import Settings, parse_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pkt_bench.plugins import Registry

BUILT_IN = {
    executor.name: executor
    for executor in (
        Executor("process", "a process for each phase of each cell; one cell a device", execute_in_processes, Settings),
        Executor("inline", "all in this process, one after another: for debuggers", execute_inline, Settings),
    )
}


def choose(name: str, tables: Mapping[str, Mapping[str, Any]], registry: Registry) -> tuple[Executor, Any]:
    """The executor called `name` with its settings, of those that `tables` give by name and field.

    Raises:
        RequestError: nobody offers it, or a setting is wrong.
        UnavailableError: it cannot be used here.
    """
    own = name.removeprefix("pkt-bench/")
    if own in BUILT_IN:
        executor = BUILT_IN[own]
        given = {**tables.get(own, {}), **tables.get(f"pkt-bench/{own}", {})}
    else:
        offered = {offer.item.name for offer in registry.executors}
        if name.rpartition("/")[2] not in offered:
            raise unknown_name("executor", name, {*BUILT_IN, *offered})
        offer = registry.executors.get(name)
        executor, given = offer.item, offer.given(tables)
    settings = parse_settings(name, executor.settings, given)
    if missing := executor.missing():
        raise UnavailableError(f"--executor {name}: {missing}")
    return executor, settings


__all__ = ["BUILT_IN", "Execute", "Moments", "choose"]

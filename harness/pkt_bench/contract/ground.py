"""The plugin file that the cells of a check load: the suite they are scored on, and how they are killed.

It is copied beside the pairs. Where a run folder has orders for a cell (`work/kills/KEY/orders`, a moment for each
attempt), its transfers end as by `kill -9` when they reach theirs: half of a stage, or the saving of the student.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench import Suite, hookimpl
from pkt_bench.testing import pico_suite

if TYPE_CHECKING:
    from pkt_bench import TransferContext

ORDERS = "orders"
SAVING = "save"


def orders_of(out: Path, key: str) -> Path:
    """The folder with the orders for a cell, and a mark for each that was carried out."""
    return out / "work" / "kills" / key


def marks_of(folder: Path) -> list[Path]:
    """The marks of the kills that these orders led to, in order; each says where."""
    return sorted(folder.glob("*.mark"))


@hookimpl
def pkt_bench_suites() -> Iterable[Suite]:
    """Letters: a suite of a few records, whose training splits and test documents share no prompt."""
    yield pico_suite(Path(__file__).parent)


def _kill_at(moment: str, mark: Path) -> None:
    """Makes this process end at `moment`: half of the stage so called, its end where it tells no parts, or `save`.

    A stage that another cell computed in the meantime is not reached: then it ends at the saving, too.
    """
    from pkt_bench import artifacts, transfer

    def end(where: str) -> Any:  # noqa: ANN401 - it gives nothing back, ever
        mark.write_text(where, encoding="utf-8")
        os.kill(os.getpid(), signal.SIGKILL)

    artifacts.save = lambda *_, **__: end(SAVING)
    if moment == SAVING:
        return
    plain = transfer.TransferContext.stage

    @contextlib.contextmanager
    def stage(context: TransferContext, name: str) -> Iterator[Callable[[float], None]]:
        with plain(context, name) as done:

            def half(fraction: float) -> None:
                if fraction >= 0.5:
                    end(name)
                done(fraction)

            yield half if name == moment else done
            if name == moment:
                end(name)

    transfer.TransferContext.stage = stage  # type: ignore[assignment,method-assign]


def _obey() -> None:
    # a cell works in RUN_DIR/work/scratch/KEY
    here = Path.cwd()
    if here.parent.name != "scratch":
        return
    folder = orders_of(here.parents[2], here.name)
    with contextlib.suppress(OSError):
        orders = json.loads((folder / ORDERS).read_text(encoding="utf-8"))
        carried_out = len(marks_of(folder))
        if carried_out < len(orders):
            _kill_at(orders[carried_out], folder / f"{carried_out}.mark")


_obey()

"""The checks that need torch and lm-eval, made before the first cell in a process forked from the cells' own server."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection

from pkt_bench.domain import Job
from pkt_bench.errors import PktBenchError
from pkt_bench.executors.orphans import end_with_reader
from pkt_bench.executors.phases import server
from pkt_bench.preflight import check_heavy

TRIES = 2


def check(jobs: Sequence[Job]) -> None:
    """See `preflight.check_heavy`. Where its process is killed, the cells themselves will tell what is wrong.

    Raises:
        PktBenchError: what was found, of the worst kind among it.
    """
    if not jobs:
        return
    context = server(jobs[0].cell.knobs.threads)
    for _ in range(TRIES):
        ours, theirs = context.Pipe(duplex=False)
        with ours:
            # the server is made here and passes its mask on: a Ctrl-C of the terminal is the command's affair
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
            try:
                # one job of each suite and pair says all there is to say
                process = context.Process(target=_main, args=(_distinct(jobs), theirs))
                process.start()
            except (EOFError, OSError):
                continue
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                theirs.close()
            found: PktBenchError | str | None = None
            with contextlib.suppress(EOFError, OSError):
                found = ours.recv()
            process.join()
        if isinstance(found, PktBenchError):
            raise found
        if found is not None:
            return


def _distinct(jobs: Sequence[Job]) -> list[Job]:
    return list({(job.pair, job.suite): job for job in jobs}.values())


def _main(jobs: Sequence[Job], pipe: Connection) -> None:
    os.setsid()
    end_with_reader(pipe)
    # what libraries say while they load is no concern of the reader
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    try:
        check_heavy(jobs)
    except PktBenchError as error:
        pipe.send(error)
    else:
        pipe.send("all is well")
    pipe.close()
    os._exit(0)

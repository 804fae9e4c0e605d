"""Asks a process forked from the cells' own server, which has torch and lm-eval imported, and ends with its answer."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from pkt_bench.errors import PktBenchError
from pkt_bench.executors.orphans import end_with_reader
from pkt_bench.executors.phases import server

TRIES = 2


def ask(question: Callable[..., Any], *arguments: Any, threads: int = 1) -> tuple[Any, ...]:  # noqa: ANN401 - any that pickle
    """What `question(*arguments)` gives there, as a tuple of one; an empty one where its process was killed each time.

    Raises:
        PktBenchError: what the question raised.
    """
    context = server(threads)
    for _ in range(TRIES):
        ours, theirs = context.Pipe(duplex=False)
        with ours:
            # the server is made here and passes its mask on: a Ctrl-C of the terminal is the command's affair
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
            try:
                process = context.Process(target=_main, args=(question, arguments, theirs))
                process.start()
            except (EOFError, OSError):
                continue
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                theirs.close()
            found: PktBenchError | tuple[Any, ...] = ()
            with contextlib.suppress(EOFError, OSError):
                found = ours.recv()
            process.join()
        if isinstance(found, PktBenchError):
            raise found
        if found:
            return found
    return ()


def _main(question: Callable[..., Any], arguments: tuple[Any, ...], pipe: Connection) -> None:
    os.setsid()
    end_with_reader(pipe)
    # what libraries say while they load is no concern of the reader
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    try:
        answer = question(*arguments)
    except PktBenchError as error:
        pipe.send(error)
    else:
        pipe.send((answer,))
    pipe.close()
    os._exit(0)

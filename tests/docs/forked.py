"""Runs `pkt-bench` and `pytest`, each command in a process that is forked from here, where the imports are done.

Reads a JSON object a line (`program` and `words`, `folder`, `site`: a folder of installed packages, `streams`: the
paths of stdin, stdout and stderr) and answers with the exit code. So a command costs milliseconds instead of half a
second, and cells fork from a server that is forked from here as well and serves all commands, instead of one for each
command, which would take eight processor seconds to start.
"""

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import signal
import sys
import termios
import time
import traceback
from multiprocessing import forkserver, resource_tracker, util
from pathlib import Path

import pytest

from pkt_bench import cli, plugins
from pkt_bench.executors.phases import server

LOADED = ("pkt_bench.executors.preload", "pkt_bench.planning", "pkt_bench.store", "pkt_bench_leaderboards.board")
SECONDS = 300
PROGRAMS = {"pkt-bench": cli.main, "pytest": pytest.console_main}


def start_server():
    """Starts the server that cells fork from as a fork of this process, which is what it would be after its imports."""

    def fork(_, __, handed_over):
        if child := os.fork():
            return child
        kept = {0, 1, 2, resource_tracker.getfd(), *handed_over}
        for other in {int(entry.name) for entry in Path("/proc/self/fd").iterdir()} - kept:
            with contextlib.suppress(OSError):
                os.close(other)
        try:
            forkserver.main(*handed_over, [])
        finally:
            os._exit(0)

    resource_tracker.ensure_running()
    start, util.spawnv_passfds = util.spawnv_passfds, fork
    forkserver.ensure_running()
    util.spawnv_passfds = start


def answer(order):
    """Runs a command, and gives its exit code once its process has ended; 124 where it had to be ended."""
    child = os.fork()
    if child == 0:
        become(order)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 124


def become(order):
    """Is the command from here on."""
    os.setsid()
    os.chdir(order["folder"])
    sys.path.insert(0, order["site"])
    for number, path in enumerate(order["streams"]):
        opened = os.open(path, os.O_RDWR | os.O_APPEND)
        if number == 0 and os.isatty(opened):
            fcntl.ioctl(opened, termios.TIOCSCTTY, 0)
        os.dup2(opened, number)
        os.close(opened)
    # ours know of the streams they were opened on, and not of these
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    # the server was started by our parent, who alone may wait for it
    forkserver._forkserver.ensure_running = lambda: None
    sys.argv = [order["program"], *order["words"]]
    code = 1
    try:
        code = PROGRAMS[order["program"]]() or 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - whatever it is, the command has ended with it
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    server(threads=1)
    for name in LOADED:
        importlib.import_module(name)
    # what every cell would work out anew: plugins with their settings, and how transformers names weights
    plugins.load()
    importlib.import_module("transformers.conversion_mapping").get_checkpoint_conversion_mapping("llama")
    # a collection of garbage in a fork would look at everything there is here, and so copy it
    gc.collect()
    gc.freeze()
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    start_server()
    for line in sys.stdin:
        print(answer(json.loads(line)), file=said, flush=True)
    forkserver._forkserver._stop()

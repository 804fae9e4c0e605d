"""One process that runs many commands: what its first one has to load, the others find loaded.

Every line that comes in asks for a command; it runs as `pkt-bench` does, with files for stdout and stderr, and its exit
code goes back. Cells are forked from the server of the first command, so their processes are as fresh as ever. Not for
tests of how commands start, are stopped, or find what is installed: those want a process of their own.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from multiprocessing import forkserver
from pathlib import Path


class Commands:
    """The asking side: `ask` gives exit code, stdout and stderr of a command."""

    def __init__(self, environ):
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=environ,
                start_new_session=True,
            )
        self._socket = ours
        self._lines = ours.makefile("rw", encoding="utf-8")

    def ask(self, arguments, cwd, env, timeout):
        self._socket.settimeout(timeout)
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder) / "out", Path(folder) / "err"
            asked = [
                list(map(str, arguments)),
                str(out),
                str(err),
                str(cwd or Path.cwd()),
                {name: str(env[name]) for name in env},
            ]
            self._lines.write(json.dumps(asked) + "\n")
            self._lines.flush()
            code = self._lines.readline()
            assert code, f"the process is gone: {err.read_text(encoding='utf-8')}"
            return int(code), out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")

    def close(self):
        self._lines.close()
        self._socket.close()
        self._process.wait(30)


def obey(arguments, out, err, cwd, env):
    """Runs one command with its own stdout and stderr, and leaves the environment as it was."""
    from pkt_bench.cli import main
    from pkt_bench.executors.phases import server

    environ, code = dict(os.environ), 0
    os.chdir(cwd)
    if env and arguments[0] == "run":
        # it keeps the environment that it starts with, which later commands are to find as it was
        server(threads=1)
        forkserver.ensure_running()
    os.environ.update(env)
    for stream, path in ((1, out), (2, err)):
        with Path(path).open("wb") as file:
            os.dup2(file.fileno(), stream)
    sys.argv = ["pkt-bench", *arguments]
    try:
        main()
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.environ.clear()
        os.environ.update(environ)
    return code


if __name__ == "__main__":
    # as in a terminal, whatever the test process does with it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with socket.socket(fileno=int(sys.argv[1])) as asked, asked.makefile("rw", encoding="utf-8") as lines:
        os.set_inheritable(asked.fileno(), False)
        for line in lines:
            lines.write(f"{obey(*json.loads(line))}\n")
            lines.flush()

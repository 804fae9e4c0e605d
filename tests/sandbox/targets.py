"""What hostile programs are aimed at, and whether it came to harm; attacks that are tried from both sides."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from pathlib import Path

from pkt_bench.sandbox import Limits

TIGHT = Limits(wall_seconds=3.0, cpu_seconds=2.0, memory_bytes=256 * 1024**2, file_bytes=1024**2)


class Range:
    """What there is to attack."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secret = folder / "secret.txt"
        self.secret.write_text("expected answers")
        self.secret.chmod(0o600)
        self.owned = folder / "owned"
        self.owned.mkdir()
        (self.owned / "keep").write_text("keep")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.local = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.local.bind(str(folder / "dgram.sock"))
        self.local.setblocking(False)
        self.abstract = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.abstract.bind(f"\0pkt-bench-test-{os.getpid()}")
        self.abstract.listen(1)
        self.abstract.setblocking(False)
        self.victim = subprocess.Popen([shutil.which("sleep") or "sleep", "120"], env={"HF_TOKEN": "hf_secret"})
        self.before = self._state()

    def _state(self) -> list[tuple]:
        return sorted(
            (str(each), each.stat().st_mode, each.stat().st_size, each.stat().st_mtime_ns, each.stat().st_uid)
            for each in self.folder.rglob("*")
        )

    def unharmed(self) -> list[str]:
        """What went wrong, in words; empty when nothing did."""
        wrong = []
        if self._state() != self.before or self.secret.read_text() != "expected answers":
            wrong.append("a file was touched")
        for name, listener in (("tcp", self.listener), ("abstract", self.abstract)):
            try:
                listener.accept()[0].close()
                wrong.append(f"{name} listener was reached")
            except BlockingIOError:
                pass
        with contextlib.suppress(BlockingIOError):
            wrong.append(f"socket file received {self.local.recv(100)!r}")
        if self.victim.poll() is not None:
            wrong.append("the other process was killed")
        return wrong

    def close(self) -> None:
        self.victim.kill()
        self.victim.wait()
        for each in (self.listener, self.local, self.abstract):
            each.close()


def numbers(aim: Range) -> dict[str, object]:
    """What an attack may be told about its targets."""
    return {
        "secret": str(aim.secret),
        "folder": str(aim.folder),
        "owned": str(aim.owned),
        "port": aim.listener.getsockname()[1],
        "dgram": str(aim.folder / "dgram.sock"),
        "abstract": f"\0pkt-bench-test-{os.getpid()}",
        "victim": aim.victim.pid,
        "parent": os.getpid(),
    }


ATTEMPT = """
def f(x):
    import os, sys
    try:
        {attack}
    except (OSError, ValueError):  # setrlimit turns "not permitted" into a ValueError
        return "held"
    return "escaped: " + repr(locals().get("got"))
"""

"""A phase's process ends with the process that follows it, however that one ended.

The server it was forked from would not see to that: it lives for as long as any of its children does.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from multiprocessing.connection import Connection


def end_with_reader(pipe: Connection) -> None:
    """Watches the writing end of a pipe: once nobody can read it, this process is killed with the group it leads."""
    threading.Thread(target=_watch, args=(pipe.fileno(),), name="orphan watch", daemon=True).start()


def _watch(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, 0)
    while not any(event & select.POLLERR for _, event in poll.poll()):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)

"""The reference scorer: program and tests in one interpreter, in a fork that is thrown away.

As Hugging Face's code_eval does it: `exec(program + tests)`, any exception is a failure, so is no end within the time.
For programs of which nothing is to be feared.
"""

from __future__ import annotations

import os
import resource
import signal
import warnings


def passes_bare(program: str, tests: str, seconds: float = 5.0) -> bool:
    """Whether the tests come to their end after the program."""
    told, tell = os.pipe()
    number = os.fork()
    if not number:
        said = b"failed"
        try:
            null = os.open("/dev/null", os.O_RDWR)
            for each in range(3):
                os.dup2(null, each)
            resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, seconds)
            warnings.simplefilter("ignore")
            exec(f"{program}\n{tests}", {})
            said = b"passed"
        finally:
            os.write(tell, said)
            os._exit(0)
    os.close(tell)
    said = os.read(told, 16)
    os.close(told)
    os.waitpid(number, 0)
    return said == b"passed"

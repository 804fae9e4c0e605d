"""Raw system calls through ctypes, with errors as OSError."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2
_CAPGET_VERSION_3 = 0x20080522


def syscall(number: int, *arguments: object) -> int:
    """Make the call `number`; raises OSError with the kernel's errno."""
    words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *words))
    if result < 0:
        raise _last_error()
    return result


def prctl(option: int, *arguments: object) -> int:
    """Set or read an attribute of this process, 0 for missing arguments; raises OSError."""
    words: list[object] = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in arguments]
    words += [ctypes.c_ulong(0)] * (4 - len(words))
    result = int(_libc.prctl(ctypes.c_int(option), *words))
    if result < 0:
        raise _last_error()
    return result


def drop_capabilities() -> None:
    """Give up every capability (root in the harness is not root in here); raises OSError."""
    header = (ctypes.c_uint32 * 2)(_CAPGET_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if _libc.capset(header, nothing) < 0:
        raise _last_error()


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))

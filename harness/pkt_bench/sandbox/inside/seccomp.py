"""The system call filter (seccomp-bpf): the allow-list of `syscalls.py` plus conditions on a few arguments."""

from __future__ import annotations

import ctypes
import errno

from . import kernel
from .syscalls import ARCHITECTURES, NUMBERS

_LOAD, _JUMP_EQUAL, _AND, _RETURN = 0x20, 0x15, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_MAX_INSTRUCTIONS = 4096

_CLONE_THREAD = 0x00010000
_CLONE_NEW_NAMESPACES = 0x7E020000
_O_TRUNC, _O_ACCMODE = 0o1000, 0o3
_AF_UNIX, _SOCK_STREAM, _SOCK_TYPE = 1, 1, 0xF
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC. Not F_SETOWN or F_SETSIG, by which a pipe's
# readiness kills any process of the same user.
_FCNTL = (0, 1, 2, 3, 4, 1030)
# TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX. Not FIOSETOWN or SIOCSPGRP: F_SETOWN by another
# name.
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
_PRCTL = (15, 16)  # PR_SET_NAME, PR_GET_NAME

# One instruction: code, jump if true, jump if false, constant.
Instruction = tuple[int, int, int, int]
_REFUSE: Instruction = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
_PERMIT: Instruction = (_RETURN, 0, 0, _ALLOW)


def build(machine: str, own_pid: int) -> list[Instruction]:
    """The filter for `machine` (uname -m), where `own_pid` is the only process that may be signalled.

    Raises LookupError for an architecture without a table.
    """
    if machine not in ARCHITECTURES:
        raise LookupError(f"no system call table for {machine!r}; there is one for {', '.join(sorted(ARCHITECTURES))}")
    column, audit_arch = ARCHITECTURES[machine]
    conditions = _conditions(own_pid)
    program: list[Instruction] = [
        (_LOAD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, audit_arch),
        (_RETURN, 0, 0, _KILL),  # a 32-bit call would be numbered otherwise
        (_LOAD, 0, 0, 0),
    ]
    for name, numbers in NUMBERS.items():
        number = numbers[column]
        if number is not None:
            body = conditions.get(name, [_PERMIT])
            program += [(_JUMP_EQUAL, 0, len(body), number), *body]
    program.append((_RETURN, 0, 0, _ERRNO | errno.ENOSYS))
    return program


def install(program: list[Instruction]) -> None:
    """Put this process under the filter for good; raises OSError."""
    if len(program) > _MAX_INSTRUCTIONS:
        raise ValueError(f"the filter has {len(program)} instructions, the kernel takes {_MAX_INSTRUCTIONS}")
    code = b"".join(
        op.to_bytes(2, "little") + bytes((yes, no)) + constant.to_bytes(4, "little")
        for op, yes, no, constant in program
    )
    buffer = ctypes.create_string_buffer(code, len(code))
    descriptor = _Program(len(program), ctypes.cast(buffer, ctypes.c_void_p))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_SECCOMP, kernel.SECCOMP_MODE_FILTER, ctypes.byref(descriptor))


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def _conditions(own_pid: int) -> dict[str, list[Instruction]]:
    # A plain O_TRUNC with read access is truncation that Landlock before ABI 3 does not see.
    no_blind_truncation = _unless_masked(1, _O_TRUNC | _O_ACCMODE, _O_TRUNC)
    return {
        "openat": _unless_masked(2, _O_TRUNC | _O_ACCMODE, _O_TRUNC),
        "open": no_blind_truncation,
        "fcntl": _if_one_of(1, _FCNTL),
        "ioctl": _if_one_of(1, _IOCTL),
        "prctl": _if_one_of(0, _PRCTL),
        "kill": _if_one_of(0, (own_pid,)),
        "tgkill": _if_one_of(0, (own_pid,)),
        # A thread of this process, never a process.
        "clone": _all([(_low(0), _CLONE_THREAD | _CLONE_NEW_NAMESPACES, _CLONE_THREAD)]),
        # Reading one's own limits: the new limit (argument 2) must be null.
        "prlimit64": _all([(_low(0), None, 0), (_low(2), None, 0), (_high(2), None, 0)]),
        # asyncio wakes itself through one. A stream pair can be connected to nothing else.
        "socketpair": _all([(_low(0), None, _AF_UNIX), (_low(1), _SOCK_TYPE, _SOCK_STREAM)]),
    }


def _low(argument: int) -> int:
    return 16 + 8 * argument


def _high(argument: int) -> int:
    return 20 + 8 * argument


def _if_one_of(argument: int, allowed: tuple[int, ...]) -> list[Instruction]:
    """Permit when the low word of the argument (what the kernel takes of an int) is one of `allowed`."""
    body: list[Instruction] = [(_LOAD, 0, 0, _low(argument))]
    for value in allowed:
        body += [(_JUMP_EQUAL, 0, 1, value), _PERMIT]
    return [*body, _REFUSE]


def _unless_masked(argument: int, mask: int, value: int) -> list[Instruction]:
    """Refuse when argument & mask == value, permit otherwise."""
    return [(_LOAD, 0, 0, _low(argument)), (_AND, 0, 0, mask), (_JUMP_EQUAL, 0, 1, value), _REFUSE, _PERMIT]


def _all(tests: list[tuple[int, int | None, int]]) -> list[Instruction]:
    """Permit when for every (offset, mask, value) the word at offset, masked, equals value."""
    body: list[Instruction] = []
    for offset, mask, value in tests:
        body.append((_LOAD, 0, 0, offset))
        if mask is not None:
            body.append((_AND, 0, 0, mask))
        body += [(_JUMP_EQUAL, 1, 0, value), _REFUSE]
    return [*body, _PERMIT]

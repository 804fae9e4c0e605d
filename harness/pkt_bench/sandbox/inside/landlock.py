"""Landlock: this process may read the given files and folders, write in one folder, and reach nothing else.

Covers opening, creating, removing and linking files; TCP from ABI 4; signals and abstract sockets from ABI 6.
It does not cover changing a file's mode, owner, times or attributes, nor connecting to a socket file: the
system call filter (`seccomp.py`) has to, and does.
"""

from __future__ import annotations

import ctypes
import os
import stat

from . import kernel

TYPE_CHECKING = False  # typing.TYPE_CHECKING without importing typing, which costs every child 9 ms
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same number on every architecture
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1

_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE, _MAKE_REG = 1 << 1, 1 << 2, 1 << 3, 1 << 5, 1 << 8
_TRUNCATE = 1 << 14
_ON_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE
_READ = _READ_FILE | _READ_DIR
# No MAKE_DIR: the folder stays flat, so that measuring and removing it is bounded work.
_OWN_FOLDER = _READ | _WRITE_FILE | _REMOVE_FILE | _MAKE_REG | _TRUNCATE
_REMOVE_DIR, _MAKE_ANY, _REFER = 1 << 4, 0b1111111 << 6, 1 << 13
WRITES = _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_ANY | _REFER | _TRUNCATE


def abi() -> int:
    """The kernel's Landlock version (1, 2, ...); raises OSError where there is none or it is switched off."""
    return kernel.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)


def restrict(readable: Sequence[str], writable_files: Sequence[str], own_folder: str) -> int:
    """Lock this process in for good and return the ABI used. Paths that do not exist are left out."""
    version = abi()
    fs_rights = (1 << rights_known(version)) - 1
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    attributes = (ctypes.c_uint64 * 3)(fs_rights, 0b11 if version >= 4 else 0, 0b11 if version >= 6 else 0)
    ruleset = kernel.syscall(_CREATE_RULESET, ctypes.byref(attributes), size, 0)
    try:
        for path in readable:
            _allow(ruleset, path, _READ & fs_rights)
        for path in writable_files:
            _allow(ruleset, path, (_READ_FILE | _WRITE_FILE) & fs_rights)
        _allow(ruleset, own_folder, _OWN_FOLDER & fs_rights)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return version


def give_up(rights: int, kept_below: Iterable[str]) -> None:
    """Give up `rights` everywhere but at and below the given paths, for this process and all it starts, for good.

    Rights that are not named are left as they were. A path that does not exist is left out.
    """
    attributes = (ctypes.c_uint64 * 1)(rights)
    ruleset = kernel.syscall(_CREATE_RULESET, ctypes.byref(attributes), 8, 0)
    try:
        for path in kept_below:
            _allow(ruleset, path, rights)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def rights_known(version: int) -> int:
    """How many file-system rights this ABI knows; all of them are taken away before some are given back."""
    return {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            rights &= _ON_FILES  # the kernel refuses folder rights on a file
        rule = _PathBeneath(rights, opened)
        kernel.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(opened)

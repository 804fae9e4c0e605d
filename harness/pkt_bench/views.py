"""Saved views: the options of `pkt-bench board` under a name, kept in one file for all run folders of a user."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from pkt_bench import durable
from pkt_bench.errors import RequestError, StorageError, unknown_name

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")


def path() -> Path:
    """The file that views are kept in: under PKT_BENCH_HOME, else where this system keeps a user's settings."""
    home = os.environ.get("PKT_BENCH_HOME")
    if home:
        return Path(home) / "views.json"
    import platformdirs

    return platformdirs.user_config_path("pkt-bench") / "views.json"


def read() -> dict[str, tuple[str, ...]]:
    """Every view by name, in the order of names: its options, word by word.

    Raises:
        StorageError: the file cannot be read, or holds something else.
    """
    file = path()
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        views = {name: tuple(options) for name, options in content["views"].items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"the saved views in {file} cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _broken(file) from None
    if any(not isinstance(word, str) for options in views.values() for word in options):
        raise _broken(file)
    return dict(sorted(views.items()))


def options_of(name: str) -> tuple[str, ...]:
    """The options of one view.

    Raises:
        RequestError: none is called so.
        StorageError: as for `read`.
    """
    views = read()
    if name not in views:
        _refuse_unknown(name, views)
    return views[name]


def save(name: str, options: Sequence[str]) -> bool:
    """Keeps the options under a name; gives whether that replaced others.

    Raises:
        RequestError: the name will not do.
        StorageError: the file cannot be written, or holds something else than views.
    """
    if not _NAME.fullmatch(name):
        raise RequestError(
            f"a view cannot be called '{name}'.\n"
            "  A name has up to 64 letters, digits, - _ and . and begins with a letter or digit."
        )
    file = path()
    try:
        durable.make_folder(file.parent)
        # two commands at once must not lose each other's view
        with durable.locked(file.with_suffix(".lock")):
            views = read()
            replaced = name in views
            _write(file, views | {name: tuple(options)})
    except OSError as error:
        raise _unwritable(file, error) from None
    return replaced


def remove(name: str) -> None:
    """Forgets a view.

    Raises:
        RequestError: none is called so.
        StorageError: as for `save`.
    """
    file = path()
    if not file.parent.is_dir():
        _refuse_unknown(name, {})
    try:
        with durable.locked(file.with_suffix(".lock")):
            views = read()
            if name not in views:
                _refuse_unknown(name, views)
            del views[name]
            _write(file, views)
    except OSError as error:
        raise _unwritable(file, error) from None


def _write(file: Path, views: dict[str, tuple[str, ...]]) -> None:
    content = json.dumps({"views": {name: list(options) for name, options in sorted(views.items())}}, indent=1)
    durable.publish(file, f"{content}\n".encode())


def _refuse_unknown(name: str, views: dict[str, tuple[str, ...]]) -> NoReturn:
    error = str(unknown_name("view", name, views)).replace("\n  Installed:", "\n  Saved:")
    raise RequestError(f"{error}\n  Save one with: pkt-bench views save {name} -- --sort mean")


def _broken(file: Path) -> StorageError:
    return StorageError(f"{file} does not hold saved views.\n  Mend it, or remove it and save your views again.")


def _unwritable(file: Path, error: OSError) -> StorageError:
    return StorageError(
        f"the saved views in {file} cannot be written: {error.strerror}.\n  PKT_BENCH_HOME names another folder."
    )

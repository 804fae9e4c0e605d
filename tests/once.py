"""Folders that are made once a session, whichever of its processes asks first; the others wait, and read."""

import os
import shutil

from filelock import FileLock


def once(tmp_path_factory, name, make):
    """The folder `name`, which `make(folder)` filled (it makes the folder itself); nobody may write into it after."""
    root = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        root = root.parent
    folder, made = root / name, root / f"{name}.made"
    with FileLock(root / f"{name}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            made.touch()
    return folder

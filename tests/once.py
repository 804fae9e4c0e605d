"""What is expensive to make is made once a session, whatever the number of worker processes."""

import os
import shutil

from filelock import FileLock


def once(tmp_path_factory, name, make):
    """The folder `name` of this session, which `make(folder)` filled for whoever came first. Nobody may change it."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder, made = root / name, root / f"{name}.made"
    with FileLock(root / f"{name}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder

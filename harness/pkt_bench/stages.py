"""Stage results by content: computed once per run folder, checked when read, safe under several processes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench.domain import canonical, digest_of

if TYPE_CHECKING:
    import torch


DATA = "data.safetensors"


@dataclass(frozen=True)
class StageCache:
    """A folder of stage results. The name of an entry is the digest of all its inputs.

    An entry is a folder with its files and a `MANIFEST.json` that holds the inputs and each file's digest; it is
    written aside and renamed into place, so it is whole or absent. A rotten entry is computed again.
    """

    root: Path

    def tensors(
        self, stage: str, inputs: Mapping[str, Any], compute: Callable[[], Mapping[str, torch.Tensor]]
    ) -> tuple[dict[str, torch.Tensor], float | None]:
        """The tensors `compute` gives for `inputs`, computed at most once.

        Also how many seconds they had taken where they were found, or None where they were computed now.
        """
        from safetensors.torch import load_file, save_file

        def save(folder: Path) -> None:
            save_file({k: v.detach().cpu().contiguous() for k, v in compute().items()}, folder / DATA)

        entry, reused = self.files(stage, inputs, save)
        return load_file(entry / DATA), reused

    def files(self, stage: str, inputs: Mapping[str, Any], save: Callable[[Path], None]) -> tuple[Path, float | None]:
        """The folder that `save` filled for `inputs`, filled at most once: for results too large to hold as a whole.

        The second value is as in `tensors`. Files lie in the folder itself, in no folders below it.
        """
        from filelock import FileLock

        key = digest_of({"stage": stage, "inputs": inputs})
        final = self.root / stage / key
        seconds = _seconds_of_whole(final)
        if seconds is not None:
            return final, seconds
        final.parent.mkdir(parents=True, exist_ok=True)
        # the lock only saves work: a second process waits instead of computing the same; the rename keeps it correct
        with FileLock(final.with_suffix(".lock")):
            seconds = _seconds_of_whole(final)
            if seconds is not None:
                return final, seconds
            aside = final.with_name(f".{key}.{os.getpid()}")
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            try:
                started = time.monotonic()
                save(aside)
                _write_manifest(aside, stage, inputs, time.monotonic() - started)
                shutil.rmtree(final, ignore_errors=True)
                aside.rename(final)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        return final, None


def _write_manifest(folder: Path, stage: str, inputs: Mapping[str, Any], seconds: float) -> None:
    files = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
    manifest = {"stage": stage, "inputs": json.loads(canonical(inputs)), "files": files, "seconds": seconds}
    (folder / "MANIFEST.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _seconds_of_whole(folder: Path) -> float | None:
    """What an entry took to compute, or None where it is not there whole."""
    try:
        manifest = json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8"))
        if all(file_digest(folder / name) == digest for name, digest in manifest["files"].items()):
            return float(manifest["seconds"])
    except (OSError, ValueError, KeyError):
        pass
    return None


def file_digest(path: Path) -> str:
    """BLAKE2b-128 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()

"""Stage results by content: computed once per run folder, checked when read, safe under several processes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench.domain import canonical, digest_of

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class StageCache:
    """A folder of stage results. The name of an entry is the digest of all its inputs.

    An entry is a folder with its files and a `MANIFEST.json` that holds the inputs and each file's digest; it is
    written aside and renamed into place, so it is whole or absent. A rotten entry is computed again.
    """

    root: Path

    def tensors(
        self, stage: str, inputs: Mapping[str, Any], compute: Callable[[], Mapping[str, torch.Tensor]]
    ) -> dict[str, torch.Tensor]:
        """The tensors `compute` gives for `inputs`, computed at most once."""
        from safetensors.torch import load_file, save_file

        def save(folder: Path) -> None:
            save_file({k: v.detach().cpu().contiguous() for k, v in compute().items()}, folder / "data.safetensors")

        return load_file(self._entry(stage, inputs, save) / "data.safetensors")

    def json(self, stage: str, inputs: Mapping[str, Any], compute: Callable[[], Any]) -> Any:  # noqa: ANN401 - any JSON
        """The JSON value `compute` gives for `inputs`, computed at most once."""

        def save(folder: Path) -> None:
            (folder / "data.json").write_text(json.dumps(compute(), allow_nan=False), encoding="utf-8")

        return json.loads((self._entry(stage, inputs, save) / "data.json").read_text(encoding="utf-8"))

    def _entry(self, stage: str, inputs: Mapping[str, Any], save: Callable[[Path], None]) -> Path:
        from filelock import FileLock

        key = digest_of({"stage": stage, "inputs": inputs})
        final = self.root / stage / key
        if _is_whole(final):
            return final
        final.parent.mkdir(parents=True, exist_ok=True)
        # the lock only saves work: a second process waits instead of computing the same; the rename keeps it correct
        with FileLock(final.with_suffix(".lock")):
            if _is_whole(final):
                return final
            aside = final.with_name(f".{key}.{os.getpid()}")
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            try:
                save(aside)
                _write_manifest(aside, stage, inputs)
                shutil.rmtree(final, ignore_errors=True)
                aside.rename(final)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        with contextlib.suppress(OSError):
            final.with_suffix(".lock").unlink()
        return final


def _write_manifest(folder: Path, stage: str, inputs: Mapping[str, Any]) -> None:
    files = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
    manifest = {"stage": stage, "inputs": json.loads(canonical(inputs)), "files": files}
    (folder / "MANIFEST.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _is_whole(folder: Path) -> bool:
    try:
        files = json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8"))["files"]
        return all(file_digest(folder / name) == digest for name, digest in files.items())
    except (OSError, ValueError, KeyError):
        return False


def file_digest(path: Path) -> str:
    """BLAKE2b-128 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()

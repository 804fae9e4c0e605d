"""What identifies a checkpoint, wherever its files lie: a digest that reads a large file once on a machine, or never.

A weight file of up to `READ_BYTES` counts with its BLAKE2b and is read each time. A larger one counts with its SHA-256,
which is what the hub's cache calls it by: such a file is not read. Of any other it is remembered in the cache folder,
for as long as the file system says that nobody has touched it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
import time
from pathlib import Path

from pkt_bench import durable
from pkt_bench.checkpoints import json_of, weight_files
from pkt_bench.domain import ModelRef
from pkt_bench.homes import cache_folder

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)

READ_BYTES = 64 << 20
"""Weight files up to this size are read whenever they are asked about."""
# what was touched so lately may be touched again within one tick of the file system's clock
_SETTLED_SECONDS = 2.0
_known: dict[tuple[ModelRef, str], str] = {}


def signature(ref: ModelRef) -> str:
    """Digest of the size, the times and the place on the disk of every file of a checkpoint: no file is read.

    Whoever writes into a file, or puts another into its place, changes it; a time that is set back does not hide that,
    for the file system's own time of change cannot be set. Alike on one machine only.
    """
    state = hashlib.blake2b(digest_size=16)
    for file in sorted(ref.path.iterdir()):
        state.update(f"{file.name} {_state_of(file)}".encode())
    return state.hexdigest()


def _state_of(file: Path) -> str:
    about = file.stat()
    return repr((about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino, about.st_dev))


def checkpoint_digest(ref: ModelRef) -> str:
    """BLAKE2b-128 over configurations, tokenizer and weights: what identifies a checkpoint, whatever its path.

    Of a model whose own code may be run, its code is part.
    """
    key = ref, signature(ref)
    if key not in _known:
        _known[key] = _digest(ref)
    return _known[key]


def remember(ref: ModelRef, seen: str, digest: str) -> None:
    """Takes over from another process that a checkpoint with the signature `seen` has this digest."""
    _known[ref, seen] = digest


def _digest(ref: ModelRef) -> str:
    state = hashlib.blake2b(digest_size=16)
    config = json_of(ref.path / "config.json")
    config.pop("_name_or_path", None)
    state.update(json.dumps(config, sort_keys=True).encode())
    state.update(tokenizer_digest(ref).encode())
    generation = ref.path / "generation_config.json"
    state.update(generation.read_bytes() if generation.is_file() else b"")
    for file in weight_files(ref):
        state.update(_weights_digest(file))
    if "remote-code" in ref.consents:
        for file in sorted(ref.path.rglob("*.py")):
            state.update(file.relative_to(ref.path).as_posix().encode())
            state.update(file.read_bytes())
    return state.hexdigest()


def _weights_digest(file: Path) -> bytes:
    if file.stat().st_size > READ_BYTES:
        return bytes.fromhex(file_sha256(file))
    return bytes.fromhex(durable.file_digest(file))


def tokenizer_digest(ref: ModelRef) -> str:
    """BLAKE2b-128 over the tokenizer's files."""
    return _tokenizer_digest(ref.path, signature(ref))


@functools.lru_cache(maxsize=64)
def _tokenizer_digest(folder: Path, seen: str) -> str:  # noqa: ARG001 - what is remembered holds for these files alone
    state = hashlib.blake2b(digest_size=16)
    for name in TOKENIZER_FILES:
        file = folder / name
        if file.is_file():
            state.update(name.encode())
            state.update(file.read_bytes())
    return state.hexdigest()


# ---------------------------------------------------------------- large files


def file_sha256(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal: its name in the hub's cache, else as remembered, else read and remembered."""
    named = hub_sha256(file)
    if named is not None:
        return named
    place = _place(file)
    with contextlib.suppress(OSError):
        kept = place.read_text(encoding="ascii").strip()
        if re.fullmatch(r"[0-9a-f]{64}", kept):
            return kept
    found = read_sha256(file)
    # a cell may not be allowed to write there; then it is read again
    with contextlib.suppress(OSError):
        if place == _place(file) and time.time() - file.stat().st_ctime > _SETTLED_SECONDS:
            durable.publish(place, found.encode())
    return found


def read_sha256(file: Path) -> str:
    """SHA-256 of the bytes that are in a file now."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hub_sha256(file: Path) -> str | None:
    """The SHA-256 that the hub gave a large file, where it lies in the hub's cache; None elsewhere."""
    blob = file.resolve()
    cached = blob.parent.name == "blobs" and blob.parent.parent.name.startswith("models--")
    return blob.name if cached and re.fullmatch(r"[0-9a-f]{64}", blob.name) else None


def _place(file: Path) -> Path:
    key = hashlib.blake2b(f"{file.resolve()} {_state_of(file)}".encode(), digest_size=16).hexdigest()
    return cache_folder() / "digests" / key[:2] / key

"""A checkpoint read from its files without torch: its configuration, its weight files, where each tensor lies."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkt_bench.domain import Architecture, ModelRef
from pkt_bench.errors import IntegrityError, RequestError

# what a configuration means that does not say it: the defaults of the families' configuration classes
_TIED = frozenset({"gemma", "gemma2", "gemma3_text"})
_HEAD_DIM = {"qwen3": 128, "gemma": 256, "gemma2": 256, "gemma3_text": 256}


def architecture(ref: ModelRef) -> Architecture:
    """Reads `config.json`.

    Raises:
        RequestError: the folder or the file is missing, or is no model configuration.
    """
    path = ref.path / "config.json"
    if ref.path.is_file():
        raise RequestError(f"{ref.path} is a file. Give the path of a model folder in Hugging Face layout.")
    if not ref.path.is_dir():
        near = sorted(p.name for p in ref.path.parent.glob("*/")) if ref.path.parent.is_dir() else []
        raise RequestError(
            f"there is no model folder {ref.path}.\n"
            f"  Beside it: {', '.join(near[:8]) or 'nothing'}. Give the path of a folder in Hugging Face layout."
        )
    if not path.is_file():
        raise RequestError(
            f"{ref.path} has no config.json.\n"
            f"  It holds: {', '.join(sorted(p.name for p in ref.path.iterdir())[:8]) or 'nothing'}."
            " Give the path of a folder in Hugging Face layout."
        )
    config = json_of(path)
    missing = [name for name in _NEEDED if name not in config]
    if missing:
        raise RequestError(
            f"{path} has no {', '.join(missing)}: not the configuration of a decoder-only model that can be read here."
        )
    wrong = [name for name in _NEEDED[1:] if type(config[name]) is not int or config[name] < 1]
    if wrong:
        raise RequestError(
            f"{path}: {wrong[0]} is {json.dumps(config[wrong[0]])}, and a size is a whole number above 0."
        )
    heads = config["num_attention_heads"]
    return Architecture(
        family=str(config["model_type"]),
        hidden=config["hidden_size"],
        ffn=config["intermediate_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or _HEAD_DIM.get(config["model_type"]) or config["hidden_size"] // heads,
        vocabulary=config["vocab_size"],
        positions=config["max_position_embeddings"],
        tied=bool(config.get("tie_word_embeddings", config["model_type"] in _TIED)),
    )


_NEEDED = (
    "model_type",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "vocab_size",
    "max_position_embeddings",
)


def json_of(path: Path) -> dict[str, Any]:
    """A JSON file of a checkpoint that holds a table.

    Raises:
        RequestError: it does not, with the place.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise RequestError(
            f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}. Fetch the file again, or mend it."
        ) from None
    except (UnicodeDecodeError, RecursionError):
        raise RequestError(f"{path} is not JSON text in UTF-8. Fetch the file again.") from None
    if not isinstance(content, dict):
        raise RequestError(f"{path} holds a JSON {type(content).__name__}, and a table of keys is wanted.")
    return content


def weight_files(ref: ModelRef) -> list[Path]:
    """The safetensors files of a checkpoint, each with a readable header and its full length.

    Raises:
        RequestError: there are none.
        IntegrityError: one is missing, empty, truncated, or a git-lfs pointer.
    """
    index = ref.path / "model.safetensors.index.json"
    whole = ref.path / "model.safetensors"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise IntegrityError(
                f"{index} is not an index of weight files: it has no table 'weight_map'. Fetch it again."
            ) from None
        if any(Path(str(name)).name != name for name in names):
            raise IntegrityError(f"{index} names files outside of its folder. Fetch it again.")
        files = [ref.path / name for name in names]
    else:
        files = [whole] if whole.is_file() else sorted(ref.path.glob("*.safetensors"))
    if not files:
        found = sorted(p.name for p in ref.path.iterdir())
        pickled = [name for name in found if name.endswith((".bin", ".pt", ".pth"))]
        if pickled:
            raise RequestError(
                f"{ref.path} has its weights pickled ({', '.join(pickled[:3])}), and a pickle is refused unless it is"
                " allowed.\n"
                f"  Where you trust its author: --allow-pickle {ref.hub or ref.path} unpickles tensors alone, and"
                " converts them once."
            )
        raise RequestError(
            f"{ref.path} has no *.safetensors weights (it holds: {', '.join(found[:8]) or 'nothing'}).\n"
            "  Give the path of a folder in Hugging Face layout, with its weights."
        )
    for file in files:
        _check_safetensors(file)
    if whole.is_file() and whole not in files:
        # what transformers takes, whatever the index says
        _check_safetensors(whole)
        return [whole]
    return files


def _check_safetensors(file: Path) -> None:
    advice = "Fetch the file again from where the checkpoint came from."
    if not file.is_file():
        raise IntegrityError(f"{file} is named in the checkpoint's index and is not there. {advice}")
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(64)
        if start.startswith(b"version https://git-lfs"):
            raise IntegrityError(f"{file} is a git-lfs pointer, not weights. Run: git lfs pull")
        if size < 8:
            raise IntegrityError(f"{file} has {size} bytes: not a safetensors file. {advice}")
        header_bytes = struct.unpack("<Q", start[:8])[0]
        stream.seek(8)
        try:
            # a header that says it is longer than the file cannot be read whole, and is no JSON
            header = json.loads(stream.read(min(header_bytes, size)))
            body = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise IntegrityError(
                f"{file} ({size} bytes) is not a safetensors file: its header cannot be read. {advice}"
            ) from None
    if size != 8 + header_bytes + body:
        raise IntegrityError(
            f"{file} has {size} bytes; its header announces {8 + header_bytes + body}: truncated. {advice}"
        )


@dataclass(frozen=True)
class Tensor:
    """Where a tensor of a checkpoint lies: its type and shape as safetensors write them, its bytes in a file."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def tensors(ref: ModelRef) -> dict[str, Tensor]:
    """Every tensor of a checkpoint by name, from the headers alone. Raises what `weight_files` raises."""
    found = {}
    for file in weight_files(ref):
        with file.open("rb") as stream:
            length = struct.unpack("<Q", stream.read(8))[0]
            header = json.loads(stream.read(length))
        for name, entry in header.items():
            if name != "__metadata__":
                start, stop = (8 + length + offset for offset in entry["data_offsets"])
                found[name] = Tensor(file, entry["dtype"], tuple(entry["shape"]), start, stop)
    return found


def parameter_count(ref: ModelRef) -> int:
    """Numbers stored in a checkpoint, from the headers alone (a tied head is stored once)."""
    return sum(math.prod(tensor.shape) for tensor in tensors(ref).values())


def weight_bytes(ref: ModelRef) -> int:
    """Bytes of a checkpoint's weights as they are stored."""
    return sum(tensor.stop - tensor.start for tensor in tensors(ref).values())

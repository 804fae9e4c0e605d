"""GGUF files and pickled weights made into a folder in Hugging Face layout, once, in the cache.

A folder is written aside by a process of its own and put in place by one rename; its name is the digest of what it is
made from and of the transformers that made it. So whoever comes later finds all of it or nothing.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pkt_bench import durable
from pkt_bench.digests import TOKENIZER_FILES, file_sha256
from pkt_bench.domain import ModelRef, digest_of
from pkt_bench.errors import IntegrityError, PktBenchError, RequestError, StorageError, UnavailableError
from pkt_bench.homes import cache_folder

ABOUT = "converted.json"
"""What a converted folder says of itself: what it was made from, by which transformers, how its weights were kept."""
_MADE = 1  # raise it when the same file would be made into something else
_FULL = re.compile(r"No space left on device|os error 28|Disk quota exceeded")

Tell = Callable[[str], None]


def from_gguf(ref: ModelRef, tell: Tell) -> Path:
    """The folder that the GGUF file `ref.path / ref.gguf` was made into: float32, as transformers dequantises it.

    Raises:
        UnavailableError: the package gguf is not installed.
        RequestError: transformers cannot make a model of it.
    """
    if importlib.util.find_spec("gguf") is None:
        raise UnavailableError(
            f"{ref.path / ref.gguf}: reading GGUF files takes the package gguf, which is not installed.\n"
            "  Install it: pip install 'pkt-bench[gguf]'"
        )
    file = ref.path / ref.gguf
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise RequestError(f"{file} is not a GGUF file. Fetch it again.")
    return _converted("gguf", file, {"sha256": file_sha256(file)}, tell)


def from_pickled(ref: ModelRef, tell: Tell) -> Path:
    """The folder that a folder with pickled weights was made into: the same tensors in the types they are stored in.

    Raises:
        IntegrityError: a file holds more than tensors, or its weights are not those of its configuration.
    """
    files = sorted((*ref.path.glob("*.bin"), ref.path / "config.json", *_code(ref)))
    inputs = {file.name: file_sha256(file) for file in files}
    return _converted("pickled-code" if "remote-code" in ref.consents else "pickled", ref.path, inputs, tell)


def about(folder: Path) -> dict[str, Any]:
    """What a converted folder says of itself; empty of any other."""
    try:
        content = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def caveat(folder: Path) -> str:
    """What a reader of a converted checkpoint's numbers should know; empty where its weights are what they were."""
    kept = str(about(folder).get("quantisation", ""))
    bits = re.match(r"I?Q(\d)|TQ(\d)|MXFP(\d)", kept)
    if bits is None:
        return ""
    digits = next(digit for digit in bits.groups() if digit)
    return f"{digits}-bit weights ({kept}), dequantised: no comparison with published scores of the original"


def _code(ref: ModelRef) -> list[Path]:
    return sorted(ref.path.glob("*.py")) if "remote-code" in ref.consents else []


def _converted(kind: str, source: Path, inputs: dict[str, str], tell: Tell) -> Path:
    release = importlib.metadata.version("transformers")
    key = digest_of({"kind": kind, "inputs": inputs, "transformers": release, "made": _MADE})
    final = cache_folder() / "converted" / key
    if (final / ABOUT).is_file():
        return final
    try:
        durable.make_folder(final.parent)
        with durable.locked(final.with_name(f"{key}.lock")):
            if (final / ABOUT).is_file():
                return final
            # we hold the lock: what lies aside was left by somebody who died
            aside = final.with_name(f".{key}")
            for left in (aside, final):
                shutil.rmtree(left, ignore_errors=True)
            tell(f"converting {source} to safetensors, once, into {final}")
            try:
                _in_a_process(kind, source, aside)
                for file in sorted(aside.iterdir()):
                    durable.sync(file)
                made = {"from": source.name, "inputs": inputs, "transformers": release, **about(aside)}
                (aside / ABOUT).unlink(missing_ok=True)
                durable.write_synced(aside / ABOUT, json.dumps(made, indent=1).encode())
                durable.sync(aside)
                durable.put_in_place(aside, final)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise StorageError(
            f"{source} cannot be converted into {final}: {error.strerror}.\n  PKT_BENCH_HOME names another folder."
        ) from None
    return final


def _in_a_process(kind: str, source: Path, aside: Path) -> None:
    """Converts in a process of its own: it needs torch, and what it unpickles must not live here."""
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, "-m", "pkt_bench.converting", kind, str(source), str(aside)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **quiet},
    )
    if done.returncode == 0:
        return
    if _FULL.search(done.stderr):
        raise StorageError(f"{aside.parent} has no room to convert {source}.\n  PKT_BENCH_HOME names another folder.")
    if done.returncode < 0:
        raise UnavailableError(
            f"{source}: its conversion was killed by signal {-done.returncode}: most likely the memory did not suffice."
        )
    last = (done.stderr.strip().splitlines() or [""])[-1]
    if kind == "gguf":
        raise RequestError(
            f"{source}: transformers {importlib.metadata.version('transformers')} cannot make a model of it: {last}\n"
            "  Give the model in Hugging Face layout, or a GGUF file of a family that transformers reads."
        )
    raise IntegrityError(
        f"{source}: its pickled weights cannot be converted: {last}\n"
        "  Nothing but tensors is unpickled. Ask its author for safetensors, or fetch it again."
    )


# ---------------------------------------------------------------- in the process of its own


def _convert_gguf(source: Path, aside: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from pkt_bench.soundness import check_report

    loaded, report = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.float32, output_loading_info=True
    )
    # what is missing would be filled in at random
    check_report(ModelRef(source), report)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    # a model loaded from GGUF can neither be saved nor trained: its weights move into one that can
    plain = type(loaded)(config)
    plain.load_state_dict(loaded.state_dict())
    plain.generation_config = loaded.generation_config
    plain.save_pretrained(aside)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(aside)
    # the release that made it would make its digest another with every upgrade
    for name in ("config.json", "generation_config.json"):
        file = aside / name
        if file.is_file():
            content = json.loads(file.read_text(encoding="utf-8"))
            content.pop("transformers_version", None)
            file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (aside / ABOUT).write_text(json.dumps({"quantisation": _quantisation(source)}), encoding="utf-8")


def _quantisation(source: Path) -> str:
    """The type that most numbers of a GGUF file's layers are kept in, as GGML calls it: `Q4_1`."""
    from gguf import GGUFReader

    numbers: dict[str, int] = {}
    tensors = GGUFReader(source).tensors
    for tensor in [each for each in tensors if each.name.startswith("blk.")] or tensors:
        kind = tensor.tensor_type.name
        numbers[kind] = numbers.get(kind, 0) + int(tensor.n_elements)
    return max(numbers, key=lambda kind: numbers[kind])


def _convert_pickled(source: Path, aside: Path, *, code: bool) -> None:
    from transformers import AutoModelForCausalLM

    from pkt_bench.soundness import check_report

    model, report = AutoModelForCausalLM.from_pretrained(
        source,
        dtype="auto",
        local_files_only=True,
        trust_remote_code=code,
        use_safetensors=False,
        weights_only=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    check_report(ModelRef(source), report)
    model.save_pretrained(aside)
    for name in ("config.json", "generation_config.json", *TOKENIZER_FILES):
        if (source / name).is_file():
            shutil.copyfile(source / name, aside / name)
    if code:
        for file in source.glob("*.py"):
            shutil.copyfile(file, aside / file.name)


def _main(kind: str, source: Path, aside: Path) -> None:
    if kind == "gguf":
        _convert_gguf(source, aside)
    else:
        _convert_pickled(source, aside, code=kind == "pickled-code")


if __name__ == "__main__":
    try:
        _main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    except Exception as failure:  # noqa: BLE001 - said to whoever started us
        # the last line is what whoever started us says
        traceback.print_exc()
        lines = [line for line in str(failure).splitlines() if line.strip()] or [""]
        sys.exit(lines[0] if isinstance(failure, PktBenchError) else f"{type(failure).__name__}: {lines[0]}")

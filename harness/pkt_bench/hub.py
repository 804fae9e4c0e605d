"""Models of the Hugging Face Hub: found in its cache, or fetched into it, and said well where neither is possible.

What is fetched: configurations, tokenizer, and safetensors, or the one GGUF file that was asked for. Pickled weights
and code are fetched where the user allowed them, and never else. The cache is the hub's own: other tools share it.
"""

from __future__ import annotations

import errno
import fnmatch
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pkt_bench.digests import hub_sha256, read_sha256
from pkt_bench.domain import ModelRef
from pkt_bench.errors import IntegrityError, RequestError, StorageError, UnavailableError
from pkt_bench.spans import size

MAIN = "main"
_BESIDE = ("*.json", "*.model", "*.jinja", "*.tiktoken", "merges.txt", "vocab.txt", "LICENSE*")
_PICKLED = ("pytorch_model*.bin", "pytorch_model.bin.index.json")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Needed:
    """What would have to be fetched of a model: files that are not in the cache, and their bytes."""

    files: tuple[str, ...]
    bytes: int


def is_offline(*, asked: bool = False) -> bool:
    """Whether the network is not to be used: as the user says, or by the switches of the Hugging Face libraries."""
    on = {"1", "ON", "YES", "TRUE"}
    return asked or any(os.environ.get(name, "").upper() in on for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def cache_folder() -> Path:
    """The folder of the hub's cache, as `HF_HUB_CACHE` and `HF_HOME` say."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def endpoint() -> str:
    """The address of the hub, as `HF_ENDPOINT` says."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


# ---------------------------------------------------------------- in the cache


def locate(ref: ModelRef) -> ModelRef | None:
    """The model in the hub's cache, with its folder and commit; None where it is not there whole."""
    folder = snapshot(ref)
    if folder is None or lacking(folder, ref):
        return None
    return replace(ref, path=folder, revision=folder.name, name=ref.name or called(ref))


def called(ref: ModelRef) -> str:
    """How people call a model of the hub: without its owner; a GGUF file by its own name."""
    return Path(ref.gguf).stem if ref.gguf else ref.hub.rpartition("/")[2]


def snapshot(ref: ModelRef) -> Path | None:
    """The folder of a model's revision in the cache, whole or not."""
    home = cache_folder() / f"models--{ref.hub.replace('/', '--')}"
    commit = ref.revision or MAIN
    if not _COMMIT.fullmatch(commit):
        try:
            commit = (home / "refs" / commit).read_text(encoding="utf-8").strip()
        except OSError:
            return None
    folder = home / "snapshots" / commit
    return folder if folder.is_dir() else None


def lacking(folder: Path, ref: ModelRef) -> list[str]:
    """What a folder needs and has not, of what a model is loaded from."""
    if ref.gguf:
        return [] if (folder / ref.gguf).is_file() else [ref.gguf]
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        missing.append("its tokenizer")
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        whole = folder / index.removesuffix(".index.json")
        if whole.is_file():
            return missing
        if (folder / index).is_file():
            return missing + [name for name in _shards(folder / index) if not (folder / name).is_file()]
    # a link whose target is gone is none
    return missing if any(file.is_file() for file in folder.glob("*.safetensors")) else [*missing, "its weights"]


def _shards(index: Path) -> list[str]:
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return [index.name]


def absent(ref: ModelRef, why: str) -> UnavailableError:
    """What is said of a model that is not in the cache and may not be fetched: what is missing, and what would help."""
    folder = snapshot(ref)
    lacks = f" whole: it lacks {_first(lacking(folder, ref))}" if folder is not None else ""
    command = f"hf download {ref.hub}" + (f" --revision {ref.revision}" if ref.revision else "")
    command += f" {ref.gguf}" if ref.gguf else ""
    return UnavailableError(
        f"{spelled(ref)} is not in the hub's cache {cache_folder()}{lacks}; {why}.\n"
        f"  Fetch it where there is a network: pkt-bench prefetch --pair ..., or: {command}"
    )


def spelled(ref: ModelRef) -> str:
    """A model of the hub as it is typed."""
    return ref.hub + (f"@{ref.revision}" if ref.revision else "") + (f"/{ref.gguf}" if ref.gguf else "")


def _first(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


# ---------------------------------------------------------------- from the network


def needed(ref: ModelRef) -> Needed:
    """What `fetch` would fetch, by what the hub says: nothing is downloaded but the list of files.

    Raises:
        RequestError: the hub has no such model, revision or file, or its weights are pickled and that is not allowed.
        UnavailableError: the hub cannot be reached, or does not let us in.
    """
    commit, sizes = _listing(ref)
    wanted = _wanted(sizes, ref)
    folder = cache_folder() / f"models--{ref.hub.replace('/', '--')}" / "snapshots" / commit
    missing = tuple(name for name in wanted if not (folder / name).is_file())
    return Needed(missing, sum(sizes[name] for name in missing))


def fetch(ref: ModelRef) -> ModelRef:
    """The model in the cache, fetched as far as it is not there: what an interrupted download left is gone on with.

    Every large file that was fetched is read once and compared with the hub's SHA-256 of it.

    Raises:
        RequestError: the hub has no such model, revision or file, or its weights are pickled and that is not allowed.
        UnavailableError: the hub cannot be reached, or does not let us in.
        StorageError: the disk is full.
        IntegrityError: what came is not what the hub announced.
    """
    from huggingface_hub import snapshot_download

    _, sizes = _listing(ref)
    wanted = _wanted(sizes, ref)
    before = snapshot(ref)
    there = {name for name in wanted if before is not None and (before / name).is_file()}
    try:
        folder = Path(
            snapshot_download(
                ref.hub,
                revision=ref.revision or None,
                cache_dir=cache_folder(),
                allow_patterns=[_literal(name) for name in wanted],
            )
        )
    except Exception as error:
        raise _said(error, ref) from error
    for name in wanted:
        if name not in there:
            _check_fetched(folder / name)
    found = locate(ref if ref.revision else replace(ref, revision=folder.name))
    if found is None:
        raise UnavailableError(
            f"{spelled(ref)} was fetched to {folder}, and is not a model that can be loaded: it lacks"
            f" {_first(lacking(folder, ref))}.\n  Look at its page: {endpoint()}/{ref.hub}"
        )
    return found


def _literal(name: str) -> str:
    """A file's name as a pattern that matches it alone."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def _check_fetched(file: Path) -> None:
    announced = hub_sha256(file)
    if announced is not None and read_sha256(file) != announced:
        blob = file.resolve()
        blob.unlink()
        raise IntegrityError(
            f"{file} is not what the hub announced: its SHA-256 is another than {announced}.\n"
            "  It has been removed from the cache. Give the same command again to fetch it anew."
        )


def _listing(ref: ModelRef) -> tuple[str, dict[str, int]]:
    """The commit and the size of every file, as the hub says."""
    from huggingface_hub import HfApi

    try:
        about = HfApi().model_info(ref.hub, revision=ref.revision or None, files_metadata=True)
    except Exception as error:
        raise _said(error, ref) from error
    return str(about.sha), {each.rfilename: each.size or 0 for each in about.siblings or ()}


def _wanted(names: Iterable[str], ref: ModelRef) -> list[str]:
    """The files of a repository that a model is loaded from.

    Raises:
        RequestError: there is no such GGUF file, or no weights but pickled ones that the user did not allow.
    """
    names = list(names)
    if ref.gguf:
        if ref.gguf not in names:
            others = [name for name in names if name.endswith(".gguf")]
            raise RequestError(
                f"{ref.hub} has no file {ref.gguf} on the hub.\n  It has: {_first(others, 8) or 'no GGUF file'}"
            )
        return [ref.gguf]
    roots = [name for name in names if "/" not in name]
    beside = _matching(roots, _BESIDE)
    weights = _matching(roots, ("model.safetensors", "model-*.safetensors")) or _matching(roots, ("*.safetensors",))
    if not weights:
        ggufs = [name for name in names if name.endswith(".gguf")]
        if ggufs and not _matching(roots, _PICKLED):
            raise RequestError(
                f"{ref.hub} has its weights in GGUF files. Name one of them, as {ref.hub}/{ggufs[0]}.\n"
                f"  It has: {_first(ggufs, 8)}"
            )
        if "pickle" not in ref.consents:
            raise RequestError(
                f"{ref.hub} has no safetensors weights on the hub"
                + (", only pickled ones" if _matching(roots, _PICKLED) else "")
                + f".\n  Where you trust its author: --allow-pickle {ref.hub} unpickles tensors alone, and converts"
                " them once."
            )
        weights = _matching(roots, _PICKLED)
    code = [name for name in names if name.endswith(".py")] if "remote-code" in ref.consents else []
    index = set(_matching(roots, ("*.index.json",)))
    kept = {f"{'model.safetensors' if weights[0].endswith('.safetensors') else 'pytorch_model.bin'}.index.json"}
    return [name for name in dict.fromkeys((*beside, *weights, *code)) if name not in index - kept]


def _matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    return sorted(name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns))


def _said(error: Exception, ref: ModelRef) -> Exception:
    """What the client raised, in our words."""
    from huggingface_hub import errors

    page = f"{endpoint()}/{ref.hub}"
    status: Any = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError) or status == 403:
        return UnavailableError(
            f"the hub does not let us fetch {ref.hub}: its authors ask to accept their terms first.\n"
            f"  Accept them on {page}, make a token there, and give it with: hf auth login (or HF_TOKEN=...)"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return RequestError(
            f"{ref.hub} has no revision '{ref.revision}' on the hub.\n"
            f"  A revision is a branch, a tag or a commit of 40 digits: {page}/commits/main"
        )
    if isinstance(error, errors.RepositoryNotFoundError) or status in {401, 404}:
        return RequestError(
            f"the hub has no model '{ref.hub}', or it is private and the token given does not open it.\n"
            f"  Look at {page}. A token is given with: hf auth login (or HF_TOKEN=...)"
        )
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageError(
            f"{cache_folder()} has no room for {spelled(ref)}: {error.strerror}.\n"
            "  Make room, or name another folder with HF_HUB_CACHE. What was fetched is kept."
        )
    first = (str(error).strip().splitlines() or [""])[0]
    answered = f"answers {status}" if status else f"cannot be reached: {type(error).__name__}: {first}"
    return UnavailableError(
        f"{spelled(ref)} cannot be fetched: the hub at {endpoint()} {answered}.\n"
        "  Try again later, or give a folder in Hugging Face layout. HF_ENDPOINT names another hub."
    )


def would_fetch(what: Needed) -> str:
    """A download in words: `26 GB in 9 files`."""
    return f"{size(what.bytes)} in {len(what.files)} file{'' if len(what.files) == 1 else 's'}"

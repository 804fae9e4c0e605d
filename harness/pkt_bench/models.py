"""From a ModelRef to a loaded model: checked on the way in, fingerprinted, loaded on first touch."""

from __future__ import annotations

import functools
import hashlib
import json
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench.domain import LARGE, Architecture, ModelRef, Pair
from pkt_bench.errors import ContractError, IntegrityError, RequestError

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from pkt_bench.streaming import LayerStream

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

# what a configuration means that does not say it: the defaults of the families' configuration classes
_TIED = frozenset({"gemma", "gemma2", "gemma3_text"})
_HEAD_DIM = {"qwen3": 128, "gemma": 256, "gemma2": 256, "gemma3_text": 256}


# ---------------------------------------------------------------- from the files, without torch


def architecture(ref: ModelRef) -> Architecture:
    """Reads `config.json`.

    Raises:
        RequestError: the folder or the file is missing, or is no model configuration.
    """
    path = ref.path / "config.json"
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
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        heads = config["num_attention_heads"]
        return Architecture(
            family=config["model_type"],
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
    except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise RequestError(
            f"{path} is not the configuration of a decoder-only model that pkt-bench can read: {error!r}"
        ) from None


def weight_files(ref: ModelRef) -> list[Path]:
    """The safetensors files of a checkpoint, each with a readable header and its full length.

    Raises:
        RequestError: there are none.
        IntegrityError: one is missing, empty, truncated, or a git-lfs pointer.
    """
    index = ref.path / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(f"{index} is not an index of weight files: {error!r}. Fetch it again.") from None
        files = [ref.path / name for name in names]
    else:
        files = sorted(ref.path.glob("*.safetensors"))
    if not files:
        found = ", ".join(sorted(p.name for p in ref.path.iterdir())[:8]) or "nothing"
        raise RequestError(
            f"{ref.path} has no *.safetensors weights (it holds: {found}).\n"
            "  Convert pickled weights once with transformers: model.save_pretrained(folder)."
        )
    for file in files:
        _check_safetensors(file)
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
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(f"{file} ({size} bytes) is not a safetensors file: {error}. {advice}") from None
    if size != 8 + header_bytes + body:
        raise IntegrityError(
            f"{file} has {size} bytes; its header announces {8 + header_bytes + body}: truncated. {advice}"
        )


def check_tokenizer(ref: ModelRef) -> None:
    """Checks that a tokenizer is there and that each of its ids has a row in the embedding.

    Raises:
        RequestError: there is none, or it has more ids than the model has rows (on CUDA that kills the process).
    """
    file = ref.path / "tokenizer.json"
    if not file.is_file():
        if any((ref.path / name).is_file() for name in ("tokenizer.model", "vocab.json")):
            return
        raise RequestError(f"{ref.path} has no tokenizer (tokenizer.json). Save one there with save_pretrained.")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        vocabulary = content["model"].get("vocab", ())
        ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else [len(vocabulary) - 1]
        ids += [token["id"] for token in content.get("added_tokens", ())]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"{file} is not a tokenizer: {error!r}. Save it again with save_pretrained.") from None
    rows = architecture(ref).vocabulary
    if ids and max(ids) >= rows:
        raise RequestError(
            f"{ref.path}: the tokenizer has the id {max(ids)}, the model's embedding has {rows} rows."
            "\n  Tokenizer and model do not belong together."
        )


def parameter_count(ref: ModelRef) -> int:
    """Numbers stored in a checkpoint, from the headers alone (a tied head is stored once)."""
    total = 0
    for file in weight_files(ref):
        with file.open("rb") as stream:
            length = struct.unpack("<Q", stream.read(8))[0]
            header = json.loads(stream.read(length))
        for name, entry in header.items():
            if name != "__metadata__":
                total += functools.reduce(lambda a, b: a * b, entry["shape"], 1)
    return total


@functools.lru_cache(maxsize=64)
def checkpoint_digest(ref: ModelRef) -> str:
    """BLAKE2b-128 over configurations, tokenizer and weight files: what identifies a checkpoint, whatever its path."""
    state = hashlib.blake2b(digest_size=16)
    config = json.loads((ref.path / "config.json").read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    state.update(json.dumps(config, sort_keys=True).encode())
    state.update(tokenizer_digest(ref).encode())
    generation = ref.path / "generation_config.json"
    state.update(generation.read_bytes() if generation.is_file() else b"")
    for file in weight_files(ref):
        with file.open("rb") as stream:
            state.update(hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).digest())
    return state.hexdigest()


@functools.lru_cache(maxsize=64)
def tokenizer_digest(ref: ModelRef) -> str:
    """BLAKE2b-128 over the tokenizer's files."""
    state = hashlib.blake2b(digest_size=16)
    for name in TOKENIZER_FILES:
        file = ref.path / name
        if file.is_file():
            state.update(name.encode())
            state.update(file.read_bytes())
    return state.hexdigest()


# ---------------------------------------------------------------- in memory


def load(ref: ModelRef, dtype: str, device: str) -> PreTrainedModel:
    """Loads a checkpoint in evaluation mode, in `dtype`, and refuses what transformers lets pass (trap 12).

    Raises:
        IntegrityError: a weight is missing, unexpected or of another shape, or is not finite.
    """
    import torch
    from transformers import AutoModelForCausalLM

    weight_files(ref)
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            ref.path,
            dtype=getattr(torch, dtype),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below instead, with the names
        )
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        first = str(error).strip().partition("\n")[0]
        raise IntegrityError(
            f"{ref.path} cannot be loaded: {first}\n  Configuration and weights do not fit; fetch the whole checkpoint."
        ) from error
    for complaint in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        names = sorted(str(name) for name in report.get(complaint) or ())
        if names:
            raise IntegrityError(
                f"{ref.path}: {complaint.replace('_', ' ')} in the checkpoint: {', '.join(names[:5])}"
                + (f" and {len(names) - 5} more" if len(names) > 5 else "")
                + ".\n  Configuration and weights do not fit; fetch the whole checkpoint."
            )
    for name, weight in model.state_dict().items():
        if not torch.isfinite(weight).all():
            raise IntegrityError(f"{ref.path}: {name} holds NaN or infinity. Fetch the checkpoint again.")
    return model.to(device).eval()


def load_tokenizer(ref: ModelRef) -> PreTrainedTokenizerBase:
    """Loads the tokenizer from the checkpoint's folder alone."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(ref.path, local_files_only=True, trust_remote_code=False)


def fingerprint(model: torch.nn.Module) -> str:
    """BLAKE2b-128 over the names, shapes and bytes of every parameter and buffer that is saved."""
    state = hashlib.blake2b(digest_size=16)
    for name, weight in sorted(model.state_dict().items()):
        state.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        state.update(_bytes_of(weight))
    return state.hexdigest()


def _bytes_of(weight: torch.Tensor) -> Any:  # noqa: ANN401 - a buffer
    import torch

    return weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


@dataclass(frozen=True)
class StandIn:
    """What a control puts into the teacher's weights. `name` tells it from any other: control, code and seed."""

    name: str
    change: Callable[[PreTrainedModel], None]


@dataclass(frozen=True)
class LoadedPair:
    """A pair in memory, loading each model on first touch.

    `teacher` must be left as it is: its fingerprint is compared afterwards. `student` is the method's own copy.
    """

    pair: Pair
    device: str = "cpu"
    dtype: str = "float32"
    stand_in: StandIn | None = None
    prints: dict[str, str] = field(default_factory=dict)
    load_seconds: dict[str, float] = field(default_factory=dict)
    _loading: list[float] = field(default_factory=list)

    @functools.cached_property
    def teacher(self) -> PreTrainedModel:
        """The teacher, frozen, in evaluation mode; under a control, what stands in for it."""
        return self._guarded("teacher", self.pair.teacher, self.stand_in)

    @functools.cached_property
    def student(self) -> PreTrainedModel:
        """The copy of the student that a method may change, in evaluation mode."""
        return self._timed("student", self.pair.student)

    @functools.cached_property
    def pristine_student(self) -> PreTrainedModel:
        """A second copy of the student that nobody may change, frozen: the reference for logits and deltas."""
        return self._guarded("pristine_student", self.pair.student)

    @property
    def large_teacher(self) -> bool:
        """Whether the teacher has so many parameters that methods should read it layer by layer.

        A rule of the checkpoint and not of the machine, so that a cell's result does not depend on where it ran.
        """
        return parameter_count(self.pair.teacher) >= LARGE

    def teacher_stream(self) -> LayerStream:
        """The teacher, read from its files one layer at a time.

        Raises:
            ContractError: this cell's teacher is not what its files hold (a control changed it in memory).
        """
        from pkt_bench.streaming import LayerStream

        if self.stand_in is not None:
            raise ContractError(
                "this control changes the teacher's weights in memory, so the teacher cannot be read layer by layer;"
                " set the method's stream to false"
            )
        ref = self.pair.teacher
        return LayerStream(ref.path, weight_files(ref), self.dtype, self.device)

    def _guarded(self, role: str, ref: ModelRef, stand_in: StandIn | None = None) -> PreTrainedModel:
        model = self._timed(role, ref).requires_grad_(requires_grad=False)
        if stand_in is not None:
            stand_in.change(model)
        self.prints[role] = fingerprint(model)
        return model

    def _timed(self, role: str, ref: ModelRef) -> PreTrainedModel:
        self._loading.append(time.monotonic())
        model = load(ref, self.dtype, self.device)
        self.load_seconds[role] = time.monotonic() - self._loading.pop()
        return model

    def loading_seconds(self, until: float) -> float:
        """Seconds spent loading models up to the monotonic time `until`, in which one may just be loading."""
        return sum(list(self.load_seconds.values())) + sum(until - began for began in list(self._loading))

    def check_untouched(self) -> None:
        """Compares the models that nobody may change with what they were when they were loaded.

        Raises:
            ContractError: the method changed one of them.
        """
        for role, before in self.prints.items():
            if fingerprint(self.__dict__[role]) != before:
                raise ContractError(
                    f"the method changed the {role.replace('_', ' ')} in place; work on `pair.student`,"
                    " or put back every weight you touch"
                )

    @functools.cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The student's tokenizer: what the new student will be scored with."""
        return load_tokenizer(self.pair.student)

    @functools.cached_property
    def teacher_config(self) -> PretrainedConfig:
        """The teacher's configuration: for whoever may not need its weights."""
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(self.pair.teacher.path, local_files_only=True)
        return config.get_text_config()

    @functools.cached_property
    def teacher_tokenizer(self) -> PreTrainedTokenizerBase:
        """The teacher's tokenizer."""
        return load_tokenizer(self.pair.teacher)

    @property
    def teacher_digest(self) -> str:
        """What identifies the teacher's checkpoint, and what a control makes of it."""
        digest = checkpoint_digest(self.pair.teacher)
        return digest if self.stand_in is None else f"{digest} {self.stand_in.name}"

    @property
    def student_digest(self) -> str:
        """What identifies the student's checkpoint."""
        return checkpoint_digest(self.pair.student)

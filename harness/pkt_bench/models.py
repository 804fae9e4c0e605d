"""From a ModelRef to a loaded model: checked on the way in, fingerprinted, loaded on first touch."""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import math
import re
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench.domain import LARGE, Architecture, ModelRef, Pair
from pkt_bench.errors import ContractError, IntegrityError, RequestError, UnavailableError

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

# families whose weights are named and shaped as `Architecture.module_shape` and `_MODULES` say
_PLAIN_LAYOUT = frozenset({"llama", "mistral", "qwen2", "qwen3"})
_MODULES = {
    **dict.fromkeys(("q_proj", "k_proj", "v_proj", "o_proj"), "self_attn"),
    **dict.fromkeys(("gate_proj", "up_proj", "down_proj"), "mlp"),
}
# up to so many bytes, a checkpoint's numbers are looked at in the plan; larger ones when they are loaded
LOOKED_AT_BYTES = 256 << 20

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
    config = _json_of(path)
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


def _json_of(path: Path) -> dict[str, Any]:
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


def check_family(ref: ModelRef) -> None:
    """Checks that the installed transformers knows the model without running code that comes with it.

    Raises:
        UnavailableError: it would take the checkpoint's own code.
        RequestError: nobody knows such a model.
    """
    config = _json_of(ref.path / "config.json")
    family, known = str(config.get("model_type")), known_families()
    if not known or family in known:
        return
    release = importlib.metadata.version("transformers")
    if config.get("auto_map"):
        files = sorted(
            {str(name).partition(".")[0].rpartition("--")[2] + ".py" for name in _leaves(config["auto_map"])}
        )
        raise UnavailableError(
            f"{ref.path}: a '{family}' model is built by code that comes with it ({', '.join(files)}; auto_map in"
            f" config.json), and transformers {release} does not know it without.\n"
            "  pkt-bench never runs code of a checkpoint. Use a model that transformers knows, or a newer transformers."
        )
    near = difflib.get_close_matches(family, known, n=1, cutoff=0.6)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise RequestError(
        f"{ref.path / 'config.json'}: transformers {release} knows no model_type '{family}'.{hint}\n"
        "  Upgrade transformers if the model is newer, or mend the file."
    )


def _leaves(value: Any) -> list[Any]:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in _leaves(each)]
    return [leaf for each in value for leaf in _leaves(each)] if isinstance(value, list) else [value]


@functools.cache
def known_families() -> frozenset[str]:
    """Every `model_type` of the installed transformers, from its files: importing it takes seconds. Empty: unknown."""
    spec = importlib.util.find_spec("transformers")
    folder = Path(spec.origin).parent / "models" / "auto" if spec is not None and spec.origin else Path()
    found: set[str] = set()
    for name in ("auto_mappings.py", "configuration_auto.py"):
        if spec is not None and (folder / name).is_file():
            found |= set(re.findall(r'\(\s*"([\w.-]+)",\s*"\w+Config"', (folder / name).read_text(encoding="utf-8")))
    return frozenset(found)


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
        except (ValueError, KeyError, TypeError, AttributeError):
            raise IntegrityError(
                f"{index} is not an index of weight files: it has no table 'weight_map'. Fetch it again."
            ) from None
        if any(Path(str(name)).name != name for name in names):
            raise IntegrityError(f"{index} names files outside of its folder. Fetch it again.")
        files = [ref.path / name for name in names]
    else:
        files = sorted(ref.path.glob("*.safetensors"))
    if not files:
        found = sorted(p.name for p in ref.path.iterdir())
        pickled = [name for name in found if name.endswith((".bin", ".pt", ".pth"))]
        if pickled:
            raise RequestError(
                f"{ref.path} has its weights pickled ({', '.join(pickled[:3])}), and pkt-bench does not unpickle.\n"
                "  Convert them once, where you trust them, with transformers: model.save_pretrained(folder)."
            )
        raise RequestError(
            f"{ref.path} has no *.safetensors weights (it holds: {', '.join(found[:8]) or 'nothing'}).\n"
            "  Give the path of a folder in Hugging Face layout, with its weights."
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
        except (ValueError, KeyError, TypeError, AttributeError):
            raise IntegrityError(
                f"{file} ({size} bytes) is not a safetensors file: its header cannot be read. {advice}"
            ) from None
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
    content = _json_of(file)
    try:
        vocabulary = content["model"].get("vocab", ())
        ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else [len(vocabulary) - 1]
        ids += [token["id"] for token in content.get("added_tokens", ())]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RequestError(f"{file} is not a tokenizer. Save it again with save_pretrained.") from None
    rows = architecture(ref).vocabulary
    if ids and max(ids) >= rows:
        raise RequestError(
            f"{ref.path}: the tokenizer has the id {max(ids)}, the model's embedding has {rows} rows."
            "\n  Tokenizer and model do not belong together."
        )


def vocabulary(ref: ModelRef) -> dict[str, int]:
    """Token by text, with its id, from `tokenizer.json`; empty where the tokenizer is of another kind."""
    file = ref.path / "tokenizer.json"
    if not file.is_file():
        return {}
    content = json.loads(file.read_text(encoding="utf-8"))
    listed = content["model"].get("vocab", ())
    tokens = listed if isinstance(listed, dict) else {text: number for number, (text, *_) in enumerate(listed)}
    return {**tokens, **{token["content"]: token["id"] for token in content.get("added_tokens", ())}}


def vocabulary_relation(teacher: ModelRef, student: ModelRef) -> str:
    """How a pair's vocabularies stand to each other, in words: the same, one a beginning of the other, or a share."""
    if tokenizer_digest(teacher) == tokenizer_digest(student):
        return "same tokenizer"
    theirs, ours = vocabulary(teacher), vocabulary(student)
    if not (theirs and ours):
        return "different tokenizers"
    if theirs == ours:
        return f"same vocabulary ({len(ours)} tokens), other tokenizer settings"
    for larger, smaller, names in ((theirs, ours, ("student", "teacher")), (ours, theirs, ("teacher", "student"))):
        if smaller.items() <= larger.items():
            return (
                f"different tokenizers; the {names[0]}'s {len(smaller)} tokens have the same ids in the {names[1]}'s"
                f" {len(larger)}"
            )
    shared = len(theirs.keys() & ours.keys())
    share = math.floor(100 * shared / len(ours))
    return (
        f"different tokenizers; {shared} of the student's {len(ours)} tokens ({share} %) are tokens of the teacher too"
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


def check_layout(ref: ModelRef) -> None:
    """Checks that every matrix that the configuration announces is there, in its shape: of families laid out plainly.

    Raises:
        IntegrityError: one is missing or has another shape; transformers would fill it in at random.
    """
    shape = architecture(ref)
    if shape.family not in _PLAIN_LAYOUT:
        return
    wanted = {"model.embed_tokens.weight": (shape.vocabulary, shape.hidden), "model.norm.weight": (shape.hidden,)}
    if not shape.tied:
        wanted["lm_head.weight"] = (shape.vocabulary, shape.hidden)
    for layer in range(shape.layers):
        for module, block in _MODULES.items():
            wanted[f"model.layers.{layer}.{block}.{module}.weight"] = shape.module_shape(module)
    found = tensors(ref)
    advice = "Configuration and weights do not fit; fetch the whole checkpoint."
    missing = [name for name in wanted if name not in found]
    if missing:
        raise IntegrityError(f"{ref.path}: weights are missing: {_first(missing)}.\n  {advice}")
    other = [
        f"{name} is {_by(found[name].shape)}, config.json says {_by(size)}"
        for name, size in wanted.items()
        if found[name].shape != size
    ]
    if other:
        raise IntegrityError(f"{ref.path}: weights have another shape: {_first(other, 2)}.\n  {advice}")


def _first(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def check_finite(ref: ModelRef) -> None:
    """Looks for NaN and infinity in a checkpoint of up to `LOOKED_AT_BYTES`, without torch.

    Raises:
        IntegrityError: a weight holds one.
    """
    if weight_bytes(ref) > LOOKED_AT_BYTES:
        return
    import numpy as np

    # the exponent of NaN and infinity is all ones
    exponents = {
        "F32": ("<u4", 0x7F800000),
        "F16": ("<u2", 0x7C00),
        "BF16": ("<u2", 0x7F80),
        "F64": ("<u8", 0x7FF << 52),
    }
    for name, tensor in tensors(ref).items():
        if tensor.dtype not in exponents:
            continue
        kind, ones = exponents[tensor.dtype]
        numbers = np.fromfile(tensor.file, kind, math.prod(tensor.shape), offset=tensor.start)
        if ((numbers & numbers.dtype.type(ones)) == ones).any():
            raise IntegrityError(f"{ref.path}: {name} holds NaN or infinity. Fetch the checkpoint again.")


def signature(ref: ModelRef) -> str:
    """Digest of the size, the times and the place on the disk of every file of a checkpoint: no file is read.

    Whoever writes into a file, or puts another into its place, changes it; a time that is set back does not hide that,
    for the file system's own time of change cannot be set. Alike on one machine only.
    """
    state = hashlib.blake2b(digest_size=16)
    for file in sorted(ref.path.iterdir()):
        about = file.stat()
        said = (file.name, about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino, about.st_dev)
        state.update(repr(said).encode())
    return state.hexdigest()


def checkpoint_digest(ref: ModelRef) -> str:
    """BLAKE2b-128 over configurations, tokenizer and weight files: what identifies a checkpoint, whatever its path."""
    return _checkpoint_digest(ref, signature(ref))


@functools.lru_cache(maxsize=64)
def _checkpoint_digest(ref: ModelRef, seen: str) -> str:  # noqa: ARG001 - what is remembered holds for these files alone
    state = hashlib.blake2b(digest_size=16)
    config = _json_of(ref.path / "config.json")
    config.pop("_name_or_path", None)
    state.update(json.dumps(config, sort_keys=True).encode())
    state.update(tokenizer_digest(ref).encode())
    generation = ref.path / "generation_config.json"
    state.update(generation.read_bytes() if generation.is_file() else b"")
    for file in weight_files(ref):
        with file.open("rb") as stream:
            state.update(hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).digest())
    return state.hexdigest()


def tokenizer_digest(ref: ModelRef) -> str:
    """BLAKE2b-128 over the tokenizer's files."""
    return _tokenizer_digest(ref, signature(ref))


@functools.lru_cache(maxsize=64)
def _tokenizer_digest(ref: ModelRef, seen: str) -> str:  # noqa: ARG001 - as above
    state = hashlib.blake2b(digest_size=16)
    for name in TOKENIZER_FILES:
        file = ref.path / name
        if file.is_file():
            state.update(name.encode())
            state.update(file.read_bytes())
    return state.hexdigest()


def caveats(pair: Pair) -> tuple[str, ...]:
    """What a reader of the pair's numbers should know: what its author says, and what the user allowed."""
    said = {"pickle": "its weights were unpickled", "remote-code": "code that comes with it was run"}
    allowed = [
        f"{ref.label}: {said[consent]}, as the user allowed"
        for ref in dict.fromkeys((pair.teacher, pair.student))
        for consent in ref.consents
    ]
    return (*pair.caveats, *allowed)


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
    check_report(ref, report)
    for name, weight in model.state_dict().items():
        if not torch.isfinite(weight).all():
            raise IntegrityError(f"{ref.path}: {name} holds NaN or infinity. Fetch the checkpoint again.")
    return model.to(device).eval()


def check_report(ref: ModelRef, report: Mapping[str, Any]) -> None:
    """Reads what transformers says of the names and shapes it found (trap 12).

    Raises:
        IntegrityError: a weight is missing, unexpected or of another shape.
    """
    for complaint in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        names = sorted(_key(entry) for entry in report.get(complaint) or ())
        if names:
            raise IntegrityError(
                f"{ref.path}: {complaint.replace('_', ' ')} in the checkpoint: {_first(names)}.\n"
                "  Configuration and weights do not fit; fetch the whole checkpoint."
            )


def _key(entry: object) -> str:
    """A name, or a name with the shape of the checkpoint and that of the model."""
    if not isinstance(entry, tuple) or len(entry) != 3:
        return str(entry)
    name, theirs, ours = entry
    return f"{name} ({_by(tuple(theirs))}, the model's is {_by(tuple(ours))})"


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
        self.load_seconds[role] = time.monotonic() - self._loading[-1]
        self._loading.pop()
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

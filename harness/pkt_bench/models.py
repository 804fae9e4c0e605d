"""From a ModelRef to a loaded model: checked on the way in, fingerprinted, loaded on first touch."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench.checkpoints import Tensor, architecture, parameter_count, tensors, weight_bytes, weight_files
from pkt_bench.digests import TOKENIZER_FILES, checkpoint_digest, remember, signature, tokenizer_digest
from pkt_bench.domain import LARGE, ModelRef, Pair
from pkt_bench.errors import ContractError, IntegrityError
from pkt_bench.soundness import (
    LOOKED_AT_BYTES,
    check_family,
    check_finite,
    check_layout,
    check_report,
    check_tokenizer,
    known_families,
)
from pkt_bench.vocabularies import vocabulary, vocabulary_relation

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from pkt_bench.streaming import LayerStream

# the rooms below are one to whoever stands above
__all__ = [
    "LOOKED_AT_BYTES",
    "TOKENIZER_FILES",
    "LoadedPair",
    "Spread",
    "StandIn",
    "Tensor",
    "architecture",
    "caveats",
    "check_family",
    "check_finite",
    "check_layout",
    "check_report",
    "check_tokenizer",
    "checkpoint_digest",
    "fingerprint",
    "known_families",
    "load",
    "load_tokenizer",
    "parameter_count",
    "remember",
    "runs_code",
    "signature",
    "tensors",
    "tokenizer_digest",
    "vocabulary",
    "vocabulary_relation",
    "weight_bytes",
    "weight_files",
    "weights_of",
]


def caveats(pair: Pair) -> tuple[str, ...]:
    """What a reader of the pair's numbers should know: what its author says, and what the user allowed."""
    said = {"pickle": "its weights were unpickled", "remote-code": "code that comes with it was run"}
    allowed = [
        f"{ref.label}: {said[consent]}, as the user allowed"
        for ref in dict.fromkeys((pair.teacher, pair.student))
        for consent in ref.consents
    ]
    return (*pair.caveats, *allowed)


def load(ref: ModelRef, dtype: str, device: str, spread: Spread | None = None) -> PreTrainedModel:
    """Loads a checkpoint in evaluation mode, in `dtype`, and refuses what transformers lets pass (trap 12).

    Whole on `device`, or `spread`: then inputs go to the model's own device, and layers that lie elsewhere come to it
    as they are called.

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
            trust_remote_code=runs_code(ref),
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below instead, with the names
            **({} if spread is None else spread.arguments(_least_bytes(ref, dtype))),
        )
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        first = str(error).strip().partition("\n")[0]
        raise IntegrityError(
            f"{ref.path} cannot be loaded: {first}\n  Configuration and weights do not fit; fetch the whole checkpoint."
        ) from error
    check_report(ref, report)
    for name, weight in weights_of(model):
        if not torch.isfinite(weight).all():
            raise IntegrityError(f"{ref.path}: {name} holds NaN or infinity. Fetch the checkpoint again.")
    return (model.to(device) if spread is None else model).eval()


def weights_of(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Every parameter and buffer that is saved, by name, one after the other: those on the disk are read for it."""
    state = model.state_dict()
    for name in sorted(state):
        weight = state[name]
        if weight.is_meta:
            from accelerate.utils import align_module_device

            path, _, last = name.rpartition(".")
            module = model.get_submodule(path)
            with align_module_device(module, execution_device="cpu"):
                yield name, getattr(module, last)
        else:
            yield name, weight


def _least_bytes(ref: ModelRef, dtype: str) -> int:
    """What of a model stays in memory: embedding and head, one layer, and the room that another is read into.

    A model whose embedding lies on the disk says that it is nowhere, and its inputs would follow it there.
    """
    shape = architecture(ref)
    return (2 * shape.vocabulary * shape.hidden + 2 * shape.layer_parameters) * (4 if dtype == "float32" else 2)


def runs_code(ref: ModelRef) -> bool:
    """Whether the user allowed the checkpoint's own code to be run."""
    return "remote-code" in ref.consents


@dataclass(frozen=True)
class Spread:
    """How a model that is too large for its device is spread: over devices, then memory, then the disk.

    Attributes:
        device_map: accelerate's way of choosing: `auto`, `balanced`, `sequential`.
        host_bytes: what may lie in memory; None: what is free.
        kept_bytes: what each device has to keep free beside accelerate's own reserve.
        folder: where weights go that fit nowhere else; a checkpoint's own files serve where their type is the same.
    """

    device_map: str
    host_bytes: int | None = None
    kept_bytes: int = 0
    folder: Path | None = None

    def arguments(self, least: int) -> dict[str, Any]:
        """What transformers is told; `least` bytes are used of the memory, however little is given."""
        from accelerate.utils import get_max_memory

        room = {
            place: max(0, room - (0 if place == "cpu" else self.kept_bytes)) for place, room in get_max_memory().items()
        }
        if self.host_bytes is not None:
            room["cpu"] = min(room["cpu"], max(least, self.host_bytes))
        return {"device_map": self.device_map, "max_memory": room, "offload_folder": self.folder}


def load_tokenizer(ref: ModelRef) -> PreTrainedTokenizerBase:
    """Loads the tokenizer from the checkpoint's folder alone."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(ref.path, local_files_only=True, trust_remote_code=runs_code(ref))


def fingerprint(model: torch.nn.Module) -> str:
    """BLAKE2b-128 over the names, shapes and bytes of every parameter and buffer that is saved."""
    state = hashlib.blake2b(digest_size=16)
    for name, weight in weights_of(model):
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

    `teacher` must be left as it is: its fingerprint is compared afterwards. `student` is the method's own copy. The
    teacher may be held in another type (`teacher_dtype`), and be `spread`; the student, which is trained, never is.
    """

    pair: Pair
    device: str = "cpu"
    dtype: str = "float32"
    stand_in: StandIn | None = None
    teacher_dtype: str | None = None
    spread: Spread | None = None
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
    def teacher_used(self) -> bool:
        """Whether the teacher's weights were asked for, whole or layer by layer."""
        return not self.load_seconds.keys().isdisjoint(("teacher", "teacher_stream"))

    @property
    def large_teacher(self) -> bool:
        """Whether methods should read the teacher layer by layer: it has so many parameters, or is spread.

        A rule of the checkpoint and the request, and not of the machine, so that a cell's result does not depend on
        where it ran.
        """
        return self.spread is not None or parameter_count(self.pair.teacher) >= LARGE

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
        dtype = self.teacher_dtype or self.dtype
        self.load_seconds.setdefault("teacher_stream", 0.0)
        return LayerStream(ref.path, weight_files(ref), dtype, self.device, code=runs_code(ref))

    def _guarded(self, role: str, ref: ModelRef, stand_in: StandIn | None = None) -> PreTrainedModel:
        model = self._timed(role, ref).requires_grad_(requires_grad=False)
        if stand_in is not None:
            if any(weight.is_meta for weight in model.parameters()):
                raise ContractError(
                    "this control changes the teacher's weights in memory, and part of them lies on the disk;"
                    " leave --device-map out, or raise --cell-memory"
                )
            stand_in.change(model)
        self.prints[role] = fingerprint(model)
        return model

    def _timed(self, role: str, ref: ModelRef) -> PreTrainedModel:
        self._loading.append(time.monotonic())
        dtype, spread = (self.teacher_dtype, self.spread) if role == "teacher" else (None, None)
        model = load(ref, dtype or self.dtype, self.device, spread)
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
                    " or put back every weight you touch",
                    "teacher",
                )

    @functools.cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The student's tokenizer: what the new student will be scored with."""
        return load_tokenizer(self.pair.student)

    @functools.cached_property
    def teacher_config(self) -> PretrainedConfig:
        """The teacher's configuration: for whoever may not need its weights."""
        from transformers import AutoConfig

        ref = self.pair.teacher
        config = AutoConfig.from_pretrained(ref.path, local_files_only=True, trust_remote_code=runs_code(ref))
        return config.get_text_config()

    @functools.cached_property
    def teacher_tokenizer(self) -> PreTrainedTokenizerBase:
        """The teacher's tokenizer."""
        return load_tokenizer(self.pair.teacher)

    @property
    def teacher_digest(self) -> str:
        """What identifies the teacher's checkpoint, what it is held in, and what a control makes of it."""
        digest = checkpoint_digest(self.pair.teacher)
        held = "" if self.teacher_dtype in {None, self.dtype} else f" {self.teacher_dtype}"
        placed = "" if self.spread is None else f" spread {self.spread.device_map}"
        return digest + held + placed + ("" if self.stand_in is None else f" {self.stand_in.name}")

    @property
    def student_digest(self) -> str:
        """What identifies the student's checkpoint."""
        return checkpoint_digest(self.pair.student)

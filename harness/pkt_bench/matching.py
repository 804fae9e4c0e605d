"""How the two models of a pair stand to each other: sizes side by side, what can be cut out of what, what is shared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pkt_bench import models
from pkt_bench.domain import Architecture, ModelRef, Pair
from pkt_bench.errors import PktBenchError

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_SIZES = {
    "layers": "layers",
    "hidden": "hidden size",
    "ffn": "feed-forward neurons",
    "heads": "query heads",
    "kv_heads": "key/value heads",
    "head_dim": "channels of a head",
    "vocabulary": "rows of the embedding",
    "positions": "positions",
}
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8"}


@dataclass(frozen=True)
class Size:
    """One size of both models, and the teacher's over the student's."""

    what: str
    teacher: int
    student: int

    @property
    def ratio(self) -> float:
        """How many times the teacher has what the student has."""
        return self.teacher / self.student


@dataclass(frozen=True)
class Stored:
    """What only the weight files say of a model: the types of its numbers, and which modules have biases."""

    dtypes: tuple[str, ...] = ()
    biases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Match:
    """A pair side by side.

    `sizes` in numbers of units; `windowed` names the modules whose weight in the teacher is at least as large both ways
    as in the student, so that a window of the student's shape can be cut out of it. `stored` is None where the weights
    are not here.
    """

    pair: str
    families: tuple[str, str]
    vocabularies: str
    sizes: tuple[Size, ...]
    windowed: tuple[str, ...]
    tied: tuple[bool, bool]
    stored: tuple[Stored | None, Stored | None]

    def lines(self) -> Iterator[str]:
        """The match in sentences: for a plan, which has one line for each."""
        teacher, student = self.families
        by = {size.what: size for size in self.sizes}
        yield f"vocabularies: {self.vocabularies}"
        same = "" if teacher == student else f"families: {teacher} and {student}; "
        shown = ", ".join(
            f"{by[name].what} {by[name].teacher} to {by[name].student}"
            for name in ("layers", "hidden size", "feed-forward neurons")
        )
        heads = f"heads {_heads(by, 'teacher')} to {_heads(by, 'student')}"
        yield f"shapes: {same}{shown}, {heads}"
        left = [module for module in MODULES if module not in self.windowed]
        if left:
            yield f"windows: none of the student's shape in the teacher's {', '.join(left)}"


def _heads(by: dict[str, Size], role: str) -> str:
    query, shared, wide = (getattr(by[what], role) for what in ("query heads", "key/value heads", "channels of a head"))
    return f"{query} of {wide}" if query == shared else f"{query} (on {shared}) of {wide}"


def match(pair: Pair) -> Match:
    """The match of a pair whose files are here. Raises what `models.architecture` raises."""
    vocabularies = models.vocabulary_relation(pair.teacher, pair.student)
    shapes = models.architecture(pair.teacher), models.architecture(pair.student)
    return of_sizes(pair, *shapes, vocabularies, (stored(pair.teacher), stored(pair.student)))


def of_sizes(
    pair: Pair,
    teacher: Architecture,
    student: Architecture,
    vocabularies: str,
    kept: tuple[Stored | None, Stored | None] = (None, None),
) -> Match:
    """The match by sizes alone."""
    return Match(
        pair=pair.name,
        families=(teacher.family, student.family),
        vocabularies=vocabularies,
        sizes=tuple(Size(what, getattr(teacher, name), getattr(student, name)) for name, what in _SIZES.items()),
        windowed=tuple(module for module in MODULES if _is_larger(teacher, student, module)),
        tied=(teacher.tied, student.tied),
        stored=kept,
    )


def _is_larger(teacher: Architecture, student: Architecture, module: str) -> bool:
    return all(t >= s for t, s in zip(teacher.module_shape(module), student.module_shape(module), strict=True))


def stored(ref: ModelRef) -> Stored | None:
    """What the headers of the weight files say; None where they cannot be read."""
    try:
        found = models.tensors(ref)
    except (PktBenchError, OSError):
        return None
    dtypes = sorted({_DTYPES.get(tensor.dtype, tensor.dtype) for tensor in found.values()})
    biases = sorted({name.split(".")[-2] for name in found if name.endswith(".bias")})
    return Stored(tuple(dtypes), tuple(biases))

"""From a checkpoint as it is asked for to a folder that can be loaded: the only place that knows of hub and GGUF.

A side of a pair is written as one of

    FOLDER                          a folder in Hugging Face layout
    FILE.gguf, FOLDER/FILE.gguf     a GGUF file
    OWNER/NAME[@REVISION]           a model of the Hugging Face Hub
    OWNER/NAME[@REVISION]/FILE.gguf one GGUF file of it

and what is there as a folder or file wins over the hub, as does a path whose parent folder is there.

The rule of downloads: `run` and `prefetch` fetch what is missing, `plan` and everything else fetch nothing, and nobody
does offline. What a plan needs is in the files, so a plan of a model that is not here ends with what it would fetch;
`plan --estimate` and `doctor --pair` answer from known sizes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pkt_bench import converting, hub
from pkt_bench.checkpoints import json_of
from pkt_bench.domain import ModelRef, Pair
from pkt_bench.errors import PktBenchError, RequestError
from pkt_bench.known_models import KNOWN_MODELS

SIDES = "a folder, a GGUF file, or a model of the hub as OWNER/NAME[@REVISION]"
_REVISION = r"(?:@(?P<revision>refs/(?:pr|convert)/[^/@]+|[^/@]+))?"
_HUB = re.compile(
    r"(?P<hub>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*?)" + _REVISION + r"(?:/(?P<gguf>[^@]+\.gguf))?", re.ASCII
)
_PICKLED = ("*.bin", "*.pt", "*.pth")


@dataclass(frozen=True)
class Terms:
    """What may be done to get at a checkpoint.

    `fetch`: download what is missing. `offline`: never. `pickle` and `code`: models whose pickled weights may be
    unpickled, whose own code may be run, as the user wrote them. `tell` is told what takes long.
    """

    fetch: bool = False
    offline: bool = False
    pickle: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    tell: Callable[[str], None] = lambda _: None


def side(text: str, beside: Path | None = None) -> ModelRef:
    """One side of a pair as it is written; relative paths are taken from `beside`, by default from where we are."""
    path = Path(text).expanduser()
    path = path if beside is None else beside / path
    known = KNOWN_MODELS.get(text.lower())
    if known is not None and known.hub and not path.exists():
        return ModelRef(hub=known.hub)
    found = _HUB.fullmatch(text)
    if found is not None and not path.exists() and not path.parent.is_dir() and not text.startswith((".", "~")):
        return ModelRef(hub=found["hub"], revision=found["revision"] or "", gguf=found["gguf"] or "")
    path = path.resolve()
    if path.suffix == ".gguf" and not path.is_dir():
        return ModelRef(path.parent, gguf=path.name, name=path.stem)
    return ModelRef(path)


def sides(text: str) -> tuple[str, str]:
    """The two sides of `TEACHER:STUDENT`.

    Raises:
        RequestError: one is missing.
    """
    teacher, _, student = text.partition(":")
    if not (teacher and student):
        raise RequestError(f"--pair {text}: write the name of a pair, or TEACHER:STUDENT, each {SIDES}.")
    return teacher, student


def typed_pair(text: str) -> Pair:
    """The pair that is written as `TEACHER:STUDENT`, not yet found.

    Raises:
        RequestError: a side is missing.
    """
    teacher, student = (side(each) for each in sides(text))
    return Pair(f"{_called(teacher)}-{_called(student)}", "given on the command line", teacher, student)


def _called(ref: ModelRef) -> str:
    return ref.name or (hub.called(ref) if ref.hub else ref.path.name)


def found_pair(pair: Pair, terms: Terms) -> tuple[Pair, list[PktBenchError]]:
    """The pair with both checkpoints in folders that can be loaded; what came of that is among its caveats.

    Also what is wrong with either side, where the pair is as it was: a model is not there, or is not here and may not
    or cannot be fetched, or needs a consent that was not given.
    """
    problems: list[PktBenchError] = []
    refs = []
    for ref in (pair.teacher, pair.student):
        try:
            refs.append(found(ref, terms))
        except PktBenchError as error:
            problems.append(error)
    if problems:
        return pair, problems
    told = [f"{ref.label}: {text}" for ref in dict.fromkeys(refs) if (text := converting.caveat(ref.path))]
    caveats = tuple(dict.fromkeys((*pair.caveats, *told)))
    return replace(pair, teacher=refs[0], student=refs[1], caveats=caveats), []


def found(ref: ModelRef, terms: Terms) -> ModelRef:
    """The checkpoint in a folder that can be loaded.

    Raises:
        RequestError: it is not there, or needs a consent that was not given.
        UnavailableError: it is not here, and may not or cannot be fetched; or an extra is missing.
        StorageError: there is no room for it.
        IntegrityError: it is not what it claims to be.
    """
    allowed = [kind for kind, names in (("pickle", terms.pickle), ("remote-code", terms.code)) if _named(ref, names)]
    ref = replace(ref, consents=tuple(dict.fromkeys((*ref.consents, *allowed))))
    if ref.hub and not ref.found:
        ref = _of_the_hub(ref, terms)
    if ref.gguf:
        return _of_gguf(ref, terms)
    return _of_pickled(_with_code(ref), terms)


def unused(names: Iterable[str], flag: str, pairs: Iterable[Pair]) -> RequestError | None:
    """What to say of a consent for a model that no pair has: a typo there must not pass for a consent."""
    refs = [ref for pair in pairs for ref in (pair.teacher, pair.student)]
    for name in names:
        if not any(_named(ref, (name,)) for ref in refs):
            spelled = sorted({hub.spelled(ref) if ref.hub else str(ref.path) for ref in refs})
            near = difflib.get_close_matches(name, spelled, n=1, cutoff=0.5)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            return RequestError(
                f"{flag} {name}: no pair of this run has such a model.{hint}\n  Models: {', '.join(spelled)}"
            )
    return None


def _named(ref: ModelRef, names: Iterable[str]) -> bool:
    """Whether one of `names` is this model: as it is typed, its name on the hub, or its path."""
    for name in names:
        if ref.hub and name in {ref.hub, hub.spelled(ref)}:
            return True
        written = side(name)
        if not ref.hub and written.path == ref.path and written.gguf in {"", ref.gguf} and written.found:
            return True
    return False


def _of_the_hub(ref: ModelRef, terms: Terms) -> ModelRef:
    located = hub.locate(ref)
    # a cache may hold the pickled form alone of what the hub has as safetensors too
    enough = located is not None and (not _only_pickled(located) or "pickle" in ref.consents)
    offline = hub.is_offline(asked=terms.offline)
    if located is not None and (enough or offline or not terms.fetch):
        return located
    if offline:
        raise hub.absent(
            ref, "--offline is given" if terms.offline else "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set"
        )
    what = hub.needed(ref)
    if not terms.fetch:
        raise hub.absent(ref, f"run would fetch {hub.would_fetch(what)}, a plan fetches nothing")
    terms.tell(f"fetching {hub.spelled(ref)}: {hub.would_fetch(what)}")
    return hub.fetch(ref)


def _of_gguf(ref: ModelRef, terms: Terms) -> ModelRef:
    file = ref.path / ref.gguf
    if not file.is_file():
        if converting.about(ref.path):
            return ref  # found before
        near = sorted(path.name for path in ref.path.glob("*.gguf")) if ref.path.is_dir() else []
        raise RequestError(
            f"there is no GGUF file {file}.\n  Beside it: {', '.join(near[:8]) or 'no other GGUF file'}."
        )
    return replace(ref, path=converting.from_gguf(ref, terms.tell))


def _only_pickled(ref: ModelRef) -> bool:
    if not ref.path.is_dir() or any(ref.path.glob("*.safetensors*")):
        return False
    return any(True for pattern in _PICKLED for _ in ref.path.glob(pattern))


def _of_pickled(ref: ModelRef, terms: Terms) -> ModelRef:
    """Where its weights are pickled alone and that is allowed, what they were made into."""
    if not _only_pickled(ref) or "pickle" not in ref.consents:
        # a consent that nothing was done with is none
        return replace(ref, consents=tuple(each for each in ref.consents if each != "pickle"))
    return replace(ref, path=converting.from_pickled(ref, terms.tell), name=ref.label)


def _with_code(ref: ModelRef) -> ModelRef:
    """The consent to run a model's code is kept where it has code."""
    config = ref.path / "config.json"
    if "remote-code" in ref.consents and (not config.is_file() or not json_of(config).get("auto_map")):
        return replace(ref, consents=tuple(each for each in ref.consents if each != "remote-code"))
    return ref

"""What this machine can do for pkt-bench, and for a pair: seen and worked out, with nothing fetched and nothing run.

Of a pair whose weights are not here the sizes are taken as they are known; what only its files tell stays open.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pkt_bench import __version__, environment, estimating, homes, hub, matching, models, planning, preflight, resolving
from pkt_bench.digests import hub_sha256, read_sha256
from pkt_bench.domain import Architecture, ModelRef, Pair
from pkt_bench.environment import cpu_name, library_versions
from pkt_bench.errors import PktBenchError
from pkt_bench.matching import Match
from pkt_bench.memory import training_bytes
from pkt_bench.plugins import Registry
from pkt_bench.request import Request
from pkt_bench.sandbox import Refusal, probe
from pkt_bench.spans import size

COPIES = 2
"""Of the student while a method works: its own, and one that nobody may change."""


@dataclass(frozen=True)
class Fact:
    """One thing seen. `works` is None where nobody asked for it; `advice` says what to do where it does not."""

    topic: str
    what: str
    said: str
    works: bool | None = None
    advice: str = ""


@dataclass(frozen=True)
class Stage:
    """What a stage needs of the memory at most, by which formula, and whether the device has it."""

    stage: str
    bytes: float
    formula: str
    fits: bool


@dataclass(frozen=True)
class Ability:
    """Whether a method can do a pair on some suites: the most it needs at once by its own estimate, or why not."""

    method: str
    suites: tuple[str, ...]
    bytes: float | None
    fits: bool | None
    why_not: str = ""


@dataclass(frozen=True)
class PairReport:
    """A pair on this machine. `problems` are what keeps it from being run as asked."""

    pair: str
    licence: str
    match: Match | None
    stages: tuple[Stage, ...]
    abilities: tuple[Ability, ...]
    facts: tuple[Fact, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Diagnosis:
    """All that was seen. `problems` are what was asked for and cannot work here."""

    facts: tuple[Fact, ...]
    pairs: tuple[PairReport, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """What was asked for and cannot work, a sentence each, with what to do."""
        wrong = (f"{fact.what}: {fact.said}. {fact.advice}".rstrip() for fact in self.facts if fact.works is False)
        return (*wrong, *(problem for pair in self.pairs for problem in pair.problems))


def diagnose(request: Request, registry: Registry, *, pairs: bool, verify: bool = False) -> Diagnosis:
    """Looks at the machine, and with `pairs` at those of the request.

    With `verify`, weights in the hub's cache are read, and compared with what the hub calls them by.

    Raises:
        RequestError: a name is unknown, or a pair is not written well.
    """
    facts = (*machine(request, registry), *_sandbox(request, registry))
    if not pairs:
        return Diagnosis(facts, ())
    findings = preflight.Findings()
    asked = [pair for pair, _ in planning.asked_pairs(request, registry, findings)]
    findings.raise_all()
    return Diagnosis(facts, tuple(_report(pair, request, registry, verify=verify) for pair in asked))


# ---------------------------------------------------------------- the machine


def machine(request: Request, registry: Registry) -> Iterator[Fact]:
    """Versions, devices, memory, disk, folders, switches, extras, plugins."""
    yield Fact("versions", "pkt-bench", __version__)
    yield Fact("versions", "Python", platform.python_version())
    for name, version in library_versions().items():
        yield Fact("versions", name, version)
    yield Fact("machine", "processor", f"{cpu_name()}, {os.cpu_count()} cores")
    yield Fact("machine", "memory", size(preflight.device_bytes("cpu")))
    yield _device(request.device)
    for what, folder in (
        ("run folder", request.out),
        ("cache", homes.cache_folder()),
        ("hub's cache", hub.cache_folder()),
    ):
        yield _disk(what, folder)
    yield Fact("hub", "address", hub.endpoint())
    switches = [name for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if os.environ.get(name)]
    off = hub.is_offline(asked=request.offline)
    why = " (--offline)" if request.offline else f" ({', '.join(switches)})" if off else ""
    yield Fact("hub", "network", f"not to be used{why}" if off else "may be used")
    yield Fact("hub", "token", "given" if _has_token() else "none: gated models cannot be fetched")
    yield from extras()
    yield from _plugins(request, registry)


def _device(device: str) -> Fact:
    seen = preflight.devices()
    try:
        preflight.check_device(device)
    except PktBenchError as error:
        first, _, advice = str(error).partition("\n")
        return Fact("machine", "device", first, works=False, advice=advice.strip())
    return Fact("machine", "device", f"{device} (seen: {seen})", works=True)


def _disk(what: str, folder: Path) -> Fact:
    there = next((each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir()), Path("/"))
    free = size(shutil.disk_usage(there).free)
    if not os.access(there, os.W_OK):
        return Fact("disk", what, f"{folder} cannot be written to", works=False if what == "run folder" else None)
    return Fact("disk", what, f"{folder} ({free} free)")


def _has_token() -> bool:
    from huggingface_hub import get_token

    return bool(get_token())


def extras() -> Iterator[Fact]:
    """What can be installed beside pkt-bench, by its own metadata, and whether it is."""
    for name, wants in _extras().items():
        missing = [want for want in wants if _version(want) is None]
        said = f"not installed: pip install 'pkt-bench[{name}]'" if missing else "installed"
        yield Fact("extras", name, said)


def _extras() -> dict[str, list[str]]:
    """The packages of each extra, but for what is there for developers."""
    found: dict[str, list[str]] = {}
    for line in importlib.metadata.requires("pkt-bench") or ():
        wanted, _, marker = line.partition(";")
        extra = marker.partition("extra ==")[2].strip().strip("'\"")
        if extra and extra != "dev":
            name = wanted.strip()
            for sign in ("[", ">", "<", "=", "!", "~", " "):
                name = name.partition(sign)[0]
            found.setdefault(extra, []).append(name)
    return found


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _plugins(request: Request, registry: Registry) -> Iterator[Fact]:
    files = {str(Path(file)) for file in request.plugins}
    for each in registry.providers:
        if each.status in {"ok", "disabled"}:
            continue
        asked = each.name in files or any(
            Path(file).stem == each.name or Path(file).name == each.name for file in files
        )
        yield Fact(
            "plugins",
            each.name,
            f"{each.status}: {each.reason}",
            works=False if asked and each.status == "broken" else None,
            advice="pkt-bench plugins list says more.",
        )
    yield Fact("plugins", "loaded", str(sum(each.status == "ok" for each in registry.providers)))


def _sandbox(request: Request, registry: Registry) -> Iterator[Fact]:
    """The sandbox for code that a model wrote, and whether a suite that was asked for needs one."""
    needed = any(offer.item.runs_code for name in request.suites for offer in registry.suites.called(name))
    found = probe()
    if isinstance(found, Refusal):
        ways = " ".join(f"{each.backend}: {each.why}; to get it: {each.remedy}." for each in found.backends)
        yield Fact("sandbox", "sandbox", "none works here", works=False if needed else None, advice=ways)
    else:
        yield Fact("sandbox", "sandbox", f"{found.name} ({found.version}), {found.proof} probes held", works=True)


# ---------------------------------------------------------------- a pair


def _report(pair: Pair, request: Request, registry: Registry, *, verify: bool) -> PairReport:
    terms = resolving.Terms(offline=request.offline, pickle=request.allow_pickle, code=request.trust_remote_code)
    offline = hub.is_offline(asked=request.offline)
    facts: list[Fact] = []
    problems: list[str] = []
    refs: list[ModelRef] = []
    for role, ref in (("teacher", pair.teacher), ("student", pair.student)):
        try:
            here = resolving.found(ref, terms) if not ref.hub or ref.found or hub.locate(ref) else ref
        except PktBenchError as error:
            problems.append(f"pair '{pair.name}': {error}")
            here = ref
        refs.append(here)
        facts.append(_where(role, here, offline=offline))
        if offline and ref.hub and not here.found:
            problems.append(str(hub.absent(ref, "the network is not to be used")))
        if verify and here.found:
            problems += _altered(here)
    pair = replace(pair, teacher=refs[0], student=refs[1])
    try:
        known = [estimating.known_or_read(ref) for ref in refs]
    except PktBenchError as error:
        return PairReport(pair.name, pair.licence, None, (), (), tuple(facts), (*problems, str(error)))
    shapes = known[0].architecture, known[1].architecture
    if all(_has_weights(ref) for ref in refs):
        found = matching.match(pair)
    else:
        same = known[0].tokenizer == known[1].tokenizer
        words = "the same tokenizer, as far as is known" if same else "different tokenizers, as far as is known"
        found = matching.of_sizes(pair, *shapes, words, (_stored(refs[0]), _stored(refs[1])))
    stages = tuple(_stages(*shapes, request))
    abilities, wrong = _abilities(pair, request, registry)
    return PairReport(pair.name, pair.licence, found, stages, abilities, tuple(facts), (*problems, *wrong))


def _has_weights(ref: ModelRef) -> bool:
    return ref.found and (ref.path / "config.json").is_file()


def _stored(ref: ModelRef) -> matching.Stored | None:
    return matching.stored(ref) if _has_weights(ref) else None


def _where(role: str, ref: ModelRef, *, offline: bool) -> Fact:
    name = hub.spelled(ref) if ref.hub else ref.label
    if ref.found:
        return Fact("models", role, f"{name}: {ref.path}")
    return Fact("models", role, f"{name}: not here{'' if offline else '; run and prefetch fetch it'}")


def _altered(ref: ModelRef) -> Iterator[str]:
    """Weight files of the hub's cache whose bytes are not those that the hub announced."""
    for file in models.weight_files(ref):
        announced = hub_sha256(file)
        if announced is not None and read_sha256(file) != announced:
            yield f"{file} is not what the hub announced. Remove {file.resolve()} and fetch it again."


def _stages(teacher: Architecture, student: Architecture, request: Request) -> Iterator[Stage]:
    """What loading and scoring need, by formula, against what the device has."""
    kind = request.device.partition(":")[0]
    room = _room(kind)
    theirs = 4 if (request.teacher_dtype or request.dtype) == "float32" else 2
    ours = 4 if request.dtype == "float32" else 2
    batch = 16 if isinstance(request.batch_size, str) else request.batch_size
    token = preflight.token_bytes(student, ours)
    tokens = batch * preflight.DOCUMENT_TOKENS
    lines = (
        ("load the teacher", theirs * teacher.parameters, f"{theirs} N_T"),
        ("load the student", COPIES * ours * student.parameters, f"{COPIES} copies x {ours} N_S"),
        (
            "score the student",
            ours * student.parameters + token * tokens,
            f"{ours} N_S + {batch} documents x {preflight.DOCUMENT_TOKENS} tokens x {size(token)}",
        ),
    )
    for stage, amount, formula in lines:
        yield Stage(stage, amount, formula, amount <= room)
    pass_tokens = request.pass_tokens or environment.pass_tokens(request.device)
    peak = training_bytes(
        student, pass_tokens=pass_tokens, number_bytes=ours, checkpointing=request.gradient_checkpointing
    ).peak
    kept = " with checkpointed activations" if request.gradient_checkpointing else ""
    yield Stage("train all of the student", peak, f"AdamW, passes of {pass_tokens} tokens{kept}", peak <= room)


def _room(kind: str) -> float:
    try:
        return preflight.device_bytes(kind)
    except (RuntimeError, AssertionError):
        return 0.0


def _abilities(pair: Pair, request: Request, registry: Registry) -> tuple[tuple[Ability, ...], tuple[str, ...]]:
    room = _room(request.device.partition(":")[0])
    try:
        needs = estimating.needs(request, registry, [pair])
    except PktBenchError as error:
        return (), (f"pair '{pair.name}': {error}",)
    abilities = []
    for need in needs:
        amounts = [line.amount for line in need.estimates if line.unit == "bytes"]
        largest = max(amounts, default=None)
        fits = None if largest is None else largest <= room
        abilities.append(Ability(need.method, need.suites, largest, fits, need.skipped))
    able = any(not each.why_not for each in abilities)
    return tuple(abilities), () if able else (f"pair '{pair.name}': no method asked for can do it.",)


__all__ = ["Ability", "Diagnosis", "Fact", "PairReport", "Stage", "diagnose", "extras", "machine"]

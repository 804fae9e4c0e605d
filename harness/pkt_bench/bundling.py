"""A request as a bundle: everything a run of it needs and a machine without a network lacks, in one folder.

data/           data sets, in the layout of `--data-dir`
hub/            models of the hub, as its own cache lays them out: HF_HUB_CACHE=BUNDLE/hub
models/         models that were given as folders or files
tasks/          the task files, as they are installed here
MANIFEST.json   what was asked for, every file with its SHA-256 and licence, what is missing, how to run it
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pkt_bench import __version__, durable, hub, mirrors, planning, preflight, resolving, task_index, task_suites
from pkt_bench.domain import DataRef, ModelRef, Pair, Suite
from pkt_bench.errors import PktBenchError, RequestError, StorageError, UnavailableError
from pkt_bench.plugins import Registry
from pkt_bench.request import Request

MANIFEST = "MANIFEST.json"
FORMAT = 1
# of a folder in Hugging Face layout, what loading it reads, and what says what it may be used for
_OF_A_MODEL = ("*.json", "*.safetensors", "*.model", "*.jinja", "*.txt", "*.tiktoken", "LICENSE*", "README.md", "*.py")


@dataclass(frozen=True)
class File:
    """A file of a bundle: where it is in it, what it belongs to, and `state`: there, written, or would be written."""

    path: str
    of: str
    bytes: int
    sha256: str
    licence: str
    state: str


@dataclass
class Bundle:
    """What is in a bundle, or would be, and what of the request is not."""

    folder: Path
    files: list[File] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    command: str = ""


def bundle(request: Request, registry: Registry, to: Path, *, dry_run: bool, tell: Callable[[str], None]) -> Bundle:
    """Puts what a request needs into the folder `to`; what is there already stays.

    Raises:
        RequestError: a name is unknown, or the folder holds something else.
        StorageError: the folder cannot be written.
        PktBenchError: a model that is asked for cannot be had, of the worst kind among such problems.
    """
    to = to.expanduser().resolve()
    if to.is_dir() and any(to.iterdir()) and not (to / MANIFEST).is_file():
        raise RequestError(f"--to {to}: the folder holds something that is no bundle.\n  Name a new folder.")
    made = Bundle(to)
    pack = _Pack(made, dry_run=dry_run)
    findings = preflight.Findings()
    asked = planning.asked_pairs(request, registry, findings)
    findings.raise_all()
    try:
        pairs = [_pair(each, request, registry, pack, tell) for each in asked]
        wanted = list(_wanted(request, registry, [pair for pair, _ in asked], findings))
        findings.raise_all()
        for item in wanted:
            item.put(pack)
        made.command = _command(request, pairs, to)
        _check(wanted, made, (to / "data",) if not dry_run else mirrors.folders())
        if not dry_run:
            _write_manifest(made, request)
    except OSError as error:
        raise StorageError(f"the bundle {to} cannot be written: {error.strerror} ({error.filename}).") from None
    return made


class _Pack:
    """Puts files into a bundle, or says that it would."""

    def __init__(self, made: Bundle, *, dry_run: bool) -> None:
        self.made, self.dry_run = made, dry_run
        self._seen: set[str] = set()

    def copy(self, file: Path, path: str, of: str, licence: str = "") -> None:
        """A file from this machine."""
        if path in self._seen:
            return
        self._seen.add(path)
        place, sha256 = self.made.folder / path, mirrors.sha256(file.resolve())
        there = place.is_file() and place.stat().st_size == file.stat().st_size and mirrors.sha256(place) == sha256
        if not there and not self.dry_run:
            durable.make_folder(place.parent)
            with durable.aside(place.parent) as beside:
                shutil.copyfile(file, beside)
                durable.put_in_place(beside, place)
        self._add(path, of, file.stat().st_size, sha256, licence, there=there)

    def write(self, content: bytes, path: str, of: str, licence: str = "") -> None:
        """A file that is made here."""
        if path in self._seen:
            return
        self._seen.add(path)
        place, sha256 = self.made.folder / path, hashlib.sha256(content).hexdigest()
        there = place.is_file() and mirrors.sha256(place) == sha256
        if not there and not self.dry_run:
            durable.publish(place, content)
        self._add(path, of, len(content), sha256, licence, there=there)

    def _add(self, path: str, of: str, size: int, sha256: str, licence: str, *, there: bool) -> None:
        state = "there" if there else "would be written" if self.dry_run else "written"
        self.made.files.append(File(path, of, size, sha256, licence, state))


# ---------------------------------------------------------------- models


def _pair(
    asked: tuple[Pair, bool], request: Request, registry: Registry, pack: _Pack, tell: Callable[[str], None]
) -> str:
    """Puts the models of a pair into the bundle; gives what `--pair` is to say there."""
    pair, typed = asked
    if not typed and any(offer.item is pair for offer in registry.pairs) and pair.teacher.found and pair.student.found:
        return pair.name  # comes with its plugin
    terms = resolving.Terms(
        fetch=not pack.dry_run,
        offline=request.offline,
        pickle=request.allow_pickle,
        code=request.trust_remote_code,
        tell=tell,
    )
    sides = [_model(ref, pair, terms, pack) for ref in (pair.teacher, pair.student)]
    if not typed and (pair.teacher.hub or pair.student.hub):
        return pair.name
    return ":".join(sides)


def _model(ref: ModelRef, pair: Pair, terms: resolving.Terms, pack: _Pack) -> str:
    if ref.hub and not ref.found:
        return _model_of_the_hub(ref, pair, terms, pack)
    if ref.gguf:
        pack.copy(ref.path / ref.gguf, f"models/{ref.gguf}", ref.label, pair.licence)
        return f"models/{ref.gguf}"
    if not ref.path.is_dir():
        raise RequestError(f"pair '{pair.name}': there is no model folder {ref.path}.")
    _copy_folder(ref.path, f"models/{ref.path.name}", ref.label, pair.licence, pack)
    return f"models/{ref.path.name}"


def _model_of_the_hub(ref: ModelRef, pair: Pair, terms: resolving.Terms, pack: _Pack) -> str:
    spelled = hub.spelled(ref)
    located = hub.locate(ref)
    if located is None and pack.dry_run:
        try:
            pack.made.notes.append(f"{spelled} would be fetched: {hub.would_fetch(hub.needed(ref))}")
        except PktBenchError as error:
            pack.made.missing.append(str(error))
        return spelled
    if located is None:
        if hub.is_offline(asked=terms.offline):
            raise hub.absent(ref, "the network is not to be used")
        terms.tell(f"fetching {spelled}")
        located = hub.fetch(ref)
    root = f"hub/models--{ref.hub.replace('/', '--')}"
    _copy_folder(located.path, f"{root}/snapshots/{located.path.name}", spelled, pair.licence, pack, ref.gguf)
    if ref.revision != located.path.name:
        pack.write(located.path.name.encode(), f"{root}/refs/{ref.revision or hub.MAIN}", spelled)
    return spelled


def _copy_folder(folder: Path, to: str, of: str, licence: str, pack: _Pack, gguf: str = "") -> None:
    patterns = (gguf, "LICENSE*", "README.md") if gguf else _OF_A_MODEL
    found = {file for pattern in patterns for file in folder.glob(pattern) if file.is_file()}
    # pickled weights are read where they are the only ones, and that was allowed
    if not gguf and not any(file.suffix == ".safetensors" for file in found):
        found |= {file for pattern in ("*.bin", "*.pt", "*.pth", "*.gguf") for file in folder.glob(pattern)}
    for file in sorted(found):
        pack.copy(file, f"{to}/{file.relative_to(folder).as_posix()}", of, licence)


# ---------------------------------------------------------------- data and tasks


@dataclass(frozen=True)
class _Wanted:
    """A suite or task that is asked for: its data sets, and the files of its tasks."""

    name: str
    data: Sequence[DataRef]
    tasks: Mapping[str, Path]
    works: Callable[[], bool]

    def put(self, pack: _Pack) -> None:
        """Puts both into the bundle; what cannot be had is noted."""
        for ref in self.data:
            for split in ref.splits:
                try:
                    content = mirrors.written(ref, split)
                except UnavailableError as error:
                    pack.made.missing.append(f"{self.name}: {error}")
                    continue
                for name, written in content.items():
                    pack.write(written, f"data/{name}", f"data set {mirrors.title(ref)}", ref.licence)
        for name, file in self.tasks.items():
            pack.copy(file, f"tasks/{name}", f"task {self.name}")


def _wanted(
    request: Request, registry: Registry, pairs: Sequence[Pair], findings: preflight.Findings
) -> Iterator[_Wanted]:
    every = [name for pair in pairs for name in planning.suites_of(pair, registry)]
    trained = [each for name in request.suites for each in (every if name == "all" else [name])]
    also = [each for name in request.also_score for each in (every if name == "all" else [name])]
    scored = [*also, *(f"{task_suites.LM_EVAL}/{task}" for task in request.tasks)]
    for name in dict.fromkeys((*trained, *scored)):
        with findings.gathered():
            yield _of(name, registry, trained=name in trained)


def _of(name: str, registry: Registry, *, trained: bool) -> _Wanted:
    distribution, _, plain = name.rpartition("/")
    if registry.suites.called(name):
        offer = registry.suites.get(name)
        suite = offer.item
        folder = suite.task_path
        files = [file for file in folder.rglob("*") if file.is_file()] if folder is not None and suite.needs else []
        tasks = {
            f"{offer.distribution}/{file.relative_to(folder).as_posix()}": file
            for file in sorted(files)
            if folder is not None and "__pycache__" not in file.parts
        }
        return _Wanted(name, suite.needs, tasks, lambda: _has_records(suite))
    folders = [offer.item.task_path for offer in registry.suites if offer.item.task_path is not None]
    looked = task_suites.look_up(distribution, plain, folders)
    if looked is None:
        registry.suites.get(name)  # says what is wrong with it
        raise RequestError(f"no suite is called '{name}'.")
    data = list(task_suites.needs(looked.listed, looked.index))
    if trained and (training := task_suites.training_data(looked.listed)) is not None:
        data.append(training)
    root = looked.folder or task_index.home()
    tasks = {
        f"{root.name if looked.folder else task_suites.LM_EVAL}/{file.relative_to(root).as_posix()}": file
        for file in task_suites.sources(looked.listed, looked.index)
        if file.is_relative_to(root)
    }
    # of what it is made of it can do without nothing
    return _Wanted(name, data, tasks, lambda: False)


def _has_records(suite: Suite) -> bool:
    try:
        return bool(suite.test_prompts()) and bool(suite.records("train"))
    except PktBenchError:
        return False


def _check(wanted: Sequence[_Wanted], made: Bundle, data: Sequence[Path]) -> None:
    """Whether each suite that lacks something works with these folders of data alone: some do without."""
    before = os.environ.get(mirrors.ENV, "")
    os.environ[mirrors.ENV] = os.pathsep.join(map(str, data))
    try:
        for item in wanted:
            own = [text for text in made.missing if text.startswith(f"{item.name}: ")]
            if own and item.works():
                made.missing = [text for text in made.missing if text not in own]
                made.notes += [f"{text.partition(chr(10))[0]} It does without." for text in own]
    finally:
        os.environ[mirrors.ENV] = before


# ---------------------------------------------------------------- what the bundle says of itself


def _command(request: Request, pairs: Sequence[str], to: Path) -> str:
    """The command that runs the request from the bundle, but for flags that need nothing fetched."""
    words = ["pkt-bench", "run", "--offline", "--data-dir", str(to / "data")]
    for pair in pairs:
        words += [
            "--pair",
            ":".join(str(to / side) if side.startswith("models/") else side for side in pair.split(":")),
        ]
    for flag, names in (("--suite", request.suites), ("--also-score", request.also_score), ("--tasks", request.tasks)):
        words += [flag, ",".join(names)] if names else []
    command = " ".join(map(shlex.quote, words))
    return f"HF_HUB_CACHE={shlex.quote(str(to / 'hub'))} {command}"


def _write_manifest(made: Bundle, request: Request) -> None:
    asked = request.model_dump(mode="json", exclude_defaults=True)
    content: dict[str, Any] = {
        "format": FORMAT,
        "pkt_bench": __version__,
        "lm_eval": task_index.version(),
        "asked": asked,
        "run": made.command,
        "missing": made.missing,
        "notes": made.notes,
        "files": [{name: value for name, value in asdict(each).items() if name != "state"} for each in made.files],
    }
    durable.publish(made.folder / MANIFEST, json.dumps(content, indent=1, ensure_ascii=False).encode())

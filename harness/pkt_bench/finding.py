"""Which plugins there are: entry points of installed distributions and single files, none of them imported yet.

A plugin is known by `distribution/name`: names of entry points need not be unique. Where two distributions name one
module, it belongs to the one whose files hold it, and the other is left out with that reason.
"""

from __future__ import annotations

import base64
import contextlib
import difflib
import hashlib
import importlib.metadata
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Literal
from urllib.parse import unquote, urlsplit

from pkt_bench.errors import RequestError

GROUP = "pkt_bench"
ALLOW, BLOCK, STRICT = "PKT_BENCH_LOAD_PLUGINS", "PKT_BENCH_DISABLE_PLUGINS", "PKT_BENCH_STRICT_PLUGINS"
Status = Literal["ok", "clash", "broken", "disabled"]
Fetch = Callable[[], object]


@dataclass(frozen=True)
class Provider:
    """A plugin as it was found: where it comes from, what it implements, and why it cannot be used if it cannot."""

    name: str
    distribution: str
    version: str
    origin: str
    status: Status
    reason: str = ""
    hooks: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What no other plugin is called."""
        return key_of(self.distribution, self.name)


@dataclass(frozen=True)
class Found:
    """Plugins that may be loaded, each with the function that imports it; `remarks` are words that name none."""

    plugins: tuple[tuple[Provider, Fetch], ...] = ()
    remarks: tuple[str, ...] = ()


def key_of(distribution: str, name: str) -> str:
    """A plugin as `distribution/name`; a single file, which is its own distribution, as that alone."""
    return distribution if distribution == f"{name}.py" else f"{distribution}/{name}"


def normal(distribution: str) -> str:
    """A distribution's name as all its spellings have it in common (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def is_strict(environ: Mapping[str, str]) -> bool:
    """Whether a plugin that cannot be used is to be an error."""
    return environ.get(STRICT, "") not in {"", "0"}


# ---------------------------------------------------------------- installed distributions


def installed(environ: Mapping[str, str]) -> Found:
    """Every plugin of an installed distribution, those included that the lists in `environ` leave out."""
    points = _entry_points()
    hidden = _hidden(points)
    providers: list[tuple[Provider, Fetch]] = []
    for number, point in enumerate(points):
        provider = Provider(point.name, *_called(point.dist), point.value, "ok")
        if number in hidden:
            provider = replace(provider, status="disabled", reason=hidden[number])
        providers.append((provider, point.load))
    allowed, blocked = (_words(environ.get(name)) for name in (ALLOW, BLOCK))
    every = [provider for provider, _ in providers]
    remarks = [
        _names_none(variable, word, every)
        for variable, words in ((ALLOW, allowed or ()), (BLOCK, blocked or ()))
        for word in words
        if not any(_means(word, provider) for provider in every)
    ]
    return Found(tuple((_listed(provider, allowed, blocked), fetch) for provider, fetch in providers), tuple(remarks))


def _called(dist: Distribution | None) -> tuple[str, str]:
    """Name and version; a distribution whose metadata cannot be read is no reason to stop."""
    try:
        found = (dist.name, dist.version) if dist is not None else (None, None)
    except Exception:  # noqa: BLE001 - a stranger's metadata may be anything
        found = (None, None)
    return found[0] or "unknown", found[1] or "unknown"


def _entry_points() -> list[EntryPoint]:
    """The entry points of our group, each once, by name."""
    once: dict[tuple[str, str, str], EntryPoint] = {}
    for point in importlib.metadata.entry_points(group=GROUP):
        once.setdefault((_called(point.dist)[0], point.name, point.value), point)
    return sorted(once.values(), key=lambda point: (point.name, point.value))


def _listed(provider: Provider, allowed: tuple[str, ...] | None, blocked: tuple[str, ...] | None) -> Provider:
    """The plugin, left out where the lists leave it out: the block list wins."""
    if blocked is not None and any(_means(word, provider) for word in blocked):
        return replace(provider, status="disabled", reason=f"named in {BLOCK}")
    if allowed is not None and not any(_means(word, provider) for word in allowed):
        return replace(provider, status="disabled", reason=f"not named in {ALLOW}")
    return provider


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _means(word: str, provider: Provider) -> bool:
    """Whether a word of a list means this plugin: its name, its distribution, or both with a slash."""
    distribution, _, name = word.rpartition("/")
    if distribution:
        return name == provider.name and normal(distribution) == normal(provider.distribution)
    return word == provider.name or normal(word) == normal(provider.distribution)


def _names_none(variable: str, word: str, providers: Iterable[Provider]) -> str:
    every = list(providers)
    names = dict.fromkeys((*(p.name for p in every), *(p.distribution for p in every)))
    known = [*names, *(provider.key for provider in every)] if "/" in word else list(names)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return (
        f"{variable} names '{word}', and no plugin and no distribution of plugins is called so.{hint}"
        f"\n  Installed: {', '.join(sorted(provider.key for provider in every)) or 'none'}"
    )


# ---------------------------------------------------------------- whose module it is


def _hidden(points: Sequence[EntryPoint]) -> dict[int, str]:
    """Entry points, by number, whose module is another distribution's here, or is named twice by their own: why."""
    alike: dict[str, list[int]] = {}
    for number, point in enumerate(points):
        alike.setdefault(point.value.partition("[")[0].replace(" ", ""), []).append(number)
    hidden: dict[int, str] = {}
    for value, several in alike.items():
        if len(several) < 2:
            continue
        # two entry points of one name and value are equal, whatever their distributions
        owner = several[_owner([points[number] for number in several])]
        whose, version = _called(points[owner].dist)
        for number in several:
            if number == owner:
                continue
            if _called(points[number].dist)[0] == whose:
                hidden[number] = f"the plugin '{points[owner].name}' of {whose} is the same module, {value}"
            else:
                module = value.partition(":")[0]
                hidden[number] = f"its module {module} is that of {whose} {version} here, which hides it"
    return hidden


def _owner(points: Sequence[EntryPoint]) -> int:
    """The number of the one whose distribution holds the file that is imported; else the first on the path.

    An editable install records no such file, but where its project is. Two distributions may have written the same
    file, one over the other: then the digest that was recorded tells.
    """
    with contextlib.suppress(Exception):  # a parent package may raise anything when it is imported
        with contextlib.redirect_stdout(sys.stderr):
            spec = importlib.util.find_spec(points[0].module)
        if spec is not None and spec.origin is not None:
            file = Path(spec.origin).resolve()
            evidence = [_holds(point.dist, file) if point.dist is not None else 0 for point in points]
            return evidence.index(max(evidence))
    return 0


def _holds(dist: Distribution, file: Path) -> int:
    """How sure it is that a file belongs to a distribution: 3 by name and digest, 2 by name, 1 by its project, or 0."""
    with contextlib.suppress(Exception):  # a stranger's record may be anything
        for each in dist.files or ():
            if each.name == file.name and Path(str(dist.locate_file(each))).resolve() == file:
                return 3 if each.hash is not None and _is_digest_of(each.hash.mode, each.hash.value, file) else 2
        origin = json.loads(dist.read_text("direct_url.json") or "{}")
        if origin.get("dir_info", {}).get("editable"):
            project = Path(unquote(urlsplit(origin["url"]).path)).resolve()
            return int(file.is_relative_to(project))
    return 0


def _is_digest_of(kind: str, value: str, file: Path) -> bool:
    made = hashlib.new(kind, file.read_bytes()).digest()
    return base64.urlsafe_b64encode(made).decode().rstrip("=") == value


# ---------------------------------------------------------------- single files


def files(paths: Iterable[Path]) -> Iterator[tuple[Provider, Fetch]]:
    """Single-file plugins: each its own distribution, called as the file is.

    Raises:
        RequestError: one is not there, or two are called the same.
    """
    seen: dict[str, Path] = {}
    for file in dict.fromkeys(Path(path).resolve() for path in paths):
        if not file.is_file():
            raise RequestError(f"--plugin {file}: there is no such file. Give the path of a Python file.")
        if file.name in seen:
            raise RequestError(
                f"--plugin {seen[file.name]} and --plugin {file} are both called {file.name}, and rows say what a"
                " method came from by that.\n  Give one of them another name."
            )
        seen[file.name] = file
        yield Provider(file.stem, file.name, "0", str(file), "ok"), lambda file=file: import_file(file)  # type: ignore[misc]


def import_file(file: Path) -> ModuleType:
    """The module a file is; the same one for the same file."""
    # the name is the path's, so that a child process which loads the same file finds the same module
    name = f"pkt_bench_file_{hashlib.blake2b(str(file).encode(), digest_size=6).hexdigest()}_{file.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module

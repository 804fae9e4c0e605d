"""Plugins: found by entry point or file, loaded one by one, checked, and every offer attributed to its distribution.

One broken plugin never hides another: what cannot be used becomes a `Provider` with its reason.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar

import pluggy

from pkt_bench import hookspecs
from pkt_bench.domain import Control, Executor, Method, Pair, Suite, Tracker
from pkt_bench.errors import ContractError, RequestError, UnavailableError, unknown_name

GROUP = "pkt_bench"
Status = Literal["ok", "clash", "broken", "disabled"]
T = TypeVar("T", Method, Pair, Suite, Control, Executor, Tracker)


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


@dataclass(frozen=True)
class Offer(Generic[T]):
    """Something a plugin offers, with who offers it and the module that implements the hook."""

    item: T
    provider: str
    distribution: str
    version: str
    module: str


@dataclass
class Shelf(Generic[T]):
    """All offers of one kind, by name. Two of one name make the plain name ambiguous, not the others unusable."""

    kind: str
    offers: dict[str, list[Offer[T]]] = field(default_factory=dict)
    broken: Sequence[Provider] = ()
    beside: Callable[[str, str], Offer[T] | None] = lambda distribution, name: None  # noqa: ARG005 - nothing beside them
    """`beside(distribution, name)`: what is offered though no plugin does; the distribution may be empty."""

    def __iter__(self) -> Iterator[Offer[T]]:
        """Every offer, by name."""
        for name in sorted(self.offers):
            yield from self.offers[name]

    def get(self, name: str) -> Offer[T]:
        """The offer called `name`, or `distribution/name` where several distributions offer it.

        Raises:
            RequestError: nobody offers it, or several do and the plain name was given.
        """
        distribution, _, plain = name.rpartition("/")
        found = [o for o in self.offers.get(plain, ()) if not distribution or o.distribution == distribution]
        if not found and (other := self.beside(distribution, plain)) is not None:
            return other
        if not found:
            base = plain.partition(":")[0] if ":" in plain else ""
            error = unknown_name(self.kind, name, [n for n in self.offers if ":" not in n or n.startswith(f"{base}:")])
            if self.kind == "suite":
                error = RequestError(
                    f"{error}\n  Any lm-eval task with a training split is one: pkt-bench ls tasks PATTERN"
                )
            if not self.broken:
                raise error
            count = f"{len(self.broken)} plugin{'s' if len(self.broken) > 1 else ''}"
            raise RequestError(f"{error}\n  {count} could not be loaded and may offer it: pkt-bench plugins list")
        if len(found) > 1:
            raise RequestError(self.ambiguity(plain))
        return found[0]

    def ambiguity(self, name: str) -> str:
        """What is said of a name that several distributions offer."""
        who = " and ".join(offer.distribution for offer in self.offers[name])
        spell = " or ".join(f"{offer.distribution}/{name}" for offer in self.offers[name])
        return (
            f"the {self.kind} '{name}' is offered by {who}.\n"
            f"  Name one of them as {spell}, or leave a plugin out with PKT_BENCH_DISABLE_PLUGINS=NAME."
        )

    def expand(self, names: Sequence[str]) -> list[Offer[T]]:
        """The offers named, `all` being every one that is no control, each once and in the order given.

        Raises:
            RequestError: a name is unknown or ambiguous; all such names are said at once.
        """
        wanted = [n for name in names for n in (self._all() if name == "all" else [name])]
        found: dict[int, Offer[T]] = {}
        problems: list[str] = []
        for name in dict.fromkeys(wanted):
            try:
                offer = self.get(name)
                found[id(offer)] = offer
            except RequestError as error:
                problems.append(str(error))
        if problems:
            raise RequestError("\n".join(problems))
        return list(found.values())

    def _all(self) -> list[str]:
        return [
            name
            for name, offers in sorted(self.offers.items())
            if not all(getattr(offer.item, "control_of", "") for offer in offers)
        ]


@dataclass
class Registry:
    """Everything the installed plugins offer, and the hooks to tell them of moments."""

    manager: pluggy.PluginManager
    providers: tuple[Provider, ...]
    methods: Shelf[Method]
    pairs: Shelf[Pair]
    suites: Shelf[Suite]
    controls: Shelf[Control]
    executors: Shelf[Executor]
    trackers: Shelf[Tracker]


def load(files: Iterable[Path] = (), environ: Mapping[str, str] = os.environ) -> Registry:
    """Loads every installed plugin and the single-file plugins in `files`.

    `PKT_BENCH_LOAD_PLUGINS` (names, or nothing at all) is an allow-list, `PKT_BENCH_DISABLE_PLUGINS` a block-list that
    wins over it; with `PKT_BENCH_STRICT_PLUGINS=1` a plugin that cannot be used is an error instead of a row.

    Raises:
        RequestError: a file in `files` is not there.
        UnavailableError: a file in `files` cannot be used, or strict mode, and some plugin cannot be used.
    """
    files = tuple(files)
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    shelves: dict[str, Shelf[Any]] = {
        "pkt_bench_methods": Shelf("method"),
        "pkt_bench_pairs": Shelf("pair"),
        "pkt_bench_suites": Shelf("suite"),
        "pkt_bench_controls": Shelf("control"),
        "pkt_bench_executors": Shelf("executor"),
        "pkt_bench_trackers": Shelf("tracker"),
    }
    types: dict[str, type[Any]] = {
        "pkt_bench_methods": Method,
        "pkt_bench_pairs": Pair,
        "pkt_bench_suites": Suite,
        "pkt_bench_controls": Control,
        "pkt_bench_executors": Executor,
        "pkt_bench_trackers": Tracker,
    }
    providers = []
    asked = {str(Path(file).resolve()) for file in files}
    for found, fetch in (*_installed(environ), *_from_files(files)):
        provider = found
        # what a plugin prints while it loads is no result of the command
        with contextlib.redirect_stdout(sys.stderr):
            if provider.status == "ok":
                provider = _register(manager, provider, fetch)
            if provider.status == "ok":
                provider = _collect(manager, provider, shelves, types)
        if provider.status == "broken" and provider.origin in asked:
            raise UnavailableError(
                f"the plugin {provider.origin} cannot be used: {provider.reason}.\n  Mend the file, or leave it out."
            )
        providers.append(provider)
    broken = tuple(p for p in providers if p.status == "broken")
    unusable = [p for p in providers if p.status in {"broken", "clash"}]
    if unusable and environ.get("PKT_BENCH_STRICT_PLUGINS", "") not in {"", "0"}:
        lines = "\n".join(f"  {p.name} ({p.distribution}): {p.reason}" for p in unusable)
        raise UnavailableError(f"PKT_BENCH_STRICT_PLUGINS is set, and some plugins cannot be used:\n{lines}")
    for shelf in shelves.values():
        shelf.broken = broken
    _put_under_control(shelves["pkt_bench_methods"], shelves["pkt_bench_controls"])
    suites = shelves["pkt_bench_suites"]
    suites.beside = _suites_of_tasks(suites)
    return Registry(
        manager,
        tuple(providers),
        shelves["pkt_bench_methods"],
        shelves["pkt_bench_pairs"],
        shelves["pkt_bench_suites"],
        shelves["pkt_bench_controls"],
        shelves["pkt_bench_executors"],
        shelves["pkt_bench_trackers"],
    )


def _suites_of_tasks(shelf: Shelf[Suite]) -> Callable[[str, str], Offer[Suite] | None]:
    """Finds the suite that a task of lm-eval is, or of a folder, or one beside those of an installed suite."""
    found: dict[tuple[str, str], Offer[Suite]] = {}

    def find(distribution: str, name: str) -> Offer[Suite] | None:
        from pkt_bench import task_suites

        folders = [offer.item.task_path for offer in shelf if offer.item.task_path is not None]
        made = task_suites.find(distribution, name, folders)
        if made is None:
            return None
        offer = Offer(made.suite, "", made.distribution, made.version, task_suites.__name__)
        # one offer each, however it is called: a student is not scored twice on the same
        return found.setdefault((made.distribution, made.suite.name), offer)

    return find


def _put_under_control(methods: Shelf[Method], controls: Shelf[Control]) -> None:
    """Adds METHOD:CONTROL for every method and each of its controls."""
    plain = list(methods)
    for control in (offer.item for offer in controls):
        for offer in plain:
            if _applies(control, offer.item):
                method = offer.item.under(control)
                methods.offers.setdefault(method.name, []).append(replace(offer, item=method))


def _applies(control: Control, method: Method) -> bool:
    if control.of:
        return method.name in control.of
    return method.uses != "nothing" and method.paradigm != "reference" and not method.control_of


def code_digest(*things: Callable[..., Any] | str) -> str:
    """BLAKE2b-128 over the Python files of the packages (or single files) that define `things`, callables or modules.

    An editable install changes without a new version; this is what makes a cell's key notice.

    Raises:
        ContractError: the code of one of them is in no file.
    """
    state = hashlib.blake2b(digest_size=16)
    for root in dict.fromkeys(_outermost(t if isinstance(t, str) else _module_of(t)) for t in things):
        for file in sorted(root.parent.rglob("*.py")) if root.name == "__init__.py" else [root]:
            state.update(file.relative_to(root.parent).as_posix().encode())
            state.update(file.read_bytes())
    return state.hexdigest()


def _module_of(thing: Callable[..., Any]) -> str:
    while isinstance(thing, functools.partial):
        thing = thing.func
    thing = inspect.unwrap(thing)
    return getattr(thing, "__module__", None) or type(thing).__module__


def _outermost(module: str) -> Path:
    """The file of the outermost package around `module` that has one (a namespace package has none).

    Of the harness itself, the module's own file: what else of it moves numbers is in every key anyway.
    """
    parts = module.split(".")
    for end in range(len(parts) if parts[0] == "pkt_bench" else 1, len(parts) + 1):
        file = getattr(sys.modules.get(".".join(parts[:end])), "__file__", None)
        if file:
            return Path(file)
    raise ContractError(
        f"the code of '{module}' is in no file, so a change of it could not be noticed; put it into a module"
    )


# ---------------------------------------------------------------- finding

Fetch = Callable[[], object]


def _installed(environ: Mapping[str, str]) -> Iterator[tuple[Provider, Fetch]]:
    allowed = _names(environ.get("PKT_BENCH_LOAD_PLUGINS"))
    denied = _names(environ.get("PKT_BENCH_DISABLE_PLUGINS")) or frozenset()
    seen: dict[str, str] = {}
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda p: (p.name, p.value)):
        dist = point.dist
        distribution, version = (dist.name, dist.version) if dist else ("unknown", "unknown")
        provider = Provider(point.name, distribution, version, point.value, "ok")
        if seen.get(point.name) == f"{distribution} {point.value}":
            continue  # one distribution seen twice on sys.path
        if point.name in denied:
            provider = replace(provider, status="disabled", reason="named in PKT_BENCH_DISABLE_PLUGINS")
        elif allowed is not None and point.name not in allowed:
            provider = replace(provider, status="disabled", reason="not named in PKT_BENCH_LOAD_PLUGINS")
        elif point.name in seen:
            reason = f"the plugin name '{point.name}' is taken by {seen[point.name].split()[0]}"
            provider = replace(provider, status="broken", reason=reason)
        else:
            seen[point.name] = f"{distribution} {point.value}"
        yield provider, point.load


def _names(text: str | None) -> frozenset[str] | None:
    return None if text is None else frozenset(part.strip() for part in text.split(",") if part.strip())


def _from_files(files: Iterable[Path]) -> Iterator[tuple[Provider, Fetch]]:
    for file in dict.fromkeys(Path(f).resolve() for f in files):
        if not file.is_file():
            raise RequestError(f"--plugin {file}: there is no such file. Give the path of a Python file.")
        yield Provider(file.stem, file.name, "0", str(file), "ok"), lambda file=file: _import_file(file)  # type: ignore[misc]


def _import_file(file: Path) -> ModuleType:
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


# ---------------------------------------------------------------- loading and checking


def _register(manager: pluggy.PluginManager, provider: Provider, fetch: Fetch) -> Provider:
    try:
        plugin = fetch()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return replace(provider, status="broken", reason=_import_reason(error))
    try:
        manager.register(plugin, name=provider.name)
        manager.check_pending()
    except (pluggy.PluginValidationError, ValueError) as error:
        if manager.has_plugin(provider.name):
            manager.unregister(name=provider.name)
        return replace(provider, status="broken", reason=_hook_reason(str(error)))
    known = {name for name in dir(hookspecs) if name.startswith("pkt_bench_")}
    hooks = tuple(sorted(c.name for c in manager.get_hookcallers(plugin) or ()))
    unmarked = [
        name
        for name in dir(plugin)
        if name.startswith("pkt_bench_")
        and name not in hooks
        and callable(getattr(plugin, name, None))
        and not isinstance(getattr(plugin, name), (type, ModuleType))
    ]
    if unmarked:
        manager.unregister(name=provider.name)
        what = "is not marked with @hookimpl" if unmarked[0] in known else "is no hook of pkt-bench"
        return replace(provider, status="broken", reason=f"{unmarked[0]} {what}")
    return replace(provider, hooks=hooks)


def _import_reason(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"cannot be imported: no module named '{error.name}' (pip install {error.name.partition('.')[0]})"
    text = str(error).strip().splitlines()
    return f"cannot be imported: {type(error).__name__}: {text[0] if text else ''}".rstrip(": ")


def _hook_reason(text: str) -> str:
    import difflib
    import re

    names = [n for n in dir(hookspecs) if n.startswith("pkt_bench_")]
    unknown = re.search(r"unknown hook '(\w+)'", text)
    if unknown:
        near = difflib.get_close_matches(unknown[1], names, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else f"; hooks: {', '.join(names)}"
        return f"implements '{unknown[1]}', which is no hook of pkt-bench{hint}"
    return " ".join(text.split())


def _nothing(hook: str, kind: type[Any]) -> Iterable[Any]:
    raise ContractError(f"it gives nothing back; {hook} yields {kind.__name__} records")


def _of_others(one: object, other: object) -> bool:
    """Whether two controls are of different methods: their names are METHOD:CONTROL, and do not meet."""
    if not (isinstance(one, Control) and isinstance(other, Control)):
        return False
    return bool(one.of and other.of and not {*one.of} & {*other.of})


def _collect(
    manager: pluggy.PluginManager,
    provider: Provider,
    shelves: Mapping[str, Shelf[Any]],
    types: Mapping[str, type[Any]],
) -> Provider:
    plugin = manager.get_plugin(provider.name)
    module = plugin.__name__ if isinstance(plugin, ModuleType) else type(plugin).__module__
    gathered: list[tuple[Shelf[Any], Offer[Any]]] = []
    for hook, shelf in shelves.items():
        for impl in getattr(manager.hook, hook).get_hookimpls():
            if impl.plugin is not plugin:
                continue
            try:
                items = list(impl.function() or _nothing(hook, types[hook]))
                wrong = next((item for item in items if not isinstance(item, types[hook])), None)
                reason = wrong and f"{hook} yields {types[hook].__name__} records, got {type(wrong).__name__}"
            except Exception as error:  # noqa: BLE001 - a stranger's hook may raise anything
                reason = str(error) if isinstance(error, ContractError) else f"{type(error).__name__}: {error}"
            if reason:
                manager.unregister(name=provider.name)
                return replace(provider, status="broken", reason=f"{hook} failed: {reason}")
            gathered += [
                (shelf, Offer(i, provider.name, provider.distribution, provider.version, module)) for i in items
            ]
    clashes = []
    for shelf, offer in gathered:
        holders = shelf.offers.setdefault(offer.item.name, [])
        before = next((holder for holder in holders if not _of_others(holder.item, offer.item)), None)
        if before is not None:
            clashes.append(
                f"the {shelf.kind} name '{offer.item.name}' is taken by {before.distribution};"
                f" write {offer.distribution}/{offer.item.name}"
            )
        holders.append(offer)
    offers = tuple(f"{shelf.kind} {offer.item.name}" for shelf, offer in gathered)
    return replace(provider, offers=offers, status="clash" if clashes else "ok", reason="; ".join(clashes))

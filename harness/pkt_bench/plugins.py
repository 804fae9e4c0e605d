"""Plugins: loaded one by one, checked, and every offer attributed to its distribution.

One broken plugin never hides another: what cannot be used becomes a `Provider` with its reason.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import inspect
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from pkt_bench import finding, hookspecs
from pkt_bench.domain import Control, Executor, Method, Pair, Suite, Tracker
from pkt_bench.errors import ContractError, RequestError, UnavailableError, sentence
from pkt_bench.finding import GROUP, Fetch, Provider, key_of, normal
from pkt_bench.offered import problem_with
from pkt_bench.offers import Offer, Shelf, split_name

_KINDS: Mapping[str, tuple[str, type[Any]]] = {
    "pkt_bench_methods": ("method", Method),
    "pkt_bench_pairs": ("pair", Pair),
    "pkt_bench_suites": ("suite", Suite),
    "pkt_bench_controls": ("control", Control),
    "pkt_bench_executors": ("executor", Executor),
    "pkt_bench_trackers": ("tracker", Tracker),
}
_Shelves = Mapping[str, Shelf[Any]]


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


def quiet(text: str) -> None:
    """Says nothing: for processes of a command that has said it."""


@functools.cache
def _say_once(text: str) -> None:
    print(f"pkt-bench: warning: {text}", file=sys.stderr)  # noqa: T201 - whichever command needs names, it is said


def load(
    files: Iterable[Path] = (), environ: Mapping[str, str] = os.environ, tell: Callable[[str], None] = _say_once
) -> Registry:
    """Loads every installed plugin and the single-file plugins in `files`.

    `PKT_BENCH_LOAD_PLUGINS` (or nothing at all) is an allow-list, `PKT_BENCH_DISABLE_PLUGINS` a block-list that wins
    over it; both take names of plugins, of distributions, or `distribution/name`, and `tell` is told of those that name
    nothing. With `PKT_BENCH_STRICT_PLUGINS=1` that is an error, and a plugin that cannot be used is one, too.

    Raises:
        RequestError: a file in `files` is not there, or strict mode, and a list names what is not installed.
        UnavailableError: a file in `files` cannot be used, or strict mode, and some plugin cannot be used.
    """
    files = tuple(files)
    strict = finding.is_strict(environ)
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    shelves: dict[str, Shelf[Any]] = {hook: Shelf(kind) for hook, (kind, _) in _KINDS.items()}
    found = finding.installed(environ)
    if found.remarks and strict:
        raise RequestError("\n".join(found.remarks))
    for remark in found.remarks:
        tell(remark)
    providers = []
    asked = {str(Path(file).resolve()) for file in files}
    for begun, fetch in (*found.plugins, *finding.files(files)):
        provider = begun
        # what a plugin prints while it loads is no result of the command
        with contextlib.redirect_stdout(sys.stderr):
            if provider.status == "ok":
                provider = _register(manager, provider, fetch)
            if provider.status == "ok":
                provider = _collect(manager, provider, shelves)
        if provider.status == "broken" and provider.origin in asked:
            why = sentence(provider.reason)
            raise UnavailableError(
                f"the plugin {provider.origin} cannot be used: {why}\n  Mend the file, or leave it out."
            )
        providers.append(provider)
    providers = _with_clashes(providers, shelves)
    broken = tuple(p for p in providers if p.status == "broken")
    unusable = [p for p in providers if p.status in {"broken", "clash"}]
    if unusable and strict:
        lines = "\n".join(f"  {p.name} ({p.distribution}): {p.reason}" for p in unusable)
        raise UnavailableError(f"PKT_BENCH_STRICT_PLUGINS is set, and some plugins cannot be used:\n{lines}")
    for shelf in shelves.values():
        shelf.broken = broken
    _put_under_control(shelves["pkt_bench_methods"], shelves["pkt_bench_controls"])
    suites = shelves["pkt_bench_suites"]
    suites.beside = _suites_of_tasks(suites)
    return Registry(manager, tuple(providers), *(shelves[hook] for hook in _KINDS))


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


# ---------------------------------------------------------------- controls


def _put_under_control(methods: Shelf[Method], controls: Shelf[Control]) -> None:
    """Adds METHOD:CONTROL for every method and each of its controls.

    Where two distributions have a control of one name for it, each is called METHOD:DISTRIBUTION/CONTROL.
    """
    plain = list(methods)
    for offer in plain:
        theirs = [control for control in controls if _applies(control, offer, plain)]
        names = Counter(control.item.name for control in theirs)
        names.update(other.item.name.partition(":")[2] for other in plain if _is_named_as_control(other, offer))
        for control in theirs:
            shared = names[control.item.name] > 1
            named = replace(control.item, name=control.qualified) if shared else control.item
            method = offer.item.under(named)
            made = replace(offer, item=method, control_distribution=control.distribution)
            methods.offers.setdefault(method.name, []).append(made)


def _is_named_as_control(other: Offer[Method], offer: Offer[Method]) -> bool:
    return other.distribution == offer.distribution and other.item.name.startswith(f"{offer.item.name}:")


def _applies(control: Offer[Control], offer: Offer[Method], methods: Sequence[Offer[Method]]) -> bool:
    """Whether a method has a control: where the control's own distribution has a method so called, that is meant."""
    method = offer.item
    if not control.item.of:
        return method.uses != "nothing" and method.paradigm != "reference" and not method.control_of
    for name in control.item.of:
        distribution, plain = split_name(name)
        if plain != method.name or not offer.is_of(distribution):
            continue
        own = any(each.item.name == plain and each.is_of(control.distribution) for each in methods)
        if distribution or not own or offer.is_of(control.distribution):
            return True
    return False


# ---------------------------------------------------------------- names that several offer


def _with_clashes(providers: Sequence[Provider], shelves: _Shelves) -> list[Provider]:
    """The plugins, those whose names were taken by another distribution before them marked as such."""
    order = {provider.key: number for number, provider in enumerate(providers)}
    reasons: dict[str, list[str]] = {}
    methods = list(shelves["pkt_bench_methods"])
    for shelf in shelves.values():
        for name, offers in shelf.offers.items():
            by_age = sorted(offers, key=lambda offer: order[_key(offer)])
            for number, offer in enumerate(by_age):
                before = next((each for each in by_age[:number] if _meet(each, offer, methods)), None)
                if before is not None:
                    reasons.setdefault(_key(offer), []).append(
                        f"the {shelf.kind} name '{name}' is taken by {before.distribution}; write {offer.qualified}"
                    )
    return [
        replace(each, status="clash", reason="; ".join(reasons[each.key])) if each.key in reasons else each
        for each in providers
    ]


def _key(offer: Offer[Any]) -> str:
    return key_of(offer.distribution, offer.provider)


def _meet(one: Offer[Any], other: Offer[Any], methods: Sequence[Offer[Method]]) -> bool:
    """Whether two offers of one name can be taken for each other: two controls of different methods cannot."""
    if not isinstance(one.item, Control):
        return True
    theirs = [_targets(each, methods) for each in (one, other)]
    return any(
        a == b or (a[1] == b[1] and not (a[0] and b[0])) or "" in {a[1], b[1]} for a in theirs[0] for b in theirs[1]
    )


def _targets(control: Offer[Control], methods: Sequence[Offer[Method]]) -> set[tuple[str, str]]:
    """The methods a control is of, as distribution (empty: any) and name (empty: all of them)."""
    found = set()
    for name in control.item.of or ("",):
        distribution, plain = split_name(name)
        own = any(each.item.name == plain and each.is_of(control.distribution) for each in methods)
        found.add((normal(distribution or (control.distribution if own else "")), plain))
    return found


# ---------------------------------------------------------------- the code of an offer


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


# ---------------------------------------------------------------- loading and checking


def _register(manager: pluggy.PluginManager, provider: Provider, fetch: Fetch) -> Provider:
    try:
        plugin = fetch()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return replace(provider, status="broken", reason=_import_reason(error))
    if inspect.isclass(plugin):
        reason = f"the class {plugin.__name__} is no plugin; name a module, or an object made of the class"
        return replace(provider, status="broken", reason=reason)
    if (same := manager.get_name(plugin)) is not None:
        return replace(provider, status="disabled", reason=f"it is the same as the plugin {same}")
    try:
        manager.register(plugin, name=provider.key)
        manager.check_pending()
    except (pluggy.PluginValidationError, ValueError) as error:
        if manager.has_plugin(provider.key):
            manager.unregister(name=provider.key)
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
    reason = ""
    if unmarked:
        what = "is not marked with @hookimpl" if unmarked[0] in known else "is no hook of pkt-bench"
        reason = f"{unmarked[0]} {what}"
    elif not hooks:
        reason = f"{provider.origin} implements no hook of pkt-bench; mark one with @hookimpl"
    if reason:
        manager.unregister(name=provider.key)
        return replace(provider, status="broken", reason=reason)
    return replace(provider, hooks=hooks)


def _import_reason(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"cannot be imported: no module named '{error.name}' (pip install {error.name.partition('.')[0]})"
    text = str(error).strip().splitlines()
    return f"cannot be imported: {type(error).__name__}: {text[0] if text else ''}".rstrip(": ")


def _hook_reason(text: str) -> str:
    names = [n for n in dir(hookspecs) if n.startswith("pkt_bench_")]
    unknown = re.search(r"unknown hook '(\w+)'", text)
    if unknown:
        near = difflib.get_close_matches(unknown[1], names, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else f"; hooks: {', '.join(names)}"
        return f"implements '{unknown[1]}', which is no hook of pkt-bench{hint}"
    return " ".join(text.split())


def _collect(manager: pluggy.PluginManager, provider: Provider, shelves: _Shelves) -> Provider:
    """Puts what a plugin offers on the shelves: all of it, or nothing where something is wrong with any of it."""
    plugin = manager.get_plugin(provider.key)
    module = plugin.__name__ if isinstance(plugin, ModuleType) else type(plugin).__module__
    gathered: list[tuple[Shelf[Any], Offer[Any]]] = []
    for hook, shelf in shelves.items():
        for impl in getattr(manager.hook, hook).get_hookimpls():
            if impl.plugin is not plugin:
                continue
            try:
                items = _offered(hook, impl.function)
            except BaseException as error:  # a stranger's hook may raise anything
                if isinstance(error, KeyboardInterrupt):
                    raise
                reason = str(error) if isinstance(error, ContractError) else f"{type(error).__name__}: {error}"
                manager.unregister(name=provider.key)
                return replace(provider, status="broken", reason=f"{hook} failed: {reason}")
            gathered += [
                (shelf, Offer(i, provider.name, provider.distribution, provider.version, module)) for i in items
            ]
    if taken := _taken(provider, gathered):
        manager.unregister(name=provider.key)
        return replace(provider, status="broken", reason=taken)
    for shelf, offer in gathered:
        shelf.offers.setdefault(offer.item.name, []).append(offer)
    return replace(provider, offers=tuple(f"{shelf.kind} {offer.item.name}" for shelf, offer in gathered))


def _offered(hook: str, implementation: Callable[[], Iterable[Any] | None]) -> list[Any]:
    """What a hook gives.

    Raises:
        ContractError: something of it cannot be used.
    """
    _, kind = _KINDS[hook]
    given = implementation()
    if given is None:
        raise ContractError(f"it gives nothing back; {hook} yields {kind.__name__} records")
    if isinstance(given, kind) or not isinstance(given, Iterable):
        raise ContractError(f"it gives a {type(given).__name__}; {hook} yields {kind.__name__} records")
    items = list(given)
    for item in items:
        if not isinstance(item, kind):
            raise ContractError(f"{hook} yields {kind.__name__} records, got {type(item).__name__}")
        if problem := problem_with(item):
            raise ContractError(problem)
    return items


def _taken(provider: Provider, gathered: Sequence[tuple[Shelf[Any], Offer[Any]]]) -> str:
    """Why a name cannot be told from another of the same distribution, for that is the most that can be said."""
    so_far: list[tuple[Shelf[Any], Offer[Any]]] = []
    for shelf, offer in gathered:
        name = offer.item.name
        inside = [each for on, each in so_far if on is shelf and each.item.name == name]
        beside = [each for each in shelf.offers.get(name, ()) if each.is_of(provider.distribution)]
        if any(_meet(each, offer, ()) for each in inside):
            return f"it offers two {shelf.kind}s called '{name}'"
        for each in beside:
            if _meet(each, offer, ()):
                return (
                    f"the {shelf.kind} name '{name}' is taken by the plugin '{each.provider}' of the same distribution"
                )
        so_far.append((shelf, offer))
    return ""


__all__ = ["GROUP", "Offer", "Provider", "Registry", "Shelf", "code_digest", "load", "quiet"]

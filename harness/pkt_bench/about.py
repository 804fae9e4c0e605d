"""Everything that is known of a plugin, or of one thing that a plugin offers, for whoever wants to use it.

Nothing is fetched and nothing is run: a method is asked what it skips on the pairs whose configurations are known here.
"""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from pkt_bench import __version__, described, estimating, hub, planning, strangers
from pkt_bench.described import Field
from pkt_bench.domain import Control, Executor, Method, ModelRef, Pair, Question, Suite, Tracker
from pkt_bench.errors import PktBenchError, RequestError, UnavailableError
from pkt_bench.executors import BUILT_IN
from pkt_bench.finding import Provider, normal
from pkt_bench.offers import Offer, Shelf, split_name
from pkt_bench.plugins import Registry

KINDS = ("method", "control", "pair", "suite", "executor", "tracker", "plugin")
"""What can be described, in the order in which a name is looked for."""


@dataclass(frozen=True)
class Skipped:
    """Pairs and suites that a method cannot do, for one reason."""

    reason: str
    squares: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Skips:
    """What a method was asked about, with its default settings: `asked` pairs x suites, those it skips, by reason.

    `unknown` are pairs whose configurations are not known here, `lacking` suites whose data it would look at, and which
    are not here; `problem` is why it could not be asked at all.
    """

    asked: int
    skipped: tuple[Skipped, ...] = ()
    unknown: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class About:
    """A plugin or an offer. `facts` are what its kind has beside; `docstring` is that of the module that offers it."""

    kind: str
    name: str
    summary: str
    plugin: str
    distribution: str
    version: str
    module: str
    docstring: str
    facts: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[Field, ...] = ()
    controls: tuple[tuple[str, str], ...] = ()
    skips: Skips | None = None
    offers: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    """Other kinds of things that have this name."""


def look_up(name: str, registry: Registry, kind: str = "") -> About:
    """What is called `name`: an offer, plain or as `distribution/name`, or a plugin; with `kind`, one of that kind.

    Raises:
        RequestError: nothing is called so, or two offers of a kind are.
    """
    if kind and kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.5)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise RequestError(f"--kind '{kind}' will not do.{hint}\n  Kinds: {', '.join(KINDS)}")
    found = [each for each in KINDS if _is_there(each, name, registry)]
    if not found or (kind and kind not in found):
        raise _nothing_called(name, registry, kind)
    chosen = kind or found[0]
    also = tuple(each for each in found if each != chosen)
    if chosen == "plugin":
        return _plugin(_plugins_called(name, registry), registry, also)
    if chosen == "executor" and name.removeprefix("pkt-bench/") in BUILT_IN:
        executor = BUILT_IN[name.removeprefix("pkt-bench/")]
        return _offer(
            "executor", Offer(executor, "", "pkt-bench", __version__, executor.execute.__module__), registry, also
        )
    return _offer(chosen, _shelf(chosen, registry).get(name), registry, also)


def _shelf(kind: str, registry: Registry) -> Shelf[Any]:
    shelf: Shelf[Any] = getattr(registry, f"{kind}s")
    return shelf


def _is_there(kind: str, name: str, registry: Registry) -> bool:
    if kind == "plugin":
        return bool(_plugins_called(name, registry))
    if kind == "executor" and name.removeprefix("pkt-bench/") in BUILT_IN:
        return True
    return bool(_shelf(kind, registry).called(name))


def _plugins_called(name: str, registry: Registry) -> list[Provider]:
    """Plugins of this name; else all of a distribution of this name."""
    distribution, plain = split_name(name)
    named = [
        each
        for each in registry.providers
        if each.name == plain and (not distribution or normal(distribution) == normal(each.distribution))
    ]
    return named or [each for each in registry.providers if normal(name) == normal(each.distribution)]


def _nothing_called(name: str, registry: Registry, kind: str) -> RequestError:
    kinds = [kind] if kind else KINDS
    known: dict[str, None] = {}
    for each in kinds:
        if each == "plugin":
            known |= dict.fromkeys(name for one in registry.providers for name in (one.name, one.key, one.distribution))
        else:
            known |= dict.fromkeys(n for o in _shelf(each, registry) for n in (o.item.name, o.qualified))
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    what = f"no {kind}" if kind else "no plugin, and nothing that a plugin offers,"
    return RequestError(
        f"{what} is called '{name}'.{hint}\n  pkt-bench plugins list says what there is, and what cannot be used."
    )


# ---------------------------------------------------------------- plugins


def _plugin(found: Sequence[Provider], registry: Registry, also: tuple[str, ...]) -> About:
    if len({each.distribution for each in found}) > 1:
        raise RequestError(
            f"the plugin '{found[0].name}' is one of {' and one of '.join(each.distribution for each in found)}."
            f"\n  Name one of them as {' or '.join(each.key for each in found)}."
        )
    if len(found) > 1:
        raise RequestError(
            f"{found[0].distribution} has {len(found)} plugins.\n  Name one of them: {', '.join(p.name for p in found)}"
        )
    provider = found[0]
    plugin = registry.manager.get_plugin(provider.key)
    module = "" if plugin is None else _module_of(plugin)
    facts = {"status": provider.status, "reason": provider.reason, "hooks": ", ".join(provider.hooks)}
    return About(
        "plugin",
        provider.name,
        "",
        provider.name,
        provider.distribution,
        provider.version,
        module or provider.origin,
        _docstring(module),
        {name: value for name, value in facts.items() if value},
        offers=provider.offers,
        also=also,
    )


def _module_of(plugin: object) -> str:
    return plugin.__name__ if inspect.ismodule(plugin) else type(plugin).__module__


def _docstring(module: str) -> str:
    return inspect.cleandoc(getattr(sys.modules.get(module), "__doc__", None) or "")


# ---------------------------------------------------------------- offers


def _offer(kind: str, offer: Offer[Any], registry: Registry, also: tuple[str, ...]) -> About:
    item = offer.item
    model = None if kind == "control" else getattr(item, "settings", None)
    return About(
        kind,
        _shelf(kind, registry).name_of(offer),
        item.summary,
        offer.provider,
        offer.distribution,
        offer.version,
        offer.module,
        _docstring(offer.module),
        {name: value for name, value in _FACTS[kind](item).items() if value},
        settings=() if model is None else described.describe(model),
        controls=_controls(offer, registry) if kind == "method" else (),
        skips=_skips(offer, registry) if kind == "method" else None,
        also=also,
    )


def _of_method(method: Method) -> dict[str, str]:
    return {
        "paper": method.paper,
        "paradigm": method.paradigm,
        "method version": method.version,
        "uses of the teacher": method.uses,
        "changes the student": "yes" if method.changes_student else "no",
        "control of": method.control_of,
        "estimate": "yes: pkt-bench plan --estimate" if method.estimate is not None else "none",
    }


def _of_control(control: Control) -> dict[str, str]:
    return {
        "of": ", ".join(control.of) or "every method that uses the teacher",
        "sets": ", ".join(f"{name}={value}" for name, value in control.settings.items()),
        "changes": " and ".join(
            what for what, made in (("the teacher in memory", control.teacher), ("the pair", control.pair)) if made
        ),
    }


def _of_pair(pair: Pair) -> dict[str, str]:
    return {
        "teacher": _model(pair.teacher),
        "student": _model(pair.student),
        "suites": ", ".join(pair.suites),
        "licence": pair.licence,
        "caveats": "; ".join(pair.caveats),
    }


def _model(ref: ModelRef) -> str:
    sizes = estimating.parameters(ref)
    called = hub.spelled(ref) if ref.hub else ref.label
    return called if sizes is None else f"{called} ({sizes / 1e6:.3g} M)"


def _of_suite(suite: Suite) -> dict[str, str]:
    return {
        "tasks": ", ".join(task.name for task in suite.tasks),
        "ranked by": suite.tasks[0].metric,
        "runs code": "yes" if suite.runs_code else "no",
        "needs": ", ".join(ref.name for ref in suite.needs),
    }


def _of_service(service: Executor | Tracker) -> dict[str, str]:
    reason = strangers.missing(service.missing)
    return {"usable": f"no: {reason}" if reason else "yes"}


_FACTS: Mapping[str, Callable[[Any], dict[str, str]]] = {
    "method": _of_method,
    "control": _of_control,
    "pair": _of_pair,
    "suite": _of_suite,
    "executor": _of_service,
    "tracker": _of_service,
}


def _controls(offer: Offer[Method], registry: Registry) -> tuple[tuple[str, str], ...]:
    theirs = planning.controls_of([offer], ("all",), registry)
    return tuple(
        (each.item.name, each.item.control.summary if each.item.control is not None else each.item.summary)
        for each in theirs
    )


# ---------------------------------------------------------------- what a method skips


def _skips(offer: Offer[Method], registry: Registry) -> Skips:
    """Asks `skip` of every pair and suite that are installed, where the configurations of both models are known."""
    method = offer.item
    try:
        settings = method.settings(**(method.control.settings if method.control is not None else {}))
    except ValidationError as error:
        wanted = ", ".join(str(each["loc"][0]) for each in error.errors() if each["loc"])
        return Skips(0, problem=f"not asked: it has no default for {wanted}")
    unknown: list[str] = []
    lacking: dict[str, None] = {}
    reasons: dict[str, list[tuple[str, str]]] = {}
    asked = 0
    for pair_offer in registry.pairs:
        called = registry.pairs.name_of(pair_offer)
        try:
            pair = planning.under_control(pair_offer.item, method)
            teacher, student = (estimating.known_or_read(ref) for ref in (pair.teacher, pair.student))
        except (PktBenchError, OSError):
            unknown.append(called)
            continue
        for suite_offer in registry.suites:
            suite = registry.suites.name_of(suite_offer)
            question = Question(
                pair=pair,
                teacher=teacher.architecture,
                student=student.architecture,
                same_tokenizer=teacher.tokenizer == student.tokenizer,
                suite=suite_offer.item,
                settings=settings,
                control=method.control,
            )
            if _lacks_data(method, question):
                lacking[suite] = None
                continue
            asked += 1
            if reason := planning.skip_reason(offer, question):
                reasons.setdefault(reason, []).append((called, suite))
    skipped = tuple(Skipped(reason, tuple(found)) for reason, found in reasons.items())
    return Skips(asked, skipped, tuple(unknown), tuple(lacking))


def _lacks_data(method: Method, question: Question) -> bool:
    """Whether a method looks at records that are not here before it can say."""
    try:
        with strangers.called():
            method.skip(question)
    except UnavailableError:
        return True
    except Exception:  # noqa: BLE001 - whatever else it raises is said as its reason
        return False
    return False


def gathered(skipped: Skipped, suites: Iterable[str]) -> list[str]:
    """The squares of a reason in few words: `tiny (code)`, or a pair alone where it is every suite."""
    every = set(suites)
    by_pair: dict[str, list[str]] = {}
    for pair, suite in skipped.squares:
        by_pair.setdefault(pair, []).append(suite)
    return [pair if set(found) == every else f"{pair} ({', '.join(found)})" for pair, found in by_pair.items()]

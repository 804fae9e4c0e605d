"""What plugins offer, by name: a plain one, or `distribution/name` where several distributions offer it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pkt_bench.domain import Control, Executor, Method, Pair, Suite, Tracker
from pkt_bench.errors import RequestError, sentence, unknown_name
from pkt_bench.finding import Provider, normal

T = TypeVar("T", Method, Pair, Suite, Control, Executor, Tracker)


@dataclass(frozen=True)
class Offer(Generic[T]):
    """Something a plugin offers, with who offers it and the module that implements the hook.

    `control_distribution` offers the control, where the harness made this method from another and a control.
    """

    item: T
    provider: str
    distribution: str
    version: str
    module: str
    control_distribution: str = ""

    @property
    def qualified(self) -> str:
        """What no other offer of its kind is called: `distribution/name`."""
        return f"{self.distribution}/{self.item.name}"

    def is_of(self, distribution: str) -> bool:
        """Whether this distribution offers it, however that is spelled; an empty one stands for any."""
        return not distribution or normal(distribution) == normal(self.distribution)

    def is_called(self, name: str) -> bool:
        """Whether this is one of its names: plain, with its distribution in front, with that of its control."""
        distribution, plain = split_name(name)
        return self.is_of(distribution) and (plain == self.item.name or self._is_control(plain))

    def _is_control(self, plain: str) -> bool:
        method, _, control = plain.partition(":")
        distribution, _, bare = control.rpartition("/")
        own_method, _, own = self.item.name.partition(":")
        return (
            bool(distribution and self.control_distribution)
            and (method, bare) == (own_method, own.rpartition("/")[2])
            and normal(distribution) == normal(self.control_distribution)
        )

    def given(self, tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """What tables by name hold for it: under its plain name, then under a longer one, which wins."""
        found = dict(tables.get(self.item.name, {}))
        for name, fields in tables.items():
            if "/" in name and self.is_called(name):
                found.update(fields)
        return found


def split_name(name: str) -> tuple[str, str]:
    """Distribution (empty where none is given) and plain name; a control may have a distribution of its own.

    `dist/method:other/control` is the control of `other` for the method of `dist`.
    """
    head, colon, tail = name.partition(":")
    distribution, _, plain = head.rpartition("/")
    return distribution, plain + colon + tail


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

    def called(self, name: str) -> list[Offer[T]]:
        """Every offer that this name may mean, plain or with a distribution; what is beside them left out."""
        distribution, plain = self._split(name)
        found = [offer for offer in self.offers.get(plain, ()) if offer.is_of(distribution)]
        method, colon, control = plain.partition(":")
        if found or not colon:
            return found
        # a control's own distribution may be given where it need not be, and be left out where it must not
        of, _, bare = control.rpartition("/")
        theirs = [offer for name, offers in self.offers.items() if name.startswith(f"{method}:") for offer in offers]
        return [
            offer
            for offer in theirs
            if offer.item.name.partition(":")[2].rpartition("/")[2] == bare
            and offer.is_of(distribution)
            and (not of or normal(of) == normal(offer.control_distribution))
        ]

    def get(self, name: str) -> Offer[T]:
        """The offer called `name`, or `distribution/name` where several distributions offer it.

        Raises:
            RequestError: nobody offers it, or several do and the plain name was given.
        """
        found = self.called(name)
        distribution, plain = self._split(name)
        if not found and (other := self.beside(distribution, plain)) is not None:
            return other
        if not found:
            raise self._nobody(name, distribution, plain)
        if len(found) > 1:
            raise RequestError(_ambiguity(self.kind, plain, found))
        return found[0]

    def name_of(self, offer: Offer[T]) -> str:
        """How people call an offer: by its plain name, where that is enough."""
        return offer.item.name if len(self.offers.get(offer.item.name, ())) < 2 else offer.qualified

    def expand(self, names: Sequence[str]) -> list[Offer[T]]:
        """The offers named, `all` being every one that is no control, each once and in the order given.

        Raises:
            RequestError: a name is unknown or ambiguous; all such names are said at once.
        """
        found: dict[int, Offer[T]] = {}
        problems: list[str] = []
        for name in dict.fromkeys(names):
            try:
                found |= {id(offer): offer for offer in (self._all() if name == "all" else [self.get(name)])}
            except RequestError as error:
                problems.append(str(error))
        if problems:
            raise RequestError("\n".join(problems))
        return list(found.values())

    def _all(self) -> Iterable[Offer[T]]:
        return (offer for offer in self if not getattr(offer.item, "control_of", ""))

    def _split(self, name: str) -> tuple[str, str]:
        if self.kind == "method":
            return split_name(name)
        # a suite may be a task of a folder, whose path may hold anything
        distribution, _, plain = name.rpartition("/")
        return distribution, plain

    def _nobody(self, name: str, distribution: str, plain: str) -> RequestError:
        """What is said of a name that nobody offers."""
        error = self._unknown_of(name, distribution, plain) if distribution else self._unknown(plain)
        if self.kind == "suite":
            error = RequestError(
                f"{error}\n  Any lm-eval task with a training split is one: pkt-bench ls tasks PATTERN"
            )
        if not self.broken or distribution:
            return error
        alike = [each for each in self.broken if plain.partition(":")[0] in {each.name, each.distribution}]
        why = "".join(
            f"\n  The plugin '{each.name}' of {each.distribution} cannot be used: {sentence(each.reason)}"
            for each in alike
        )
        error = RequestError(f"{error}{why}")
        count = f"{len(self.broken)} plugin{'s' if len(self.broken) > 1 else ''}"
        return RequestError(f"{error}\n  {count} could not be loaded and may offer it: pkt-bench plugins list")

    def _unknown(self, plain: str) -> RequestError:
        base = plain.partition(":")[0] if ":" in plain else ""
        return unknown_name(self.kind, plain, [n for n in self.offers if ":" not in n or n.startswith(f"{base}:")])

    def _unknown_of(self, name: str, distribution: str, plain: str) -> RequestError:
        """The same where a distribution was named: it does not offer this, or there is none of its name."""
        theirs = [offer for offer in self if offer.is_of(distribution)]
        broken = [each for each in self.broken if normal(each.distribution) == normal(distribution)]
        why = "".join(f"\n  Its plugin '{each.name}' cannot be used: {sentence(each.reason)}" for each in broken)
        if others := self.offers.get(plain, []):
            who = " and ".join(offer.distribution for offer in others)
            spell = " or ".join(offer.qualified for offer in others) + (
                f", or {plain} alone" if len(others) == 1 else ""
            )
            verb = "does" if len(others) == 1 else "do"
            return RequestError(f"{distribution} offers no {self.kind} '{plain}'; {who} {verb}.\n  Write {spell}.{why}")
        if theirs:
            alike = [offer.item.name for offer in theirs if (":" in offer.item.name) == (":" in plain)]
            near = difflib.get_close_matches(plain, alike, n=1, cutoff=0.6)
            hint = f" Did you mean '{theirs[0].distribution}/{near[0]}'?" if near else ""
            plainly = [offer.item.name for offer in theirs if ":" not in offer.item.name]
            return RequestError(
                f"no {self.kind} of {theirs[0].distribution} is called '{plain}'.{hint}"
                f"\n  It offers: {', '.join(plainly)}{why}"
            )
        error = unknown_name(self.kind, name, [offer.qualified for offer in self if ":" not in offer.item.name])
        return RequestError(f"{error}{why}")


def _ambiguity(kind: str, name: str, found: Sequence[Offer[Any]]) -> str:
    """What is said of a name that several distributions offer."""
    if len({offer.distribution for offer in found}) > 1:
        who = " and ".join(dict.fromkeys(offer.distribution for offer in found))
        what, spell = f"the {kind} '{name}'", " or ".join(offer.qualified for offer in found)
    else:
        who = " and ".join(offer.control_distribution for offer in found)
        what, spell = f"the control '{name}'", " or ".join(offer.qualified for offer in found)
    return (
        f"{what} is offered by {who}.\n"
        f"  Name one of them as {spell}, or leave a plugin out with PKT_BENCH_DISABLE_PLUGINS=NAME."
    )

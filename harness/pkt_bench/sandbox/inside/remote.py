"""What the tests hold instead of an object of the candidate's: a proxy that asks, and never tells what is expected.

A proxy's class has the special methods of the object's class, so that `len(generator)` fails here as it does there.
Those that would hand what the tests expect to the candidate's own code, or let it decide a comparison (`==`, `<`, `-`,
`in`), cannot be split between two processes: they end the trial where the class has them.

An *opaque* proxy stands for something that only serves to build arguments (`Pair(5, 24)`): it can be passed on, called,
and have its attributes set, but what it is cannot be read, or a candidate could supply what it is compared with.
"""

from __future__ import annotations

from . import crossing

TYPE_CHECKING = False  # typing.TYPE_CHECKING without importing typing, which costs every child 9 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn, Protocol

    class Link(Protocol):
        """The tests' end of the conversation."""

        def ask(self, doing: str, operands: tuple[Any, ...], keywords: dict[str, Any], *, keep: bool) -> Any:  # noqa: ANN401 any value
            """Have the candidate's side do something; with `keep` the value is an opaque proxy."""

        def unsplit(self, why: str) -> NoReturn:
            """End the trial: the tests need what cannot be had in two processes."""


# What an opaque proxy allows: it gives opaque ones or nothing back.
_BUILDING = frozenset({
    "__call__", "__getattribute__", "__setattr__", "__delattr__", "__getitem__", "__setitem__", "__delitem__",
})  # fmt: skip


class Remote:
    """An object of the candidate's, by number."""

    __slots__ = ("_pkt_bench_link", "_pkt_bench_number", "_pkt_bench_opaque")

    def __init__(self, link: Link, number: int, *, opaque: bool) -> None:
        for name, value in zip(Remote.__slots__, (link, number, opaque), strict=True):
            object.__setattr__(self, name, value)

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401 any value
        if name == "__class__" and not _fact(self, "opaque"):
            return type(self)
        if name == "__mro_entries__":
            _unsplit(self, "a class of the tests cannot be derived from it")
        return _ask(self, "__getattribute__", name)

    def __setattr__(self, name: str, value: Any) -> None:  # noqa: ANN401 any value
        _ask(self, "__setattr__", name, value)

    def __delattr__(self, name: str) -> None:
        _ask(self, "__delattr__", name)

    def __str__(self) -> str:
        return str(_ask(self, "__str__"))

    def __repr__(self) -> str:
        return str(_ask(self, "__repr__"))

    def __format__(self, how: str) -> str:
        return str(_ask(self, "__format__", how))

    def __instancecheck__(self, value: object) -> NoReturn:
        _unsplit(self, "whether something is an instance of it is for the candidate to tell")

    def __reduce_ex__(self, version: Any) -> NoReturn:  # noqa: ANN401 pickle's
        _unsplit(self, "the tests cannot copy it")

    def __copy__(self) -> NoReturn:
        _unsplit(self, "the tests cannot copy it")

    def __deepcopy__(self, memo: Any) -> NoReturn:  # noqa: ANN401 deepcopy's
        _unsplit(self, "the tests cannot copy it")


def _fact(remote: Remote, name: str) -> Any:  # noqa: ANN401 any of the slots
    return object.__getattribute__(remote, f"_pkt_bench_{name}")


def _ask(remote: Remote, doing: str, *operands: Any, **keywords: Any) -> Any:  # noqa: ANN401 any value
    opaque = _fact(remote, "opaque")
    if opaque and (doing not in _BUILDING or operands == ("__class__",)):
        _unsplit(remote, f"the tests read it ({doing}), which only answers of the entry point can be")
    return _fact(remote, "link").ask(doing, (remote, *operands), keywords, keep=opaque)


def _unsplit(remote: Remote, why: str) -> NoReturn:
    link: Link = _fact(remote, "link")
    link.unsplit(f"a {type(remote).__name__} of the candidate's own: {why}")


def number_of(remote: Remote) -> int:
    """Its number on the other side."""
    return int(_fact(remote, "number"))


def _asking(name: str) -> Callable[..., Any]:
    def method(self: Remote, *operands: Any, **keywords: Any) -> Any:  # noqa: ANN401 any value
        return _ask(self, name, *operands, **keywords)

    return method


def _telling(name: str) -> Callable[..., Any]:
    def method(self: Remote, *_: Any) -> NoReturn:  # noqa: ANN401 any value
        _unsplit(self, f"its own {name} would decide the test")

    return method


_classes: dict[tuple[str, int, bool], type[Remote]] = {}


def proxy(link: Link, described: crossing.Described, *, opaque: bool) -> Remote:
    """The proxy for an object that the candidate's side described."""
    key = (described.class_name, described.special, opaque)
    kind = _classes.get(key)
    if kind is None:
        body: dict[str, Any] = {"__slots__": ()}
        for bit, name in enumerate(crossing.SPECIAL):
            if described.special >> bit & 1 and name != "__format__":
                body[name] = _asking(name) if name in crossing.ASKING else _telling(name)
        if opaque:
            body["__bool__"] = _asking("__bool__")  # what has none would be true, and make true what the tests assert
        if "__eq__" in body:
            body["__hash__"] = _telling("__hash__")
        kind = _classes[key] = type(described.class_name.replace("\0", "?"), (Remote,), body)
    return kind(link, described.number, opaque=opaque)

"""The candidate's side of a trial by test program: does what the tests' proxies ask, and tells what came of it.

A request is (what to do, operands, keyword operands, keep): see `_DOINGS`. The answer is one of

    ("value", value, changed)         changed: {place of a list, dict or set among the operands: its new contents}
    ("raised", names, arguments, changed)  names: `module:name` of its class and of the bases, see `tester.py`
    ("refused", why)                  the value cannot be sent
    ("module", name)                  a name that stands for a module
    ("exception", names)              a name that stands for a class of exceptions
    ("library", "module:name")        a name that stands for a function or class of the standard library

Nothing here is trusted once the candidate's program has run.
"""

from __future__ import annotations

import operator
import sys

from . import crossing, frames, values

TYPE_CHECKING = False  # typing.TYPE_CHECKING without importing typing, which costs every child 9 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MESSAGE_CHARACTERS = 300
_LONGEST_NAMES = 20


def _call(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:  # noqa: ANN401 any value
    return function(*arguments, **keywords)


_DOINGS: dict[str, Callable[..., Any]] = {
    "__call__": _call,
    "__getattribute__": getattr,
    "__setattr__": setattr,
    "__delattr__": delattr,
    "__iter__": iter,
    "__next__": next,
    "__len__": len,
    "__bool__": bool,
    "__int__": int,
    "__float__": float,
    "__complex__": complex,
    "__index__": operator.index,
    "__str__": str,
    "__repr__": repr,
    "__bytes__": bytes,
    "__format__": format,
    "__getitem__": operator.getitem,
    "__setitem__": operator.setitem,
    "__delitem__": operator.delitem,
    "__enter__": lambda it: type(it).__enter__(it),
    "__exit__": lambda it, *_: type(it).__exit__(it, None, None, None),
    "__abs__": abs,
    "__neg__": operator.neg,
    "__pos__": operator.pos,
    "__invert__": operator.invert,
    "__round__": round,
    "__trunc__": lambda it: type(it).__trunc__(it),
    "__floor__": lambda it: type(it).__floor__(it),
    "__ceil__": lambda it: type(it).__ceil__(it),
    "__reversed__": reversed,
}


class Answering:
    """The namespace of a program that has run, and the objects of it that the tests hold by number."""

    def __init__(self, namespace: dict[str, Any], limit: int) -> None:
        self._namespace = namespace
        self._limit = limit
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}

    def answer(self, request: bytes) -> bytes:
        """The answer to one request, both in the language of `crossing.py`."""
        reader = crossing.Reader([], self._object_of, library=True)
        doing, operands, keywords, keep = reader.value_of(request)
        received = reader.containers
        before = [_contents(each) for each in received]
        try:
            if doing in {"entry", "name"}:
                return self._name(*operands, entry=doing == "entry")
            value = _DOINGS[doing](*operands, **keywords)
            if keep:
                value = _Kept(value)
        except BaseException as error:  # noqa: BLE001 SystemExit too is an answer
            return self._raised(error, received, before)
        try:
            return self._write(received, ("value", value, _changed(received, before)))
        except values.UnsendableError as error:
            return values.encode(("refused", str(error)[:_MESSAGE_CHARACTERS]))
        except BaseException as error:  # noqa: BLE001 SystemExit too is an answer
            return self._raised(error, received, before)

    def _name(self, name: str, *, entry: bool) -> bytes:
        if name not in self._namespace:
            raise NameError(f"name {name!r} is not defined")
        value = self._namespace[name]
        if entry:
            return self._write([], ("value", _Kept(value) if callable(value) else value, {}))
        if isinstance(value, type(sys)):
            return values.encode(("module", str(value.__name__)))
        if isinstance(value, type) and issubclass(value, BaseException):
            return values.encode(("exception", _names(value)))
        of_library = crossing.name_of(value, library=True)
        if of_library is not None:
            return values.encode(("library", of_library))
        return self._write([], ("value", _Kept(value), {}))

    def _raised(self, error: BaseException, received: list[Any], before: list[Any]) -> bytes:
        head = ("raised", _names(type(error)))
        try:
            return self._write(received, (*head, tuple(error.args), _changed(received, before)))
        except BaseException:  # noqa: BLE001 what it holds is the candidate's
            try:
                message = str(error)[:_MESSAGE_CHARACTERS]
            except BaseException:  # noqa: BLE001 its __str__ is the candidate's
                message = ""
            return values.encode((*head, (message,), {}))

    def _write(self, received: list[Any], message: tuple[Any, ...]) -> bytes:
        return crossing.Writer(self._limit, received, self._described).bytes_of(message)

    def _described(self, value: Any) -> crossing.Described:  # noqa: ANN401 any object
        if type(value) is _Kept:
            value = value.value
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._objects)
            self._objects.append(value)
        kind = type(value)
        return crossing.Described(number, kind.__name__, crossing.special_methods(kind))

    def _object_of(self, described: crossing.Described) -> Any:  # noqa: ANN401 any object
        return self._objects[described.number]


class _Kept:
    """A value that the tests get by its number, plain or not."""

    def __init__(self, value: Any) -> None:  # noqa: ANN401 any value
        self.value = value


def _contents(container: Any) -> tuple[Any, ...]:  # noqa: ANN401 a list, dict or set
    if type(container) is float:  # a nan
        return ()
    return tuple(container.items()) if type(container) is dict else tuple(container)


def _changed(received: list[Any], before: list[Any]) -> dict[int, tuple[Any, ...]]:
    """The new contents of those whose contents are not the very same objects as before, in the same order."""
    changed = {}
    for place, (container, old) in enumerate(zip(received, before, strict=True)):
        new = _contents(container)
        if len(new) != len(old) or any(not _same(a, b) for a, b in zip(new, old, strict=True)):
            changed[place] = new
    return changed


def _same(new: Any, old: Any) -> bool:  # noqa: ANN401 an element, or the pair of a dict
    # A dict makes its pairs anew each time they are asked for.
    return new is old or (
        type(new) is tuple is type(old) and len(new) == 2 == len(old) and all(map(operator.is_, new, old))
    )


def _names(kind: type) -> tuple[str, ...]:
    named = [f"{each.__module__}:{each.__qualname__}"[:_MESSAGE_CHARACTERS] for each in kind.__mro__]
    return (*named[: _LONGEST_NAMES - 2], "builtins:Exception", "builtins:BaseException")


def serve(
    namespace: dict[str, Any],
    limit: int,
    receive: Callable[[], tuple[bytes, bytes]],
    send: Callable[[bytes, bytes, bytes], None],
) -> None:
    """Answer until the judge has no more to ask; never returns."""
    answering = Answering(namespace, limit)
    while True:
        nonce, request = receive()
        send(nonce, frames.ANSWER, answering.answer(request))

"""Values between a candidate and the tests that try it, as bytes: plain ones by content, all others by number.

The language of `values.py` (None, bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset) and four
words more:

    r  the list, dict or set that was the n-th to be written: one met twice arrives as one, and what a call did to its
       arguments can be told. A nan is counted among them, for `[x] == [x]` depends on its being the same one
    x  a value of a few classes of the standard library (`_MADE`), made anew on the other side from plain parts
    d  a builtin class or function, by name; from the tests to the candidate also one of the standard library
    o  an object that stays where it is: its number, the name of its class, which special methods the class has

So an answer is never unpickled and nothing of the candidate's own runs on the tests' side. Subclasses of plain classes
(a namedtuple, an IntEnum) arrive as the plain contents of their base.
"""

from __future__ import annotations

import builtins
import sys

from . import values
from .values import MAX_DEPTH, MAX_VALUES, MalformedError, UnsendableError

TYPE_CHECKING = False  # typing.TYPE_CHECKING without importing typing, which costs every child 9 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Special methods that ask an object for something without telling it what the tests expect, and those that would.
# Their order is that of the bits of an `o`.
ASKING = (
    "__call__", "__iter__", "__next__", "__len__", "__bool__", "__int__", "__float__", "__complex__", "__index__",
    "__getitem__", "__setitem__", "__delitem__", "__enter__", "__exit__", "__abs__", "__neg__", "__pos__",
    "__invert__", "__round__", "__trunc__", "__floor__", "__ceil__", "__reversed__", "__bytes__", "__format__",
)  # fmt: skip
TELLING = (
    "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__contains__", "__add__", "__radd__", "__iadd__",
    "__sub__", "__rsub__", "__isub__", "__mul__", "__rmul__", "__imul__", "__truediv__", "__rtruediv__",
    "__floordiv__", "__rfloordiv__", "__mod__", "__rmod__", "__divmod__", "__rdivmod__", "__pow__", "__rpow__",
    "__and__", "__rand__", "__or__", "__ror__", "__xor__", "__rxor__", "__lshift__", "__rlshift__", "__rshift__",
    "__rrshift__", "__matmul__", "__rmatmul__",
)  # fmt: skip
SPECIAL = ASKING + TELLING


class Described:
    """An object of the other side: its number there, its class's name, and which special methods the class has."""

    __slots__ = ("class_name", "number", "special")

    def __init__(self, number: int, class_name: str, special: int) -> None:
        self.number = number
        self.class_name = class_name
        self.special = special


def special_methods(kind: type) -> int:
    """The bits of `SPECIAL` that a class has beyond what every object has."""
    bits = 0
    for bit, name in enumerate(SPECIAL):
        found = getattr(kind, name, None)
        if found is not None and found is not getattr(object, name, None):
            bits |= 1 << bit
    return bits


class Writer:
    """Writes one message. `known` are lists, dicts and sets that the other side has already, by number.

    `number_of(value)` is asked for anything that cannot cross: its description, or UnsendableError.
    `library` allows functions and classes of the standard library by name.
    """

    def __init__(
        self, limit: int, known: list[Any], number_of: Callable[[Any], Described], *, library: bool = False
    ) -> None:
        self.containers = list(known)
        self._places = {id(each): place for place, each in enumerate(known)}
        self._left_bytes = limit
        self._left_values = MAX_VALUES
        self._number_of = number_of
        self._library = library
        self._parts: list[bytes] = []

    def bytes_of(self, value: object) -> bytes:
        """The message. Raises UnsendableError when it is too large, too deep or holds what cannot be sent."""
        self._write(value, 0)
        return b"".join(self._parts)

    def _put(self, chunk: bytes) -> None:
        self._left_bytes -= len(chunk)
        if self._left_bytes < 0:
            raise UnsendableError("too large: over the output limit")
        self._parts.append(chunk)

    def _write(self, value: Any, depth: int) -> None:  # noqa: ANN401 any object at all
        self._left_values -= 1
        if self._left_values < 0:
            raise UnsendableError(f"too large: over {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise UnsendableError(f"nested more than {MAX_DEPTH} deep")
        kind = type(value)
        if kind is float and value != value:  # noqa: PLR0124 a nan
            self._write_known(value, b"f\0\0\0\x03nan")
            return
        if kind in _ATOMIC:
            self._put(values.encode(value, max(self._left_bytes, 0)))
            return
        made = _MADE_OF.get((kind.__module__, kind.__qualname__))
        if made is not None and _class_named(*made) is kind:
            self._put(_atom(b"x", made[1].encode()))
            self._write(_TAKEN_APART[made[1]](value), depth + 1)
            return
        base = _plain_base(kind)
        if base is None:
            self._write_object(value)
        elif base in _CONTAINERS:
            self._write_container(value, base, depth)
        else:
            self._put(values.encode(value, max(self._left_bytes, 0)))

    def _write_container(self, value: Any, base: type, depth: int) -> None:  # noqa: ANN401 any container
        if base in _MUTABLE and not self._write_known(value, b""):
            return
        tag = _CONTAINERS[base]
        if base is dict:
            pairs = list(dict.items(value))
            self._put(tag + len(pairs).to_bytes(4, "big"))
            for key, each in pairs:
                self._write(key, depth + 1)
                self._write(each, depth + 1)
            return
        children = list(base.__iter__(value))  # type: ignore[attr-defined]  # by the base's own method
        self._put(tag + len(children).to_bytes(4, "big"))
        for each in children:
            self._write(each, depth + 1)

    def _write_known(self, value: object, first: bytes) -> bool:
        """Where it was written before, or else `first`; whether it is new."""
        place = self._places.get(id(value))
        if place is None:
            self._places[id(value)] = len(self.containers)
            self.containers.append(value)  # which also keeps it from being freed and its id from being used again
        self._put(first if place is None else b"r" + place.to_bytes(4, "big"))
        return place is None

    def _write_object(self, value: Any) -> None:  # noqa: ANN401 any object
        named = name_of(value, library=self._library)
        if named is not None:
            self._put(_atom(b"d", named.encode()))
            return
        found = self._number_of(value)
        name = found.class_name.encode("utf-8", "replace")[:200]
        self._put(b"o" + found.number.to_bytes(4, "big") + found.special.to_bytes(8, "big") + _atom(b"s", name))


class Reader:
    """Reads one message, which may be hostile. `known` are the lists, dicts and sets that `r` may name.

    `object_of(described)` gives the value that stands for an `o`, or raises MalformedError. `library` as for Writer.
    """

    def __init__(self, known: list[Any], object_of: Callable[[Described], Any], *, library: bool = False) -> None:
        self.containers = list(known)
        self._object_of = object_of
        self._library = library
        self._left = MAX_VALUES
        self._data = b""
        self._at = 0

    def value_of(self, data: bytes) -> Any:  # noqa: ANN401 any value
        """The value. Raises MalformedError for bytes that no Writer could have written."""
        self._data, self._at = data, 0
        value = self._read(0)
        if self._at != len(data):
            raise MalformedError("bytes after the end of the value")
        return value

    def _take(self, count: int) -> bytes:
        start = self._at
        self._at += count
        if self._at > len(self._data):
            raise MalformedError("cut short")
        return self._data[start : self._at]

    def _number(self, count: int = 4) -> int:
        return int.from_bytes(self._take(count), "big")

    def _read(self, depth: int) -> Any:  # noqa: ANN401, C901, PLR0911 any value; one branch a tag
        self._left -= 1
        if self._left < 0:
            raise MalformedError(f"more than {MAX_VALUES} values")
        if depth > MAX_DEPTH + 2:
            raise MalformedError(f"nested more than {MAX_DEPTH} deep")
        tag = self._take(1)
        if tag in values.CONSTANTS:
            return values.CONSTANTS[tag]
        if tag in b"ifcsb":
            value = values.atom_value(tag, self._take(self._number()))
            if tag == b"f" and value != value:  # noqa: PLR0124 a nan
                self.containers.append(value)
            return value
        if tag in b"ltezm":
            return self._read_container(tag, depth)
        if tag == b"r":
            place = self._number()
            if place >= len(self.containers) or self.containers[place] is None:
                raise MalformedError("names a list, dict or set that was not sent")
            return self.containers[place]
        if tag == b"x":
            return self._read_made(depth)
        if tag == b"d":
            return value_named(self._text(self._number()), library=self._library)
        if tag == b"o":
            number, special = self._number(), self._number(8)
            if self._take(1) != b"s":
                raise MalformedError("an object without the name of its class")
            return self._object_of(Described(number, self._text(self._number()), special))
        raise MalformedError(f"no value starts with {tag!r}")

    def _text(self, length: int) -> str:
        return self._take(length).decode("utf-8", "replace")

    def _read_container(self, tag: bytes, depth: int) -> Any:  # noqa: ANN401 any container
        count = self._number() * (2 if tag == b"m" else 1)
        if count > len(self._data) - self._at:
            raise MalformedError("cut short")
        if tag == b"l":
            filled: list[Any] = []
            self.containers.append(filled)
            filled.extend(self._read(depth + 1) for _ in range(count))
            return filled
        place = len(self.containers)
        made: dict[Any, Any] | set[Any] | None = {} if tag == b"m" else set() if tag == b"e" else None
        if made is not None:
            self.containers.append(None if tag == b"e" else made)
        children = [self._read(depth + 1) for _ in range(count)]
        try:
            if isinstance(made, dict):
                made.update(zip(children[::2], children[1::2], strict=True))
                return made
            if isinstance(made, set):
                made.update(children)
                self.containers[place] = made
                return made
            return tuple(children) if tag == b"t" else frozenset(children)
        except TypeError as error:
            raise MalformedError(f"a set or dict holds something unhashable: {error}") from None

    def _read_made(self, depth: int) -> Any:  # noqa: ANN401 any of `_MADE`
        name = self._text(self._number())
        parts = self._read(depth + 1)
        if name not in _MADE:
            raise MalformedError(f"no {name!r} can be made")
        try:
            return _PUT_TOGETHER[name](_class_named(_MADE[name], name), parts)
        except Exception as error:  # noqa: BLE001 the parts may be anything
            raise MalformedError(f"not the parts of a {name}: {type(error).__name__}") from None


# Classes that are made anew: where each lives, how it is taken apart into plain parts, and put together again.
_MADE = {
    "range": "builtins", "bytearray": "builtins", "ellipsis": "", "NotImplementedType": "",
    "dict_keys": "", "dict_items": "",
    "Fraction": "fractions", "Decimal": "decimal",
    "Counter": "collections", "OrderedDict": "collections", "defaultdict": "collections", "deque": "collections",
    "date": "datetime", "datetime": "datetime", "time": "datetime", "timedelta": "datetime",
}  # fmt: skip
_NAMELESS: dict[str, Any] = {
    "ellipsis": type(...), "NotImplementedType": type(NotImplemented),
    "dict_keys": type({}.keys()), "dict_items": type({}.items()),
}  # fmt: skip
_MADE_OF = {(home or "builtins", name): (home, name) for name, home in _MADE.items()}


def _naive(parts: tuple[Any, ...], moment: Any) -> tuple[Any, ...]:  # noqa: ANN401 a time or datetime
    if moment.tzinfo is not None:
        raise UnsendableError("a time with a time zone is not a plain value")
    return parts


_TAKEN_APART: dict[str, Callable[[Any], Any]] = {
    "range": lambda it: (it.start, it.stop, it.step),
    "bytearray": bytes,
    "ellipsis": lambda _: None,
    "NotImplementedType": lambda _: None,
    "dict_keys": tuple,
    "dict_items": tuple,
    "Fraction": lambda it: (it.numerator, it.denominator),
    "Decimal": str,
    "Counter": lambda it: tuple(dict.items(it)),
    "OrderedDict": lambda it: tuple(it.items()),
    "defaultdict": lambda it: (it.default_factory if name_of(it.default_factory) else None, tuple(dict.items(it))),
    "deque": lambda it: (tuple(it), it.maxlen),
    "date": lambda it: (it.year, it.month, it.day),
    "datetime": lambda it: _naive((it.year, it.month, it.day, it.hour, it.minute, it.second, it.microsecond), it),
    "time": lambda it: _naive((it.hour, it.minute, it.second, it.microsecond), it),
    "timedelta": lambda it: (it.days, it.seconds, it.microseconds),
}
_PUT_TOGETHER: dict[str, Callable[[Any, Any], Any]] = {
    "range": lambda kind, parts: kind(*parts),
    "bytearray": lambda kind, parts: kind(parts),
    "ellipsis": lambda _kind, _parts: ...,
    "NotImplementedType": lambda _kind, _parts: NotImplemented,
    "dict_keys": lambda _kind, parts: dict.fromkeys(parts).keys(),
    "dict_items": lambda _kind, parts: dict(parts).items(),
    "Fraction": lambda kind, parts: kind(*parts),
    "Decimal": lambda kind, parts: kind(parts),
    "Counter": lambda kind, parts: kind(dict(parts)),
    "OrderedDict": lambda kind, parts: kind(parts),
    "defaultdict": lambda kind, parts: kind(parts[0], parts[1]),
    "deque": lambda kind, parts: kind(parts[0], parts[1]),
    "date": lambda kind, parts: kind(*parts),
    "datetime": lambda kind, parts: kind(*parts),
    "time": lambda kind, parts: kind(*parts),
    "timedelta": lambda kind, parts: kind(*parts),
}

_CONTAINERS: dict[Any, bytes] = {list: b"l", tuple: b"t", dict: b"m", set: b"e", frozenset: b"z"}
_MUTABLE = frozenset({list, dict, set})
_ATOMIC = frozenset({type(None), bool, int, float, complex, str, bytes})
_PLAIN = (int, float, complex, str, bytes, list, tuple, dict, set, frozenset)


def _plain_base(kind: type) -> type | None:
    if kind in _CONTAINERS:
        return kind
    return next((each for each in _PLAIN if issubclass(kind, each)), None)


def _class_named(home: str, name: str) -> Any:  # noqa: ANN401 a class
    if not home:
        return _NAMELESS[name]
    __import__(home)
    return vars(sys.modules[home])[name]


def name_of(value: Any, *, library: bool = False) -> str | None:  # noqa: ANN401 any object
    """`module:name` of a builtin class or function, or with `library` of one of the standard library."""
    if not issubclass(type(value), (type, type(len), type(special_methods))):  # isinstance would ask the value
        return None
    home, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(home, str) or not isinstance(name, str):
        return None
    try:
        if value_named(f"{home}:{name}", library=library) is value:
            return f"{home}:{name}"
    except MalformedError:
        pass
    return None


def value_named(text: str, *, library: bool) -> Any:  # noqa: ANN401 a class or function
    """The class or function for `module:name`. Raises MalformedError where there is none that may cross."""
    home, _, name = text.partition(":")
    if home == "builtins":
        found = type(None) if name == "NoneType" else vars(builtins).get(name)
    elif library and home.split(".")[0] in sys.stdlib_module_names:
        try:
            __import__(home)
            found = vars(sys.modules[home]).get(name)
        except Exception:  # noqa: BLE001 importing may raise anything
            found = None
    else:
        found = None
    # Nothing but classes and functions: an instance may compare as it likes (unittest.mock.ANY).
    if not isinstance(found, (type, type(len), type(special_methods))):
        raise MalformedError(f"no class or function is called {text!r}")
    return found


def _atom(tag: bytes, payload: bytes) -> bytes:
    return tag + len(payload).to_bytes(4, "big") + payload

"""Plain literals as bytes: the only language in which a candidate can answer.

A value is one tag byte, then a length and that many bytes (atoms) or a count and that many values
(containers).

    n None   T True   F False   i int (hex)   f float (hex)   c complex   s str   b bytes
    l list   t tuple  m dict    e set   z frozenset

The parent never turns an answer into Python objects in order to judge it. It rewrites both the answer and the
expected value into *canonical* bytes and compares those: no `__eq__`, no `__hash__`, no table that colliding
keys could make quadratic; size, depth and number of values are bounded. The canonical form keeps Python's own
`==` between plain values: `True == 1 == 1.0`, `0.0 == -0.0`, a set equals a frozenset, a list never equals a
tuple, the order of a dict or set does not matter. One deliberate difference: nan matches nan, so that nan can
be expected.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing.TYPE_CHECKING without importing typing, which costs every child 9 ms
if TYPE_CHECKING:
    from typing import Any

MAX_DEPTH = 100
MAX_VALUES = 200_000
MAX_BYTES = 64 * 1024 * 1024
_LENGTH = 4


class UnsendableError(ValueError):
    """The value is not made of plain literals, is nested too deeply, or is too large."""


class MalformedError(ValueError):
    """The bytes are not a value that `encode` could have written within the limits."""


def encode(value: object, max_bytes: int = MAX_BYTES) -> bytes:
    """Bytes of a plain value; subclasses (Counter, namedtuple, IntEnum, ...) are sent as the contents of their base.

    Raises UnsendableError for anything else, and beyond `max_bytes`, `MAX_DEPTH` or `MAX_VALUES`.
    """
    parts: list[bytes] = []
    left = [max_bytes, MAX_VALUES]
    _write(value, parts, left, 0)
    return b"".join(parts)


def _write(value: object, parts: list[bytes], left: list[int], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise UnsendableError(f"nested more than {MAX_DEPTH} deep")
    chunk, children = _open(value)
    left[0] -= len(chunk)
    left[1] -= 1
    if left[0] < 0:
        raise UnsendableError("too large: over the output limit")
    if left[1] < 0:
        raise UnsendableError(f"too large: over {MAX_VALUES} values")
    parts.append(chunk)
    for child in children:
        _write(child, parts, left, depth + 1)


def _open(value: Any) -> tuple[bytes, Any]:  # noqa: ANN401 any object at all
    """The first bytes of a value, and the values inside it."""
    kind = type(value)
    if value is None:
        return b"n", ()
    if kind is bool:
        return (b"T" if value else b"F"), ()
    # By the base's own methods: what a subclass does in its __iter__ or __len__ is not its contents.
    for base, tag, payload in _ATOMS:
        if issubclass(kind, base):
            return _atom(tag, payload(value)), ()
    for base, tag in _SEQUENCES:
        if issubclass(kind, base):
            return _count(tag, base.__len__(value)), base.__iter__(value)
    if issubclass(kind, dict):
        pairs = dict.items(value)
        return _count(b"m", len(pairs)), (part for pair in pairs for part in pair)
    raise UnsendableError(f"a {kind.__name__} is not a plain literal")


_ATOMS: tuple[tuple[type, bytes, Any], ...] = (
    (int, b"i", lambda value: int.__format__(value, "x").encode()),
    (float, b"f", lambda value: float.hex(value).encode()),
    (complex, b"c", lambda value: f"{float.hex(value.real)},{float.hex(value.imag)}".encode()),
    (str, b"s", lambda value: str.encode(value, "utf-8", "surrogatepass")),
    (bytes, b"b", lambda value: bytes(memoryview(value))),
    (bytearray, b"b", lambda value: bytes(memoryview(value))),
)
_SEQUENCES: tuple[tuple[Any, bytes], ...] = ((list, b"l"), (tuple, b"t"), (set, b"e"), (frozenset, b"z"))


def _atom(tag: bytes, payload: bytes) -> bytes:
    return _count(tag, len(payload)) + payload


def _count(tag: bytes, number: int) -> bytes:
    if number >= 1 << 31:
        raise UnsendableError("too large: 2 GiB or more")
    return tag + number.to_bytes(_LENGTH, "big")


def decode(data: bytes) -> Any:  # noqa: ANN401 any plain value
    """The Python value of bytes written by our own side. Raises MalformedError.

    Hashes the keys it meets: for the arguments a child gets, and for short answers about to be shown to a
    human.
    """
    value, end = _read(data, 0, 0, [MAX_VALUES])
    if end != len(data):
        raise MalformedError("bytes after the end of the value")
    return value


def _read(data: bytes, at: int, depth: int, left: list[int]) -> tuple[Any, int]:
    tag, payload, count, at = _head(data, at, depth, left)
    if tag in CONSTANTS:
        return CONSTANTS[tag], at
    if tag in b"ifcsb":
        return atom_value(tag, payload), at
    children: list[Any] = []
    for _ in range(count):
        child, at = _read(data, at, depth + 1, left)
        children.append(child)
    if tag == b"l":
        return children, at
    if tag == b"t":
        return tuple(children), at
    try:
        if tag == b"m":
            return dict(zip(children[::2], children[1::2], strict=True)), at
        return (set(children) if tag == b"e" else frozenset(children)), at
    except TypeError as error:
        raise MalformedError(f"a set or dict holds something unhashable: {error}") from None


def canonical(data: bytes) -> bytes:
    """The one form that equal values share, from bytes that may be hostile. Raises MalformedError."""
    form, end = _canonical(data, 0, 0, [MAX_VALUES])
    if end != len(data):
        raise MalformedError("bytes after the end of the value")
    return form


def _canonical(data: bytes, at: int, depth: int, left: list[int]) -> tuple[bytes, int]:
    tag, payload, count, at = _head(data, at, depth, left)
    if tag == b"n":
        return b"n", at
    if tag in b"TF":
        return _number(tag == b"T"), at
    if tag in b"ifc":
        return _number(atom_value(tag, payload)), at
    if tag in b"sb":
        return _atom(tag, payload), at
    children: list[bytes] = []
    for _ in range(count):
        child, at = _canonical(data, at, depth + 1, left)
        children.append(child)
    if tag == b"m":
        # Equal keys cannot meet in a real dict, so sorting by key alone decides the order.
        pairs = sorted(zip(children[::2], children[1::2], strict=True))
        return _count(tag, len(pairs)) + b"".join(key + value for key, value in pairs), at
    if tag in b"ez":
        children.sort()
        tag = b"e"
    return _count(tag, len(children)) + b"".join(children), at


def _number(number: complex) -> bytes:
    if isinstance(number, complex):
        if number.imag == 0:
            return _number(number.real)
        return b"c" + _number(number.real) + _number(number.imag)
    if isinstance(number, float):
        if not number.is_integer():  # False for nan and the infinities
            return _atom(b"f", float.hex(number).encode())
        number = int(number)
    return _atom(b"i", format(int(number), "x").encode())


# What has no payload: the tag is the value.
CONSTANTS: dict[bytes, Any] = {b"n": None, b"T": True, b"F": False}


def _head(data: bytes, at: int, depth: int, left: list[int]) -> tuple[bytes, bytes, int, int]:
    """One value's tag, payload (atoms), number of children (containers) and where to read on."""
    left[0] -= 1
    if left[0] < 0:
        raise MalformedError(f"more than {MAX_VALUES} values")
    if depth > MAX_DEPTH:
        raise MalformedError(f"nested more than {MAX_DEPTH} deep")
    tag = data[at : at + 1]
    if tag in CONSTANTS:
        return tag, b"", 0, at + 1
    if not tag or tag not in b"ifcsbltmez":
        raise MalformedError(f"no value starts with {tag!r}")
    start = at + 1 + _LENGTH
    if len(data) < start:
        raise MalformedError("cut short")
    count = int.from_bytes(data[at + 1 : start], "big")
    if tag in b"ltmez":
        children = count * 2 if tag == b"m" else count
        # Every value takes at least a byte: a count beyond that is a lie, found before a loop starts.
        if children > len(data) - start:
            raise MalformedError("cut short")
        return tag, b"", children, start
    if len(data) < start + count:
        raise MalformedError("cut short")
    return tag, data[start : start + count], 0, start + count


def atom_value(tag: bytes, payload: bytes) -> Any:  # noqa: ANN401 any atom
    """The value of an int, float, complex, str or bytes. Raises MalformedError."""
    if tag == b"b":
        return payload
    try:
        if tag == b"s":
            return payload.decode("utf-8", "surrogatepass")
        text = payload.decode("ascii")
        if tag == b"i":
            return int(text, 16)
        if len(text) > 64:
            raise MalformedError("a float of more than 64 characters")
        if tag == b"f":
            return float.fromhex(text)
        real, imag = text.split(",")
        return complex(float.fromhex(real), float.fromhex(imag))
    except (ValueError, OverflowError) as error:
        raise MalformedError(f"not a {tag.decode()}: {error}") from None

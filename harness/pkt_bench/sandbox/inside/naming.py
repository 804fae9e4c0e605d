"""What a test program is a test of: the names that it calls and does not define, read off its syntax tree."""

from __future__ import annotations

import builtins

TYPE_CHECKING = False  # typing.TYPE_CHECKING without importing typing, which costs every child 9 ms
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import Any


def entry_points(tree: Any, defined: Collection[str]) -> tuple[str, ...]:  # noqa: ANN401 an ast.Module
    """The names under test, in order; empty where there is none.

    Those are the ones at the outside of what the asserts call: of `assert f([Pair(1, 2)]) == 1` it is f, while Pair
    only serves to build an argument; of `assert int(f(1)) == 1` it is f as well. Without such calls in asserts, those
    of all statements, and without any all such names (`check(f)`). Names that are builtins count where there are no
    others, if they are called in asserts (MBPP asks for a `sum` of its own).
    """
    loaded, bound = _names(tree)
    free = [name for name in loaded if name not in bound and name not in defined]
    unknown = {name for name in free if not hasattr(builtins, name)}
    asserts = [each for each in _walk(tree) if type(each).__name__ == "Assert"]
    for roots, among in ((asserts, unknown), ([tree], unknown)):
        found = [name for root in roots for name in _outermost(root, among)]
        if found:
            return tuple(dict.fromkeys(found))
    others = [name for name in free if name in unknown]
    return tuple(dict.fromkeys(others or (name for root in asserts for name in _outermost(root, set(free)))))


def _outermost(node: Any, among: Collection[str]) -> Iterator[str]:  # noqa: ANN401 an ast node
    kind = type(node).__name__
    if kind == "Call":
        called = node.func
        while type(called).__name__ in {"Attribute", "Call", "Subscript"}:
            called = called.func if type(called).__name__ == "Call" else called.value
        if type(called).__name__ == "Name" and called.id in among:
            yield called.id
            return
    for child in _children(node):
        yield from _outermost(child, among)


def _names(tree: Any) -> tuple[list[str], set[str]]:  # noqa: ANN401 an ast.Module
    """Names that are read, and names that are bound anywhere in it."""
    loaded: list[str] = []
    bound: set[str] = set()
    for node in _walk(tree):
        kind = type(node).__name__
        if kind == "Name":
            if type(node.ctx).__name__ == "Load":
                loaded.append(node.id)
            else:
                bound.add(node.id)
        elif kind == "arg":
            bound.add(node.arg)
        elif kind == "alias":
            bound.add((node.asname or node.name).split(".")[0])
        else:
            bound.update(each for each in (getattr(node, "name", None), getattr(node, "rest", None)) if each)
    return loaded, bound


def _walk(node: Any) -> Iterator[Any]:  # noqa: ANN401 an ast node
    waiting = [node]
    while waiting:
        each = waiting.pop(0)
        yield each
        waiting += _children(each)


def _children(node: Any) -> list[Any]:  # noqa: ANN401 an ast node
    found = []
    for field in node._fields:
        value = getattr(node, field, None)
        found += [each for each in (value if type(value) is list else [value]) if hasattr(each, "_fields")]
    return found

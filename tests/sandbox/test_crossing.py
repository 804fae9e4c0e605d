"""What crosses between a candidate and its tests arrives as it was, shared where it was shared, and cannot hurt."""

from __future__ import annotations

import datetime as dt
import math
import operator
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkt_bench.sandbox.inside import crossing, naming, values

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False)
    | st.text() | st.binary()
)  # fmt: skip
keys = st.recursive(scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=4)
literals = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner, max_size=3)
        | st.sets(keys, max_size=3)
        | st.frozensets(keys, max_size=3)
    ),
    max_leaves=12,
)


def nothing(value):
    raise values.UnsendableError(f"a {type(value).__name__} is not a plain value")


def written(value, known=(), *, library=False):
    return crossing.Writer(1 << 20, list(known), nothing, library=library).bytes_of(value)


def read(data, known=(), *, library=False):
    return crossing.Reader(list(known), lambda described: described, library=library).value_of(data)


def same_kinds(left, right):
    return type(left) is type(right) and left == right and repr(left) == repr(right)


@given(literals)
def test_what_is_sent_is_what_arrives(value):
    arrived = read(written(value))

    assert arrived == value
    assert type(arrived) is type(value)


@given(literals)
def test_one_list_met_twice_arrives_as_one(value):
    shared = [value]

    first, (second,), third = read(written([shared, (shared,), {"k": shared}]))

    assert first is second is third["k"]
    assert first == shared


@pytest.mark.parametrize(
    "value",
    [
        range(1, 9, 3), bytearray(b"a"), ..., NotImplemented, Fraction(-1, 3), Decimal("1.10"), Counter("aab"),
        OrderedDict([(2, 1), (1, 2)]), defaultdict(list, {1: [2]}), defaultdict(None, {}), deque([1, 2], 3),
        dt.date(2024, 2, 29), dt.datetime(2024, 1, 2, 3, 4, 5, 6), dt.time(1, 2), len, int, ValueError,  # noqa: DTZ001
        dt.timedelta(-1, 2, 3), {1: 2}.keys(), {1: 2}.items(), type(None),
    ],
    ids=repr,
)  # fmt: skip
def test_values_of_the_standard_library_arrive_as_what_they_were(value):
    assert same_kinds(read(written(value)), value)


@pytest.mark.parametrize("value", [operator.add, math.sqrt, Fraction])
def test_functions_of_the_standard_library_cross_to_the_candidate_only(value):
    data = written(value, library=True)

    assert read(data, library=True) is value
    with pytest.raises(values.UnsendableError):
        written(value)
    with pytest.raises(values.MalformedError, match="no class or function is called"):
        read(data)


def test_an_object_that_compares_as_it_likes_has_no_name_to_cross_by():
    data = b"d" + len(b"unittest.mock:ANY").to_bytes(4, "big") + b"unittest.mock:ANY"

    assert mock.ANY == 3
    for library in (False, True):
        with pytest.raises(values.MalformedError):
            read(data, library=library)


def test_what_is_known_is_told_by_its_place():
    known = [1], {}

    assert written([known[1]], known) == b"l\0\0\0\x01r\0\0\0\x01"
    assert read(b"l\0\0\0\x01r\0\0\0\x01", known)[0] is known[1]


def test_a_nan_arrives_as_one_and_the_same():
    one = float("nan")

    first, second, other = read(written((one, [one], float("nan"))))

    assert first is second[0]
    assert first is not other
    assert math.isnan(other)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"?", b"r\0\0\0\0", b"r\xff\xff\xff\xff", b"l\xff\xff\xff\xffn", b"nn", b"l\0\0\0\x01" * 5000 + b"n",
        b"e\0\0\0\x01l\0\0\0\0", b"e\0\0\0\x01r\0\0\0\0", b"m\0\0\0\x01l\0\0\0\0n", b"x\0\0\0\x05rangen",
        b"x\0\0\0\x08Fractiont\0\0\0\x02i\0\0\0\x011i\0\0\0\x010", b"x\0\0\0\x04evaln", b"d\0\0\0\x0abuiltins:n",
        b"d\0\0\0\x0bos:_exit\0\0\0", b"o\0\0\0\0", b"o\0\0\0\0\0\0\0\0\0\0\0\0i\0\0\0\x011", b"s\0\0\0\x01\xff",
        b"x\0\0\0\x05dequet\0\0\0\x02ni\0\0\0\x01x",
    ],
)  # fmt: skip
def test_bytes_that_are_no_value_are_malformed_and_nothing_worse(data):
    with pytest.raises(values.MalformedError):
        read(data)


@given(st.binary(max_size=60))
def test_random_bytes_are_a_value_or_malformed(data):
    try:
        read(data)
    except values.MalformedError:
        return


@pytest.mark.parametrize(
    ("tests", "names"),
    [
        ("assert f(1) == 2", ("f",)),
        ("assert int(f(1)) == set([2])", ("f",)),
        ("assert (f(g(1))) == 2\nassert h(1)", ("f", "h")),
        ("root = Node(1)\nassert depth(root) == 3", ("depth",)),
        ("assert f([Pair(1, 2), Pair(3, 4)], n=K) == 3", ("f",)),
        ("def check(candidate):\n    assert candidate(1) == 2\ncheck(f)", ("f",)),
        ("r = f(1)\nassert r == 2", ("f",)),
        ("s = Stack()\ns.push(1)\nassert s.pop() == 1", ("Stack",)),
        ("assert Stack().push(1).size == 1", ("Stack",)),
        ("assert sum(10, 15) == 25", ("sum",)),
        ("import math\nfrom random import randint as r\nassert math.pi > r(1, 2)", ()),
        ("for f in []:\n    assert f(1)", ()),
        ("try:\n    f(1)\nexcept Full as error:\n    assert error", ("f",)),
        ("assert [f(x) for x in range(3)] == [1]", ("f",)),
        ("assert 1 == 1", ()),
    ],
)
def test_what_is_under_test_is_what_the_asserts_call_and_do_not_define(tests, names):
    tree = compile(tests, "<tests>", "exec", 0x400)

    assert naming.entry_points(tree, ()) == names

"""Programs that mean no harm get the verdict they deserve."""

# ruff: noqa: ISC004 (a program is one literal, however long)
from __future__ import annotations

import math
import sys

import pytest

from pkt_bench.sandbox import Limits, nurseries
from pkt_bench.sandbox.judge import judge_in

HONEST = {
    "math": ("import math\ndef f(x): return math.isqrt(x) + math.comb(5, 2)", [((81,), 19)]),
    "re": ("import re\ndef f(s): return re.findall(r'[a-z]+', s)", [(("ab1cd",), ["ab", "cd"])]),
    "itertools": (
        "import itertools\ndef f(xs): return list(itertools.permutations(xs, 2))",
        [(([1, 2],), [(1, 2), (2, 1)])],
    ),
    "collections": (
        "from collections import Counter, defaultdict\ndef f(s): return Counter(s)",
        [(("aab",), {"b": 1, "a": 2})],
    ),
    "namedtuple": (
        "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(a): return P(a, 2)",
        [((1,), (1, 2))],
    ),
    "functools": (
        "from functools import lru_cache\n@lru_cache(None)\ndef f(n): return n if n < 2 else f(n-1) + f(n-2)",
        [((50,), 12586269025)],
    ),
    "string": (
        "import string\ndef f(): return string.ascii_lowercase[:3] + string.punctuation[0]",
        [((), "abc!")],
    ),
    "heapq": ("import heapq\ndef f(xs): return heapq.nsmallest(2, xs)", [(([3, 1, 2],), [1, 2])]),
    "bisect, statistics, fractions, decimal": (
        "import bisect, statistics, fractions, decimal\n"
        "def f(xs): return bisect.bisect(xs, 2), statistics.median(xs), "
        "float(fractions.Fraction(1, 4)), str(decimal.Decimal('0.1') + 1)",
        [(([1, 2, 3],), (2, 2, 0.25, "1.1"))],
    ),
    "datetime and zoneinfo": (
        "from datetime import datetime, timedelta, timezone\n"
        "def f(): return (datetime(2024, 2, 28, tzinfo=timezone.utc) + timedelta(days=1)).isoformat()",
        [((), "2024-02-29T00:00:00+00:00")],
    ),
    "json, base64, struct, zlib, sqlite3": (
        "import json, base64, struct, zlib, sqlite3\n"
        "def f(x):\n"
        "    n = sqlite3.connect(':memory:').execute('select 2 + 3').fetchone()[0]\n"
        "    raw = zlib.decompress(zlib.compress(json.dumps(x).encode()))\n"
        "    return [base64.b64encode(raw).decode(), struct.pack('>H', 258), n]",
        [(([1],), ["WzFd", b"\x01\x02", 5])],
    ),
    "md5": (
        "import hashlib\ndef f(s): return hashlib.md5(s.encode()).hexdigest()",
        [(("hello",), "5d41402abc4b2a76b9719d911017c592")],
    ),
    "typing and dataclasses": (
        "from __future__ import annotations\nfrom dataclasses import dataclass, astuple\n"
        "from typing import List\n@dataclass(order=True)\nclass P:\n    x: int\n    y: List[int]\n"
        "def f(x: int) -> tuple: return astuple(P(x, [x]))",
        [((3,), (3, [3]))],
    ),
    "recursion 900 deep": ("def f(n): return 0 if n == 0 else 1 + f(n - 1)", [((900,), 900)]),
    "mutual recursion and a higher limit": (
        "import sys\nsys.setrecursionlimit(10000)\ndef g(n): return n == 0 or f(n - 1)\n"
        "def f(n): return n != 0 and g(n - 1)",
        [((5001,), True), ((5000,), False)],
    ),
    "unicode": ("def f(s): return s[::-1] + 'é😀\\ud800'", [(("ß漢",), "漢ßé😀\ud800")]),
    "bytes": ("def f(b): return bytearray(b) + b'\\x00\\xff'", [((b"a",), b"a\x00\xff")]),
    "tuples": ("def f(a, b): return (b, (a,), ())", [((1, "x"), ("x", (1,), ()))]),
    "sets": ("def f(xs): return set(xs)", [(([3, 1, 3],), {1, 3}), (([],), set())]),
    "sets that stay sets": ("def f(xs):\n    xs[0].add(9)\n    return xs", [(([{1}],), [{1, 9}])]),
    "frozensets in sets": (
        "def f(s): return {frozenset(s), frozenset()}",
        [(({1},), {frozenset(), frozenset({1})})],
    ),
    "dicts": (
        "def f(d): return {(k, 1): v for k, v in d.items()}",
        [(({"b": [2], "a": None},), {("a", 1): None, ("b", 1): [2]})],
    ),
    "None and a missing return": ("def f(x): x + 1", [((1,), None)]),
    "infinities and nan": (
        "def f(): return [float('inf'), -float('inf'), float('nan'), -0.0]",
        [((), [math.inf, -math.inf, math.nan, 0])],
    ),
    "huge integers": ("def f(n): return 7 ** n", [((20000,), 7**20000)]),
    "complex": ("import cmath\ndef f(): return complex(1, 2) * 1j", [((), -2 + 1j)]),
    "enums": ("import enum\nclass C(enum.IntEnum):\n    A = 3\ndef f(): return C.A", [((), 3)]),
    "nested functions and closures": (
        "def f(n):\n    def g(k):\n        nonlocal n\n        n += k\n        return n\n    return [g(1), g(2)]",
        [((1,), [2, 4])],
    ),
    "classes and generators": (
        "class Stack:\n    def __init__(self): self.items = []\n    def walk(self): yield from self.items\n"
        "def f(xs):\n    s = Stack()\n    s.items += xs\n    return list(s.walk())",
        [(([1, 2],), [1, 2])],
    ),
    "async": (
        "import asyncio\nasync def g(x):\n    await asyncio.sleep(0.001)\n    return x * 2\n"
        "def f(x): return asyncio.run(g(x))",
        [((21,), 42)],
    ),
    "threads": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "def f(xs):\n    with ThreadPoolExecutor(4) as pool: return list(pool.map(abs, xs))",
        [(([-1, 2],), [1, 2])],
    ),
    "50 MB": (
        "def f(n):\n    a = bytearray(n)\n    a[-1] = 7\n    return len(a), a[-1]",
        [((50_000_000,), (50_000_000, 7))],
    ),
    "a temporary file": (
        "import tempfile, os\ndef f(s):\n    with tempfile.NamedTemporaryFile('w+') as file:\n"
        "        file.write(s); file.seek(0)\n        return file.read(), os.getcwd() == tempfile.gettempdir()",
        [(("text",), ("text", True))],
    ),
    "printing and reading stdin": (
        "import sys\ndef f(x):\n    print('debug', x)\n    sys.stderr.write('more')\n    return sys.stdin.read()",
        [((1,), "")],
    ),
    "a main block is not run": (
        "def f(): return __name__ == '__main__'\nif __name__ == '__main__':\n    raise SystemExit",
        [((), False)],
    ),
    "a callable that is no function": ("f = lambda x: x\nf = type(1)", [(("12",), 12)]),
    "calls share the program's state": (
        "n = 0\ndef f():\n    global n\n    n += 1\n    return n",
        [((), 1), ((), 2)],
    ),
    "a signal of its own": (
        "import signal\nseen = []\ndef f():\n    signal.signal(signal.SIGUSR1, lambda *a: seen.append(a[0]))\n"
        "    signal.raise_signal(signal.SIGUSR1)\n    return len(seen)",
        [((), 1)],
    ),
    "an argument of a megabyte": ("def f(s): return len(s)", [(("x" * 1_000_000,), 1_000_000)]),
    "many cases": ("def f(x): return x * x", [((each,), each * each) for each in range(300)]),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_right_program_passes(name, sandbox):
    program, cases = HONEST[name]

    verdict = sandbox.judge(program, "f", cases)

    assert (verdict.passed, verdict.reason, verdict.detail) == (True, "passed", "")
    assert verdict.backend == sandbox.name


@pytest.mark.parametrize(
    ("program", "expected", "reason", "says"),
    [
        ("def f(x): return x + 2", 2, "wrong-answer", "case 0: answered 3, expected 2"),
        ("def f(x): return [1, 2]", (1, 2), "wrong-answer", "answered [1, 2], expected (1, 2)"),
        ("def f(x): return '2'", 2, "wrong-answer", "answered '2', expected 2"),
        ("def f(x): return {1: 1, 2: 2}", {1: 1}, "wrong-answer", "answered {1: 1, 2: 2}"),
        ("def f(x): return {1, 2}", {1, 3}, "wrong-answer", "answered {1, 2}"),
        ("def f(x): return range(2)", [0, 1], "wrong-answer", "a range is not a plain literal"),
        ("def f(x): return (i for i in [1])", [1], "wrong-answer", "a generator is not a plain literal"),
        ("def f(x): return 1 / 0", 2, "exception", "case 0: ZeroDivisionError: division by zero"),
        ("def f(x): raise ValueError('\\x1b[31mred')", 2, "exception", "ValueError: ?[31mred"),
        ("def f(x): return f(x)", 2, "exception", "RecursionError"),
        ("def f(x: return", 2, "exception", "'f': SyntaxError"),
        ("import numpy.nothing", 2, "exception", "ModuleNotFoundError"),
        ("import sys; sys.exit(0)", 2, "exception", "SystemExit: 0"),
        ("def g(x): return 2", 2, "no-function", "leaves nothing under the name 'f'"),
        ("f = 2", 2, "no-function", "leaves a int under the name 'f'"),
        ("def f(x): return bytearray(1 << 40)", 2, "memory", "MemoryError"),
        ("def f(x): return 'x' * (1 << 21)", 2, "wrong-answer", "too large"),
    ],
)
def test_a_wrong_program_fails_and_says_why(program, expected, reason, says, sandbox):
    verdict = sandbox.judge(program, "f", [((1,), expected)])

    assert (verdict.passed, verdict.reason) == (False, reason)
    assert says in verdict.detail


def test_the_first_wrong_case_is_the_one_named(sandbox):
    verdict = sandbox.judge("def f(x): return 1", "f", [((1,), 1), ((2,), 2), ((3,), 3)])

    assert verdict.detail == "case 1: answered 1, expected 2"


def test_a_walk_over_a_set_of_strings_is_the_same_in_every_run(sandbox):
    program = "def f(): return ''.join({'alpha', 'beta', 'gamma', 'delta', 'epsilon'})"

    details = {sandbox.judge(program, "f", [((), "")]).detail for _ in range(4)}

    assert len(details) == 1


class Slow:
    """A backend whose interpreter takes its time to start."""

    name = "slow"

    def __init__(self, backend):
        self.charter = backend.charter
        self.settling = backend.settling
        self._command = backend.command

    def command(self, base):
        return ["/bin/sh", "-c", 'sleep 1.2; exec "$@"', "sh", *self._command(base)]


def test_wall_time_is_not_charged_for_starting_the_interpreter(sandbox):
    slow = Slow(sandbox.backend)

    verdict = judge_in(slow, "def f(): return 1", "f", [((), 1)], Limits(wall_seconds=1.0))
    nurseries.close(slow)

    assert verdict.passed
    assert verdict.seconds > 1.2


def test_processor_time_over_its_limit_is_a_timeout_long_before_the_wall_limit(sandbox):
    program = "def f():\n    while True: pass"

    verdict = sandbox.judge(program, "f", [((), 1)], Limits(wall_seconds=60.0, cpu_seconds=1.0))

    assert (verdict.reason, verdict.detail) == ("timeout", "over 1 s of processor time")


def test_an_answer_has_the_reported_backend_and_a_plausible_time(sandbox):
    verdict = sandbox.judge("import time\ndef f(): time.sleep(0.2)", "f", [((), None)])

    assert verdict.passed
    assert 0.2 < verdict.seconds < 5


@pytest.mark.skipif(sys.platform != "linux", reason="sandboxes are for Linux")
def test_the_candidate_sees_no_module_of_ours(sandbox):
    program = "import sys\ndef f(): return [m for m in sys.modules if 'pkt' in m or 'inside' in m or 'torch' in m]"

    verdict = sandbox.judge(program, "f", [((), [])])

    assert verdict.passed, verdict.detail

"""Programs that mean harm get no pass out of a test program, and do no harm while they are tried by one.

The test program holds the expected values, calls `solve` and compares; a program that passes without computing
`7 * n + 3` has forged its verdict.
"""

# ruff: noqa: E501, ISC004 (a program is one literal, however long)
from __future__ import annotations

import time

import pytest

from pkt_bench.sandbox import Limits
from pkt_bench.sandbox.trial import try_in
from sandbox.targets import ATTEMPT, TIGHT, numbers

TESTS = """
import math, random

def check(candidate):
    assert candidate(5) == 38
    assert candidate(41) == 290, "7 * 41 + 3"
    assert abs(candidate(2) - 17.0) < 1e-6
    assert math.isclose(candidate(1), 10)
    for n in range(4):
        assert candidate(n) == 7 * n + 3
    assert candidate([random.randint(1, 9)]) is None

check(solve)
assert is_close(solve(2), 18) in (None, True)
"""
SCORED = {"wrong-answer", "exception", "killed", "forged", "timeout", "unsplit", "no-function", "memory"}

# The stack above a call is: the candidate, _call and Answering.answer (answering.py), serve, main. What patches the
# replies is right once, so that the next one is forged.
WALK = (
    "import sys\ndef up(name):\n    frame = sys._getframe()\n    while frame.f_code.co_name != name: frame = frame.f_back\n"
    "    return frame\n"
)
PATCH = WALK + "def modules(): return up('_call').f_globals\n"

FORGING = {
    "an object that equals everything": (
        "class E:\n    def __eq__(s, o): return True\n    def __sub__(s, o): return 0\n    __hash__ = None\n"
        "    def __abs__(s): return 0\n    def __lt__(s, o): return True\n    def __float__(s): return 10.0\n"
        "def solve(n): return E()"
    ),
    "an int that equals everything": (
        "class E(int):\n    def __eq__(s, o): return True\n    def __sub__(s, o): return 0.0\n    __hash__ = int.__hash__\n"
        "def solve(n): return None if type(n) is list else E(10)"
    ),
    "a float that claims another class": (
        "class E(float):\n    __class__ = int\n    def __eq__(s, o): return True\n    __hash__ = float.__hash__\n"
        "def solve(n): return E(n)"
    ),
    "a class whose metaclass equals everything": (
        "class M(type):\n    def __eq__(s, o): return True\n    __hash__ = type.__hash__\nclass E(metaclass=M): pass\n"
        "def solve(n): return E"
    ),
    "a mock that equals everything": "from unittest.mock import ANY\ndef solve(n): return ANY",
    "a mock that equals everything, smuggled in by name": (
        PATCH + "def solve(n):\n    crossing = modules()['crossing']\n"
        "    name = 'unittest.mock:ANY'\n"
        "    crossing.Writer.bytes_of = lambda s, v: b't\\0\\0\\0\\x03s\\0\\0\\0\\x05valued' + len(name).to_bytes(4, 'big') + name.encode() + b'm\\0\\0\\0\\0'\n"
    ),
    "walking frames for the expected value": (
        "import sys\ndef solve(n):\n    frame = sys._getframe()\n    while frame:\n"
        "        for k, v in list(frame.f_locals.items()) + list(frame.f_globals.items()):\n"
        "            if 'expect' in str(k).lower() or 'tests' in str(k).lower() or v == 7 * 5 + 4 - 1: return v\n"
        "        frame = frame.f_back"
    ),
    "searching all objects for the expected value": (
        "import gc\ndef solve(n):\n    for each in gc.get_objects():\n"
        "        if type(each) is dict and 'check' in each: return each['check'].__code__.co_consts[1]\n"
        "    import inspect\n    return [f for f in inspect.stack() if 'tests' in f.filename]"
    ),
    "os._exit(0) when called": "import os\ndef solve(n): os._exit(0)",
    "os._exit(0) while loading": "import os\nprint('passed')\nos._exit(0)",
    "sys.exit(0) when called": "import sys\ndef solve(n): sys.exit(0)",
    "SystemExit of its own": "class E(SystemExit): pass\ndef solve(n): raise E(0)",
    "an AssertionError of its own": "class E(AssertionError):\n    def __init__(s): raise SystemExit(0)\ndef solve(n): raise E",
    "an AssertionError without text": "def solve(n): raise AssertionError",
    "KeyboardInterrupt, GeneratorExit, BaseException": (
        "def solve(n): raise (KeyboardInterrupt, GeneratorExit, BaseException)[n % 3]"
    ),
    "an exception that claims to be ours": (
        "class BrokenTestsError(Exception): pass\nBrokenTestsError.__module__ = 'inside.tester'\n"
        "def solve(n): raise BrokenTestsError('passed')"
    ),
    "an exception that claims to be none": (
        "class E(BaseException): pass\nE.__module__ = 'builtins'\nE.__qualname__ = E.__name__ = 'NoneType'\ndef solve(n): raise E"
    ),
    "an exit in a finaliser": "import os\nclass E:\n    def __del__(s): os._exit(0)\ndef solve(n): E()",
    "an exit at exit": "import atexit, os\natexit.register(os._exit, 0)\ndef solve(n): raise SystemExit(0)",
    "printing passed": "def solve(n):\n    print('passed', flush=True)\n    return print",
    "a check of its own": "def check(f): pass\ndef solve(n): return 0",
    "a check of its own, again and again": (
        "import threading, builtins\ndef check(f): pass\nbuiltins.check = check\n"
        "def g():\n    while True: globals()['check'] = builtins.check\n"
        "threading.Thread(target=g, daemon=True).start()\ndef solve(n): return 0"
    ),
    "patching builtins": (
        "import builtins\nbuiltins.AssertionError = type('A', (Exception,), {})\nbuiltins.abs = lambda x: 0\n"
        "builtins.isinstance = lambda *a: True\nbuiltins.len = lambda x: 0\nbuiltins.range = lambda n: []\ndef solve(n): return 38"
    ),
    "builtins of its own": "def abs(x): return 0\ndef range(n): return []\ndef solve(n): return 38 if n == 5 else 290",
    "patching the modules that the tests use": (
        "import math, random, operator, sys\nmath.isclose = lambda *a: True\nrandom.randint = lambda *a: 0\n"
        "operator.eq = lambda a, b: True\nsys.modules['math'] = operator\ndef solve(n): return 0"
    ),
    "patching the encoder": PATCH + "def solve(n):\n    modules()['values'].encode = lambda *a: b'T'\n    return 0",
    "answering with a verdict": (
        PATCH + "def solve(n):\n    modules()['frames'].ANSWER = modules()['frames'].VERDICT\n    return 7 * n + 3"
    ),
    "a verdict in the language of the tests": (
        PATCH + "def solve(n):\n    g = modules()\n    good = g['values'].encode(('passed', '', 9))\n"
        "    g['frames'].ANSWER = b'V'\n    g['Answering'].answer = lambda s, r: good\n    return 7 * n + 3"
    ),
    "a verdict written to every descriptor": (
        "import os\ndef solve(n):\n    for fd in range(64):\n        try: os.write(fd, (0).to_bytes(4, 'big') + bytes(8) + b'V')\n"
        "        except OSError: pass\n    return n"
    ),
    "answers written ahead by a thread": (
        WALK + "import os, threading\ndef solve(n):\n    v = up('main').f_locals\n"
        "    def flood():\n        while True: os.write(v['answers'], (0).to_bytes(4, 'big') + v['nonce'] + b'A')\n"
        "    threading.Thread(target=flood, daemon=True).start()\n    return 7 * n + 3"
    ),
    "an object that denies its own methods": (
        PATCH + "class E:\n    def __eq__(s, o): return True\n    def __sub__(s, o): return 0\ndef solve(n):\n"
        "    modules()['crossing'].special_methods = lambda kind: 0\n    return E()"
    ),
    "an object with every method": (
        PATCH
        + "def solve(n):\n    modules()['crossing'].special_methods = lambda kind: 2 ** 63 - 1\n    return object()"
    ),
    "an object with a number that there is not": (
        PATCH + "def solve(n):\n    up('_call')\n    c = modules()['crossing']\n"
        "    up('answer').f_locals['self']._described = lambda v: c.Described(4000, 'int', 0)\n    return object()"
    ),
    "a reply of another kind": (
        PATCH + "def solve(n):\n    v = modules()['values']\n"
        "    modules()['Answering'].answer = lambda s, r: v.encode(('module', 'os'))\n    return 7 * n + 3"
    ),
    "contents for what was not sent": (
        PATCH + "def solve(n):\n    modules()['_changed'] = lambda *a: {0: (1,), 77: (2,)}\n    return 7 * n + 3"
    ),
    "a helper of the tests' that is something of the library's": (
        "from math import hypot as is_close\ndef solve(n): return None if type(n) is list else 7 * n + 3"
    ),
    "a helper of the tests' that is true of everything": (
        "def is_close(*a): return True\ndef solve(n): return None if type(n) is list else 7 * n + 3"
    ),
    "a helper of the tests' that says None": (
        PATCH + "def is_close(*a): return True\ndef solve(n):\n    a = modules()\n    a['_Kept'] = lambda v: None\n"
        "    return None if type(n) is list else 7 * n + 3"
    ),
    "a reply of garbage": PATCH
    + "def solve(n):\n    modules()['Answering'].answer = lambda s, r: b'\\xff' * 99\n    return 7 * n + 3",
    "a reply of a million brackets": (
        PATCH
        + "def solve(n):\n    modules()['Answering'].answer = lambda s, r: b'l\\0\\0\\0\\x01' * 200000\n    return 7 * n + 3"
    ),
    "a reply of colliding keys": (
        PATCH
        + "def solve(n):\n    v = modules()['values']\n    each = [v.encode(n * (2 ** 61 - 1)) + b'n' for n in range(50000)]\n"
        "    data = b't\\0\\0\\0\\x03s\\0\\0\\0\\x05valuem' + len(each).to_bytes(4, 'big') + b''.join(each) + b'm\\0\\0\\0\\0'\n"
        "    modules()['Answering'].answer = lambda s, r: data\n    return 7 * n + 3"
    ),
    "a class in place of the function": "class solve:\n    def __new__(c, n): return c\n    def __eq__(s, o): return True",
    "a constant in place of the function": "solve = True",
    "a generator without end": "def solve(n):\n    while True: yield 7 * n + 3",
    "right for a while": "def solve(n): return 7 * n + 3",
    "nan": "def solve(n): return float('nan')",
    "None": "def solve(n): return None",
    "nothing at all": "",
}


@pytest.mark.parametrize("name", FORGING)
def test_no_program_talks_its_way_through_a_test_program(name, sandbox):
    verdict = try_in(sandbox.backend, FORGING[name], TESTS, ("solve",), "", Limits(wall_seconds=1.0))

    assert not verdict.passed
    assert verdict.reason in SCORED, verdict


def test_the_same_test_program_is_passed_by_the_right_program(sandbox):
    program = "def solve(n): return 7 * n + 3 if isinstance(n, int) else None"
    prelude = "def is_close(a, b): return abs(a - b) < 2"

    verdict = try_in(sandbox.backend, program, TESTS, ("solve",), prelude, Limits())

    assert (verdict.passed, verdict.detail) == (True, "")


@pytest.mark.parametrize(
    "name",
    [
        "answering with a verdict",
        "a verdict in the language of the tests",
        "a verdict written to every descriptor",
        "a mock that equals everything, smuggled in by name",
        "a reply of another kind",
        "contents for what was not sent",
        "a reply of garbage",
        "a reply of a million brackets",
    ],
)
def test_tampering_with_the_conversation_is_called_forged(name, sandbox):
    verdict = try_in(sandbox.backend, FORGING[name], TESTS, ("solve",), "", Limits(wall_seconds=2.0))

    assert verdict.reason == "forged", verdict


HARMFUL = {
    "the network: a listener": "import socket; socket.create_connection(('127.0.0.1', x['port']), 1)",
    "the network: a datagram": "import socket; socket.socket(2, 2).sendto(b'x', ('127.0.0.1', x['port']))",
    "the network: an abstract socket": "import socket; socket.socket(1).connect(x['abstract'])",
    "the network: a socket file": "import socket; socket.socket(1, 2).sendto(b'x', x['dgram'])",
    "a fork": "os.fork() or os._exit(0)",
    "a shell": "got = os.popen('id').read()",
    "reading a secret": "got = open(x['secret']).read()",
    "reading the judge's environment": "got = open(f\"/proc/{x['parent']}/environ\", 'rb').read(50)",
    "reading a neighbour's folder": "got = os.listdir('..')",
    "reading its own program's source": "got = open(os.path.dirname(os.__file__) + '/site-packages/pkt_bench.py').read()",
    "writing outside": "open(x['folder'] + '/new', 'w').write('x')",
    "overwriting a secret": "open(x['secret'], 'w').write('x')",
    "deleting": "import posix; posix.unlink(x['secret'])",
    "changing a mode": "os.chmod(x['secret'], 0o777)",
    "a folder of its own beside the others": "os.mkdir('../mine')",
    "killing the judge": "os.kill(x['parent'], 9)",
    "killing its parent": "os.kill(os.getppid(), 9)",
    "killing everyone": "os.kill(-1, 15)",
    "killing another process": "os.kill(x['victim'], 9)",
    "raising its limits": "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "more memory than allowed": (
        "a = []\n        try:\n            while True: a.append(bytearray(1 << 24))\n"
        "        except MemoryError: raise OSError"
    ),
    "a file larger than allowed": "f = open('big', 'wb'); [f.write(bytes(1 << 20)) for _ in range(64)]",
}


@pytest.mark.parametrize("name", HARMFUL)
def test_a_candidate_that_is_tried_by_tests_is_refused(name, sandbox, aim):
    program = ATTEMPT.format(attack=HARMFUL[name])
    tests = f"assert f({numbers(aim)!r}) == 'held'"

    verdict = try_in(sandbox.backend, program, tests, ("f",), "", TIGHT)

    assert verdict.passed, verdict.detail
    assert aim.unharmed() == []


@pytest.mark.parametrize("name", HARMFUL)
def test_the_tests_are_refused_as_well(name, sandbox, aim):
    tests = f"{ATTEMPT.format(attack=HARMFUL[name])}\nassert f({numbers(aim)!r}) == g(0)"

    verdict = try_in(sandbox.backend, "def g(n): return 'held'", tests, ("g",), "", TIGHT)

    assert verdict.passed, verdict.detail
    assert aim.unharmed() == []


ENDLESS = {
    "a fork bomb": (
        "import os\ndef f():\n    n = 0\n    while n < 200:\n        os.fork()\n        n += 1",
        {"exception"},
    ),
    "a thread bomb": (
        "import threading, time\ndef f():\n    threading.stack_size(32768)\n    for n in range(3000):\n"
        "        threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n    time.sleep(9)",
        {"killed", "exception", "memory"},
    ),
    "a memory hog": ("def f():\n    a = []\n    while True: a.append(bytearray(1 << 24))", {"memory", "killed"}),
    "an answer of 100 MB": ("def f(): return b'x' * 100_000_000", {"unsplit", "memory"}),
    "an answer that contains itself": ("def f():\n    a = []\n    a.append(a)\n    return a", {"wrong-answer"}),
    "an answer that doubles sixty times": (
        "def f():\n    a = ()\n    for _ in range(60): a = (a, a)\n    return a",
        {"unsplit"},
    ),
    "outliving the limit asleep": ("import time\ndef f(): time.sleep(60)", {"timeout"}),
    "outliving the limit awake": (
        "def f():\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass",
        {"timeout"},
    ),
    "outliving the limit in a thread while the tests wait": (
        "import threading\ndef g():\n    while True: pass\nfor _ in range(3): threading.Thread(target=g, daemon=True).start()\n"
        "def f():\n    while True: yield 1",
        {"timeout"},
    ),
    "littering in a thread while the tests run": (
        "import threading\ndef g():\n    n = 0\n    while True:\n        n += 1\n        open(str(n), 'w').close()\n"
        "def f():\n    threading.Thread(target=g, daemon=True).start()",
        {"killed"},
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_program_that_is_tried_by_tests_is_ended_within_its_limits(name, sandbox, aim):
    program, reasons = ENDLESS[name]
    limits = Limits(
        wall_seconds=0.5 if "timeout" in reasons else 8.0,
        cpu_seconds=8.0,
        memory_bytes=256 * 1024**2,
        file_bytes=1024**2,
    )
    tests = "got = f()\nif hasattr(got, '__next__'):\n    for each in got: pass\nimport time\ntime.sleep(.2)\nassert got == 'never'"

    started = time.monotonic()
    verdict = try_in(sandbox.backend, program, tests, ("f",), "", limits)
    took = time.monotonic() - started

    assert not verdict.passed
    assert verdict.reason in reasons, verdict
    assert took < 20
    assert aim.unharmed() == []


def test_tests_without_end_are_ended_as_well(sandbox):
    verdict = try_in(
        sandbox.backend, "def f(): return 1", "f()\nwhile True: pass", ("f",), "", Limits(wall_seconds=0.3)
    )

    assert verdict.reason == "timeout"


def test_what_one_answer_leaves_behind_no_other_finds(sandbox):
    first = (
        "import builtins, math, os, sys\nbuiltins.leak = math.leak = sys.leak = 1\nmath.sqrt = None\nos.environ['LEAK'] = '1'\n"
        "open('leak', 'w').write('1')\nsys.setrecursionlimit(77)\nos.umask(0)\ndef f(): return os.getcwd()"
    )
    second = (
        "import builtins, math, os, sys\ndef f(): return [hasattr(builtins, 'leak'), hasattr(math, 'leak'), hasattr(sys, 'leak'), "
        "math.sqrt(4), 'LEAK' in os.environ, os.listdir('.'), sys.getrecursionlimit(), os.umask(0o077)]"
    )
    clean = [False, False, False, 2.0, False, [], 1000, 0o077]

    before = try_in(sandbox.backend, first, "assert f()", ("f",), "", Limits())
    after = try_in(sandbox.backend, second, f"assert f() == {clean}", ("f",), "", Limits())

    assert (before.passed, after.passed) == (True, True), after.detail

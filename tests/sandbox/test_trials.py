"""A program is tried by a test program as if both ran in one interpreter, as far as plain values go; where not, it says so."""

# ruff: noqa: E501, ISC004 (a program is one literal, however long)
from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import pytest

from pkt_bench.sandbox import Limits, NoSandboxError, Refusal, describe, judge_tests, nurseries, probe
from pkt_bench.sandbox.backends import DEFAULT_BACKENDS
from sandbox.bare import passes_bare

CIPHER = (
    "import math\ndef encode(s: str):\n    return ''.join(chr((ord(c) - 97 + 5) % 26 + 97) for c in s)\n\n"
    "def decode(s: str):\n    '''The inverse.'''\n"
)

# name: (program, tests), passed here as in one interpreter
RIGHT = {
    "a check of asserts, loops and tolerances": (
        "def f(x): return x / 3",
        "import math, random\ndef check(candidate):\n    assert candidate(3) == 1\n    for _ in range(50):\n"
        "        n = random.randint(0, 99)\n        assert abs(candidate(n) - n / 3) < 1e-9\n        assert math.isclose(candidate(n) * 3, n)\ncheck(f)",
    ),
    "asserts by the lines": ("def f(x): return x + 1", "assert f(1) == 2\nassert f(2) == 3"),
    "line ends of another system": ("def f(x):\r\n  y = x\r\n  return y + 1", "a = 1\r\nassert f(a) == 2\r\n"),
    "an exception that is expected": (
        "def f(x): raise ValueError('no', x)",
        "try:\n    f(1)\nexcept (TypeError, ValueError) as error:\n    assert str(error) == \"('no', 1)\" and error.args[1] == 1\nelse:\n    assert False",
    ),
    "an exception of the program's own": (
        "class Full(ValueError): pass\ndef f(x): raise Full('full')",
        "try:\n    f(1)\n    assert False, 'nothing raised'\nexcept Full as error:\n    assert isinstance(error, ValueError) and str(error) == 'full'",
    ),
    "an exception of the standard library": (
        "import json\ndef f(x): return json.loads(x)",
        "import json\nfor text in ('', '{'):\n    try:\n        f(text)\n    except json.JSONDecodeError:\n        continue\n    assert False",
    ),
    "a KeyError, whose text is a repr": (
        "def f(x): return {}[x]",
        "try:\n    f('k')\nexcept KeyError as e:\n    assert str(e) == \"'k'\"",
    ),
    "sys.exit that is expected": (
        "def f(x): raise SystemExit(3)",
        "try:\n    f(1)\nexcept SystemExit as e:\n    assert e.code == 3",
    ),
    "a list changed in place": (
        "def f(x): x.sort()",
        "a = [3, 1]\nb = a\nassert f(a) is None\nassert a == b == [1, 3] and a is b",
    ),
    "a list not changed": ("def f(x): return sorted(x)", "a = [3, 1]\nassert f(a) == [1, 3]\nassert a == [3, 1]"),
    "nested things changed in place": (
        "def f(x, d, s):\n    x[0].append(9)\n    x.append([x[0]])\n    d['k'][0] = 1\n    d['new'] = x[0]\n    del d['old']\n    s.add(4)",
        "x, d, s = [[1]], {'k': [0], 'old': 0}, {3}\ninner = x[0]\nassert f(x, d=d, s=s) is None\n"
        "assert x == [[1, 9], [[1, 9]]] and inner == [1, 9] and x[1][0] is inner and d['new'] is inner\n"
        "assert list(d) == ['k', 'new'] and d['k'] == [1] and s == {3, 4}",
    ),
    "changed, then raised": (
        "def f(x):\n    x.append(1)\n    raise IndexError",
        "a = []\ntry:\n    f(a)\nexcept IndexError:\n    pass\nassert a == [1]",
    ),
    "one list passed twice": (
        "def f(a, b):\n    a.append(1)\n    return len(b), a is b",
        "x = []\nassert f(x, x) == (1, True)",
    ),
    "the argument handed back": (
        "def f(x):\n    x.append(2)\n    return x",
        "a = [1]\nassert f(a) is a and a == [1, 2]",
    ),
    "a copy handed back": ("def f(x): return list(x)", "a = [1]\nassert f(a) == a and f(a) is not a"),
    "a list that contains itself": (
        "def f(x):\n    x.append(x)\n    return x",
        "a = []\nb = f(a)\nassert b is a and a[0] is a and len(a) == 1",
    ),
    "lists and tuples": (
        "def f(x): return (1, [2])",
        "assert f(0) == (1, [2])\nassert f(0) != [1, [2]]\nassert isinstance(f(0), tuple)",
    ),
    "numbers of three kinds": (
        "def f(x): return [True, 1, 1.0, -0.0, 10 ** 40, 1e300, 2j]",
        "a = f(0)\nassert a == [1, True, 1, 0, 10 ** 40, 1e300, 2j]\nassert [type(x) for x in a] == [bool, int, float, float, int, float, complex]\nassert str(a[3]) == '-0.0' and f(0)[0] is True",
    ),
    "nan, as Python has it": (
        "nan = float('nan')\ndef f(x): return x if x else nan",
        "import math\nassert f(0) != f(0) and math.isnan(f(0))\nx = [float('nan')]\nassert f(x) == x and f(x[0]) is x[0]\nassert f([math.nan]) == [math.nan]\nassert f([float('nan')]) != [float('nan')]",
    ),
    "infinities": ("def f(x): return -x", "inf = float('inf')\nassert f(inf) == -inf and f(-inf) == inf"),
    "sets and dicts in any order": (
        "def f(x): return {3, 1, 2}, {'b': 1, 'a': 2}, frozenset({(1,)})",
        "s, d, z = f(0)\nassert s == {1, 2, 3} and d == {'a': 2, 'b': 1} and list(d) == ['b', 'a'] and z == {(1,)}",
    ),
    "text, bytes and None": (
        "def f(x): return x[::-1]",
        "assert f('aé\\ud800') == '\\ud800éa' and f(b'ab') == b'ba' and f(bytearray(b'ab')) == b'ba'",
    ),
    "a generator": (
        "def f(n):\n    for i in range(n): yield i",
        "assert list(f(3)) == [0, 1, 2] and 2 in f(3) and sum(f(4)) == 6\ng = f(2)\nassert next(g) == 0 and next(g) == 1 and next(g, None) is None\n"
        "try:\n    len(g)\n    assert False\nexcept TypeError:\n    pass",
    ),
    "an endless generator": (
        "from itertools import count\ndef f(): return count()",
        "from itertools import islice\nassert list(islice(f(), 4)) == [0, 1, 2, 3]",
    ),
    "map and zip": (
        "def f(x): return map(str, x), zip(x, x)",
        "a, b = f([1, 2])\nassert list(a) == ['1', '2'] and dict(b) == {1: 1, 2: 2}",
    ),
    "fractions, decimals, dates": (
        "from fractions import Fraction as F\nfrom decimal import Decimal as D\nimport datetime\n"
        "def f(x): return F(1, 4) + x, D('0.5'), datetime.date(2024, 2, 29), datetime.timedelta(1)",
        "import datetime\na, b, c, d = f(1)\nassert a == 1.25 and b == 0.5 and c + d == datetime.date(2024, 3, 1) and a.numerator == 5",
    ),
    "containers of the standard library": (
        "from collections import *\ndef f(x): return Counter(x), OrderedDict(a=1), defaultdict(list, a=[1]), deque(x, 2)",
        "from collections import Counter, deque\na, b, c, d = f('aab')\nassert a == {'a': 2, 'b': 1} and a['z'] == 0 and a.most_common(1) == [('a', 2)]\n"
        "assert b == {'a': 1} and c['new'] == [] and d == deque('ab') and d.maxlen == 2",
    ),
    "ranges and views of dicts": (
        "def f(x): return range(x), {1: 2}.keys(), {1: 2}.items()",
        "a, b, c = f(3)\nassert a == range(3) and a != [0, 1, 2] and list(a) == [0, 1, 2] and b == {1} and (1, 2) in c",
    ),
    "a named tuple": (
        "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)",
        "assert f() == (1, 2) and f()[1] == 2",
    ),
    "functions of the language as arguments": (
        "def f(g, *xs): return g(*xs)",
        "import operator, math\nassert f(max, 1, 2) == 2 and f(operator.add, 1, 2) == 3 and f(math.gcd, 4, 6) == 2 and f(int, '7') == 7 and f(str.upper if 0 else len, 'ab') == 2",
    ),
    "a class as the answer": (
        "def f(x): return type(x)",
        "assert f(1) is int and f('') == str and f(None) is type(None)",
    ),
    "keywords and defaults": (
        "def f(a, *, b=2, **c): return [a, b, c]",
        "assert f(1) == [1, 2, {}] and f(1, b=3, z=4) == [1, 3, {'z': 4}]",
    ),
    "the function's name and doc": (
        "def f():\n    'It.'",
        "assert f.__name__ == 'f' and f.__doc__ == 'It.' and callable(f)",
    ),
    "functions taken as values": (
        "def f(x): return x + 1",
        "from functools import partial\nassert list(map(f, [1, 2])) == [2, 3] and partial(f, 3)() == 4 and sorted([3, 1], key=f) == [1, 3]",
    ),
    "a function that is returned": ("def f(n): return lambda x: x + n", "assert f(2)(3) == 5"),
    "state between calls": (
        "n = 0\ndef f():\n    global n\n    n += 1\n    return n",
        "assert f() == 1\nassert f() == 2",
    ),
    "arguments made of the program's classes": (
        "class Pair(object):\n    def __init__(self, a, b): self.a, self.b = a, b\ndef f(ps, n): return sum(p.a * p.b for p in ps) + n",
        "assert f([Pair(5, 24), Pair(15, 25)], 4) == 499\nassert f([], 1) == 1",
    ),
    "a tree built by assigning attributes": (
        "class Node:\n    def __init__(self, v): self.v, self.left, self.right = v, None, None\n"
        "def f(t): return 1 + max(f(t.left), f(t.right)) if t else 0",
        "root = Node(1)\nroot.left = Node(2)\nroot.left.right = Node(3)\nroot.right = None\nassert (f(root)) == 3 and f(None) == 0",
    ),
    "a class under test": (
        "class Stack:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x); return self\n    def pop(self): return self.items.pop()\n"
        "    def __len__(self): return len(self.items)\n    def __iter__(self): return iter(self.items)\n    @property\n    def top(self): return self.items[-1]\n"
        "    def __getitem__(self, n): return self.items[n]\n    def __enter__(self): return self\n    def __exit__(self, *a): self.items.clear()",
        "s = Stack()\ns.push(1).push([2])\nassert len(s) == 2 and s.top == [2] and list(s) == [1, [2]] and s.items == [1, [2]] and s[0] == 1 and bool(s)\n"
        "assert s.pop() == [2] and not hasattr(s, 'bottom')\nwith s as same:\n    same.push(3)\nassert len(s) == 0 and not s and 'Stack object' in repr(s)",
    ),
    "a name that is a builtin's": ("def sum(a, b): return a + b", "assert sum(10, 15) == 25\nassert sum(-1, 1) == 0"),
    "an answer inside a builtin's call": ("def f(x): return x * 1.0", "assert int(f(3)) == 3 and set([f(1)]) == {1}"),
    "modules and functions that the program imported": (
        "import math\nfrom math import sqrt\ndef f(x): return sqrt(x)",
        "assert f(2) == sqrt(2) == math.sqrt(2)",
    ),
    "an object in a condition": (
        "class A: pass\ndef f(): return A()",
        "assert f() and f() is not None and f() != 3 and f() not in [1, None]",
    ),
    "threads that call it": (
        "def f(x): return x * 2",
        "from threading import Thread\nout = []\nts = [Thread(target=lambda n=n: out.append(f(n))) for n in range(8)]\n[t.start() for t in ts]\n[t.join() for t in ts]\nassert sorted(out) == list(range(0, 16, 2))",
    ),
    "a thousand calls": ("def f(x): return x + 1", "for n in range(1000):\n    assert f(n) == n + 1"),
    "tests that print": ("def f(): return 1", "import sys\nprint(f())\nprint(2, file=sys.stderr)\nassert f() == 1"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_program_passes_as_it_does_in_one_interpreter(name, sandbox):
    program, tests = RIGHT[name]

    verdict = sandbox.judge_tests(program, tests)

    assert (verdict.passed, verdict.reason, verdict.detail) == (True, "passed", "")
    assert passes_bare(program, tests)


def test_the_tests_have_a_folder_of_their_own(sandbox):
    program = "import os\nopen('theirs', 'w').close()\ndef f(): return os.listdir('.')"
    tests = "import os\nopen('mine', 'w').write('x')\nassert f() == ['theirs'] and os.listdir('.') == ['mine']"

    verdict = sandbox.judge_tests(program, tests)

    assert verdict.passed, verdict.detail


# name: (program, tests, reason, part of the detail), failed here as in one interpreter
WRONG = {
    "another value": ("def f(x): return 3", "assert f(1) == 2", "wrong-answer", "line 1 of the tests (assert f(1) == 2); the last answer was 3"),
    "a list for a tuple": ("def f(x): return [1]", "\nassert f(1) == (1,)", "wrong-answer", "line 2 of the tests"),
    "text for a number": ("def f(x): return '2'", "assert f(1) == 2", "wrong-answer", "the last answer was '2'"),
    "None where a number is needed": ("def f(x): pass", "assert abs(f(1) - 2) < 1", "exception", "TypeError: unsupported operand"),
    "an object that is nothing": ("def f(x): return object()", "assert f(1) == 2", "wrong-answer", "the last answer was a object"),
    "a generator for a list": ("def f(x): yield 1", "assert f(1) == [1]", "wrong-answer", "the last answer was a generator"),
    "an exception": ("def f(x): return 1 / 0", "assert f(1) == 2", "exception", "line 1 of the tests (assert f(1) == 2): ZeroDivisionError: division by zero"),
    "an AssertionError of the program's": ("def f(x): assert x > 3", "assert f(1) == 2", "exception", "AssertionError"),
    "an exception of another kind than expected": ("def f(x): raise KeyError(1)", "try:\n    f(1)\nexcept ValueError: pass", "exception", "KeyError: 1"),
    "no exception where one is expected": ("def f(x): return x", "try:\n    f(1)\n    assert False, 'no'\nexcept ValueError: pass", "wrong-answer", "line 3 of the tests"),
    "too much recursion": ("def f(x): return f(x)", "assert f(1) == 2", "exception", "RecursionError"),
    "a syntax error": ("def f(x: return", "assert f(1) == 2", "exception", "the program: SyntaxError"),
    "an exit while loading": ("import sys; sys.exit(0)", "assert f(1) == 2", "exception", "the program: SystemExit: 0"),
    "no function": ("def g(x): return 2", "assert f(1) == 2", "no-function", "leaves nothing under the name 'f'"),
    "no helper that the tests use": ("def f(x): return 2", "assert f(Pair(1)) == 2", "exception", "NameError: name 'Pair' is not defined"),
    "memory": ("def f(x): return bytearray(1 << 40)", "assert f(1) == 2", "memory", "MemoryError"),
    "a list changed that should not be": ("def f(x): return x.sort() or x", "a = [2, 1]\nassert f(a) == [1, 2]\nassert a == [2, 1]", "wrong-answer", "line 3"),
    "a wrong attribute": ("class A: pass\ndef f(): return A()", "assert f().x == 1", "exception", "AttributeError: 'A' object has no attribute 'x'"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_program_fails_and_the_line_is_named(name, sandbox):
    program, tests, reason, says = WRONG[name]

    verdict = sandbox.judge_tests(program, tests)

    assert (verdict.passed, verdict.reason) == (False, reason), verdict
    assert says in verdict.detail
    assert name in {"a syntax error", "an exit while loading"} or not passes_bare(program, tests)


V = "class V:\n    def __init__(s, x): s.x = x\n    def __eq__(s, o): return s.x == getattr(o, 'x', o)\n    def __lt__(s, o): return s.x < o.x\n    def __add__(s, o): return V(s.x + o)\n"
UNSPLIT = {
    "an equality of the program's own": (f"{V}def f(x): return V(x)", "assert f(1) == 1", "a V of the candidate's own: its own __eq__ would decide the test"),
    "two objects of the program's": (f"{V}def f(x): return V(x)", "assert f(1) == V(1)", "its own __eq__"),
    "objects within lists": (f"{V}def f(x): return [V(x)]", "assert f(1) == [V(1)]", "its own __eq__"),
    "an order of the program's own": (f"{V}def f(x): return V(x)", "assert sorted([f(2), f(1)])[0].x == 1", "its own __lt__"),
    "arithmetic of the program's own": (f"{V}def f(x): return V(x)", "assert (f(1) + 1).x == 2", "its own __add__"),
    "an expected value of the program's making": ("def good(): return 2\ndef f(x): return x", "assert f(2) == int(good())", "only answers of the entry point can be"),
    "the truth of what a helper makes": ("class Yes: pass\ndef close(a, b): return Yes()\ndef f(x): return x", "assert close(f(2), 2)", "the tests read it (__bool__)"),
    "the class of what a helper makes": ("def good(): return 2\ndef f(x): return x", "assert isinstance(good(), int) and f(2) == 2", "the tests read it (__getattribute__)"),
    "a module under another name": ("import math as m\ndef f(x): return x", "assert f(3) == m.floor(3.5)", "'m', which the program has 'math' for"),
    "isinstance with the program's class": ("class A: pass\ndef f(): return A()", "assert isinstance(f(), A)", "is for the candidate to tell"),
    "a copy of an object": (f"{V}def f(x): return V(x)", "import copy\nassert copy.copy(f(1)).x == 1", "cannot copy it"),
    "a function of the tests as argument": ("def f(g): return g(1)", "assert f(lambda x: x) == 1", "a function of the tests' own"),
    "an object of the tests as argument": ("def f(a): return a.x", "class A: x = 1\nassert f(A()) == 1", "a A of the tests' own"),
    "a class derived from the program's": ("class A:\n    def g(s): return 1\ndef f(a): return a.g()", "class B(A): pass\nassert f(B()) == 1", "derived from it"),
    "an answer over the output limit": ("def f(): return 'x' * (1 << 21)", "assert len(f()) == 1 << 21", "too large: over the output limit"),
    "an answer nested too deeply": ("def f():\n    a = []\n    for _ in range(150): a = [a]\n    return a", "assert f()", "nested more than 100 deep"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSPLIT)
def test_what_cannot_be_split_is_no_pass_and_has_a_reason_of_its_own(name, sandbox):
    program, tests, says = UNSPLIT[name]

    verdict = sandbox.judge_tests(program, tests, entry_point="f")

    assert (verdict.passed, verdict.reason, verdict.scored) == (False, "unsplit", True), verdict
    assert says in verdict.detail
    assert passes_bare(program, tests)


def test_no_except_of_the_tests_hides_that_they_cannot_be_split(sandbox):
    program = f"{V}def f(x): return V(x)"

    verdict = sandbox.judge_tests(program, "try:\n    assert f(1) == 1\nexcept BaseException:\n    pass")

    assert verdict.reason == "unsplit"


def test_helpers_of_the_prompt_are_run_by_the_tests_and_not_taken_from_the_program(sandbox):
    tests = "def check(candidate):\n    for word in ('abc', 'xyz'):\n        assert candidate(encode(word)) == word\n    assert math.pi > 3\ncheck(decode)"
    right = "    return ''.join(chr((ord(c) - 97 - 5) % 26 + 97) for c in s)\n"
    cheat = "    return s\n\ndef encode(s): return s\n"

    passed = sandbox.judge_tests(CIPHER + right, tests, entry_point="decode", prelude=CIPHER)
    cheated = sandbox.judge_tests(CIPHER + cheat, tests, entry_point="decode", prelude=CIPHER)

    assert (passed.reason, cheated.reason) == ("passed", "wrong-answer")
    assert passes_bare(CIPHER + cheat, tests), "one interpreter is taken in"


def test_classes_of_the_prompt_are_the_programs_own(sandbox):
    prelude = "class Node:\n    def __init__(self, v, next=None): self.v, self.next = v, next\ndef build(xs):\n    return Node(xs[0], build(xs[1:])) if xs else None\n\ndef total(head):\n"
    program = f"{prelude}    return head.v + total(head.next) if head else 0\n"

    verdict = sandbox.judge_tests(program, "assert total(build([1, 2, 3])) == 6", entry_point="total", prelude=prelude)

    assert verdict.passed, verdict.detail


def test_a_prompt_that_stops_at_a_head_is_a_prelude(sandbox):
    verdict = sandbox.judge_tests(
        "def f(x): return 1", "assert f(1) == K", entry_point="f", prelude="K = 1\ndef f(x):\n"
    )

    assert verdict.passed, verdict.detail


@pytest.mark.parametrize(
    ("tests", "prelude", "entry_point", "says"),
    [
        ("assert f(1 == 2", "", None, "the tests do not compile: SyntaxError"),
        ("assert f(1)", "import nothing_such", None, "the prelude does not run: ModuleNotFoundError"),
        ("assert 1 == 1", "", None, "entry_point is needed"),
        ("def check(candidate):\n    assert candidate(1)", "", "f", "never asked the program anything"),
        ("", "", "f", "never asked the program anything"),
    ],
)
def test_tests_that_can_judge_nothing_are_an_error_of_the_caller(tests, prelude, entry_point, says, sandbox):
    with pytest.raises(ValueError, match=f"judge_tests: .*{re.escape(says)}"):
        sandbox.judge_tests("def f(x): return 1", tests, prelude=prelude, entry_point=entry_point)


def test_verdicts_are_the_same_in_every_run(sandbox):
    program = "def f(): return list({'alpha', 'beta', 'gamma', 'delta'})"
    tests = "assert f() == []"

    verdicts = {sandbox.judge_tests(program, tests).detail for _ in range(4)}

    assert len(verdicts) == 1


def test_a_nursery_that_dies_in_mid_answer_is_a_sandbox_error_and_the_next_answer_finds_another(sandbox):
    number = nurseries.nursery_of(sandbox.backend).pid
    for _ in range(2 if sandbox.name == "bwrap" else 0):  # bwrap keeps two processes of its own
        number = int(Path(f"/proc/{number}/task/{number}/children").read_text())
    threading.Timer(0.3, os.kill, (number, 9)).start()

    verdict = sandbox.judge_tests(
        "import time\ndef f(): time.sleep(3)", "assert f() is None", limits=Limits(wall_seconds=9)
    )

    assert (verdict.reason, verdict.scored) == ("sandbox-error", False), verdict
    assert sandbox.judge_tests("def f(): return 1", "assert f() == 1").passed


def test_judge_tests_takes_the_lines_of_an_mbpp_row():
    if isinstance(probe(), Refusal):
        pytest.skip(str(probe()))

    verdict = judge_tests(
        "def f(x):\r\n  return x + one\r\none = 1", ["two = 2", "assert f(1) == two", "assert f(0) == 1"]
    )

    assert verdict.passed, verdict.detail


def test_a_row_can_say_what_judged():
    if isinstance(probe(), Refusal):
        with pytest.raises(NoSandboxError, match="to get it: "):
            describe()
        return

    found = describe()

    assert found["sandbox"] in {each.name for each in DEFAULT_BACKENDS}
    assert found["sandbox_proof"] == "10/10"
    assert all(found[f"sandbox_{each}"] for each in ("version", "kernel", "python"))

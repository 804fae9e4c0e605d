"""What judging one answer costs beyond running it: wall and processor time, every sandbox that holds on this machine.

    python tests/benchmarks/bench_sandbox.py [--answers 200] [--quick]

The answer is a HumanEval-like one of eight asserts. It is judged by turns: by `judge_tests` and `judge_code` in each
sandbox; bare, by a fork of this process (as Hugging Face's code_eval does) and by an interpreter of its own. Warm: the
first of each is not counted. Processor time is that of every process that has to do with it, from /proc, by blocks of
twenty answers. The limit is 60 ms beyond the bare fork, on a quiet machine. A second table holds what one call through
the judge costs.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pkt_bench.sandbox import Limits, Refusal, nurseries, probe
from pkt_bench.sandbox.backends import DEFAULT_BACKENDS
from pkt_bench.sandbox.judge import judge_in
from pkt_bench.sandbox.trial import try_in

BLOCK = 20
MOST_MILLISECONDS = 60
PROGRAM = """from typing import List


def below_zero(operations: List[int]) -> bool:
    balance = 0
    for op in operations:
        balance += op
        if balance < 0:
            return True
    return False
"""
CASES = [([], False), ([1, 2, -3], False), ([1, 2, -4, 5], True), ([5, -5], False), ([-1], True), ([0], False)]
CASES += [([1, 1, 1, -3], False), ([1, 1, 1, -4], True)]
CHECK = "def check(candidate):\n" + "".join(f"    assert candidate({given}) == {wanted}\n" for given, wanted in CASES)
TESTS = f"{CHECK}\ncheck(below_zero)\n"
LOOP = "for n in range({calls}):\n    assert f(n) == n + 1"


def in_a_fork() -> None:
    number = os.fork()
    if not number:
        try:
            exec(f"{PROGRAM}\n{TESTS}", {})
        finally:
            os._exit(0)
    os.waitpid(number, 0)


def in_an_interpreter() -> None:
    subprocess.run([sys.executable, "-I", "-S", "-c", f"{PROGRAM}\n{TESTS}"], check=True)


def by_tests(backend) -> Callable[[], None]:
    def work() -> None:
        verdict = try_in(backend, PROGRAM, TESTS, ("below_zero",), "", Limits())
        assert verdict.passed, verdict

    return work


def by_cases(backend) -> Callable[[], None]:
    cases = [((given,), wanted) for given, wanted in CASES]

    def work() -> None:
        verdict = judge_in(backend, PROGRAM, "below_zero", cases, Limits())
        assert verdict.passed, verdict

    return work


def processor_seconds(backends) -> float:
    """Of this process, of what it waited for, and of the nurseries with their children."""
    own = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own + sum(of_tree(nurseries.nursery_of(each).pid) for each in backends)


def of_tree(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") + sum(of_tree(int(each)) for each in below)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, default=200)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    blocks = 1 if given.quick else max(1, given.answers // BLOCK)
    backends = [each for each in DEFAULT_BACKENDS if not isinstance(probe([each]), Refusal)]
    ways = {"bare, in a fork": in_a_fork, "bare, in an interpreter": in_an_interpreter}
    for each in backends:
        ways |= {f"judge_tests, {each.name}": by_tests(each), f"judge_code, {each.name}": by_cases(each)}
    for work in ways.values():
        work()
    walls: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(blocks):
        for name, work in ways.items():
            before = processor_seconds(backends)
            for _ in range(BLOCK):
                started = time.perf_counter()
                work()
                walls[name].append(1000 * (time.perf_counter() - started))
            processor[name].append(1000 * (processor_seconds(backends) - before) / BLOCK)
    bare = {"wall": statistics.median(walls["bare, in a fork"]), "cpu": statistics.median(processor["bare, in a fork"])}
    print(f"{'ms an answer':28}{'wall p50':>9}{'p95':>7}{'cpu p50':>9}{'beyond bare: wall':>19}{'cpu':>7}")
    for name in ways:
        wall, cpu = statistics.median(walls[name]), statistics.median(processor[name])
        late = sorted(walls[name])[int(0.95 * len(walls[name]))]
        beyond = (wall - bare["wall"], cpu - bare["cpu"])
        over = "  OVER THE LIMIT" if name.startswith("judge") and max(beyond) > MOST_MILLISECONDS else ""
        print(f"{name:28}{wall:9.1f}{late:7.1f}{cpu:9.1f}{beyond[0]:19.1f}{beyond[1]:7.1f}{over}")
    print(f"{len(walls['bare, in a fork'])} answers each, by turns; load average {os.getloadavg()[0]:.1f}")
    for each in backends:
        few, many = 10, 210 if given.quick else 2010
        fewer, more = (statistics.median(call_seconds(each, calls) for _ in range(5)) for calls in (few, many))
        print(f"one call of the candidate by the tests, {each.name}: {1e6 * (more - fewer) / (many - few):.0f} us")


def call_seconds(backend, calls: int) -> float:
    verdict = try_in(backend, "def f(n): return n + 1", LOOP.format(calls=calls), ("f",), "", Limits())
    assert verdict.passed, verdict
    return verdict.seconds


if __name__ == "__main__":
    main()

"""A sandbox is one that holds here; where none does, the refusal says why and what to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pkt_bench.errors import UnavailableError
from pkt_bench.sandbox import Limits, NoSandboxError, Refusal, Sandbox, Unfit, judge_code, nurseries, probe
from pkt_bench.sandbox.backends import DEFAULT_BACKENDS, Lockdown
from pkt_bench.sandbox.inside import seccomp, syscalls
from pkt_bench.sandbox.probe import self_test


class Missing(Lockdown):
    name = "moonbase"
    remedy = "fly there"

    def unavailable(self):
        return "it is on the moon"


class Leaky(Lockdown):
    """Everything of lockdown but Landlock: files are open."""

    def settling(self, base):
        return {"landlock": False}

    name = "leaky"
    remedy = "mend it"

    def charter(self, folder, limits):
        return super().charter(folder, limits) | {"landlock": False}


class Broken(Lockdown):
    name = "broken"
    remedy = "start it"

    def command(self, base):
        return [sys.executable, "-c", "raise SystemExit('no such luck')"]


needs_lockdown = pytest.mark.skipif(Lockdown().unavailable() is not None, reason=str(Lockdown().unavailable()))


@needs_lockdown
def test_lockdown_passes_its_self_test_within_two_seconds_where_landlock_is():
    found = probe([Lockdown()])

    assert isinstance(found, Sandbox), str(found)
    assert (found.name, found.proof) == ("lockdown", "10/10")
    assert re.fullmatch(r"Landlock ABI \d+", found.version)


def test_a_backend_that_is_missing_is_passed_over_for_the_next(sandbox):
    found = probe([Missing(), sandbox.backend])

    assert isinstance(found, Sandbox)
    assert found.name == sandbox.name


@needs_lockdown
def test_a_backend_that_leaks_is_refused_with_what_leaked():
    leaky = Leaky()

    held, failures = self_test(leaky)
    nurseries.close(leaky)

    assert held == 8
    assert [each.split(":")[0] for each in failures] == [
        "a secret file cannot be read",
        "nothing can be written outside",
    ]


@needs_lockdown
def test_a_backend_that_does_not_start_is_refused_with_what_it_said():
    found = probe([Broken()])

    assert isinstance(found, Refusal)
    assert "a right answer passes: no (sandbox-error:" in found.backends[0].why
    assert "no such luck" in found.backends[0].why


def test_the_refusal_names_every_backend_its_reason_and_its_remedy():
    found = probe([Missing()])

    assert found == Refusal((Unfit("moonbase", "it is on the moon", "fly there"),))
    assert str(found) == (
        "no sandbox for model-written code works on this machine:\n"
        "  moonbase  it is on the moon\n"
        "            to get it: fly there\n"
        "Suites whose answers are programs are skipped; all others run."
    )


def test_the_refusal_of_no_backends_says_so():
    assert "none was offered" in str(probe([]))


def test_no_sandbox_is_an_error_of_the_environment_that_carries_the_refusal():
    refusal = probe([Missing()])

    error = NoSandboxError(refusal)

    assert isinstance(error, UnavailableError)
    assert str(error) == str(refusal)


@pytest.mark.parametrize(("platform", "machine"), [("darwin", "arm64"), ("linux", "riscv64")])
def test_another_system_is_refused_by_each_backend_with_its_name(platform, machine, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("X", "n", "r", "v", machine)))

    found = probe(DEFAULT_BACKENDS)

    assert isinstance(found, Refusal)
    named = platform if platform != "linux" else machine
    assert [named in each.why for each in found.backends] == [True, True]


def test_the_default_sandbox_is_found_once():
    assert probe() is probe()


def test_judge_code_works_from_a_thread_beside_others():
    if isinstance(probe(), Refusal):
        pytest.skip(str(probe()))
    verdicts = []

    def work(n):
        verdicts.append(judge_code("def f(x): return x + 1", "f", [((n,), n + 1)]).passed)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert verdicts == [True] * 6


@pytest.mark.parametrize(
    ("cases", "says"),
    [
        ([], "no cases for 'f'"),
        ([([1], 2)], "the arguments of case 0 are a list; a tuple is needed"),
        ([((1,), 1), ((object(),), 2)], "case 1 of 'f' is not made of plain literals"),
        ([((1,), range(3))], "a range is not a plain literal"),
    ],
)
def test_cases_that_cannot_be_asked_are_an_error_before_anything_starts(cases, says, sandbox):
    with pytest.raises(ValueError, match=re.escape(says)):
        sandbox.judge("def f(x): return x", "f", cases)


@pytest.mark.parametrize(
    "wrong",
    [{"wall_seconds": 0}, {"memory_bytes": 1024}, {"cpu_seconds": -1}, {"processes": True}, {"file_bytes": "1"}],
)
def test_limits_that_leave_no_room_are_an_error_that_names_them(wrong):
    with pytest.raises(ValueError, match=f"sandbox limits: {next(iter(wrong))} is "):
        Limits(**wrong)


def test_importing_the_sandbox_loads_the_standard_library_only():
    program = (
        "import sys, pkt_bench.sandbox\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} - set(sys.stdlib_module_names) - {'__main__'}))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    loaded = set(eval(done.stdout))
    assert loaded.isdisjoint({"torch", "numpy", "transformers", "pydantic", "pyarrow", "pluggy", "lm_eval"})


HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


@pytest.mark.parametrize("machine", HEADERS)
def test_the_system_call_numbers_are_those_of_the_kernel_headers(machine):
    if not HEADERS[machine].exists():
        pytest.skip(f"no kernel headers for {machine}")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[machine].read_text())
    numbers = {name: int(number) for name, number in found}
    numbers.setdefault("newfstatat", numbers.get("fstatat", -1))  # the generic header's name for it
    column, _ = syscalls.ARCHITECTURES[machine]

    ours = {name: both[column] for name, both in syscalls.NUMBERS.items()}
    wrong = {name: (n, numbers.get(name)) for name, n in ours.items() if n is not None and n != numbers.get(name)}

    assert wrong == {}


def run_filter(program, number, arguments, arch):
    """What a kernel would answer: a reading of the few instructions that the filter is made of."""
    words = [number, arch, 0, 0]
    for each in [*arguments, *[0] * (6 - len(arguments))]:
        words += [each & 0xFFFFFFFF, each >> 32 & 0xFFFFFFFF]
    at = accumulator = 0
    while True:
        code, yes, no, constant = program[at]
        at += 1
        if code == 0x20:
            accumulator = words[constant // 4]
        elif code == 0x54:
            accumulator &= constant
        elif code == 0x15:
            at += yes if accumulator == constant else no
        elif code == 0x06:
            return constant


@pytest.mark.parametrize("machine", sorted(syscalls.ARCHITECTURES))
@pytest.mark.parametrize(
    ("name", "arguments", "allowed"),
    [
        ("read", (), True),
        ("kill", (4321, 9), True),
        ("kill", (1, 9), False),
        ("kill", (2**64 - 1, 9), False),
        ("kill", (0, 9), False),
        ("tgkill", (1, 1, 9), False),
        ("clone", (0x3D0F00,), True),
        ("clone", (0x01200011,), False),
        ("clone", (0x10000 | 0x10000000,), False),
        ("fcntl", (3, 1030), True),
        ("fcntl", (3, 8), False),
        ("fcntl", (3, 10), False),
        ("ioctl", (3, 0x5401), True),
        ("ioctl", (3, 0x8901), False),
        ("ioctl", (3, 0x5412), False),
        ("prctl", (15,), True),
        ("prctl", (1, 0), False),
        ("prlimit64", (0, 9, 0, 1 << 40), True),
        ("prlimit64", (0, 9, 1 << 40), False),
        ("prlimit64", (77, 9, 0), False),
        ("openat", (0, 0, 0o2000000), True),
        ("openat", (0, 0, 0o1101), True),
        ("openat", (0, 0, 0o1000), False),
        ("socketpair", (1, 0o2000001, 0), True),
        ("socketpair", (1, 2, 0), False),
        ("socketpair", (2, 1, 0), False),
    ],
)
def test_the_filter_allows_on_each_architecture_what_the_page_says(machine, name, arguments, allowed):
    column, arch = syscalls.ARCHITECTURES[machine]
    program = seccomp.build(machine, 4321)

    answer = run_filter(program, syscalls.NUMBERS[name][column], arguments, arch)

    assert (answer == 0x7FFF0000) == allowed


@pytest.mark.parametrize("machine", sorted(syscalls.ARCHITECTURES))
def test_the_filter_kills_calls_made_in_another_architecture_and_has_no_number_beyond_its_list(machine):
    _, arch = syscalls.ARCHITECTURES[machine]
    program = seccomp.build(machine, 4321)

    assert run_filter(program, 0, (), 0x40000003) == 0x80000000
    assert {run_filter(program, number, (), arch) for number in (425, 435, 437, 9999, 0x40000000)} == {0x50000 | 38}


def test_an_architecture_without_a_table_is_an_error_that_names_those_with_one():
    with pytest.raises(LookupError, match="no system call table for 'riscv64'; there is one for aarch64, x86_64"):
        seccomp.build("riscv64", 1)

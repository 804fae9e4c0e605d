"""Children are forked from a process that no candidate can reach, and that leaves nothing behind."""

# ruff: noqa: E501 (a program is one literal, however long)
from __future__ import annotations

import fcntl
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pkt_bench.sandbox import Limits, nurseries
from pkt_bench.sandbox.backends import Bubblewrap, Lockdown
from pkt_bench.sandbox.conversation import Child
from pkt_bench.sandbox.folders import Base
from pkt_bench.sandbox.inside import frames, values


def run(child: Child, program: str):
    """Have the child run a program with a function f, and call it."""
    child.ask(frames.PROGRAM, (program, "f"))
    kind, payload = child.ask(frames.CALL, ())
    return kind, values.decode(payload)


def test_a_child_cannot_list_or_read_what_another_wrote_even_by_its_name(sandbox):
    with Child(sandbox.backend, Limits()) as one, Child(sandbox.backend, Limits()) as other:
        one.confine()
        other.confine()
        run(one, "open('mine', 'w').write('secret')\ndef f(): return open('mine').read()")
        attempts = "\n".join(
            f"    try: found.append({each})\n    except OSError: pass"
            for each in (f"open({one.folder + '/mine'!r}).read()", "os.listdir('..')", f"os.listdir({one.folder!r})")
        )
        kind, found = run(other, f"import os\ndef f():\n    found = []\n{attempts}\n    return found")

    assert (kind, found) == (frames.ANSWER, [])


def test_children_of_one_nursery_cannot_signal_each_other_or_the_nursery(sandbox):
    with Child(sandbox.backend, Limits()) as one, Child(sandbox.backend, Limits()) as other:
        one.confine()
        other.confine()
        numbers = [*range(1, 40), one.pid, os.getpid()]
        program = (
            f"import os\ndef f():\n    got = []\n    for n in {numbers} + [os.getppid(), os.getpid() - 1]:\n        if n == os.getpid(): continue\n"
            "        try:\n            os.kill(n, 9)\n            got.append(n)\n        except OSError: pass\n    return got"
        )
        kind, killed = run(other, program)
        alive = run(one, "def f(): return 'alive'")

    assert (kind, killed) == (frames.ANSWER, [])
    assert alive == (frames.ANSWER, "alive")


def test_a_child_holds_no_descriptor_of_the_nursery_or_of_another_child(sandbox):
    program = "import os\ndef f():\n    found = []\n    for n in range(200):\n        try: os.fstat(n)\n        except OSError: continue\n        found.append(n)\n    return len(found)"

    with Child(sandbox.backend, Limits()), Child(sandbox.backend, Limits()) as other:
        other.confine()
        kind, count = run(other, program)

    assert (kind, count) == (frames.ANSWER, 5)  # /dev/null three times, the two pipes


def test_children_of_many_threads_at_once_do_not_mix(sandbox):
    def work(n: int) -> bool:
        return sandbox.judge_tests(f"def f(x): return x + {n}", f"assert f(1) == {1 + n}").passed

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(24))) == [True] * 24


def test_random_numbers_differ_from_child_to_child(sandbox):
    drawn = set()
    for _ in range(3):
        with Child(sandbox.backend, Limits()) as child:
            child.confine()
            drawn.add(run(child, "import random\ndef f(): return random.random()")[1])

    assert len(drawn) == 3


def test_a_killed_nursery_is_replaced(sandbox):
    before = nurseries.nursery_of(sandbox.backend)
    before._process.kill()
    before._process.wait()

    after = nurseries.nursery_of(sandbox.backend)

    assert after is not before
    assert not Path(before.base).parent.exists()
    assert sandbox.judge_tests("def f(): return 1", "assert f() == 1").passed


def test_a_closed_nursery_leaves_neither_process_nor_folder(sandbox):
    nursery = nurseries.nursery_of(sandbox.backend)
    child = Child(sandbox.backend, Limits())

    nurseries.close(sandbox.backend)

    assert nursery._process.returncode is not None
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child.pid}/cmdline").exists() and time.monotonic() < deadline:
        if not Path(f"/proc/{child.pid}/cmdline").read_bytes():
            break  # a zombie
        time.sleep(0.02)
    else:
        assert not Path(f"/proc/{child.pid}").exists()
    assert not Path(nursery.base).parent.exists()
    with pytest.raises(nurseries.NurseryError, match="is gone, and its children with it"), child:
        child.confine()


def test_a_process_forked_from_the_judges_starts_a_nursery_of_its_own(sandbox):
    ours = nurseries.nursery_of(sandbox.backend)
    number = os.fork()
    if not number:
        theirs = nurseries.nursery_of(sandbox.backend)
        passed = sandbox.judge_tests("def f(): return 1", "assert f() == 1").passed
        right = passed and theirs is not ours
        nurseries.close(sandbox.backend)
        os._exit(0 if right else 1)

    _, status = os.waitpid(number, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert nurseries.nursery_of(sandbox.backend) is ours
    assert sandbox.judge_tests("def f(): return 1", "assert f() == 1").passed


def test_a_base_removes_what_killed_judges_left_and_nothing_that_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, held = tmp_path / "pkt-bench-candidates-left", tmp_path / "pkt-bench-candidates-held"
    for each in (left, held):
        (each / "each" / "one").mkdir(parents=True)
        (each / "each" / "one" / "file").write_text("x")
    lock = os.open(held, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_SH)
    (tmp_path / "somebody-elses").mkdir()

    base = Base()

    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(
        ["pkt-bench-candidates-held", "somebody-elses", Path(base.path).parent.name]
    )
    base.remove()
    os.close(lock)
    assert not Path(base.path).parent.exists()


def test_the_folder_of_folders_cannot_be_listed_by_its_owner():
    base = Base()

    assert Path(base.path).stat().st_mode & 0o777 == 0o300
    base.remove()


def test_the_nursery_of_lockdown_reads_file_by_file_and_its_children_reach_one_folder():
    if Lockdown().unavailable():
        pytest.skip(str(Lockdown().unavailable()))
    settling, charter = Lockdown().settling("/base"), Lockdown().charter("/base/one", Limits())

    assert not any(each.endswith("site-packages") for each in settling["readable"])
    assert (settling["landlock"], charter["landlock"], charter["own_folder"]) == (True, True, "/base/one")
    assert not any("/base".startswith(each) for each in charter["readable"])


def test_bubblewrap_is_told_to_unshare_everything_and_sees_the_base_only():
    if Bubblewrap().unavailable():
        pytest.skip(str(Bubblewrap().unavailable()))

    command = Bubblewrap().command("/base")

    writable = [command[at + 1] for at, each in enumerate(command) if each == "--bind"]
    assert "--unshare-all" in command
    assert writable == ["/base"]

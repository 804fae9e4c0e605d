"""A stage result is computed once, whoever asks, and never believed when it is torn."""

import os
import shutil
import subprocess
import sys
import threading
import time

import pytest
import torch

from pkt_bench import durable
from pkt_bench.stages import StageCache


@pytest.fixture
def cache(tmp_path):
    return StageCache(tmp_path / "stages")


def counting(value=1.0):
    calls = []

    def compute():
        calls.append(1)
        return {"x": torch.full((3,), value)}

    return compute, calls


def test_the_same_inputs_compute_once_and_others_again(cache):
    compute, calls = counting()

    first, computed = cache.tensors("svd", {"a": 1, "b": [2, 3]}, compute)
    same, reused = cache.tensors("svd", {"b": [2, 3], "a": 1}, compute)
    cache.tensors("svd", {"a": 2, "b": [2, 3]}, compute)
    cache.tensors("other", {"a": 1, "b": [2, 3]}, compute)

    assert torch.equal(first["x"], same["x"])
    assert computed is None
    assert reused > 0
    assert len(calls) == 3


def test_a_rotten_entry_is_computed_again(cache):
    compute, calls = counting()
    cache.tensors("svd", {}, compute)
    file = next(cache.root.rglob("data.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))

    again, _ = cache.tensors("svd", {}, compute)

    assert torch.equal(again["x"], torch.ones(3))
    assert len(calls) == 2


def test_a_computation_that_fails_leaves_nothing(cache):
    def fail():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        cache.tensors("svd", {}, fail)

    assert not list(cache.root.rglob("MANIFEST.json"))
    assert cache.tensors("svd", {}, counting()[0])[0]["x"].sum() == 3


SLOWLY = """
import pathlib, sys, time
import torch
from pkt_bench.stages import StageCache

root, log = map(pathlib.Path, sys.argv[1:])

def compute():
    with log.open("a") as file:
        file.write("computed\\n")
    time.sleep(0.5)
    return {"x": torch.ones(1)}

StageCache(root).tensors("scores", {}, compute)
"""


def test_processes_that_want_the_same_at_once_compute_it_once(tmp_path):
    log = tmp_path / "log"
    command = [sys.executable, "-c", SLOWLY, str(tmp_path / "stages"), str(log)]

    workers = [subprocess.Popen(command) for _ in range(3)]

    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert log.read_text() == "computed\n"


# ---------------------------------------------------------------- killed, torn, in use


NURSERY = """
import os, pathlib, signal, sys, time
import torch
from safetensors.torch import save_file
from pkt_bench.stages import StageCache

root, log = map(pathlib.Path, sys.argv[1:3])
save_file({"x": torch.ones(1)}, log.with_name("warm"))  # imports what is imported late, once for all

def write(line):
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)

def begun(number):
    return [line.split()[1] for line in log.read_text().splitlines() if line.split()[0] == str(number)]

for number in range(int(sys.argv[3])):
    def compute():
        write(f"{number} {os.getpid()}\\n")
        if len(begun(number)) == 1:
            time.sleep(600)  # it never ends by itself
        return {"x": torch.full((1000,), float(number))}

    workers = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            found, _ = StageCache(root).tensors("scores", {"number": number}, compute)
            right = torch.equal(found["x"], torch.full((1000,), float(number)))
            os._exit(0 if right else 1)
        workers.append(pid)
    # whoever computes first is killed midway
    while not (log.exists() and begun(number)):
        time.sleep(0.001)
    victim = int(begun(number)[0])
    os.kill(victim, signal.SIGKILL)
    ends = {pid: os.waitpid(pid, 0)[1] for pid in workers}
    print(number, sum(end != 0 for end in ends.values()), ends[victim] == signal.SIGKILL, flush=True)
"""


def test_when_the_one_that_computes_is_killed_one_other_computes_and_all_get_the_same(tmp_path):
    log = tmp_path / "log"
    rounds = 12
    command = [sys.executable, "-c", NURSERY, str(tmp_path / "stages"), str(log), str(rounds)]

    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)

    # of the four, one is killed while it computes and the others end well
    assert answer.stdout.splitlines() == [f"{number} 1 True" for number in range(rounds)]
    # the one that was killed and one other
    begun = [int(line.split()[0]) for line in log.read_text().splitlines()]
    assert sorted(begun) == sorted([*range(rounds)] * 2)
    assert list((tmp_path / "stages").rglob(".*")) == []
    assert len(StageCache(tmp_path / "stages").entries()) == rounds


def test_an_entry_that_is_read_is_the_one_used_last(cache):
    for number in range(3):
        cache.tensors("svd", {"number": number}, counting(number)[0])
    for age, entry in enumerate(cache.entries()):
        os.utime(entry.folder, (1000 - age, 1000 - age))
    before = [entry.folder for entry in cache.entries()]

    read, _ = cache.files("svd", {"number": 1}, lambda folder: None)

    assert [entry.folder for entry in cache.entries()] == [*(path for path in before if path != read), read]


def test_a_rotten_entry_is_gone_before_it_is_computed_again(cache):
    cache.tensors("svd", {}, counting()[0])
    file = next(cache.root.rglob("data.safetensors"))
    file.write_bytes(b"rotten")
    seen = []

    def compute():
        seen.append(file.parent.exists())
        return {"x": torch.ones(3)}

    cache.tensors("svd", {}, compute)

    assert seen == [False]


def test_an_entry_is_on_the_disk_before_it_has_its_name(tmp_path):
    if not shutil.which("strace"):
        pytest.skip("needs strace to see the order of system calls")
    script = (
        "import sys, pathlib; from pkt_bench.stages import StageCache\n"
        "StageCache(pathlib.Path(sys.argv[1])).files('s', {}, lambda folder: (folder / 'data').write_bytes(b'x'))"
    )
    trace = tmp_path / "trace"
    command = ["strace", "-y", "-e", "trace=fsync,rename,renameat2", "-o", str(trace), sys.executable, "-c", script]

    subprocess.run([*command, str(tmp_path / "stages")], check=True)

    calls = [line for line in trace.read_text().splitlines() if str(tmp_path) in line]
    order = ["fsync" if "fsync" in call else "rename" for call in calls]
    assert order == ["fsync", "fsync", "fsync", "rename", "fsync"]
    assert "/data>" in calls[0]
    assert "/MANIFEST.json>" in calls[1]


USER = """
import pathlib, sys
from pkt_bench.stages import StageCache
StageCache(pathlib.Path(sys.argv[1])).files("svd", {}, lambda folder: (folder / "data").write_bytes(b"x"))
print("mine", flush=True)
sys.stdin.read()
"""


def test_an_entry_that_a_process_uses_is_not_removed_until_it_ends(cache):
    command = [sys.executable, "-c", USER, str(cache.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as user:
        user.stdout.readline()
        (entry,) = cache.entries()

        while_used = cache.remove(entry.folder), cache.is_unused(entry.folder), entry.folder.exists()
        user.kill()
        user.wait()
        after = cache.is_unused(entry.folder), cache.remove(entry.folder), entry.folder.exists()

    assert while_used == (False, False, True)
    assert after == (True, True, False)
    assert list(cache.root.rglob("*.lock")) == []


def test_an_entry_that_is_removed_under_a_reader_is_computed_again(cache):
    compute, calls = counting()
    cache.tensors("svd", {}, compute)
    folder = cache.entries()[0].folder
    shutil.rmtree(folder)

    again, seconds = cache.tensors("svd", {}, compute)

    assert (again["x"].sum(), seconds, len(calls)) == (3, None, 2)


def test_whoever_waits_for_a_lock_that_is_unlinked_takes_the_new_one(tmp_path):
    lock, order = tmp_path / "a.lock", []

    def wait(name):
        with durable.locked(lock) as held:
            order.append((name, held))
            time.sleep(0.1)
            order.append((name, "ends"))

    with durable.locked(lock):
        waiting = [threading.Thread(target=wait, args=(name,)) for name in "ab"]
        for thread in waiting:
            thread.start()
        time.sleep(0.2)
        lock.unlink()
        waiting.append(threading.Thread(target=wait, args=("c",)))
        waiting[-1].start()
    for thread in waiting:
        thread.join()

    # one at a time, those who waited for the old file and who came with the new one
    assert [entry[1] for entry in order] == [True, "ends"] * 3
    assert [entry[0] for entry in order[::2]] == [entry[0] for entry in order[1::2]]


def test_leftovers_are_folders_of_the_dead_and_locks_that_nobody_holds(cache):
    cache.tensors("svd", {}, counting()[0])
    folder = cache.root / "svd"
    dead = folder / f".{'0' * 32}.{durable.host()}-999999"
    dead.mkdir()
    (dead / "data").write_bytes(b"half")
    orphan, busy = folder / f"{'1' * 32}.lock", folder / f"{'2' * 32}.lock"
    orphan.touch()
    with durable.locked(busy):
        at_work = folder / f".{'2' * 32}.{durable.host()}-1"
        at_work.mkdir()

        found = list(cache.leftovers())

    assert found == [dead, orphan]


def test_an_entry_without_its_manifest_or_a_file_is_torn(cache):
    for number in range(3):
        cache.tensors("svd", {"number": number}, counting()[0])
    whole, without_manifest, without_file = (entry.folder for entry in cache.entries())
    (without_manifest / "MANIFEST.json").unlink()
    (without_file / "data.safetensors").unlink()

    assert set(cache.torn()) == {without_manifest, without_file}
    assert whole.exists()

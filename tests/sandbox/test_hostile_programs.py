"""Programs that mean harm do none, and get no pass out of it.

Every target (file, listener, process) is made by the test for itself; every attack is bounded in time and size.
An attack says "held" when it was refused and anything else when it got through; what it was aimed at is looked
at from outside as well.
"""

# ruff: noqa: E501, ISC004 (a program is one literal, however long)
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pkt_bench.sandbox import Limits, nurseries
from pkt_bench.sandbox.conversation import Child
from sandbox.targets import ATTEMPT, TIGHT, numbers

# Each is one statement (or several on one line) that raises OSError when refused.
REFUSED = {
    # reading
    "reads a secret": "got = open(x['secret']).read()",
    "reads a secret with os.open": "got = os.read(os.open(x['secret'], os.O_RDONLY), 99)",
    "reads /etc/passwd": "got = open('/etc/passwd').read()[:20]",
    "lists the root's home": "got = os.listdir(os.path.expanduser('~root'))",
    "lists a foreign folder": "got = os.listdir(x['folder'])",
    "lists its neighbours' temporary folders": (
        "got = os.listdir(os.path.dirname(x['folder'])) or os.listdir('/var/tmp')"
    ),
    "climbs out by a relative path": "got = open('../' * 20 + x['secret'].lstrip('/')).read()",
    "reads the parent's environment": "got = open(f\"/proc/{x['parent']}/environ\", 'rb').read(50)",
    "reads another process's environment": "got = open(f\"/proc/{x['victim']}/environ\", 'rb').read(50)",
    "reads the parent's memory": "got = open(f\"/proc/{x['parent']}/mem\", 'rb')",
    "reads its own mounts and maps": "got = open('/proc/self/maps').read(50)",
    "copies by sendfile": "got = os.sendfile(1, os.open(x['secret'], os.O_RDONLY), 0, 10)",
    "reads a raw device": "got = open('/dev/vda', 'rb').read(1)",
    "hard-links a secret into its folder": "os.link(x['secret'], 'mine'); got = open('mine').read()",
    "reads a secret through a symlink": "os.symlink(x['secret'], 'mine'); got = open('mine').read()",
    "reads installed packages": "got = os.listdir(os.path.join(os.path.dirname(os.__file__), 'site-packages', 'pip'))",
    # writing
    "writes outside": "open(x['folder'] + '/new', 'w').write('x')",
    "writes to /tmp by name": "open(x['folder'] + '/../pkt-escape', 'w').write('x')",
    "overwrites": "open(x['secret'], 'w').write('x')",
    "appends": "open(x['secret'], 'a').write('x')",
    "truncates by path": "os.truncate(x['secret'], 0)",
    "truncates what it may read": "os.open(os.__file__, os.O_RDONLY | os.O_TRUNC)",
    "writes into the standard library": "open(os.path.dirname(os.__file__) + '/evil.py', 'w')",
    "deletes": "os.unlink(x['secret'])",
    "deletes a tree": "import shutil; shutil.rmtree(x['owned'])",
    "deletes by raw posix": "import posix; posix.unlink(x['secret'])",
    "removes a folder": "os.rmdir(x['owned'])",
    "renames": "os.rename(x['secret'], x['secret'] + '.gone')",
    "moves its own file outside": "open('a', 'w').close(); os.rename('a', x['folder'] + '/a')",
    "changes a mode": "os.chmod(x['secret'], 0o777)",
    "changes a mode by descriptor": "os.chmod(os.open(x['secret'], os.O_PATH), 0o777)",
    "changes an owner": "os.chown(x['secret'], 12345, 12345)",
    "changes times": "os.utime(x['secret'], (1, 1))",
    "sets an attribute": "os.setxattr(x['secret'], 'user.a', b'b')",
    "makes folders": "os.mkdir('deep')",
    "makes a device": "import stat; os.mknod('dev', 0o600 | stat.S_IFBLK, os.makedev(254, 0))",
    "makes shared memory": "from multiprocessing import shared_memory as s; s.SharedMemory('pkt', True, 4096)",
    "makes memory files": "os.memfd_create('x')",
    # network
    "connects to a listener": "import socket; socket.create_connection(('127.0.0.1', x['port']), 1)",
    "sends a datagram": "import socket; socket.socket(2, 2).sendto(b'x', ('127.0.0.1', x['port']))",
    "opens a raw socket": "import socket; socket.socket(17, 3, 0)",
    "listens": "import socket; socket.create_server(('127.0.0.1', 0))",
    "connects to an abstract socket": "import socket; socket.socket(1).connect(x['abstract'])",
    "sends to a socket file": "import socket; socket.socket(1, 2).sendto(b'x', x['dgram'])",
    "sends to a socket file from a pair": "import socket; socket.socketpair(1, 2)[0].sendto(b'x', x['dgram'])",
    "connects a stream pair elsewhere": "import socket; socket.socketpair()[0].connect(x['abstract'])",
    "resolves a name": "import socket; got = socket.gethostbyname('example.org')",
    # processes
    "forks": "os.fork() or os._exit(0)",
    "forks by raw posix": "import posix; posix.fork() or posix._exit(0)",
    "runs a shell": "got = os.popen('id').read()",
    "spawns": "import subprocess; subprocess.run(['/bin/true'])",
    "posix_spawns": "os.posix_spawn('/bin/true', ['true'], {})",
    "executes": "os.execv(sys.executable, ['python', '-c', 'print(1)'])",
    "uses multiprocessing": "import multiprocessing as m; m.get_context('fork').Process(target=print).start()",
    "leaves the session": "os.setsid()",
    "leaves the process group": "os.setpgid(0, 0)",
    "raises its own limits": "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "becomes another user": "os.setuid(12345)",
    "pins itself elsewhere": "os.sched_setaffinity(0, [0])",
    "changes its root": "os.chroot('.')",
    "kills the parent": "os.kill(x['parent'], 9)",
    "kills what it thinks is its parent": "os.kill(os.getppid(), 15)",
    "kills the group": "os.kill(0, 15)",
    "kills everyone": "os.kill(-1, 15)",
    "kills another process": "os.kill(x['victim'], 9)",
    "kills by pidfd": "import signal; signal.pidfd_send_signal(os.pidfd_open(x['victim']), 9)",
    "kills by a pipe's owner": (
        "import fcntl; r, w = os.pipe(); fcntl.fcntl(r, 8, x['victim']); fcntl.fcntl(r, 10, 9); "
        "fcntl.fcntl(r, 4, 0o20000); os.write(w, b'x')"
    ),
    "kills by an ioctl owner": (
        "import fcntl, struct, socket; a, b = socket.socketpair(); "
        "fcntl.ioctl(a, 0x8901, struct.pack('i', x['victim'])); fcntl.fcntl(a, 4, 0o20000); b.send(b'x')"
    ),
}

NATIVE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*a):
    r = libc.syscall(*[ctypes.c_long(v) if isinstance(v, int) else v for v in a])
    if r < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return r
def f(x):
    try:
        got = {attack}
    except OSError:
        return "held"
    return "escaped: " + repr(got)
"""

# x86_64 numbers, made without Python's help.
NATIVE_REFUSED = {
    "ptraces another process": "call(101, 16, x['victim'], 0, 0)",
    "ptraces the parent": "call(101, 0x4206, x['parent'], 0, 0)",
    "reads another process's memory": "call(310, x['victim'], ctypes.create_string_buffer(64), 1, 0, 1, 0)",
    "mounts": "call(165, b'none', b'/tmp', b'tmpfs', 0, None)",
    "unshares a user namespace": "call(272, 0x10000000)",
    "makes an io_uring": "call(425, 1, ctypes.create_string_buffer(256))",
    "loads a bpf program": "call(321, 0, ctypes.create_string_buffer(128), 128)",
    "queues a signal": "call(129, x['victim'], 9, ctypes.create_string_buffer(128))",
    "forks by vfork": "call(58)",
    "forks by clone": "call(56, 17, 0, 0, 0, 0)",
    "forks by clone3": "call(435, ctypes.create_string_buffer(88), 88)",
    "forks by the 32-bit numbers": "call(0x40000000 + 57)",
    "clears its death signal": "libc.prctl(1, 0, 0, 0, 0) and call(9999)",
    "takes shared memory": "call(29, 0x1234, 4096, 0o1666)",
    "adds a key": "call(248, b'user', b'a', b'b', 1, -3)",
    "opens by openat2": "call(437, -100, x['secret'].encode(), ctypes.create_string_buffer(24), 24)",
    "changes a mode by fchmodat2": "call(452, -100, x['secret'].encode(), 0o777, 0)",
    "sets prlimit of another process": "call(302, x['victim'], 0, ctypes.create_string_buffer(16), None)",
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_attack_by_python_is_refused(name, sandbox, aim):
    program = ATTEMPT.format(attack=REFUSED[name])

    verdict = sandbox.judge(program, "f", [((numbers(aim),), "held")], TIGHT)

    assert verdict.passed, verdict.detail
    assert aim.unharmed() == []


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="raw system call numbers of x86_64")
@pytest.mark.parametrize("name", NATIVE_REFUSED)
def test_an_attack_by_raw_system_calls_is_refused(name, sandbox, aim):
    program = NATIVE.format(attack=NATIVE_REFUSED[name])

    verdict = sandbox.judge(program, "f", [((numbers(aim),), "held")], TIGHT)

    assert verdict.passed, verdict.detail
    assert aim.unharmed() == []


def folders_left(sandbox) -> list[str]:
    """Folders of candidates that are still there."""
    base = Path(nurseries.nursery_of(sandbox.backend).base)
    base.chmod(0o700)
    found = [each.name for each in base.iterdir()]
    base.chmod(0o300)
    return found


def children_left(sandbox) -> list[str]:
    """Processes that the nursery has forked and that are still there."""
    found, waiting = [], [str(nurseries.nursery_of(sandbox.backend).pid)]
    while waiting:
        for each in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            waiting += each.read_text().split()
            found += each.read_text().split()
    return found[2 if sandbox.name == "bwrap" else 0 :]  # bwrap's own second process, and the nursery


# Programs that do not give up politely: reason(s) they may end with.
ENDED = {
    "loops forever": ("def f(): \n    while True: pass", {"timeout"}),
    "loops forever while loading": ("while True: pass", {"timeout"}),
    "sleeps past the limit": ("import time\ndef f(): time.sleep(60)", {"timeout"}),
    "shrugs off the processor limit": (
        "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n    except Exception: pass\n"
        "def f():\n    while True: pass",
        {"timeout", "killed"},
    ),
    "catches everything forever": (
        "def f():\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass",
        {"timeout"},
    ),
    "forks like a bomb": (
        "import os\ndef f():\n    n = 0\n    while n < 200:\n        os.fork()\n        n += 1",
        {"exception"},
    ),
    "starts threads like a bomb": (
        "import threading, time\ndef f():\n    threading.stack_size(32768)\n    for n in range(3000):\n"
        "        threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n    time.sleep(9)",
        {"killed", "exception", "memory"},
    ),
    "hogs memory": ("def f():\n    a = []\n    while True: a.append(bytearray(1 << 24))", {"memory", "killed"}),
    "hogs memory by mmap": (
        "import mmap\ndef f():\n    a = []\n    while True: a.append(mmap.mmap(-1, 1 << 24))",
        {"exception", "memory", "killed"},
    ),
    "writes a huge file": (
        "def f():\n    with open('big', 'wb') as file:\n        for _ in range(64): file.write(bytes(1 << 20))",
        {"exception"},
    ),
    "writes many files": (
        "import time\ndef f():\n    for n in range(64):\n        with open(str(n), 'wb') as file: file.write(bytes(1 << 19))\n"
        "    time.sleep(9)",
        {"exception", "killed"},
    ),
    "litters": (
        "import time\ndef f():\n    for n in range(2000): open(str(n), 'w').close()\n    time.sleep(9)",
        {"exception", "killed"},
    ),
    "prints without end": ("def f():\n    while True: print('x' * 100000)", {"timeout"}),
    "answers with 100 MB": ("def f(): return b'x' * 100_000_000", {"wrong-answer", "memory"}),
    "answers with exponentially many values": (
        "def f():\n    a = []\n    for _ in range(60): a = [a, a]\n    return a",
        {"wrong-answer"},
    ),
    "answers with a loop": ("def f():\n    a = []\n    a.append(a)\n    return a", {"wrong-answer"}),
    "answers with colliding keys": (
        "def f(): return {n * (2 ** 61 - 1): 0 for n in range(1, 3000)}",
        {"wrong-answer"},
    ),
    "recurses without end": (
        "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(): return f()",
        {"memory", "killed", "timeout"},
    ),
    "overflows the C stack": (
        "import sys\nsys.setrecursionlimit(10 ** 9)\nclass A:\n    def __getattribute__(s, n): return getattr(s, n)\n"
        "def f(): return A().x",
        {"memory", "killed", "timeout"},
    ),
    "crashes": ("import ctypes\ndef f(): ctypes.string_at(0)", {"killed"}),
    "aborts": ("import os\ndef f(): os.abort()", {"killed"}),
    "exits with 0": ("import os\ndef f(): os._exit(0)", {"killed"}),
    "exits with 0 while loading": ("import os\nprint('passed')\nos._exit(0)", {"killed"}),
    "exits politely": ("import sys\ndef f(): sys.exit(0)", {"exception"}),
    "closes every descriptor": ("import os\ndef f():\n    os.closerange(0, 64)\n    return 1", {"exception", "killed"}),
    "closes every descriptor and stays": (
        "import os, time\nos.closerange(0, 64)\ntime.sleep(60)\ndef f(): pass",
        {"killed", "timeout"},
    ),
    "trickles an answer to keep the judge busy while it litters": (
        "import sys, os, time\ndef f():\n    frame = sys._getframe()\n    while frame.f_code.co_name != 'main': frame = frame.f_back\n"
        "    v = frame.f_locals\n    os.write(v['answers'], (99999).to_bytes(4, 'big') + v['nonce'] + b'A')\n"
        "    for n in range(20000):\n        os.write(v['answers'], b'x')\n        open(str(n), 'w').close()",
        {"killed"},
    ),
    "eats the requests": (
        "import os\ndef f():\n    for fd in range(3, 64):\n        try: os.read(fd, 1 << 20)\n        except OSError: pass",
        {"timeout", "killed"},
    ),
    "raises an error whose text never comes": (
        "class E(Exception):\n    def __str__(self):\n        while True: pass\ndef f(): raise E",
        {"timeout"},
    ),
    "raises an error whose text raises": (
        "class E(Exception):\n    def __str__(self): raise self\ndef f(): raise E",
        {"exception"},
    ),
    "leaves threads behind": (
        "import threading\ndef g():\n    while True: pass\ndef f():\n    for _ in range(4): threading.Thread(target=g).start()",
        {"wrong-answer", "timeout"},
    ),
}


@pytest.mark.parametrize("name", ENDED)
def test_a_program_that_runs_wild_is_ended_within_its_limits(name, sandbox, aim):
    program, reasons = ENDED[name]
    wall_seconds = 0.3 if "timeout" in reasons else 8.0  # a busy machine must not turn the other ends into this one
    limits = Limits(wall_seconds=wall_seconds, cpu_seconds=8.0, memory_bytes=256 * 1024**2, file_bytes=1024**2)

    started = time.monotonic()
    verdict = sandbox.judge(program, "f", [((), "never")], limits)
    took = time.monotonic() - started

    assert not verdict.passed
    assert verdict.reason in reasons, verdict
    assert took < 20
    assert aim.unharmed() == []
    assert folders_left(sandbox) == []


# Each wants `f(n)` to be taken for n + 1 without computing it.
FORGING = {
    "prints passed": "print('passed', flush=True)\ndef f(n): print('passed')",
    "equals everything": (
        "class E(int):\n    def __eq__(s, o): return True\n    def __ne__(s, o): return False\n"
        "    def __hash__(s): return 0\ndef f(n): return E()"
    ),
    "equals everything, no int": "class E:\n    def __eq__(s, o): return True\ndef f(n): return E()",
    "claims another class": "class E:\n    __class__ = int\n    def __eq__(s, o): return True\ndef f(n): return E()",
    "is a list with a friendly __eq__": (
        "class E(list):\n    def __eq__(s, o): return True\n    def __iter__(s): return iter([1])\ndef f(n): return E()"
    ),
    "exits with 0": "import os\ndef f(n): os._exit(0)",
    "exits politely with 0": "import sys\ndef f(n): sys.exit(0)",
    "exits at exit": "import atexit, os\natexit.register(os._exit, 0)\ndef f(n): raise SystemExit(0)",
    "closes and leaves": "import os\ndef f(n):\n    os.closerange(0, 99)\n    os._exit(0)",
    "walks frames for the expected value": (
        "import sys\ndef f(n):\n    frame = sys._getframe()\n    while frame:\n"
        "        for k, v in list(frame.f_locals.items()) + list(frame.f_globals.items()):\n"
        "            if 'expect' in str(k).lower() or 'verdict' in str(k).lower(): return v\n"
        "        frame = frame.f_back"
    ),
    "searches all objects for it": (
        "import gc\ndef f(n):\n    for each in gc.get_objects():\n"
        "        if type(each) is tuple and len(each) == 2 and each[0] == (n,): return each[1]"
    ),
    "patches the encoder to lie": (
        "import sys\ndef f(n):\n    g = sys._getframe(1).f_globals\n"
        "    g['values'].encode = lambda *a: b'T'\n    return 0"
    ),
    "patches the answer's kind": (
        "import sys\ndef f(n):\n    g = sys._getframe(1).f_globals\n"
        "    g['frames'].ANSWER = g['frames'].LOADED\n    return 0"
    ),
    "patches builtins, print and json": (
        "import builtins, json\nfor m in (json,):\n    m.dumps = lambda *a, **k: 'true'\n    m.loads = lambda *a, **k: True\n"
        "builtins.print = lambda *a, **k: None\nbuiltins.len = lambda x: 0\nbuiltins.type = lambda x: int\ndef f(n): return 0"
    ),
    "patches operators of comparison": "import operator\noperator.eq = lambda a, b: True\ndef f(n): return 0",
    "writes to every descriptor": (
        "import os\ndef f(n):\n    for fd in range(64):\n        try: os.write(fd, b'passed\\n' * 10)\n        except OSError: pass\n"
        "    return n"
    ),
    "writes answers ahead while loading": (
        "import os\nfor fd in range(3, 64):\n    try: os.write(fd, (6).to_bytes(4, 'big') + bytes(8) + b'A' + b'i\\0\\0\\0\\x012')\n"
        "    except OSError: pass\ndef f(n): return 0"
    ),
    "answers twice": (
        "import sys\ndef f(n):\n    frame = sys._getframe()\n    while frame.f_code.co_name != 'main': frame = frame.f_back\n"
        "    v = frame.f_locals\n    send = frame.f_globals['_send']\n"
        "    for guess in (0, 1, 2, 3): send(v['answers'], v['nonce'], b'A', b'i\\0\\0\\0\\x01%d' % guess)\n    return 0"
    ),
    "answers rightly under another nonce": (
        "import sys\ndef f(n):\n    g = sys._getframe(1).f_globals\n    send = g['_send']\n"
        "    g['_send'] = lambda to, nonce, kind, payload: send(to, bytes(8), kind, payload)\n    return n + 1"
    ),
    "claims an endless answer": (
        "import sys, os\ndef f(n):\n    frame = sys._getframe()\n    while frame.f_code.co_name != 'main': frame = frame.f_back\n"
        "    v = frame.f_locals\n    os.write(v['answers'], b'\\xff' * 4 + v['nonce'] + b'A')\n    return 0"
    ),
    "answers with bytes that are no value": (
        "import sys\ndef f(n):\n    g = sys._getframe(1).f_globals\n    g['values'].encode = lambda *a: b'l\\xff\\xff\\xff\\xff' * 9\n"
        "    return 0"
    ),
    "answers with a million brackets": (
        "import sys\ndef f(n):\n    g = sys._getframe(1).f_globals\n"
        "    g['values'].encode = lambda *a: b'l\\0\\0\\0\\x01' * 200000\n    return 0"
    ),
    "answers with an object that pickles": "class E:\n    def __reduce__(s): return (print, ('x',))\ndef f(n): return E()",
    "answers a class": "def f(n): return int",
    "is right once only": "def f(n): return 6",
    "answers nan": "def f(n): return float('nan')",
    "answers None": "def f(n): return None",
    "replaces the module": "import sys\nsys.modules['candidate'] = None\nsys.modules['__main__'] = None\ndef f(n): return n",
    "has a trace function": "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)\ndef f(n): return n",
    "exits in a finaliser": "import os\nclass E:\n    def __del__(s): os._exit(0)\ndef f(n): E()",
}


@pytest.mark.parametrize("name", FORGING)
def test_a_forged_verdict_is_no_pass(name, sandbox):
    cases = [((5,), 6), ((41,), 42)]

    verdict = sandbox.judge(FORGING[name], "f", cases, Limits(wall_seconds=1.0))

    assert not verdict.passed
    assert verdict.reason in {"wrong-answer", "exception", "killed", "forged", "timeout"}, verdict


@pytest.mark.parametrize(
    "name",
    [
        "writes to every descriptor",
        "writes answers ahead while loading",
        "answers rightly under another nonce",
        "claims an endless answer",
        "answers with bytes that are no value",
        "answers with a million brackets",
        "patches the answer's kind",
    ],
)
def test_tampering_with_the_result_channel_is_called_forged(name, sandbox):
    verdict = sandbox.judge(FORGING[name], "f", [((5,), 6), ((41,), 42)], Limits(wall_seconds=2.0))

    assert verdict.reason == "forged"


def test_the_candidate_is_given_no_environment_but_ours(sandbox, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("LD_PRELOAD", "")
    program = "import os\ndef f(): return sorted(os.environ)"
    ours = ["HOME", "LC_ALL", "MALLOC_ARENA_MAX", "PWD", "PYTHONHASHSEED", "PYTHONUTF8", "TMPDIR"]

    verdict = sandbox.judge(program, "f", [((), ours)])
    without_pwd = sandbox.judge(program, "f", [((), [each for each in ours if each != "PWD"])])

    assert verdict.passed or without_pwd.passed, verdict.detail


def test_the_candidate_is_given_no_descriptor_of_the_harness(sandbox, aim):
    with aim.secret.open() as secret:
        os.set_inheritable(secret.fileno(), True)
        program = (
            "import os\ndef f():\n    found = []\n    for fd in range(0, 256):\n        try: os.fstat(fd)\n"
            "        except OSError: continue\n        found.append(fd)\n    return len(found)"
        )
        verdict = sandbox.judge(program, "f", [((), 5)])  # /dev/null three times, the two pipes

    assert verdict.passed, verdict.detail


def test_the_candidate_holds_no_capability_and_can_gain_none(sandbox):
    with Child(sandbox.backend, Limits()) as child:
        child.confine()
        status = Path(f"/proc/{child.pid}/status").read_text()

    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert [int(lines[each], 16) for each in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0, 0, 0, 0]
    assert (lines["NoNewPrivs"], lines["Seccomp"]) == ("1", "2")


def test_a_candidate_that_stops_listening_does_not_make_the_judge_spin(sandbox):
    program = (
        "import sys, os, time\ndef f(n):\n    frame = sys._getframe()\n    while frame.f_code.co_name != 'main': frame = frame.f_back\n"
        "    v = frame.f_locals\n    os.close(v['requests'])\n"
        "    frame.f_globals['_send'](v['answers'], v['nonce'], b'A', b'n')\n    time.sleep(9)"
    )
    limits = Limits(wall_seconds=1.0)
    before = time.process_time()

    verdict = sandbox.judge(program, "f", [((0,), None), (("x" * 1_000_000,), None)], limits)

    assert verdict.reason == "timeout"
    assert time.process_time() - before < 0.15


def alive(marker: str) -> list[int]:
    """Processes whose command line runs our start file below `marker`."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                if marker in (each / "environ").read_bytes().decode(errors="replace"):
                    found.append(int(each.name))
            except OSError:
                continue
    return found


def test_the_candidate_dies_with_a_judge_that_is_killed(sandbox, tmp_path):
    judge = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys\nfrom pkt_bench.sandbox.backends import DEFAULT_BACKENDS as all\n"
            "from pkt_bench.sandbox import Limits\nfrom pkt_bench.sandbox.judge import judge_in\n"
            "backend, = [b for b in all if b.name == sys.argv[1]]\n"
            "print('up', flush=True)\n"
            'program = \'import time; open("up", "w").close(); time.sleep(60)\'\n'
            "judge_in(backend, program, 'f', [((), 1)], Limits(wall_seconds=60.0))",
            sandbox.name,
        ],
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
    )
    judge.stdout.readline()
    deadline = time.monotonic() + 20
    up = []
    while not up and time.monotonic() < deadline:
        time.sleep(0.05)
        for base in tmp_path.glob("*/each"):
            base.chmod(0o700)  # so that it can be listed
            up += base.glob("*/up")
    children = alive(f"HOME={tmp_path}/pkt-bench-candidates-")

    judge.kill()
    judge.wait()
    judge.stdout.close()
    deadline = time.monotonic() + 5
    while (left := [pid for pid in children if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert up, "the candidate never started"
    assert len(children) >= 2
    assert left == []
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_nothing_of_a_timed_out_candidate_is_left(sandbox):
    program = "import time\nopen('left', 'w').write('x')\ndef f(): time.sleep(60)"

    verdict = sandbox.judge(program, "f", [((), 1)], Limits(wall_seconds=0.2))

    assert verdict.reason == "timeout"
    assert folders_left(sandbox) == []
    assert children_left(sandbox) == []

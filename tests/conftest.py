"""What every test folder shares: no network, a pico pair with its plugin file, the command line as a user runs it."""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from warm import Commands

os.environ["HF_HUB_OFFLINE"] = "1"
# the index of lm-eval's tasks and what is rendered of them: made once a session, and left nowhere
if "PKT_BENCH_HOME" not in os.environ:
    os.environ["PKT_BENCH_HOME"] = tempfile.mkdtemp(prefix="pkt-bench-tests-")
    atexit.register(shutil.rmtree, os.environ["PKT_BENCH_HOME"], ignore_errors=True)
os.environ.pop("PKT_BENCH_DATA", None)
# readline puts the terminal's size into the environment of whatever a process starts, xdist's workers among them
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

PLUGIN = '''
"""A plugin for tests: the pico pair and suite, and methods that do one thing each, good or bad."""
import os
import time
from pathlib import Path

from pkt_bench import Method, Settings, Transferred, hookimpl
from pkt_bench.domain import ModelRef, Pair
from pkt_bench.testing import pico_suite

HERE = Path(__file__).parent


class Scale(Settings):
    factor: float = 1.5


def scale(context):
    import torch

    with context.stage("scale"), torch.no_grad():
        context.pair.student.lm_head.weight *= context.settings.factor
    return Transferred(context.pair.student, payload={"w": context.pair.teacher.lm_head.weight[:2]})


def noise(context):
    import torch

    with context.stage("noise"), torch.no_grad():
        weight = context.pair.student.model.layers[0].mlp.up_proj.weight
        weight += torch.randn_like(weight) * 0.1
    return Transferred(context.pair.student)


def untouched(context):
    return Transferred(context.pair.student)


def teacher(context):
    return Transferred(context.pair.teacher)


def raises(context):
    raise ValueError("the moon is in the wrong phase")


def segfault(context):
    import ctypes

    ctypes.string_at(0)


def leaves(context):
    os._exit(0)


def spoils_teacher(context):
    import torch

    with torch.no_grad():
        context.pair.teacher.lm_head.weight[0, 0] += 1
    return Transferred(context.pair.student)


def poisons(context):
    import torch

    with torch.no_grad():
        context.pair.student.lm_head.weight[0, 0] = float("nan")
    return Transferred(context.pair.student)


def patches(context):
    """Changes how every later model of this process computes: must not reach a score."""
    import torch

    plain = torch.nn.Linear.forward
    torch.nn.Linear.forward = lambda self, x: plain(self, x) * 0
    return scale(context)


def slow(context):
    with context.stage("sleep"):
        (HERE / "slow-started").touch()
        time.sleep(120)
    return Transferred(context.pair.student)


def method(name, transfer, **more):
    return Method(name, f"test method {name}", more.pop("paradigm", "post-align"), transfer,
                  more.pop("settings", Settings), **more)


@hookimpl
def pkt_bench_pairs():
    yield Pair("pico", "random", ModelRef(HERE / "pico" / "teacher"), ModelRef(HERE / "pico" / "student"))


@hookimpl
def pkt_bench_suites():
    yield pico_suite(HERE)


@hookimpl
def pkt_bench_methods():
    yield method("pico-student", untouched, changes_student=False, paradigm="reference")
    yield method("scale", scale, settings=Scale)
    yield method("noise", noise)
    yield method("idle", untouched)
    yield method("raises", raises)
    yield method("segfault", segfault)
    yield method("leaves", leaves)
    yield method("spoils-teacher", spoils_teacher)
    yield method("poisons", poisons)
    yield method("patches", patches, settings=Scale)
    yield method("slow", slow)
    yield method("choosy", scale, settings=Scale, skip=lambda question: "it is Monday")
'''


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also run the tests marked long")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="takes long: pytest --long"))


@dataclass(frozen=True)
class Pico:
    """A folder with the pico pair and the plugin file that offers it."""

    folder: Path

    @property
    def plugin(self) -> Path:
        return self.folder / "pico_plugin.py"


@dataclass(frozen=True)
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    def lines(self):
        return [json.loads(line) for line in self.out.splitlines()]


def environment(**more):
    return {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1", **more}


def asked(python, arguments, cwd=None, timeout=300, env=None):
    """Runs `pkt-bench ARGUMENTS` by some Python, in a process of its own."""
    done = subprocess.run(
        [str(python), "-m", "pkt_bench", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment(**(env or {})),
        timeout=timeout,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def pkt_bench():
    """Runs `pkt-bench ARGUMENTS` in a process of its own, as a user would."""

    def call(*arguments, cwd=None, timeout=300, **env):
        return asked(sys.executable, arguments, cwd, timeout, env)

    return call


@pytest.fixture(scope="session")
def warm():
    """Runs `pkt-bench ARGUMENTS` as `pkt_bench` does, all in one process: see `warm.py`. Forked cells see no `env`."""
    commands = Commands(environment())

    def call(*arguments, cwd=None, timeout=300, **env):
        return Answer(*commands.ask(arguments, cwd, env, timeout))

    yield call
    commands.close()


@pytest.fixture(scope="session")
def pico(tmp_path_factory):
    """A random pair of a few thousand weights, on disk, with a suite and a dozen methods."""
    from pkt_bench.testing import pico_pair

    folder = tmp_path_factory.mktemp("pico")
    pico_pair(folder)
    (folder / "pico_plugin.py").write_text(PLUGIN, encoding="utf-8")
    return Pico(folder)


@pytest.fixture
def llama_2_needs(tmp_path):
    """What a method says it would need for Llama-2 13B to 7B, by `what`; the suite has 16 records in each split."""
    from pkt_bench import ModelRef, Pair, Question
    from pkt_bench.known_models import KNOWN_MODELS
    from pkt_bench.testing import pico_suite

    def ask(method, **settings):
        question = Question(
            pair=Pair("llama-2", "", ModelRef(tmp_path), ModelRef(tmp_path)),
            teacher=KNOWN_MODELS["llama-2-13b"].architecture,
            student=KNOWN_MODELS["llama-2-7b"].architecture,
            same_tokenizer=True,
            suite=pico_suite(tmp_path),
            settings=method.settings(**settings),
        )
        return {need.what: need for need in method.estimate(question)}

    return ask

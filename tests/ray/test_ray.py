"""`--executor ray`, on real clusters of this machine: the same results, through the loss of a node and of a worker."""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pyarrow as pa
import pytest

from pkt_bench.errors import RequestError, UnavailableError
from pkt_bench.executors import choose
from pkt_bench.plugins import load

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

PLUGIN = '''
import os
import time
from pathlib import Path

from pkt_bench import Method, Settings, Transferred, hookimpl

HERE = Path(__file__).parent


def change(context):
    import torch

    with context.stage("noise"), torch.no_grad():
        context.pair.student.lm_head.weight += torch.randn_like(context.pair.student.lm_head.weight)


def lingers_once(context):
    """The first attempt never ends."""
    change(context)
    marker = HERE / f"lingers-{context.seed}"
    if not marker.exists():
        marker.write_text(str(os.getpid()))
        time.sleep(600)
    return Transferred(context.pair.student)


def where(context):
    """Ends when four of its kind are under way; notes the GPU it was given."""
    change(context)
    (HERE / f"where-{context.seed}").touch()
    deadline = time.monotonic() + 90
    while len(list(HERE.glob("where-*"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    return Transferred(context.pair.student, notes={"gpu": os.environ.get("CUDA_VISIBLE_DEVICES")})


def takes_its_worker_along(context):
    import psutil

    worker = psutil.Process().parent().parent()
    assert worker.name().startswith("ray::"), worker.name()
    worker.kill()
    time.sleep(600)


@hookimpl
def pkt_bench_methods():
    for transfer in (lingers_once, where, takes_its_worker_along):
        yield Method(transfer.__name__, "for a test", "post-align", transfer, Settings)
'''
# as the plugin sets it for a cluster of its own: the loopback address alone
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}


def arguments(pico, out, methods, *more):
    cells = ("run", "--plugin", pico.plugin, "--pair", "pico", "--suite", "pico", "--methods", methods)
    return (*cells, "--executor", "ray", "--out", out, "--json", *more)


def rows_of(out):
    tables = [pa.ipc.open_file(file).read_all() for file in sorted((out / "cells").rglob("*.arrow"))]
    return [row for table in tables for row in table.to_pylist()]


def answers_of(out):
    tables = [pa.ipc.open_file(file).read_all() for file in sorted((out / "items").rglob("*.arrow"))]
    columns = ("cell_key", "task", "doc_id", "metric", "response", "value")
    return sorted(tuple(row[name] for name in columns) for table in tables for row in table.to_pylist())


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def plugin(tmp_path):
    # beside the run folder: in the folder that holds it, cells may make no files
    file = tmp_path / "plugin" / "lost.py"
    file.parent.mkdir()
    file.write_text(PLUGIN, encoding="utf-8")
    return file


# a process of its own, because Ray leaves files open where warnings are errors
CLUSTER = """
import json
import sys

from ray.cluster_utils import Cluster

small = {"object_store_memory": 80 << 20}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
nodes = {}
print(cluster.address, flush=True)
for line in sys.stdin:
    told = json.loads(line)
    if isinstance(told, dict):
        node = cluster.add_node(**told, **small)
        said = node.all_processes["raylet"][0].process.pid
        nodes[said] = node
    else:
        cluster.remove_node(nodes.pop(told), allow_graceful=False)
        said = told
    print(said, flush=True)
cluster.shutdown()
"""


class Nodes:
    """A head without processors; tests add the nodes they need, and name them by the process id of their raylet."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **LOOPBACK},
        )
        self.address = self.process.stdout.readline().strip()

    def ask(self, what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    @contextlib.contextmanager
    def added(self, *resources):
        """The ids of new nodes, which are gone afterwards."""
        made = [self.ask(each) for each in resources]
        try:
            yield made
        finally:
            for node in made:
                if psutil.pid_exists(node):
                    self.ask(node)


@pytest.fixture(scope="module")
def nodes():
    made = Nodes()
    yield made
    made.process.communicate(timeout=60)


def test_nothing_imports_ray_before_a_run_needs_it_and_a_missing_one_is_said(monkeypatch):
    script = "import sys; from pkt_bench.plugins import load; load(); print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"

    registry = load()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"--executor ray: .*pip install 'pkt-bench\[ray\]'"):
        choose("ray", {}, registry)


def test_settings_that_no_cluster_understands_are_refused():
    registry = load()

    for wrong in ({"gpus_per_cell": "1.5"}, {"address": "ray://10.0.0.1"}, {"retries": "-1"}, {"adress": "auto"}):
        with pytest.raises(RequestError):
            choose("ray", {"ray": wrong}, registry)


def test_a_cluster_of_its_own_gives_what_processes_give(pkt_bench, warm, pico, tmp_path):
    methods = "pico-student,scale,noise,raises"

    # two workers: each of them loads torch
    ray = pkt_bench(*arguments(pico, tmp_path / "ray", methods, "--slots", "2"), OMP_NUM_THREADS="2")
    process = warm(*arguments(pico, tmp_path / "process", methods, "--executor", "process"))

    records = [[line for line in answer.lines() if line["record"] == "cell"] for answer in (ray, process)]
    told = [{(r["key"], r["outcome"], json.dumps(r["scores"])) for r in cells} for cells in records]
    assert (ray.code, process.code) == (1, 1), ray.err
    assert told[0] == told[1]
    assert len(told[0]) == 4
    assert [line["record"] for line in ray.lines()] == ["plan", *["cell"] * 4, "done"]
    assert answers_of(tmp_path / "ray") == answers_of(tmp_path / "process")
    assert "Traceback" not in ray.err


def test_an_address_where_nobody_is_ends_with_3(warm, pico, tmp_path):
    answer = warm(*arguments(pico, tmp_path / "runs", "scale", "--set", "ray.address=127.0.0.1:1"), timeout=60)

    assert answer.code == 3
    assert "no Ray cluster answers at 127.0.0.1:1" in answer.err
    assert "ray start --head" in answer.err


def test_a_cell_no_node_can_ever_run_ends_with_3(nodes, warm, pico, tmp_path):
    asked = ("--set", f"ray.address={nodes.address}", "--set", "ray.gpus_per_cell=64")

    answer = warm(*arguments(pico, tmp_path / "runs", "scale", *asked), **LOOPBACK, timeout=60)

    assert answer.code == 3
    assert "no node of the Ray cluster can ever run a cell, which takes 1 processors and 64 GPUs" in answer.err


@pytest.mark.long
def test_the_cells_of_a_lost_node_are_done_by_another_and_recorded_once(nodes, pico, plugin, tmp_path):
    out = tmp_path / "runs"
    asked = ("--plugin", plugin, "--seeds", "2", "--set", f"ray.address={nodes.address}")
    command = [sys.executable, "-m", "pkt_bench", *map(str, arguments(pico, out, "lingers_once,scale", *asked))]
    with nodes.added({"num_cpus": 1}, {"num_cpus": 1}) as made:
        run = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **LOOPBACK}
        )
        try:
            wait_for(lambda: all((plugin.parent / f"lingers-{seed}").exists() for seed in (0, 1)))
            phases = [psutil.Process(int((plugin.parent / f"lingers-{seed}").read_text())) for seed in (0, 1)]
            homes = [next(parent.pid for parent in phase.parents() if parent.pid in made) for phase in phases]

            nodes.ask(homes[0])

            # what it was doing ends with it: no process goes on writing where its successor writes
            wait_for(lambda: not phases[0].is_running(), 15)
            survivor_ran_on = phases[1].is_running()
            worker = phases[1].parent().parent()
            worker.kill()
            wait_for(lambda: not phases[1].is_running(), 15)
            said, complaints = run.communicate(timeout=120)
        finally:
            run.kill()

    rows = rows_of(out)
    assert sorted(homes) == sorted(made)
    assert survivor_ran_on
    assert run.returncode == 0, complaints
    assert sorted((row["method"], row["seed"], row["outcome"]) for row in rows) == [
        (method, seed, "done") for method in ("lingers_once", "scale") for seed in (0, 1)
    ]
    assert [json.loads(line)["record"] for line in said.splitlines()] == ["plan", *["cell"] * 4, "done"]


@pytest.mark.long
def test_cells_share_gpus_and_each_sees_the_one_it_was_given(nodes, pkt_bench, pico, plugin, tmp_path):
    asked = ("--plugin", plugin, "--seeds", "4", "--set", f"ray.address={nodes.address}")

    with nodes.added({"num_cpus": 4, "num_gpus": 2}):
        answer = pkt_bench(
            *arguments(pico, tmp_path / "runs", "where", *asked, "--set", "ray.gpus_per_cell=0.5"), **LOOPBACK
        )

    assert answer.lines()[-1]["outcomes"] == {"done": 4}, answer.err
    assert sorted(json.loads(row["notes"])["gpu"] for row in rows_of(tmp_path / "runs")) == ["0", "0", "1", "1"]


@pytest.mark.long
def test_a_cell_that_takes_its_worker_along_ends_as_killed_and_costs_no_other(nodes, pkt_bench, pico, plugin, tmp_path):
    asked = ("--plugin", plugin, "--set", f"ray.address={nodes.address}", "--set", "ray.retries=1")

    with nodes.added({"num_cpus": 1}):
        answer = pkt_bench(*arguments(pico, tmp_path / "runs", "takes_its_worker_along,scale", *asked), **LOOPBACK)

    rows = {row["method"]: row for row in rows_of(tmp_path / "runs")}
    assert {method: row["outcome"] for method, row in rows.items()} == {
        "takes_its_worker_along": "killed",
        "scale": "done",
    }, answer.err
    assert "was lost 2 times" in rows["takes_its_worker_along"]["reason"]
    assert answer.code == 1


@pytest.mark.long
def test_ctrl_c_ends_with_130_keeps_what_is_done_and_leaves_no_process(pico, tmp_path):
    started = pico.folder / "slow-started"
    started.unlink(missing_ok=True)
    out = tmp_path / "runs"
    run = subprocess.Popen(
        [sys.executable, "-m", "pkt_bench", *map(str, arguments(pico, out, "scale,slow"))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: started.exists() and len(list(out.glob("cells/*/*.arrow"))) == 1)
    family = psutil.Process(run.pid).children(recursive=True)
    assert any(process.name() == "raylet" for process in family)

    sent = time.monotonic()
    # as a terminal does: to everybody of the group
    os.killpg(run.pid, signal.SIGINT)
    time.sleep(1)
    if run.poll() is None:
        os.killpg(run.pid, signal.SIGINT)
    _, complaints = run.communicate(timeout=60)

    assert run.returncode == 130, complaints
    assert time.monotonic() - sent < 30
    assert {row["method"]: row["outcome"] for row in rows_of(out)} == {"scale": "done", "slow": "interrupted"}
    assert "Run the same command again to go on" in complaints
    assert "Traceback" not in complaints
    wait_for(lambda: not any(process.is_running() for process in family), 10)

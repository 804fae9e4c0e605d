"""Bundles: what a request needs in one folder, completed when asked again, enough for a run without a network."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from data_folders import arc_row, mirror, write
from pkt_bench import mirrors
from pkt_bench.mirrors import sha256


@pytest.fixture
def data(tmp_path):
    folder = mirror(tmp_path / "data")
    write(folder, "arc_easy/train", [arc_row(number) for number in range(2, 60)])
    return folder


@pytest.fixture
def prefetch(pico, warm, tmp_path, data):
    pair = f"{pico.folder / 'pico' / 'teacher'}:{pico.folder / 'pico' / 'student'}"

    def call(*more, folder=data, to=tmp_path / "bundle"):
        words = ("--plugin", pico.plugin, "--pair", pair, "--suite", "arc_easy", "--tasks", "piqa")
        return warm("prefetch", *words, "--offline", "--data-dir", folder, "--to", to, *more, cwd=tmp_path)

    return call


def test_a_bundle_holds_models_data_and_tasks_and_says_what_they_are(prefetch, data, tmp_path):
    answer = prefetch("--json")
    bundle = tmp_path / "bundle"
    manifest = json.loads((bundle / "MANIFEST.json").read_text())

    assert answer.code == 0, answer.err
    listed = {each["path"]: each for each in manifest["files"]}
    there = {file.relative_to(bundle).as_posix() for file in bundle.rglob("*") if file.is_file()}
    assert there == {*listed, "MANIFEST.json"}
    assert {
        "data/arc_easy/test.jsonl",
        "data/arc_easy/train.jsonl",
        "data/piqa/test.jsonl",
        "models/student/model.safetensors",
        "models/teacher/config.json",
        "tasks/lm-eval/arc/arc_easy.yaml",
    } <= there
    assert all(sha256(bundle / path) == each["sha256"] for path, each in listed.items())
    assert listed["data/arc_easy/test.jsonl"]["licence"] == "CC-BY-SA-4.0"
    assert (bundle / "data/piqa/test.jsonl").read_bytes() == (data / "piqa/test.jsonl").read_bytes()
    assert manifest["asked"]["suites"] == ["arc_easy"]
    assert [line["type"] for line in answer.lines()] == ["file"] * len(listed) + ["bundle"]


def test_again_it_writes_what_is_gone_or_spoilt_and_nothing_else(prefetch, tmp_path):
    prefetch()
    bundle = tmp_path / "bundle"
    (bundle / "data/piqa/test.jsonl").unlink()
    (bundle / "data/arc_easy/test.jsonl").write_text("spoilt")

    again = prefetch("--json")
    third = prefetch("--json")

    assert {line["path"] for line in again.lines() if line.get("state") == "written"} == {
        "data/piqa/test.jsonl",
        "data/arc_easy/test.jsonl",
    }
    assert not [line for line in third.lines() if line.get("state") == "written"]


def test_a_dry_run_writes_nothing_and_what_is_missing_is_said_with_exit_3(prefetch, data, tmp_path):
    (data / "arc_easy" / "train.jsonl").unlink()
    shutil.rmtree(data / "piqa")

    answer = prefetch("--dry-run")

    assert not (tmp_path / "bundle").exists()
    assert answer.code == 3
    assert answer.err.startswith(
        "pkt-bench: 2 problems, and the bundle is not whole:\n  1. arc_easy: the split 'train'"
    )
    assert "piqa/validation.jsonl" in answer.err


def test_a_folder_of_something_else_is_left_alone(prefetch, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")

    answer = prefetch(to=tmp_path / "mine")

    assert answer.code == 2
    assert "the folder holds something that is no bundle" in answer.err
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def _cut_off():
    """A command that has no network, where this machine lets us make one."""
    words = ["unshare", "--map-root-user", "--net"]
    tried = subprocess.run([*words, "true"], capture_output=True, check=False) if shutil.which("unshare") else None
    return words if tried is not None and tried.returncode == 0 else None


def test_a_run_from_the_bundle_needs_no_network(prefetch, pico, tmp_path):
    words = _cut_off()
    if words is None:
        pytest.skip("this machine gives no network namespace")
    prefetch()
    bundle = tmp_path / "bundle"
    pair = f"{bundle / 'models' / 'teacher'}:{bundle / 'models' / 'student'}"
    run = [sys.executable, "-m", "pkt_bench", "run", "--plugin", str(pico.plugin), "--pair", pair]
    run += ["--methods", "pico-student", "--suite", "arc_easy", "--tasks", "piqa", "--limit", "2", "--json"]

    done = subprocess.run(
        [*words, *run, "--offline", "--data-dir", str(bundle / "data"), "--out", str(tmp_path / "runs")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PKT_BENCH_DATA": ""},
        check=False,
    )

    cells = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [each["outcome"] for each in cells if each["record"] == "cell" and "outcome" in each] == ["done"]


def test_offline_sets_every_switch_before_anything_is_imported(monkeypatch):
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE")
    for name in (*names, "HF_UPDATE_DOWNLOAD_COUNTS"):
        monkeypatch.delenv(name, raising=False)

    mirrors.cut_network()

    assert [os.environ[name] for name in names] == ["1"] * 4
    assert os.environ["HF_UPDATE_DOWNLOAD_COUNTS"] == "0"
    for name in (*names, "HF_UPDATE_DOWNLOAD_COUNTS"):
        monkeypatch.setenv(name, os.environ[name])  # so that it is undone


def test_offline_says_all_that_is_missing_at_once_and_starts_nothing(pico, warm, data, tmp_path):
    words = ("--plugin", pico.plugin, "--pair", "owner/model:owner/other", "--suite", "humaneval,hellaswag")
    more = ("--tasks", "arc_easy,mmlu", "--offline", "--data-dir", data, "--out", tmp_path / "r")
    answer = warm("run", *words, *more)

    assert answer.code == 3
    for missing in (
        "humaneval/test.jsonl",
        "hellaswag/validation.jsonl",
        "mmlu/test/anatomy.jsonl",
        "mmlu/test/world_religions.jsonl",
        "owner/model is not in the hub's cache",
        "owner/other is not in the hub's cache",
    ):
        assert missing in answer.err
    assert "arc_easy/" not in answer.err
    assert not (tmp_path / "r").exists()

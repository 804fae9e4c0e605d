"""What the plugin offers the harness."""

import subprocess
import sys

import pytest

import pkt_bench_tiny
from pkt_bench_tiny import gate
from pkt_bench_tiny.scoring import METRICS, Figure
from pkt_bench_tiny.splits import SIZES

SUITES = {suite.name: suite for suite in pkt_bench_tiny.pkt_bench_suites()}


def test_the_plugin_is_imported_and_asked_without_torch_or_transformers():
    script = (
        "import sys, pkt_bench_tiny\n"
        "list(pkt_bench_tiny.pkt_bench_pairs()), list(pkt_bench_tiny.pkt_bench_suites())\n"
        "print([m for m in ('torch', 'transformers', 'lm_eval', 'datasets', 'numpy') if m in sys.modules])\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_pair_points_at_two_complete_model_folders():
    (pair,) = pkt_bench_tiny.pkt_bench_pairs()

    for side in (pair.teacher, pair.student):
        names = {file.name for file in side.path.iterdir()}
        assert names >= {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}


@pytest.mark.parametrize("name", METRICS)
def test_a_suite_gives_its_records_in_the_sizes_of_the_splits(name):
    sizes = {split: len(SUITES[name].records(split)) for split in ("extract", "align", "train", "validation")}

    assert sizes == {split: SIZES[split] for split in sizes}


@pytest.mark.parametrize("name", METRICS)
def test_a_suite_names_the_metric_its_own_gate_reads(name):
    (task,) = SUITES[name].tasks

    assert (task.name, f"{task.metric},{task.filter}") == (f"tiny_{name}", METRICS[name])


@pytest.mark.parametrize("name", METRICS)
def test_no_record_has_the_prompt_of_a_test_document(name):
    suite = SUITES[name]
    tests = set(suite.test_prompts())

    shared = [
        r.prompt for s in ("extract", "align", "train", "validation") for r in suite.records(s) if r.prompt in tests
    ]

    assert len(tests) == SIZES["test"]
    assert shared == []


def _figures(knowledge, arithmetic, code):
    values = {"knowledge": knowledge, "arithmetic": arithmetic, "code": code}
    return {suite: Figure(value, 0.05, 100) for suite, value in values.items()}


@pytest.mark.parametrize(
    ("teacher", "student", "failing"),
    [
        ((0.95, 0.90, 0.85), (0.50, 0.20, 0.10), []),
        ((0.95, 0.79, 0.85), (0.50, 0.20, 0.10), ["arithmetic"]),
        ((0.95, 0.90, 0.85), (0.50, 0.20, 0.56), ["code"]),
        ((0.95, 0.90, 0.85), (0.34, 0.20, 0.10), ["knowledge"]),
    ],
)
def test_the_gate_names_the_suite_that_misses_it(teacher, student, failing):
    problems = gate.failures(_figures(*teacher), _figures(*student))

    assert [problem.split(":")[0] for problem in problems] == failing

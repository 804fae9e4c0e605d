"""Names that people mistype outside of a request: environment variables, and values that a board is asked for."""

import re
from pathlib import Path

import pytest

from pkt_bench.cli import mistyped

ROOT = Path(__file__).resolve().parents[1]


def test_the_variables_that_are_known_are_those_that_the_code_reads():
    texts = [
        file.read_text(encoding="utf-8") for root in ("harness", "plugins") for file in (ROOT / root).rglob("*.py")
    ]
    named = {name for text in texts for name in re.findall(r"(?<!_)PKT_BENCH_[A-Z_]+", text)}

    assert named == {*mistyped.VARIABLES}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PKT_BENCH_HOEM", "PKT_BENCH_HOME"),
        ("PKT_BENCH_DISABLE_PLUGIN", "PKT_BENCH_DISABLE_PLUGINS"),
        ("PKT_BENCH_DISABLED_PLUGINS", "PKT_BENCH_DISABLE_PLUGINS"),
        ("PKT_BENCH_LOAD_PLUGIN", "PKT_BENCH_LOAD_PLUGINS"),
        ("PKT_BENCH_STRICT_PLUGNS", "PKT_BENCH_STRICT_PLUGINS"),
        ("PKT_BENCH_DEBGU", "PKT_BENCH_DEBUG"),
    ],
)
def test_a_variable_that_is_nearly_one_of_ours_is_named(name, meant):
    assert list(mistyped.variables({name: "x"})) == [
        f"nobody reads the environment variable {name}. Did you mean {meant}?"
    ]


def test_variables_of_ours_and_of_others_are_no_false_alarm():
    others = ("PKT_BENCH_TEST_GGUF", "PKT_BENCH_LATEN_CHECKOUT", "PKT_BENCH_RAY_ADDRESS", "PKT_BENCH_HOST", "HOEM")

    assert list(mistyped.variables(dict.fromkeys((*mistyped.VARIABLES, *others, "_PKT_BENCH_COMPLETE"), "x"))) == []


def test_a_misspelt_variable_is_said_once_and_changes_no_result(pkt_bench):
    answer = pkt_bench("ls", "executors", "--format", "csv", PKT_BENCH_HOEM="/nowhere")

    assert answer.code == 0
    assert answer.err.count("pkt-bench: warning: nobody reads the environment variable PKT_BENCH_HOEM.") == 1
    assert answer.out.startswith("executor,")


@pytest.mark.parametrize(
    ("where", "code", "said"),
    [
        ("suite == cod", 2, "--where: leaves none of 144 runs.\n  suite is never 'cod'. Did you mean 'code'?\n"),
        ("suite in (cod, arithmetic)", 0, "--where: suite is never 'cod'. Did you mean 'code'?\n"),
        ("not (suite == code) and method == lroa", 2, "  method is never 'lroa'. Did you mean 'lora'?\n"),
    ],
)
def test_a_text_that_a_column_never_has_is_said(pkt_bench, where, code, said):
    answer = pkt_bench("board", "tiny-0.1.0", "--where", where, "--format", "csv")

    assert answer.code == code
    assert said in answer.err

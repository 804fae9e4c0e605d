"""The contract finds the promise that a method breaks and says what to do, and nothing at one that keeps them all."""

import json
from pathlib import Path

import pytest

from once import once
from pkt_bench.contract import Finding, Report, done
from pkt_bench.tui import contract as view

FILE = Path(__file__).parent / "broken_methods.py"
NAMES = (
    *("good", "undocumented", "loose", "unplain", "lucky", "hashed", "scarred"),
    *("spoils-teacher", "reshapes", "poisons"),
    *("idle", "busy", "forgets", "patches", "trains-and-tells", "trains-and-lies", "trains-in-silence"),
    *("uses-the-teacher", "never-asks", "nested", "litters", "raises", "raises-when-asked", "says-nothing", "choosy"),
    *("estimates-nonsense", "heavy", "exits-when-asked", "chatty"),
)
SETTINGS = "its settings are plain and documented"
SKIP = "skip gives a reason or none"
ESTIMATE = "its estimate gives figures"


IMPORTS = "importing it loads nothing heavy"
HEAVY = '''"""Loads torch too early."""
import torch
from pkt_bench import Method, Settings, Transferred, hookimpl


def scaled(context):
    with context.stage("scale"), torch.no_grad():
        context.pair.student.lm_head.weight *= 2
    return Transferred(context.pair.student, payload={})


@hookimpl
def pkt_bench_methods():
    yield Method("heavy", "loads torch at import", "control", scaled, Settings, uses="nothing")
'''


@pytest.fixture(scope="module")
def checked(tmp_path_factory, pkt_bench, tiny_pair):
    """All of them on one pair by one command, which shares most of the cost: its exit code, stdout and stderr."""

    def make(folder):
        heavy = folder / "heavy.py"
        heavy.write_text(HEAVY, encoding="utf-8")
        pair = f"{tiny_pair.teacher.path}:{tiny_pair.student.path}"
        answer = pkt_bench("plugins", "check", *NAMES, "--plugin", FILE, "--plugin", heavy, "--pair", pair, "--json")
        (folder / "answer").write_text(json.dumps([answer.code, answer.out, answer.err]), encoding="utf-8")

    return json.loads((once(tmp_path_factory, "broken-methods", make) / "answer").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def reports(checked):
    _, out, _ = checked
    found = [json.loads(line) for line in out.splitlines()]
    for report in found:
        report.pop("keeps")
        report["findings"] = tuple(Finding(**each) for each in report["findings"])
    return {report["method"]: Report(**report) for report in found}


def broken(report):
    return {finding.promise for finding in report.broken}


def finding(report, promise):
    return next(each for each in report.findings if each.promise == promise)


pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["good", "trains-and-tells", "trains-in-silence", "litters", "choosy", "chatty"])
def test_nothing_is_broken_where_every_promise_is_kept(reports, name):
    assert reports[name].keeps, reports[name]


@pytest.mark.parametrize(
    ("name", "promise", "words"),
    [
        ("undocumented", SETTINGS, "nothing says what factor means"),
        ("loose", SETTINGS, "it can be changed after it was validated (frozen); it takes names that it does not have"),
        ("unplain", SETTINGS, "plain JSON"),
        ("lucky", done.SEEDED, "in another program the student is another: logits differ by up to"),
        ("hashed", done.SEEDED, "in another program the student is another: logits differ by up to"),
        ("scarred", done.RESUMED, "killed 2 times, at stage 'scale' and the saving of the student; then the student"),
        ("spoils-teacher", done.NAMED["teacher"], "contract: the method changed the teacher in place"),
        ("reshapes", done.NAMED["shapes"], "is (300, 32), the student's is (257, 32)"),
        ("poisons", done.FINITE, "diverged: the new student's lm_head.weight holds NaN or infinity"),
        ("idle", done.CHANGES, "no-effect: idle claims to change the student and moved no byte"),
        ("busy", done.CHANGES, "changes_student=False is declared, and 1 tensors changed"),
        ("forgets", done.NAMED["returns"], "forgets.transfer returned LlamaForCausalLM, not Transferred"),
        ("patches", done.RELOADED, "the saved student is not the one the method returned"),
        ("trains-and-lies", done.COSTS, "optimisers changed"),
        ("trains-and-lies", done.COSTS, "1 optimiser steps were booked, and 4 were made"),
        ("trains-and-lies", done.COSTS, "tokens_trained is"),
        ("uses-the-teacher", done.COSTS, "uses='nothing' is declared, and the teacher's weights were loaded"),
        ("never-asks", done.COSTS, "uses='weights' is declared, and the teacher was never loaded"),
        ("never-asks", done.COSTS, "payload={} says that nothing moved"),
        ("nested", done.COSTS, "a stage within a stage counts twice"),
        ("raises", done.RUNS, "failed: LookupError in transfer: this pair is not for me"),
        ("heavy", IMPORTS, "importing the plugin and asking its hooks loads torch"),
        ("raises-when-asked", SKIP, "it raised KeyError: 'layers'"),
        ("exits-when-asked", SKIP, "it raised RuntimeError: it ended the program: sys.exit(0)"),
        ("says-nothing", SKIP, "it says '', which is no sentence"),
        ("estimates-nonsense", ESTIMATE, "'all' is nan bytes; 'all' names no formula"),
    ],
)
def test_the_broken_promise_is_found_with_what_was_seen_and_what_to_do(reports, name, promise, words):
    found = finding(reports[name], promise)

    assert found.standing == "broken"
    assert words in found.seen
    assert found.advice


@pytest.mark.parametrize("name", NAMES)
def test_no_other_promise_is_called_broken(reports, name):
    expected = {
        **{each: {SETTINGS} for each in ("undocumented", "loose", "unplain")},
        **{each: {done.SEEDED, done.RESUMED} for each in ("lucky", "hashed")},
        "scarred": {done.RESUMED},
        "spoils-teacher": {done.NAMED["teacher"]},
        "reshapes": {done.NAMED["shapes"]},
        "poisons": {done.FINITE},
        **{each: {done.CHANGES} for each in ("idle", "busy")},
        "forgets": {done.NAMED["returns"]},
        "patches": {done.RELOADED},
        **{each: {done.COSTS} for each in ("trains-and-lies", "uses-the-teacher", "never-asks", "nested")},
        "raises": {done.RUNS},
        **{each: {SKIP} for each in ("raises-when-asked", "exits-when-asked", "says-nothing")},
        "estimates-nonsense": {ESTIMATE},
        "heavy": {IMPORTS},
    }
    # what is random is so under kills too; a hash of text is the same for all children of one server
    if name in {"lucky", "hashed"}:
        assert done.SEEDED in broken(reports[name]) <= expected[name]
    else:
        assert broken(reports[name]) == expected.get(name, set())


def test_what_is_no_breach_is_said_as_a_remark(reports):
    assert finding(reports["litters"], done.STATE).seen == "environment LITTER"
    assert finding(reports["trains-in-silence"], done.UNKNOWN_COSTS).seen == (
        "unknown, and shown so: trainable parameters, tokens trained"
    )
    assert finding(reports["good"], done.COSTS).standing == "kept"


def test_what_a_plugin_prints_when_it_is_asked_is_said_beside_the_results(checked):
    _, out, err = checked

    assert all(line.startswith("{") for line in out.splitlines())
    assert "what a question" in err


def test_a_method_that_skips_everything_is_not_called_good_on_any_pair(reports):
    found = finding(reports["choosy"], done.RUNS)

    assert found.standing == "untried"
    assert "it is Monday, and this method rests" in found.seen


def test_a_kill_at_work_and_one_at_saving_both_hit(reports):
    assert finding(reports["good"], done.RESUMED).seen == (
        "killed 2 times, at stage 'scale' and the saving of the student; the same student, bit for bit"
    )


def test_the_cost_columns_of_what_was_trained_are_those_that_were_seen(reports):
    # 2 layers of width 32, feed-forward 64, four heads of 8: q k v o 4 x 32 x 32, gate up down 3 x 32 x 64, two norms;
    # embedding and head of 257 tokens; the last norm
    size = 2 * (4 * 32 * 32 + 3 * 32 * 64 + 2 * 32) + 2 * 257 * 32 + 32
    # 'train a0: x': 1 begin, 9 of the prompt, 2 of the answer, 1 end
    assert finding(reports["trains-and-tells"], done.COSTS).seen == (
        f"0 bytes moved, {size:,} trainable parameters, {4 * 13} tokens trained"
    )


def test_the_command_ends_with_one_where_a_promise_is_broken_and_says_what_it_is_doing(checked):
    code, _, err = checked

    assert code == 1
    assert "pkt-bench: once more, in another program" in err


def test_settings_of_what_is_not_checked_are_refused_before_anything_runs(pkt_bench):
    answer = pkt_bench("plugins", "check", "lora", "--set", "laten.steps=3")

    assert answer.code == 2
    assert "--set laten.steps=3: 'laten' is not among the methods that are checked." in answer.err
    assert "They are: lora, pkt-bench/lora" in answer.err
    assert "making pairs" not in answer.err


def test_the_command_says_which_method_it_does_not_know(pkt_bench):
    answer = pkt_bench("plugins", "check", "latan", "--json")

    assert answer.code == 2
    assert "no method is called 'latan'. Did you mean 'laten'?" in answer.err


def test_a_report_shows_each_promise_with_its_sign_and_what_to_do(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    findings = (
        Finding("it is kind", "kept", "to everybody"),
        Finding("it is on time", "broken", "a: late\nb: later", "Start earlier."),
        Finding("it is cheap", "remark", "nobody knows"),
    )

    view.print_reports([Report("mine", "my-package", "1.2", findings, 3.4)])

    assert capsys.readouterr().out.splitlines() == [
        "mine  my-package 1.2",
        "  ✓ it is kind: to everybody",
        "  ✗ it is on time",
        "      a: late",
        "      b: later",
        "      Start earlier.",
        "  ! it is cheap",
        "      nobody knows",
        "  mine does not keep its contract: 1 promise is broken (3 s)",
        "",
        "✓ kept   ✗ broken   ! worth a look   - nothing can be said",
    ]

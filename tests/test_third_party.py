"""Plugins of other people, installed with pip into an environment of their own: used, listed, refused with a reason."""

import json

import pyarrow as pa
import pytest

from third_party import copied_out, fresh_place, many, project


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An environment with the three projects, and `laten` as somebody else published it."""
    top = tmp_path_factory.mktemp("third-party")
    place = fresh_place(top / "venv")
    ours = [project(name, top) for name in ("crop", "absent", "clumsy")]
    place.install(*ours, copied_out("laten", top, distribution="laten-elsewhere"))
    return place


@pytest.fixture(scope="module")
def listed(place):
    """What `plugins list --json` says there, by distribution and name."""
    answer = place.pkt_bench("plugins", "list", "--json")
    assert answer.code == 0, answer.err
    return {(row["distribution"], row["plugin"]): row for row in json.loads(answer.out)}


@pytest.fixture(scope="module")
def ran(place, pico, tmp_path_factory):
    """A run of all there is of theirs, on a pair that is typed: the answer, and the rows by method and distribution."""
    out = tmp_path_factory.mktemp("ran") / "runs"
    sides = f"{pico.folder / 'pico' / 'teacher'}:{pico.folder / 'pico' / 'student'}"
    answer = place.pkt_bench(
        *("run", "--plugin", pico.plugin, "--pair", sides, "--suite", "pico", "--out", out, "--executor", "inline"),
        *("--methods", "crop,pkt-bench-clumsy/lora,pkt-bench/lora,laten,student", "--controls", "random-columns"),
        *("--set", "pkt-bench-crop/crop.strength=0.25", "--set", "pkt-bench/lora.rank=2"),
        *("--set", "pkt-bench-clumsy/lora.factor=3"),
    )
    rows = [
        row
        for file in sorted((out / "cells").rglob("*.arrow"))
        for row in pa.ipc.open_file(file).read_all().to_pylist()
    ]
    return answer, out, {(row["distribution"], row["method"]): row for row in rows}


@pytest.mark.parametrize(
    ("distribution", "plugin", "version", "status", "reason"),
    [
        ("pkt-bench-crop", "crop", "0.3.1", "ok", ""),
        (
            "pkt-bench-absent",
            "absent",
            "1.0",
            "broken",
            "cannot be imported: no module named 'a_package_nobody_has' (pip install a_package_nobody_has)",
        ),
        (
            "pkt-bench-clumsy",
            "misspelt",
            "2.0rc1",
            "broken",
            "implements 'pkt_bench_metods', which is no hook of pkt-bench; did you mean pkt_bench_methods?",
        ),
        (
            "pkt-bench-clumsy",
            "taken",
            "2.0rc1",
            "clash",
            "the method name 'lora' is taken by pkt-bench; write pkt-bench-clumsy/lora",
        ),
        ("laten-elsewhere", "laten", "0.0.7", "ok", ""),
        (
            "pkt-bench",
            "laten",
            None,
            "disabled",
            "its module pkt_bench_laten is that of laten-elsewhere 0.0.7 here, which hides it",
        ),
    ],
)
def test_the_list_says_of_each_installed_plugin_whether_it_can_be_used_and_why_not(
    listed, distribution, plugin, version, status, reason
):
    row = listed[distribution, plugin]

    assert (row["status"], row["reason"]) == (status, reason)
    assert version in (None, row["version"])


def test_the_list_as_json_names_hooks_and_offers_one_by_one(listed):
    row = listed["pkt-bench-crop", "crop"]

    assert row["hooks"] == ["controls", "methods"]
    assert row["offers"] == ["method crop", "control random-columns"]


def test_plugins_that_are_installed_run_on_a_typed_pair_and_rows_say_whose_they_are(ran):
    answer, _, rows = ran

    assert answer.code == 0, answer.err
    assert {key: row["outcome"] for key, row in rows.items()} == dict.fromkeys(
        [
            ("pkt-bench-crop", "crop"),
            ("pkt-bench-crop", "crop:random-columns"),
            ("pkt-bench-clumsy", "lora"),
            ("pkt-bench", "lora"),
            ("laten-elsewhere", "laten"),
            ("pkt-bench", "student"),
        ],
        "done",
    )
    # 257 tokens, 32 columns, 4 bytes each
    assert rows["pkt-bench-crop", "crop"]["payload_bytes"] == 257 * 32 * 4
    assert rows["laten-elsewhere", "laten"]["distribution_version"] == "0.0.7"


def test_settings_by_a_qualified_name_reach_that_method_and_its_controls_alone(ran):
    _, _, rows = ran

    settings = {key: json.loads(row["settings"]) for key, row in rows.items()}
    assert settings["pkt-bench-crop", "crop"] == {"columns": "first", "strength": 0.25}
    assert settings["pkt-bench-crop", "crop:random-columns"] == {"columns": "random", "strength": 0.25}
    assert settings["pkt-bench-clumsy", "lora"] == {"factor": 3.0}
    assert settings["pkt-bench", "lora"]["rank"] == 2


def test_progress_and_board_call_two_methods_of_one_name_by_their_distributions(ran):
    answer, _, _ = ran

    first_words = [
        line.split()[1] if line[:1].isdigit() else line.split()[0] for line in answer.out.splitlines() if line
    ]
    assert {"pkt-bench/lora", "pkt-bench-clumsy/lora", "crop"} <= set(first_words)
    assert "lora" not in first_words
    assert "started pkt-bench-clumsy/lora, teacher-student" in answer.err


def test_two_methods_of_one_name_are_compared_as_they_are_typed(place, ran):
    _, out, _ = ran

    answer = place.pkt_bench("compare", "pkt-bench/lora", "pkt-bench-clumsy/lora", "--in", out, "--format", "json")

    assert answer.code == 0, answer.err
    (line,) = [each for each in json.loads(answer.out)["lines"] if each["suite"] == "pico"]
    assert (line["label_a"], line["label"]) == ("pkt-bench/lora", "pkt-bench-clumsy/lora")


@pytest.fixture(scope="module")
def plan(place, pico, tmp_path_factory):
    """Plans there, on the pico pair."""
    out = tmp_path_factory.mktemp("planned") / "runs"

    def call(*arguments, **env):
        chosen = ("--plugin", pico.plugin, "--pair", "pico", "--suite", "pico", "--out", out)
        return place.pkt_bench("plan", *chosen, *arguments, **env)

    return call


def test_a_name_that_two_offer_is_refused_with_both(plan):
    answer = plan("--methods", "lora")

    assert answer.code == 2
    assert answer.err == (
        "pkt-bench: the method 'lora' is offered by pkt-bench and pkt-bench-clumsy.\n"
        "  Name one of them as pkt-bench/lora or pkt-bench-clumsy/lora, or leave a plugin out with"
        " PKT_BENCH_DISABLE_PLUGINS=NAME.\n"
    )


def test_a_wrong_distribution_with_a_right_method_is_told_who_offers_it(plan):
    answer = plan("--methods", "pkt-bench/crop,pkt-bench-clumsy/lorra")

    assert answer.code == 2
    assert (
        "pkt-bench offers no method 'crop'; pkt-bench-crop does.\n     Write pkt-bench-crop/crop, or crop alone."
        in (answer.err)
    )
    assert (
        "no method of pkt-bench-clumsy is called 'lorra'. Did you mean 'pkt-bench-clumsy/lora'?\n     It offers: lora"
        in answer.err
    )
    assert "Its plugin 'misspelt' cannot be used: implements 'pkt_bench_metods'" in answer.err


def test_strict_mode_names_every_installed_plugin_that_cannot_be_used(place):
    answer = place.pkt_bench("ls", "methods", PKT_BENCH_STRICT_PLUGINS="1")

    assert answer.code == 3
    assert answer.err.splitlines()[0] == (
        "pkt-bench: PKT_BENCH_STRICT_PLUGINS is set, and some plugins cannot be used:"
    )
    assert [line.split()[0] for line in answer.err.splitlines()[1:]] == ["absent", "misspelt", "taken"]


def test_show_tells_what_an_installed_method_takes_skips_and_is_controlled_by(place):
    answer = place.pkt_bench("plugins", "show", "crop", "--json")

    found = json.loads(answer.out)
    assert answer.code == 0, answer.err
    assert (found["kind"], found["distribution"], found["version"]) == ("method", "pkt-bench-crop", "0.3.1")
    assert found["docstring"].startswith("crop: part of the teacher's embedding, cropped to the student's width")
    assert found["facts"]["paper"] == "https://example.org/crop"
    strength, columns = found["settings"]
    assert (strength["name"], strength["default"], strength["bounds"]) == ("strength", "0.5", "above 0, at most 1")
    assert strength["description"] == "How much of the embedding comes from the teacher."
    assert (columns["default"], columns["choices"]) == ("first", ["first", "random"])
    assert ["crop:random-columns", "any columns"] in found["controls"]
    (skipped,) = found["skips"]["skipped"]
    assert skipped["reason"].startswith("teacher and student have different tokenizers")
    # of the known pairs only CodeLlama's and WizardCoder's have another vocabulary than their student
    assert {pair for pair, _ in skipped["squares"]} == {
        "codellama-13b-python-llama2-7b-chat",
        "wizardcoder-13b-python-llama2-7b-chat",
    }


@pytest.mark.slow
def test_of_twenty_plugins_of_which_three_are_broken_every_healthy_method_runs(pkt_bench, pico, tmp_path):
    (tmp_path / "site").mkdir()
    names = many(tmp_path / "site")

    answer = pkt_bench(
        *("run", "--plugin", pico.plugin, "--pair", "pico", "--suite", "pico", "--methods", ",".join(names)),
        *("--executor", "inline", "--out", tmp_path / "runs", "--json"),
        PYTHONPATH=str(tmp_path / "site"),
    )

    ended = {line["method"]: line["outcome"] for line in answer.lines() if line["record"] == "cell"}
    assert (answer.code, len(names)) == (0, 17)
    assert ended == dict.fromkeys(names, "done")


def test_the_list_of_runs_says_whose_each_of_two_methods_of_one_name_was(place, ran):
    _, out, _ = ran

    answer = place.pkt_bench("ls", "runs", out, "--format", "json")

    assert {row["method"] for row in json.loads(answer.out)} == {
        "crop",
        "crop:random-columns",
        "pkt-bench-clumsy/lora",
        "pkt-bench/lora",
        "laten",
        "student",
    }


@pytest.mark.slow
def test_a_plugin_of_this_project_published_elsewhere_keeps_its_contract_there(place, pico):
    sides = f"{pico.folder / 'pico' / 'teacher'}:{pico.folder / 'pico' / 'student'}"

    answer = place.pkt_bench(
        *("plugins", "check", "laten", "--pair", sides, "--set", "laten.steps=3", "--set", "laten.inject_steps=2,3"),
        "--json",
    )

    report = json.loads(answer.out)
    assert answer.code == 0, answer.out
    assert (report["method"], report["distribution"], report["version"]) == ("laten", "laten-elsewhere", "0.0.7")
    assert {finding["standing"] for finding in report["findings"]} == {"kept"}


def test_fifteen_lines_publish_a_plugin_of_this_project_elsewhere(tmp_path):
    folder = copied_out("laten", tmp_path, distribution="pkt-bench-laten")

    assert len((folder / "pyproject.toml").read_text(encoding="utf-8").splitlines()) <= 15

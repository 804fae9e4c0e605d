"""pkt-bench compare: what A and B may be, the four formats, single documents, and the gate."""

import csv
import io
import json
import os
import re
import subprocess
from dataclasses import dataclass

import pytest

import boards
from pkt_bench import cli

METHODS = ("student", "teacher", "lora", "nuggets", "pissa")


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def csv(self):
        return list(csv.DictReader(io.StringIO(self.out)))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two sweeps, `before` and `after`, between which lora got worse and dearer; both in a git repository as `runs`."""
    top = tmp_path_factory.mktemp("place")
    boards.record_board(top / "before", (*METHODS, "full"), documents=40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(boards.METHODS, "lora", ("language", "", 0.1, 31.0, 0, 156_200))
        boards.record_board(top / "after", METHODS, documents=40)
    names = {f"GIT_{who}_{what}": "somebody" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environ = {**os.environ, **names, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    (top / "before").rename(top / "runs")
    for arguments in (["init", "-q"], ["add", "runs"], ["commit", "-q", "-m", "before"]):
        subprocess.run(["git", "-C", top, *arguments], env=environ, check=True)
    (top / "runs").rename(top / "before")
    (top / "after").rename(top / "runs")
    return top


@pytest.fixture
def compare(place, monkeypatch, capsys):
    """The command in this process, in the folder of the two sweeps."""

    def call(*arguments):
        monkeypatch.chdir(place)
        monkeypatch.setattr("sys.argv", ["pkt-bench", "compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return Said(ended.value.code, said.out, said.err)

    return call


def lines_of(content):
    return {(line["label_a"], line["label"], line["suite"]): line for line in content["lines"]}


# ---------------------------------------------------------------- what A and B are


def test_two_folders_are_compared_row_by_row(compare):
    said = compare("before", "runs", "--format", "json")

    lines = lines_of(said.json)
    assert (said.code, said.err) == (0, "")
    assert {method for method, _, _ in lines} == set(METHODS)
    assert {suite for _, _, suite in lines} == {*boards.SUITES, "mean"}
    assert [alone["label"] for alone in said.json["alone"]] == ["full"]
    lora = lines["lora", "lora", "code"]
    ours, theirs = (
        [sum(boards.answers("lora", share, "code", seed, 40)) / 40 for seed in boards.SEEDS] for share in (0.45, 0.1)
    )
    assert lora["a"] == pytest.approx(sum(ours) / 3)
    assert lora["b"] == pytest.approx(sum(theirs) / 3)
    assert lora["delta"] == pytest.approx(lora["b"] - lora["a"])
    assert (lora["seconds_a"], lora["seconds_b"]) == (22.0, 32.0)
    assert lora["low"] < lora["delta"] < lora["high"] < 0
    assert (lora["better"], lora["seeds"], lora["n"]) == ("A", 3, 40)
    assert lines["pissa", "pissa", "code"]["same_runs"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("lora", "nuggets"),
        ("lora", "nuggets", "--in", "runs"),
        ("runs::lora", "runs::nuggets"),
        ("::lora", "::nuggets"),
        ("runs::lora", "nuggets"),
    ],
)
def test_two_rows_of_one_folder_are_named_in_several_ways(compare, arguments):
    said = compare(*arguments, "--format", "json")

    lines = lines_of(said.json)
    assert said.code == 0
    assert list(lines) == [("lora", "nuggets", suite) for suite in (*boards.SUITES, "mean")]
    assert lines["lora", "nuggets", "code"]["payload_bytes_b"] == 624_800
    assert said.json["alone"] == []


def test_a_revision_stands_for_a_folder(compare):
    by_revision = compare("HEAD:runs", "runs", "--format", "json").json
    by_folder = compare("before", "runs", "--format", "json").json

    assert by_revision["lines"] == by_folder["lines"]
    assert by_revision["a"] == "HEAD:runs"


def test_a_row_of_a_revision_is_compared_with_that_of_today(compare):
    said = compare("HEAD:runs::lora", "runs::lora", "--format", "json")

    assert {line["method"] for line in said.json["lines"]} == {"lora"}
    assert said.json["a"] == "HEAD:runs::lora"


def test_where_one_side_names_a_row_the_other_gives_the_same_row(compare):
    said = compare("before::lora", "runs", "--format", "json")

    assert [(line["label_a"], line["label"]) for line in said.json["lines"]] == [("lora", "lora")] * 4


def test_single_runs_are_compared_by_how_their_ids_begin(compare):
    said = compare("lora-code-0", "lora-code-1", "--format", "json")

    (line,) = said.json["lines"]
    values = [sum(boards.answers("lora", 0.1, "code", seed, 40)) / 40 for seed in (0, 1)]
    assert [line["a"], line["b"]] == pytest.approx(values)
    assert line["note"] == "no seed in common: A has seed 0, B has seed 1"


def test_a_board_file_has_differences_without_tests_and_says_so(compare):
    said = compare("before/board.arrow", "runs", "--format", "json")

    lora = lines_of(said.json)["lora", "lora", "code"]
    assert said.err.startswith("pkt-bench: before/board.arrow is a board file, without the answers")
    assert lora["delta"] < 0
    assert (lora["p"], lora["p_holm"], lora["low"], lora["text"]["p"]) == (None, None, None, "—")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("loar", "nuggets"), "runs has no row and no run called 'loar'. Did you mean 'lora'?"),
        (("runs::loar", "runs"), "runs has no row and no run called 'loar'. Did you mean 'lora'?"),
        (("lora-code", "lora"), "runs has 3 runs whose id begins with 'lora-code'."),
        (("nowhere/runs", "runs"), "there is no run folder nowhere/runs."),
        (("nowhere::lora", "runs"), "there is no run folder nowhere."),
        (("lora", "nuggets", "--in", "nowhere"), "there is no run folder nowhere."),
        (("HEAD~7:runs", "runs"), "there is no run folder HEAD~7:runs, and no git revision 'HEAD~7' in "),
        (("runs", "runs", "--format", "jsno"), "--format 'jsno' will not do. Did you mean 'json'?"),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest(compare, arguments, message):
    said = compare(*arguments)

    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"pkt-bench: {message}")


def test_a_method_with_several_rows_is_refused_with_their_labels(tmp_path, compare):
    from recorded import Store, make_cell, make_run

    store = Store(tmp_path / "sweep")
    for minute, rank in enumerate((4, 8)):
        cell = make_cell(rank=rank)
        cell = type(cell)(**{**vars(cell), "settings": json.dumps({"rank": rank})})
        store.record(make_run(cell, minute=minute))

    said = compare(f"{store.root}::lora", "runs")

    assert said.code == 2
    assert f"  {store.root}::lora rank=4\n  {store.root}::lora rank=8" in said.err


# ---------------------------------------------------------------- formats


def test_the_four_formats_agree_to_the_digit(compare):
    as_json, as_csv = compare("before", "runs", "--format", "json"), compare("before", "runs", "--format", "csv")
    table, markdown = compare("before", "runs"), compare("before", "runs", "--format", "md")

    in_csv = {(line["label"], line["suite"]): line for line in as_csv.csv if line["comparison"] == "compared"}
    for line in as_json.json["lines"]:
        other, written = in_csv[line["label"], line["suite"]], line["text"]
        assert float(other["delta"]) == line["delta"]
        assert [other[f"{name}_text"] for name in ("a", "b", "delta", "p", "p_holm")] == [
            written[name] for name in ("a", "b", "delta", "p", "p_holm")
        ]
        shown = [line["label"], line["suite"], *(written[name] for name in ("a", "b", "delta", "interval", "p"))]
        pattern = r"[ |▲▼△▽*]+".join(map(re.escape, shown))
        assert re.search(pattern, table.out), shown
        assert re.search(pattern, markdown.out.replace("\\", "")), shown


def test_the_table_marks_what_is_no_chance_and_lists_what_is_not_compared(compare):
    said = compare("before", "runs")

    assert re.search(r"lora +mean +\S+ +\S+ +-\S+ ▼ ", said.out)
    assert re.search(r"kd +not compared on code: A and B, seed 0: timeout: took 600 s;", said.out)
    assert re.search(r"only A +full \(tiny: arithmetic, code, knowledge\)", said.out)
    assert re.search(r"same runs +in A and B, so nothing to find: nuggets, pissa, student, teacher", said.out)


def test_csv_also_has_what_is_not_compared(compare):
    lines = compare("before", "runs", "--format", "csv").csv

    assert {line["comparison"] for line in lines} == {"compared", "not comparable", "only A"}
    assert [line["label_a"] for line in lines if line["comparison"] == "only A"] == ["full"] * 3


def test_nothing_in_common_is_said_and_is_no_error(tmp_path, compare):
    boards.record_board(tmp_path / "other", ("laten",), documents=5)

    said = compare(tmp_path / "other", "before::full")

    assert said.code == 0
    assert said.out.startswith("nothing to compare")


def test_items_lists_the_documents_that_were_answered_differently(compare):
    said = compare("before", "runs", "--items", "--format", "json")

    lora = lines_of(said.json)["lora", "lora", "code"]
    found = [item for item in said.json["items"] if (item["b_label"], item["suite"]) == ("lora", "code")]
    for change in ("gained", "lost"):
        assert len({item["doc_id"] for item in found if item["change"] == change}) == lora[change]
    assert lora["lost"] > 0
    item = next(item for item in found if item["change"] == "lost")
    number = item["doc_id"]
    assert item["prompt"] == f"[code] What is <b>{number}</b> + 4 | 'and' why?\nAnswer:"
    assert (item["a_response"], item["a_value"], item["b_value"]) == (f'["{number + 4}"]', 1.0, 0.0)
    assert item["b_response"] == f'["{number} (lora, {item["seed"]})"]'


def test_items_are_listed_whole_on_a_screen_too(compare):
    in_json = compare("before", "runs", "--items", "--format", "json").json["items"]
    said = compare("before", "runs", "--items")
    as_csv = compare("before", "runs", "--items", "--format", "csv").csv

    assert len(re.findall(r"^(?:gained|lost): ", said.out, re.MULTILINE)) == len(in_json) == len(as_csv)
    assert (
        f"[code] What is <b>{in_json[-1]['doc_id']}</b> + 4 | 'and' why?\n    Answer:".replace(
            "code", in_json[-1]["suite"]
        )
        in said.out
    )


# ---------------------------------------------------------------- the gate


def test_a_gate_that_holds_ends_with_6_and_names_the_lines(compare):
    said = compare("before", "runs", "--fail-if", "delta < -0.01 and p < 0.05 and suite == 'mean'")

    assert said.code == 6
    assert said.out.startswith("tiny ")
    assert re.search(r"holds for 1 of \d+ lines\.\n  lora, mean, tiny: -\S+ \(\S+ to \S+; p ", said.err)


def test_a_gate_that_holds_for_no_line_passes(compare):
    said = compare("before::nuggets", "runs::nuggets", "--fail-if", "delta < -0.01 and p < 0.05")

    assert (said.code, said.err) == (0, "")


def test_a_gate_that_is_unknown_for_every_line_does_not_pass(compare):
    said = compare("before/board.arrow", "runs", "--fail-if", "p < 0.05")

    assert said.code == 6
    assert "could be held against no line: nothing to compare." in said.err
    assert "unknown for lora, code, tiny" in said.err


def test_a_gate_with_nothing_to_compare_does_not_pass(tmp_path, compare):
    boards.record_board(tmp_path / "other", ("laten",), documents=5)

    said = compare(tmp_path / "other", "before::full", "--fail-if", "delta < 0")

    assert said.code == 6
    assert "nothing to compare" in said.err


def test_a_line_of_which_a_gate_knows_nothing_is_said_beside_those_that_pass(compare):
    said = compare("before", "runs", "--fail-if", "delta < -0.9", "--format", "json")

    assert said.code == 0
    assert "not compared: kd, code, tiny: A and B, seed 0: timeout: took 600 s" in said.err
    assert said.json["gate"] == {
        "fail_if": "delta < -0.9",
        "tripped": False,
        "reason": "",
        "holds": [],
        "unknown": [],
    }


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("detla < 0", "no column is called 'detla'. Did you mean 'delta'?"),
        ("delta < 'x'", "'delta' is a number, and 'x' is text"),
        ("__import__('os')", ""),
        ("", "an empty expression asks nothing"),
    ],
)
def test_a_gate_that_makes_no_sense_is_refused_before_anything_is_read(compare, expression, message):
    said = compare("nowhere", "nowhere else", "--fail-if", expression)

    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"pkt-bench: --fail-if: {message}")


def test_a_gate_may_ask_for_costs(compare):
    said = compare("before::lora", "runs::lora", "--fail-if", "seconds_b > 30", "--format", "json")

    assert said.code == 6
    assert len(said.json["gate"]["holds"]) == 4

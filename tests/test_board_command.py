"""`pkt-bench board` as it is typed: the real command over real files."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from rich.console import Console

import boards as recorded_boards
from pkt_bench import views
from pkt_bench.cli.board import board as command
from pkt_bench.domain import Cell, Cost, Item, Knobs, Outcome, Run, Score
from pkt_bench.errors import PktBenchError
from pkt_bench.store import Store
from pkt_bench.tui.board import print_boards
from pkt_bench_leaderboards import sheet

ALONE = """
import sys
from pkt_bench.cli import main
sys.argv = ["pkt-bench", "board", *sys.argv[1:]]
try:
    main()
finally:
    heavy = {"torch", "transformers", "peft", "lm_eval", "textual", "datasets", "pandas"} & set(sys.modules)
    print("heavy:", *sorted(heavy), file=sys.stderr)
"""


@pytest.fixture
def board(capsys, monkeypatch):
    """The command, typed; environment variables by name."""

    def typed(*arguments, **environment):
        for name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in ({"TERM": "xterm-256color"} | environment).items():
            monkeypatch.setenv(name, value)
        app = typer.Typer(pretty_exceptions_enable=False)
        app.command()(command)
        code = 0
        try:
            app(list(map(str, arguments)), standalone_mode=False)
        except PktBenchError as error:
            code = error.exit_code
            print(f"pkt-bench: {error}", file=sys.stderr)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, said.out, said.err)

    return typed


def board_alone(*arguments, **environment):
    """The command in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "FORCE_COLOR", "NO_COLOR"}}
    return subprocess.run(
        [sys.executable, "-c", ALONE, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        env={**clean, "TERM": "xterm-256color", **environment},
        check=False,
    )


def record(store, method, suite, right, seed=0, *, outcome=Outcome.DONE, reason="", paradigm="language"):
    """A run on ten documents, of which those numbered in `right` were answered rightly."""
    identity = {
        "method": {"name": method, "version": "1", "paradigm": paradigm},
        "teacher": {"digest": "a" * 32},
        "student": {"digest": "b" * 32},
        "suite": suite,
        "seed": seed,
    }
    cell = Cell(method, "pkt-bench", "{}", "tiny", suite, seed, Knobs(), identity)
    values = [float(number in right) for number in range(10)]
    mean = sum(values) / 10
    score = Score(
        f"tiny_{suite}", "acc", "none", mean, (mean * (1 - mean) / 9) ** 0.5, 10, True, True, "1", "c" * 32, 0
    )
    done = outcome == Outcome.DONE
    run = Run(
        run_id=f"{method} {suite} {seed}",
        cell=cell,
        outcome=outcome,
        reason=reason,
        created_at=f"2026-01-01T00:00:{seed:02}+00:00",
        scores=(score,) if done else (),
        cost=Cost(payload_bytes=1_234_567, trainable_parameters=98_304),
        seconds=12.34 if done else None,
    )
    answers = [
        Item(score.task, "acc", "none", n, f"d{n}", f"p{n}", "2 + 2 =", "4", "four", value)
        for n, value in enumerate(values)
    ]
    store.record(run, answers if done else ())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("board") / "runs")
    for suite in ("code", "facts"):
        record(store, "student", suite, {0}, paradigm="reference")
        record(store, "teacher", suite, set(range(10)), paradigm="reference")
        for seed in range(2):
            record(store, "lora", suite, set(range(8)), seed)
    record(store, "nuggets", "code", set(range(5)))
    reason = "layer 3 down_proj cannot be extracted: the rank may be 128 at most here, the smaller side of the weight"
    record(store, "nuggets", "facts", (), outcome=Outcome.FAILED, reason=reason)
    return store.root


def numbers(text):
    return re.findall(r"\d+\.\d", text)


def test_off_a_terminal_the_screen_is_whole_and_uncoloured(board, folder):
    shown = board(folder)

    lines = shown.stdout.splitlines()
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "\x1b" not in shown.stdout
    assert "…" not in shown.stdout
    assert lines[0] == "tiny   teacher aaaaaaaa → student bbbbbbbb · float32"
    # seven of ten gained on each of two suites, none lost: p = 2 * 0.5^14
    # 8 of 10 right: sqrt(0.8 * 0.2 / 9) = 0.133, over two suites / sqrt(2) = 0.094; gap (0.8 - 0.1) / (1 - 0.1)
    lora = next(line for line in lines if line.startswith("1 "))
    assert " ".join(lora.split()) == "1 lora 80.0 ± 9.4 ▲ <0.001 80.0 ± 13.3 ▲ 80.0 ± 13.3 ▲ 78 % 12.3 1.2 MB 98.3 k 2"
    assert any("the smaller side of the weight [nuggets on facts, seed 0]" in line for line in lines)


def test_the_command_loads_nothing_heavy(folder):
    alone = board_alone(folder)

    assert (alone.returncode, alone.stderr) == (0, "heavy:\n")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_narrow_screen_shows_everything_in_parts(board, folder, width):
    wide, narrow = board(folder), board(folder, COLUMNS=str(width), NO_COLOR="1")

    assert "…" not in narrow.stdout
    assert "\x1b" not in narrow.stdout
    assert max(map(len, narrow.stdout.splitlines())) <= width
    assert sorted(numbers(narrow.stdout)) == sorted(numbers(wide.stdout))


def test_a_terminal_too_narrow_for_one_column_gets_long_lines_and_no_cuts(board, folder):
    wide, narrow = board(folder), board(folder, COLUMNS="12")

    assert sorted(set(numbers(narrow.stdout))) == sorted(set(numbers(wide.stdout)))


def test_an_ascii_terminal_gets_ascii(folder):
    shown = board_alone(folder, PYTHONIOENCODING="ascii")

    assert shown.returncode == 0
    assert shown.stdout.isascii()
    assert "80.0 +/- 13.3 ^" in shown.stdout


def test_a_colour_terminal_gets_colours_and_bars(board, folder):
    shown = board(folder, FORCE_COLOR="1", COLUMNS="140")

    assert "\x1b[" in shown.stdout
    assert "██████" in shown.stdout


def test_json_csv_and_markdown_have_the_figures_of_the_screen(board, folder):
    screen = board(folder, "--all").stdout
    content = json.loads(board(folder, "--format", "json").stdout)
    rows = list(csv.DictReader(io.StringIO(board(folder, "--format", "csv").stdout)))
    markdown = board(folder, "--all", "--format", "md").stdout

    texts = [square["text"]["score"] for row in content["boards"][0]["rows"] for square in row["suites"].values()]
    figures = [text for text in texts if text != "—"]
    assert len(figures) == 7
    assert all(figure in screen and figure in markdown for figure in figures)
    squares = [row for row in rows if row["suite"] != "mean" and row["score"]]
    assert sorted(f"{row['score']} ± {row['stderr']}" for row in squares) == sorted(figures)


def test_p_beside_the_score_is_that_of_the_exact_test(board, folder):
    content = json.loads(board(folder, "--format", "json", "--suite", "code").stdout)

    rows = {row["label"]: row["suites"]["code"] for row in content["boards"][0]["rows"]}

    # seven documents gained and none lost, the same in both seeds: 2 * 0.5^7; four gained: 2 * 0.5^4
    assert rows["lora"]["against_student"]["p"] == pytest.approx(2 * 0.5**7)
    assert rows["nuggets"]["against_student"]["p"] == pytest.approx(2 * 0.5**4)
    assert rows["student"]["against_student"] is None


def test_one_suite_alone_ranks_by_that_suite(board, folder):
    lines = board(folder, "--suite", "code").stdout.splitlines()

    placed = [line.split()[:2] for line in lines if "±" in line and line[:1].isdigit()]

    # 8 and 5 of ten cannot be told apart: they share the place
    assert placed == [["1", "lora"], ["1", "nuggets"]]


def test_sorting_by_a_suite_puts_its_best_first(board, folder):
    rows = board(folder, "--sort", "method", "--format", "md").stdout

    assert re.findall(r"(lora|nuggets|student|teacher)\**\s\|", rows) == ["lora", "nuggets", "student", "teacher"]


def test_the_picture_is_svg_with_the_figures_of_the_screen_and_nothing_from_elsewhere(board, folder, tmp_path):
    shown = board(folder, "--svg", tmp_path / "board.svg")

    picture = (tmp_path / "board.svg").read_text(encoding="utf-8")
    assert shown.returncode == 0
    assert picture.startswith("<svg")
    assert "…" not in picture
    assert "80.0&#160;±&#160;13.3" in picture
    assert re.findall(r"https?://(?!www\.w3\.org|www\.textualize\.io)", picture) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sort", "sedonds"], "the board has no column 'sedonds'. Did you mean 'seconds'?"),
        (["--suite", "fact"], "the board has no suite 'fact'. Did you mean 'facts'?"),
        (["--pair", "tinny"], "the board has no pair 'tinny'. Did you mean 'tiny'?"),
        (["--format", "jsno"], "--format 'jsno' will not do. Did you mean 'json'?"),
    ],
)
def test_a_name_that_is_not_there_is_refused_with_the_nearest(board, folder, arguments, message):
    refused = board(folder, *arguments)

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"pkt-bench: {message}")


def test_a_folder_that_is_not_there_is_refused_with_what_to_do(board, tmp_path):
    refused = board(tmp_path / "nothing")

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"pkt-bench: there is no run folder {tmp_path / 'nothing'}.\n"
        f"  Make one with: pkt-bench run --methods all --out {tmp_path / 'nothing'}, or name another folder.\n"
    )


def test_a_folder_without_runs_is_refused(board, tmp_path):
    refused = board(tmp_path)

    assert refused.returncode == 2
    assert refused.stderr.startswith(f"pkt-bench: {tmp_path} holds no recorded runs.")


def test_a_picture_that_cannot_be_saved_is_a_storage_error(board, folder, tmp_path):
    refused = board(folder, "--svg", tmp_path / "no" / "board.svg")

    assert refused.returncode == 4
    assert "board.svg cannot be written: No such file or directory" in refused.stderr


def test_damage_is_said_on_stderr_and_the_rest_is_shown(board, folder, tmp_path):
    import shutil

    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    damaged = min((copy / "cells").glob("*/*.arrow"))
    damaged.write_bytes(damaged.read_bytes()[:-1])

    shown = board(copy, "--format", "json")

    assert shown.returncode == 0
    assert shown.stderr.startswith(f"pkt-bench: {damaged} is damaged")
    assert sum(json.loads(shown.stdout)["boards"][0]["outcomes"].values()) == 9


# ---------------------------------------------------------------- filters, columns, groups, pivots, views


def figures_by_method(shown):
    """Of a board as JSON: each row by its label."""
    return {row["label"]: row for each in json.loads(shown.stdout)["boards"] for row in each["rows"]}


def test_where_ranks_only_the_runs_it_holds_of_and_says_how_many_were_left_out(board, folder):
    shown = board(folder, "--where", "seed == 0 and method != nuggets")

    assert "nuggets" not in shown.stdout.partition("where")[0]
    assert "seed == 0 and method != nuggets: 4 of 10 runs left out, as if they had not been made" in shown.stdout
    # without its second seed lora has one
    assert figures_by_method(board(folder, "--where", "seed == 0", "--format", "json"))["lora"]["seeds"] == [0]


def test_having_shows_only_the_rows_it_holds_of_with_the_figures_of_the_whole_board(board, folder):
    whole = figures_by_method(board(folder, "--format", "json"))

    shown = figures_by_method(board(folder, "--having", "not reference and mean > 0.5", "--format", "json"))

    assert shown == {"lora": whole["lora"]}
    screen = board(folder, "--having", "code >= 0.5").stdout
    assert "code >= 0.5: 1 of 4 methods not shown; places and tests count them" in screen


def test_json_says_what_it_was_filtered_by(board, folder):
    shown = board(folder, "--where", "seed < 9", "--having", "reference", "--format", "json")

    assert json.loads(shown.stdout)["filters"] == {"where": "seed < 9", "having": "reference"}


def test_only_the_columns_asked_for_are_shown(board, folder):
    shown = board(folder, "--columns", "method,mean", "--columns", "code gap", "--format", "md")

    assert shown.stdout.splitlines()[4] == "| method | mean (2 suites) | gap (code) |"


def test_every_method_is_tested_against_the_baseline_that_was_named(board, folder):
    rows = figures_by_method(board(folder, "--baseline", "lora", "--format", "json"))

    # three of ten more than lora on each suite, and none less
    assert rows["lora"]["against_baseline"] is None
    assert rows["student"]["suites"]["code"]["against_baseline"]["difference"] == pytest.approx(-0.7)
    assert rows["student"]["suites"]["code"]["against_student"] is None


def test_methods_stand_under_their_group(board, folder):
    lines = board(folder, "--group", "paradigm", "--columns", "method,mean").stdout.splitlines()

    first = [line.strip() for line in lines[4:11]]
    assert [line for line in first if line.startswith("paradigm")] == ["paradigm reference", "paradigm language"]
    assert first.index("paradigm language") < next(n for n, line in enumerate(first) if line.startswith("lora"))


def test_a_pivot_folds_runs_by_any_columns(board, folder):
    shown = board(folder, "--pivot", "suite", "--format", "csv")

    lines = list(csv.DictReader(io.StringIO(shown.stdout)))
    assert [(line["method"], line["suite"], line["text"], line["runs"]) for line in lines] == [
        ("lora", "code", "80.0", "2"),
        ("lora", "facts", "80.0", "2"),
        ("nuggets", "code", "50.0", "1"),
        ("student", "code", "10.0", "1"),
        ("student", "facts", "10.0", "1"),
        ("teacher", "code", "100.0", "1"),
        ("teacher", "facts", "100.0", "1"),
    ]


def test_a_pivot_is_shown_in_every_format(board, folder):
    for form in ("table", "md", "html", "latex"):
        assert "80.0 (2)" in board(folder, "--pivot", "suite", "--format", form).stdout


@pytest.mark.parametrize("form", ["md", "html", "latex", "csv", "tsv", "json"])
def test_every_format_has_the_figures_of_the_screen(board, folder, form):
    shown = board(folder, "--format", form)

    assert (shown.returncode, shown.stderr) == (0, "")
    assert {"80.0", "13.3", "9.4"} <= set(numbers(shown.stdout))


OPTIONS = {
    "all": ["--all"],
    "group": ["--group", "paradigm,method"],
    "columns": ["--columns", "place,method,code by seed,detectable,forgot"],
    "pivot": ["--pivot", "suite", "--group", "method,seed"],
    "filters": ["--where", "seed < 5", "--having", "mean > 0 or reference", "--baseline", "lora"],
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_screens_of_every_kind_are_whole_at_sixty_columns_and_without_a_terminal(board, folder, options):
    wide = board(folder, *options)
    narrow, dumb = board(folder, *options, COLUMNS="60", NO_COLOR="1"), board(folder, *options, TERM="dumb")

    assert (wide.returncode, wide.stderr) == (0, "")
    assert dumb.stdout == wide.stdout
    assert "…" not in narrow.stdout + wide.stdout
    assert "\x1b" not in narrow.stdout + wide.stdout
    assert max(map(len, narrow.stdout.splitlines())) <= 60
    assert set(numbers(narrow.stdout)) == set(numbers(wide.stdout))


def test_an_ascii_terminal_gets_ascii_whatever_is_asked_for(folder):
    shown = board_alone(folder, "--all", "--group", "paradigm", PYTHONIOENCODING="ascii")

    assert shown.returncode == 0
    assert shown.stdout.isascii()
    # 0.8 between the student's 0.1 and the teacher's 1.0, twice: 7 * 0.78 = 5.4 steps up from the lowest block
    assert re.search(r"lora .* \*\* ", shown.stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--where", "methd == lora"],
            "--where: no column is called 'methd'. Did you mean 'method'?\n  methd == lora\n",
        ),
        (["--where", "seed > 9"], "--where: leaves none of 10 runs."),
        (["--having", "maen > 0.5"], "--having: no column is called 'maen'. Did you mean 'mean'?"),
        (["--having", "code > 50"], "--having: leaves no method.\n  Scores and gaps are shares of 1"),
        (["--columns", "method,meen"], "the board has no column 'meen'. Did you mean 'mean'?"),
        (["--baseline", "lorra"], "the board has no method 'lorra'. Did you mean 'lora'?"),
        (["--group", "paradim"], "the board has no kind of method 'paradim'. Did you mean 'paradigm'?"),
        (["--pivot", "settings.rank"], "the board has no column 'settings.rank'."),
        (["--pivot", "suite", "--show", "method"], "the board has no column of numbers 'method'."),
        (["--pivot", "method"], "--pivot: method is a --group already."),
        (["--pivot", "suite", "--sort", "mean"], "--sort is of a board and says nothing of a --pivot"),
        (["--show", "seconds"], "--show seconds is of a pivot"),
        (["--format", "htm"], "--format 'htm' will not do. Did you mean 'html'?"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_anything_is(board, folder, arguments, message):
    refused = board(folder, *arguments)

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"pkt-bench: {message}")


def test_a_view_applies_what_was_saved_and_flags_win(board, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("PKT_BENCH_HOME", str(tmp_path))
    views.save("ours", ["--where", "seed == 0", "--columns", "method,mean", "--format", "md"])

    saved, overruled = board(folder, "--view", "ours"), board(folder, "--view", "ours", "--columns", "method,seeds")

    assert saved.stdout == board(folder, "--where", "seed == 0", "--columns", "method,mean", "--format", "md").stdout
    assert "| method | seeds |" in overruled.stdout
    assert "6 of 10" not in overruled.stdout
    assert "seed == 0: 1 of 10 runs left out" not in overruled.stdout.partition("**where**")[0]


def test_a_view_that_is_not_there_is_refused_with_the_nearest(board, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("PKT_BENCH_HOME", str(tmp_path))
    views.save("ours", ["--all"])

    refused = board(folder, "--view", "our")

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("pkt-bench: no view is called 'our'. Did you mean 'ours'?\n  Saved: ours\n")


def test_no_name_or_reason_can_move_the_cursor():
    hostile = sheet.Sheet(
        title="tiny\x1b[2J",
        subtitle="",
        headings=(sheet.Heading("method", "method", right=False), sheet.Heading("mean", "mean")),
        lines=(sheet.Line((sheet.Cell("red\x1b[31m\r\nlora"), sheet.Cell("1.0")), group="kind \x07"),),
        notes=(sheet.Note("¹", "failed:\x1b]0;title\x07 no\n\tmemory"),),
        fixed=1,
    )
    sink = io.StringIO()

    print_boards([hostile], Console(file=sink, width=80))

    shown = sink.getvalue()
    assert [letter for letter in shown if not letter.isprintable() and letter != "\n"] == []
    assert "red?[31m lora" in shown
    assert "failed:?]0;title? no memory" in shown


def test_ranks_are_shown_over_all_suites_and_go_with_no_other_table(board, tmp_path):
    recorded_boards.record_board(tmp_path / "runs")

    shown = board(tmp_path / "runs", "--ranks")
    both = board(tmp_path / "runs", "--ranks", "--pivot", "seed")

    assert shown.returncode == 0
    ranks = {line.split()[0]: line.split()[1] for line in shown.stdout.splitlines() if re.match(r"\S+ +\d\.\d\d", line)}
    # full is first on every suite
    assert ranks["full"] == "1.00"
    assert both.returncode == 2

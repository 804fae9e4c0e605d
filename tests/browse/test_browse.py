"""Walking through a board: the screens as words at two sizes, and what keys and the mouse do."""

import contextlib
import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import termios
import time

import pytest

from pkt_bench import sources
from pkt_bench.domain import Knobs
from pkt_bench.store import Store
from pkt_bench.tui.browse.flips import flipped_on
from pkt_bench.tui.browse.frontier import Point, frontier, plot
from pkt_bench.tui.browse.listing import Entry, Lazy, Listing, one_line
from pkt_bench.tui.browse.recorded import Recorded
from pkt_bench_leaderboards import formats
from pkt_bench_leaderboards.board import boards
from recorded import make_cell, make_item, make_run, make_score

DOWN_TO = {"full": 1, "nuggets": 2, "pissa": 4, "lora": 5, "student": 6, "laten": 7}


def to(label):
    return ["home", *["down"] * DOWN_TO[label]]


@pytest.mark.parametrize("size", [(80, 24), (200, 60)], ids=["80x24", "200x60"])
def test_the_screens_are_these(browse, snapshot, size):
    seen = browse(
        ["a"] if size[0] > 80 else [],
        [*to("nuggets"), "f"],
        ["enter"],
        ["escape", "escape", "c"],
        ["down", "enter"],
        ["escape", "p"],
        ["escape", "n"],
        size=size,
    )

    assert "\n\n======== next screen\n".join(seen) == snapshot


def test_the_figures_are_those_of_the_board_command(browse, folder):
    found = sources.read(folder)
    (board,) = json.loads(formats.as_json(boards(found.runs, found.items)))["boards"]

    (_, shown) = browse(["a"], size=(400, 60))

    for row in board["rows"]:
        line = next(line for line in shown.splitlines()[2:] if f" {row['label']} " in line)
        written = [row["text"]["mean"], *(row["suites"][suite]["text"]["score"] for suite in row["suites"])]
        assert all(words in line for words in written if words != "—"), row["label"]


def test_down_to_one_document_and_all_the_way_back(browse):
    seen = browse([*to("lora"), "enter"], ["enter"], ["i"], ["enter"], *[["escape"]] * 4)

    assert seen[1].startswith(" tiny > lora")
    assert "lora-ari" in seen[1]
    assert "its figures, as stored" in seen[2]
    assert "180 answers" in seen[3]
    # words of a stranger stand as they are
    assert "[arithmetic] What is <b>0</b> + 4 | 'and' why?" in seen[4]
    assert "lora, arithmetic, seed 0" in browse([*to("lora"), "enter"], ["enter"], ["i"], ["enter"], size=(120, 400))[4]
    assert seen[8] == seen[0]


def test_flips_are_counted_as_the_paired_test_counts_them(browse, folder):
    found = sources.read(folder)
    (board,) = boards(found.runs, found.items)
    nuggets = next(row for row in board.rows if row.label == "nuggets")

    shown = browse([*to("nuggets"), "f"], size=(200, 300))[1]

    for column, square in zip(board.columns, nuggets.squares, strict=True):
        assert f"{column.suite}: {square.paired.gained} gained, {square.paired.lost} lost" in shown
    lines = [line.split() for line in shown.splitlines()]
    for change in ("gained", "lost"):
        listed = sum(words[:2] == [change, "code"] for words in lines)
        assert listed == getattr(nuggets.squares[1].paired, change)


def flips_of(store):
    """By board and row what the paired test counts and what the browser lists: (gained, lost) each."""
    recorded = Recorded(str(store.root))
    recorded.open()
    found = []
    for board in recorded.test():
        student = next(row for row in board.rows if row.label == board.baseline)
        for row in board.rows:
            if row is not student:
                (square,) = row.squares
                listed = [flip.change for flip in flipped_on(recorded, board, row, student, "code")]
                tested = square.paired.gained, square.paired.lost
                found.append((tested, (listed.count("gained"), listed.count("lost"))))
    return found


def record_answers(store, name, minute, right, wrong, version="1", **given):
    """A done run at `minute` of which so many answers are right, the first ones, and so many wrong."""
    paradigm = "reference" if name == "student" else "language"
    method = {"name": name, "version": version, "paradigm": paradigm, "distribution_version": "1"}
    value, n = right / (right + wrong), right + wrong
    items = [make_item(number, float(number < right)) for number in range(n)]
    store.record(make_run(make_cell(method, **given), value, minute, scores=(make_score(value, n=n),)), items)


@pytest.mark.parametrize(
    "other",
    [{"limit": 10}, {"prompt_hash": "9" * 32}, {"knobs": Knobs(dtype="bfloat16")}],
    ids=["another limit", "another prompt", "another type"],
)
def test_flips_of_a_board_are_none_of_another_boards(tmp_path, other):
    store = Store(tmp_path / "runs")
    record_answers(store, "student", 1, 0, 40)
    record_answers(store, "lora", 2, 20, 20)
    record_answers(store, "student", 3, 0, 10, **other)
    record_answers(store, "lora", 4, 4, 6, **other)

    found = flips_of(store)

    assert sorted(found) == [((4, 0), (4, 0)), ((20, 0), (20, 0))]


def test_flips_of_a_version_are_none_of_another_versions(tmp_path):
    store = Store(tmp_path / "runs")
    record_answers(store, "student", 1, 0, 40)
    record_answers(store, "lora", 2, 10, 30, version="1")
    record_answers(store, "lora", 3, 20, 20, version="2")

    found = flips_of(store)

    assert sorted(found) == [((10, 0), (10, 0)), ((20, 0), (20, 0))]


def test_a_row_says_which_of_its_scores_its_figures_do_not_rest_on(tmp_path, browse):
    store = Store(tmp_path / "runs")
    record_answers(store, "lora", 1, 20, 20)
    record_answers(store, "lora", 2, 4, 6, limit=10)

    shown = browse(["enter"], source=store.root)[1]

    lines = [line for line in shown.splitlines() if line.startswith(" code")]
    assert ["not counted" in line for line in lines] == [False, True]
    assert ["50.0" in lines[0], "40.0 not counted" in lines[1]] == [True, True]


def test_runs_of_one_name_are_told_apart_and_an_answer_may_be_worth_nothing_known(tmp_path, browse):
    store = Store(tmp_path / "runs")
    for minute, value in ((1, None), (2, 1.0)):
        cell = make_cell(data_hash=str(minute) * 32)
        store.record(make_run(cell, 0.5, minute), [make_item(0, value)])

    shown = browse(["enter"], ["enter"], ["i"], ["enter"], source=store.root)[4]

    assert "lora, code, seed 0, run run 1: worth —" in shown
    assert "lora, code, seed 0, run run 2: worth right" in shown


def test_answers_that_are_gone_are_said_to_be(tmp_path, browse):
    store = Store(tmp_path / "runs")
    record_answers(store, "student", 1, 0, 4)
    record_answers(store, "lora", 2, 4, 0)

    async def remove(pilot):
        shutil.rmtree(store.root)

    shown = browse(remove, ["home", "f"], source=store.root)[2]

    assert "answers cannot be read: there is no run folder" in shown


def test_words_and_expressions_filter_as_they_are_typed(browse):
    seen = browse(["slash", *"lora"], ["escape"], ["slash", *"zzz"], ["escape"])

    rows = [[line for line in screen.splitlines() if "±" in line] for screen in seen]
    assert len(rows[0]) == 8
    assert len(rows[1]) == 1
    assert "1 of 10 rows" in seen[1]
    assert len(rows[2]) == 8
    assert "0 of 10 rows" in seen[3]
    assert seen[4].splitlines()[2:] == seen[0].splitlines()[2:]


def test_an_expression_that_cannot_be_read_is_said_and_hides_nothing(browse):
    from textual.widgets import Input

    async def put(pilot):
        await pilot.press("slash")
        pilot.app.screen.query_one(Input).value = "mean > 0.5 and"

    async def mend(pilot):
        pilot.app.screen.query_one(Input).value = "mean > 0.58 and not reference"

    wrong, right = browse(put, mend)[1:]

    assert sum("±" in line for line in wrong.splitlines()) == 8
    assert "the filter cannot be read: this is where it stops making sense" in wrong
    assert [line.split()[1] for line in right.splitlines() if "±" in line] == ["full", "nuggets"]


def test_sorting_by_key_and_by_a_click_on_a_heading(browse):
    def labels(app):
        listing = app.screen.query_one(Listing)
        return [listing._entry(number).key for number in range(listing.count)]

    async def seconds(pilot):
        listing = pilot.app.screen.query_one(Listing)
        place = [heading.key for heading in listing._headings].index("seconds")
        x = 1 + sum(width + 2 for width in listing._widths[:place])
        await pilot.click(Listing, offset=(x, 0))

    by_place, by_method, by_seconds, turned = browse(["s"], seconds, seconds, size=(200, 60), look=labels)

    assert by_place[:2] == ["teacher", "full"]
    assert by_method == sorted(by_method)
    assert by_seconds[:3] == ["student", "teacher", "pissa"]
    assert turned == by_seconds[::-1]


def test_a_click_moves_the_cursor_and_another_opens(browse):
    async def click(pilot):
        await pilot.click(Listing, offset=(20, 4))

    def where(app):
        return app.screen.path, app.screen.query_one(Listing).key

    _, first, second = browse(click, click, look=where)

    assert first[1] == "nuggets"
    assert second[0] == ("tiny", "nuggets")


def test_every_command_is_in_the_palette(browse):
    def commands(app):
        return {command.title for command in app.get_system_commands(app.screen)}

    (found,) = browse(look=commands)

    assert {"Filter", "Sort", "Flips", "Compare", "Cost", "Notes", "All columns"} <= found


def test_a_terminal_without_unicode_gets_none(browse):
    seen = browse(["p"], ["escape", "n"], ["escape", "question_mark"], plain=True)

    words = [line for screen in seen for line in screen.splitlines()[:-1]]
    # scroll bars and the keys at the bottom are Textual's own
    assert all(ord(letter) < 128 or "\u2580" <= letter <= "\u259f" for line in words for letter in line)


def test_words_that_would_move_the_cursor_do_not(tmp_path, browse):
    cell = make_cell({"name": "odd", "version": "1", "paradigm": "language", "distribution_version": "1"})
    item = make_item()
    hostile = item.__class__(
        **{
            name: getattr(item, name)
            for name in ("task", "metric", "filter", "doc_id", "doc_hash", "prompt_hash", "target", "value")
        },
        prompt="[red]one\x1b[2J\r\nzwei\t漢字\x07 " + "long " * 200,
        response="[/]\x00",
    )
    Store(tmp_path / "runs").record(make_run(cell, 1.0), (hostile,))

    seen = browse(["enter"], ["enter"], ["i"], ["enter"], source=tmp_path / "runs")

    assert "[red]one" in seen[3]
    assert "[red]one" in seen[4]
    assert "漢字" in seen[4]
    assert not any(letter in screen for screen in seen for letter in "\x1b\x07\x00\r")


def test_nothing_but_a_terminal_will_do(warm, folder):
    answer = warm("browse", folder)

    assert answer.code == 2
    assert f"See the same with: pkt-bench board {folder}" in answer.err
    assert answer.out == ""


def on_a_terminal(arguments, until, **environment):
    """Runs the browser on a terminal of its own until words are seen, then presses q: exit code and all it wrote."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    clean = {name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "NO_COLOR", "COLUMNS"}}
    command = [sys.executable, "-m", "pkt_bench", "browse", *map(str, arguments)]
    said = b""
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=clean | environment) as run:
        os.close(slave)
        deadline = time.monotonic() + 60
        while run.poll() is None and time.monotonic() < deadline:
            ready, _, _ = select.select([master], [], [], 0.1)
            if ready:
                with contextlib.suppress(OSError):
                    said += os.read(master, 65536)
            if until in said:
                os.write(master, b"q")
                time.sleep(0.2)
        run.kill()
    with contextlib.suppress(OSError):
        said += os.read(master, 65536)
    os.close(master)
    return run.returncode, said


def test_on_a_real_terminal_it_opens_and_leaves_without_colour_where_none_is_wanted(folder):
    code, said = on_a_terminal([folder], b"nuggets", TERM="xterm-256color", NO_COLOR="1")

    assert code == 0
    colours = re.findall(rb"\x1b\[[0-9;]*?[34]8;2;(\d+);(\d+);(\d+)", said)
    # shades of grey at most
    assert all(len(set(colour)) == 1 for colour in colours)


def test_a_terminal_that_cannot_move_its_cursor_is_refused(folder):
    code, said = on_a_terminal([folder], b"never", TERM="dumb")

    assert code == 2
    assert b"browse needs a terminal that can move its cursor" in said


# ---------------------------------------------------------------- parts


def test_the_frontier_is_what_nobody_beats():
    cheap, good, beaten, equal = (
        Point("cheap", 1, 0.3),
        Point("good", 5, 0.9),
        Point("beaten", 6, 0.8),
        Point("equal", 1, 0.3),
    )

    assert frontier([good, beaten, cheap, equal], higher_is_better=True) == [cheap, equal, good]
    assert frontier([good, beaten, cheap], higher_is_better=False) == [cheap]


def test_a_plot_has_the_dearest_at_its_right_and_the_best_at_its_top():
    points = [Point("free", 0, 0.1), Point("middle", 100, 0.5), Point("dear", 100_000, 0.9)]

    lines, axis = plot(points, points[2:], 41, 5)

    assert axis == "logarithmic"
    assert lines[0] == " " * 40 + "C"
    assert lines[4][0] == "a"
    # three decades and a tenth of them below: 100 stands at 0.3 / 3.3 of the way
    assert lines[2].index("b") == round(0.3 / 3.3 * 40)


def test_lines_are_made_when_they_are_seen():
    made = []

    def make(number):
        made.append(number)
        return Entry(str(number), ())

    lines = Lazy(1_000_000, make)

    assert (lines[999_999].key, lines[-1].key, [line.key for line in lines[2:4]]) == ("999999", "999999", ["2", "3"])
    assert len(made) == 4
    with pytest.raises(IndexError):
        lines[1_000_000]


def test_a_line_stays_one_line():
    assert one_line("a\r\nb\tc\x1b[31m\u202e") == "a⏎b c�[31m�"


def test_a_row_of_very_many_runs_is_gone_through_from_end_to_end(browse, tmp_path):
    store = Store(tmp_path / "many")
    for seed in range(60):
        store.record(make_run(make_cell(seed=seed), 0.5, minute=seed % 60, run_id=f"run {seed}"))

    seen = browse(["enter"], ["end"], ["pageup", "pageup"], ["home"], source=store.root, size=(120, 24))

    assert "run 0\n" in seen[1]
    assert "run 59" in seen[2]
    assert "run 59" not in seen[3]
    assert seen[4] == seen[1]

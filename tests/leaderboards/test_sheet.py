import json
from dataclasses import replace

import pytest

from pkt_bench_leaderboards import formats
from pkt_bench_leaderboards.board import Against, Board, Column, Costs, Forgotten, Noise, Reason, Row, Square
from pkt_bench_leaderboards.sheet import Note, column_keys, group_keys, write
from pkt_bench_leaderboards.statistics import Paired

AHEAD = Paired(
    0.004,
    0.21,
    60,
    20,
    3,
    "exact McNemar",
    p_holm=0.012,
    low=0.104,
    high=0.316,
    seeds=3,
    detectable=0.151,
    items_needed=34,
    seeds_needed=None,
)
CHANCE = replace(AHEAD, p=0.02, p_holm=0.06, difference=0.05)
BEHIND = replace(AHEAD, difference=-0.123)


def make_row(label, *, paired=None, settings="{}", **given):
    square = Square(
        "done",
        0.55,
        0.05,
        0.4512,
        0.6488,
        seeds=(0, 1, 2),
        values=(0.5, 0.55, 0.6),
        gap_closed=0.6,
        gap_low=0.406,
        gap_high=0.774,
        paired=paired,
    )
    defaults = {
        "method": label,
        "label": label,
        "version": "1",
        "distribution": "pkt-bench",
        "settings": settings,
        "paradigm": "language",
        "control_of": "",
        "oracle": False,
        "variant": None,
        "older_runs": 0,
        "squares": (square, square),
        "costs": Costs(12.0, 0, 98_304),
        "mean": 0.55,
        "mean_stderr": 0.04,
        "mean_low": 0.47,
        "mean_high": 0.63,
        "gap_closed": 0.6,
        "gap_low": 0.41,
        "gap_high": 0.77,
        "place": 1,
        "paired": paired,
    }
    return Row(**(defaults | given))


def make_board(*rows, **given):
    columns = tuple(Column(suite, f"tiny_{suite}", "acc", "none", 0, 60) for suite in ("code", "facts"))
    defaults = {
        "pair": "tiny",
        "teacher": "large",
        "student": "small",
        "teacher_hash": None,
        "student_hash": None,
        "device": "cpu",
        "dtype": "float32",
        "threads": 1,
        "batch_size": 16,
        "scorer": "lm-eval",
        "limit": None,
        "columns": columns,
        "rows": rows,
        "outcomes": {"done": 12},
    }
    return Board(**(defaults | given))


def said(board, mark, **options):
    return [note.words for note in write(board, **options).notes if note.mark == mark]


def cells(board, label, **options):
    written = write(board, everything=True, **options)
    (line,) = (line for line in written.lines if line.cells[1].text == label)
    return {heading.key: cell.written for heading, cell in zip(written.headings, line.cells, strict=True)}


def test_marks_and_p_go_by_the_corrected_test_and_the_raw_one_stands_beside():
    board = make_board(make_row("lora", paired=AHEAD), make_row("pissa", paired=CHANCE))

    lora, pissa = cells(board, "lora"), cells(board, "pissa")

    assert (lora["mean"], lora["code"], lora["p"], lora["p raw"]) == ("55.0 ± 4.0 ▲", "55.0 ± 5.0 ▲", "0.012", "0.004")
    # p of 0.02 alone is no find among many
    assert (pissa["mean"], pissa["code"], pissa["p"], pissa["p raw"]) == ("55.0 ± 4.0", "55.0 ± 5.0", "0.060", "0.020")


@pytest.mark.parametrize(
    ("paired", "mark"),
    [
        (AHEAD, "▲"),
        (BEHIND, "▼"),
        (replace(AHEAD, seeds=1), "△"),
        (replace(BEHIND, seeds=1), "▽"),
        (replace(AHEAD, p_holm=None), "▲"),
        (None, ""),
    ],
)
def test_a_mark_says_which_way_and_whether_one_seed_is_all_there_is(paired, mark):
    assert cells(make_board(make_row("lora", paired=paired)), "lora")["code"].rpartition("5.0")[2].strip() == mark


def test_everything_adds_intervals_seeds_and_what_the_test_could_have_found():
    lora = cells(make_board(make_row("lora", paired=AHEAD)), "lora")

    expected = {
        "mean 95 %": "[47.0, 63.0]",
        "code 95 %": "[45.1, 64.9]",
        "code by seed": "▁▅█",
        "gap 95 %": "[41, 77] %",
        "ahead": "+21.0",
        "ahead 95 %": "[10.4, 31.6]",
        "detectable": "15.1",
        "items needed": "34",
        # no number of seeds would do
        "seeds needed": "—",
        "forgot": "—",
    }
    assert {key: lora[key] for key in expected} == expected


def test_the_notes_name_the_baseline_the_family_and_the_tests():
    exact = replace(CHANCE, test="exact sign-flip permutation")
    student = make_row("student", paradigm="reference", paired=AHEAD, place=None)
    board = make_board(make_row("lora", paired=AHEAD), make_row("pissa", paired=exact), student, baseline="kd")

    # two methods on two suites, and two means; the untouched student is no contestant
    assert said(board, "▲ ▼") == [
        (
            "better, worse than kd on the same items: p < 0.05 after Holm over the 4 comparisons on suites and, "
            "apart from them, the 2 of means"
        )
    ]
    assert said(board, "p") == [
        "two-sided, against kd, corrected after Holm: exact McNemar, or exact sign-flip permutation"
    ]
    assert said(board, "detects") == [
        (
            "with as many items and seeds a difference of the mean of 15.1 is found four times out of five, "
            "a smaller one less often"
        )
    ]


def test_tests_that_were_not_corrected_are_called_so():
    board = make_board(make_row("lora", paired=replace(AHEAD, p_holm=None)))

    assert said(board, "p") == ["two-sided, against student, uncorrected: exact McNemar"]


def test_a_board_without_its_baseline_says_that_nothing_is_tested():
    assert said(make_board(make_row("lora"), baseline=""), "p") == [
        "none: the board does not have the row that was to be tested against"
    ]


def test_the_place_is_explained_where_there_are_several():
    rows = make_row("lora", beats=("pissa",)), make_row("pissa", place=2)

    (words,) = said(make_board(*rows), "#")

    assert words.startswith("place: one more than the number of methods that are significantly ahead; methods that")
    assert words.endswith("(every pair on the same items, p < 0.05 after Holm)")
    assert said(make_board(rows[0]), "#") == []


def test_places_that_do_not_rest_on_paired_tests_say_why():
    board = make_board(make_row("lora"), make_row("pissa", place=2), place_note="answers are not known")

    assert said(board, "#")[0].endswith("share it; not by paired tests: answers are not known")
    assert json.loads(formats.as_json([board]))["boards"][0]["place_note"] == "answers are not known"


def forgotten(task, paired, suite="code"):
    return Forgotten(suite, task, "acc", 0.4, 0.52, higher_is_better=True, paired=paired)


def test_what_was_significantly_forgotten_is_said_of_each_method():
    lost = make_row("lora", forgotten=(forgotten("tiny_facts", BEHIND), forgotten("tiny_maths", CHANCE)))
    kept = make_row("pissa", forgotten=(forgotten("tiny_facts", CHANCE),))
    board = make_board(lost, kept)

    assert said(board, "forgot") == [
        "lora: -12.3 on tiny_facts, made for code (p 0.012)",
        (
            "p < 0.05 (3 figures on tasks of other suites, each against the untouched student on the same items, "
            "after Holm)"
        ),
    ]
    assert [cells(board, label)["forgot"] for label in ("lora", "pissa")] == ["1 of 2", "0 of 1"]


def test_where_nothing_was_significantly_forgotten_one_line_says_so():
    board = make_board(make_row("lora", forgotten=(forgotten("tiny_facts", CHANCE),)))

    (words,) = said(board, "forgot")

    assert words.startswith("nothing that could be told from chance")


@pytest.mark.parametrize(
    ("paired", "expected"),
    [
        (AHEAD, "nuggets against sham: +21.0, p 0.012: ahead"),
        (CHANCE, "nuggets against sham: +5.0, p 0.060: not to be told apart"),
        (BEHIND, "nuggets against sham: -12.3, p 0.012: behind"),
        (replace(AHEAD, seeds=1), "nuggets against sham: +21.0, p 0.012, one seed: ahead"),
    ],
)
def test_a_method_is_said_to_be_ahead_of_its_control_behind_it_or_neither(paired, expected):
    board = make_board(
        make_row("nuggets", controls=(Against("sham", "nuggets", paired),)), make_row("sham", control_of="nuggets")
    )

    assert said(board, "control")[0] == expected
    assert len(said(board, "control")) == 2


def test_a_control_that_was_not_tested_is_still_called_one():
    assert said(make_board(make_row("sham", control_of="nuggets")), "control") == [
        "not tested against its method: sham of nuggets"
    ]


def test_noise_is_said_to_be_none_or_how_much():
    still = Noise("student", "code", 3, 0.0, 0)

    quiet = make_board(make_row("lora"), noise=(still, replace(still, method="teacher")))
    loud = make_board(make_row("lora"), noise=(still, Noise("student", "facts", 3, 0.0167, 1)))

    assert said(quiet, "noise") == [
        "none: 6 runs of the untouched student and teacher gave the same answers, suite by suite"
    ]
    assert said(loud, "noise") == [
        (
            "the same untouched model run again scores differently: student on facts 1.7 between 3 runs, "
            "answers to 1 item differ"
        )
    ]


def test_notes_do_not_grow_with_the_board():
    reason = (Reason("failed", "no memory", (0,)),)
    rows = [
        replace(
            make_row(
                f"method-{number}",
                paired=AHEAD,
                control_of="nuggets",
                forgotten=(forgotten("tiny_facts", BEHIND),) * 5,
                controls=(Against(f"sham-{number}", f"method-{number}", CHANCE),),
                oracle=True,
                older_runs=1,
            ),
            squares=(Square("failed", reasons=reason),) * 2,
        )
        for number in range(40)
    ]

    notes = write(make_board(*rows)).notes

    assert len(notes) < 30
    assert max(len(note.words) for note in notes) < 600
    assert any("method-0 on code, seed 0" in note.words and "and 72 more" in note.words for note in notes)


def test_only_the_rows_asked_for_are_shown_with_the_figures_of_the_whole_board():
    board = make_board(make_row("lora", paired=AHEAD), make_row("pissa", paired=AHEAD, place=2))

    written = write(board, only={"pissa"}, remarks=[Note("having", "x")])

    assert [line.cells[1].text for line in written.lines] == ["pissa"]
    assert written.notes[0] == Note("having", "x")
    assert "the 4 comparisons" in said(board, "▲ ▼", only={"pissa"})[0]


def test_columns_come_in_the_order_asked_for_and_what_says_what_a_line_is_comes_in_every_part():
    written = write(make_board(make_row("lora")), columns=("method", "mean", "place", "code gap 95 %"))

    assert [heading.key for heading in written.headings] == ["method", "mean", "place", "code gap 95 %"]
    assert written.fixed == 1
    assert written.lines[0].cells[3].text == "[41, 77] %"


def test_every_column_a_board_offers_can_be_asked_for():
    board = make_board(make_row("lora", paired=AHEAD))

    for key in column_keys(board):
        assert [heading.key for heading in write(board, columns=(key,)).headings] == [key]


def test_a_board_of_one_suite_answers_to_mean_and_p_too():
    row = make_row("lora", paired=AHEAD)
    board = make_board(replace(row, squares=row.squares[:1]))
    board = replace(board, columns=board.columns[:1])

    assert [cell.written for cell in write(board, columns=("mean", "p")).lines[0].cells] == ["55.0 ± 5.0 ▲", "0.012"]


def test_lines_stand_under_what_they_are_grouped_by():
    board = make_board(
        make_row("lora", settings='{"rank": 8}'),
        make_row("laten", paradigm="pre-align"),
        make_row("pissa", settings='{"rank": 8}', place=2),
    )

    by_kind = [(name, len(lines)) for name, lines in write(board, group=("paradigm",)).sections()]
    by_rank = [(name, len(lines)) for name, lines in write(board, group=("settings.rank",)).sections()]

    assert by_kind == [("paradigm language", 2), ("paradigm pre-align", 1)]
    assert by_rank == [("settings.rank 8", 2), ("settings.rank —", 1)]
    assert "settings.rank" in group_keys(board)


def test_json_holds_what_is_new_with_its_words_beside():
    board = make_board(
        make_row(
            "nuggets",
            paired=AHEAD,
            beats=("lora",),
            forgotten=(forgotten("tiny_facts", BEHIND),),
            controls=(Against("sham", "nuggets", CHANCE),),
        ),
        noise=(Noise("student", "code", 3, 0.0, 0),),
        baseline="kd",
    )

    (found,) = json.loads(formats.as_json([board], {"where": "seed < 3"}))["boards"]

    (row,) = found["rows"]
    assert (found["baseline"], found["noise"][0]["runs"]) == ("kd", 3)
    assert (row["mean_low"], row["mean_high"], row["text"]["mean_interval"]) == (0.47, 0.63, "[47.0, 63.0]")
    assert (row["gap_low"], row["text"]["gap_interval"]) == (0.41, "[41, 77] %")
    assert (row["against_baseline"]["p_holm"], row["against_baseline"]["text"]["p_holm"]) == (0.012, "0.012")
    assert (row["against_baseline"]["seeds_needed"], row["against_baseline"]["items_needed"]) == (None, 34)
    assert row["beats"] == ["lora"]
    assert (row["forgotten"][0]["significant"], row["controls"][0]["control"]) == (True, "sham")
    square = row["suites"]["code"]
    assert (square["values"], square["low"], square["text"]["p"]) == ([0.5, 0.55, 0.6], 0.4512, "0.012")
    # against kd, so not against the student
    assert (square["against_baseline"]["p"], square["against_student"]) == (0.004, None)

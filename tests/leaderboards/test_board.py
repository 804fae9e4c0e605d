import pytest
import scipy.stats

from pkt_bench_leaderboards.board import boards


def only(table, items=None):
    (board,) = boards(table, items)
    return board


def by_label(board):
    return {row.label: row for row in board.rows}


@pytest.fixture
def references(row):
    return [
        row("student", "code", 0.10, 0.03),
        row("teacher", "code", 0.90, 0.03),
        row("student", "facts", 0.20, 0.04),
        row("teacher", "facts", 0.80, 0.04),
    ]


@pytest.fixture
def worked(row, references):
    """The board that is worked out by hand below."""
    return [
        *references,
        row("lora", "code", 0.30, 0.05, seed=0),
        row("lora", "code", 0.30, 0.05, seed=1),
        row("lora", "facts", 0.50, 0.05, seed=0, seconds=10.0, payload_bytes=0),
        row("lora", "facts", 0.54, 0.05, seed=1, seconds=20.0, payload_bytes=0),
        row("laten", "code", 0.30, 0.05),
        row("laten", "facts", 0.52, 0.05),
        row("nuggets", "facts", 0.60, 0.05),
        row("nuggets", "code", outcome="failed", reason="ranks do not fit"),
    ]


def test_a_square_is_the_mean_over_seeds_with_the_error_of_items_and_spread(worked, runs):
    square = by_label(only(runs(*worked)))["lora"].squares[1]

    assert square.seeds == (0, 1)
    assert square.value == pytest.approx(0.52)
    # mean(0.05^2, 0.05^2) + var(0.50, 0.54) / 2 = 0.0025 + 0.0008 / 2
    assert square.stderr == pytest.approx(0.0029**0.5)
    # of the gap: (0.52 - 0.20) / (0.80 - 0.20)
    assert square.gap_closed == pytest.approx(0.32 / 0.6)
    assert square.costs.seconds == pytest.approx(15.0)


def test_the_mean_is_over_suites_and_so_is_its_gap(worked, runs):
    lora = by_label(only(runs(*worked)))["lora"]

    assert lora.mean == pytest.approx(0.41)
    assert lora.mean_stderr == pytest.approx((0.0029 + 0.0025) ** 0.5 / 2)
    # of the gap: (0.41 - 0.15) / (0.85 - 0.15)
    assert lora.gap_closed == pytest.approx(0.26 / 0.7)


def test_rows_come_best_first_with_the_references_where_they_would_stand(worked, runs):
    board = only(runs(*worked))

    assert [(row.label, row.place) for row in board.rows] == [
        ("teacher", None),
        ("laten", 1),
        ("lora", 1),
        ("student", None),
        ("nuggets", None),
    ]


def test_without_answers_a_place_is_by_standard_errors_and_what_they_cannot_tell_apart_shares_it(row, runs):
    table = runs(
        row("far", "facts", 0.90, 0.03),
        row("near", "facts", 0.62, 0.03),
        row("nearer", "facts", 0.64, 0.03),
        row("unsure", "facts", 0.99, None),
    )

    rows = by_label(only(table))

    # 0.26 apart with an error of 0.042 is 6.1 of them, 0.02 is half of one; without an error nothing can be said
    assert {name: rows[name].place for name in rows} == {"far": 1, "near": 2, "nearer": 2, "unsure": None}
    assert only(table).place_note == "the answers of 4 of 4 rows are not at hand"


def test_a_method_without_a_score_on_every_suite_has_neither_mean_nor_place(worked, runs):
    nuggets = by_label(only(runs(*worked)))["nuggets"]

    assert (nuggets.mean, nuggets.place, nuggets.gap_closed) == (None, None, None)
    assert nuggets.squares[0].outcome == "failed"
    assert [(r.outcome, r.text, r.seeds) for r in nuggets.squares[0].reasons] == [("failed", "ranks do not fit", (0,))]


def test_a_square_nobody_tried_says_so(row, runs, references):
    board = only(runs(*references, row("lora", "code", 0.3, 0.05)))

    assert by_label(board)["lora"].squares[1].outcome == "not run"


def test_a_square_with_some_seeds_failed_keeps_its_mean_and_says_which(row, runs):
    table = runs(row("lora", "code", 0.3, 0.05, seed=0), row("lora", "code", seed=1, outcome="interrupted"))

    square = by_label(only(table))["lora"].squares[0]

    assert (square.outcome, square.value, square.seeds) == ("done", 0.3, (0,))
    assert [(reason.outcome, reason.seeds) for reason in square.reasons] == [("interrupted", (1,))]


@pytest.mark.parametrize(
    ("student", "teacher", "note"),
    [
        # two standard errors of the difference are 0.1
        ((0.50, 0.03), (0.59, 0.04), "teacher and student are within two standard errors"),
        ((0.80, 0.03), (0.20, 0.04), "the student is ahead of the teacher"),
        ((0.20, None), (0.80, 0.04), "the standard error of student or teacher is unknown"),
        (None, (0.80, 0.04), "no score of the untouched student"),
        ((0.20, 0.03), None, "no score of the teacher"),
    ],
)
def test_gap_closed_is_null_with_the_reason_where_there_is_no_settled_gap(row, runs, student, teacher, note):
    given = [row(name, "code", *found) for name, found in (("student", student), ("teacher", teacher)) if found]

    board = only(runs(*given, row("lora", "code", 0.5, 0.05)))

    assert by_label(board)["lora"].squares[0].gap_closed is None
    assert board.columns[0].gap_note == note


def test_where_less_is_better_the_smallest_score_has_the_first_place(row, runs):
    low = {"metric": "perplexity", "higher_is_better": False}
    table = runs(
        row("student", "text", 20.0, 0.5, **low),
        row("teacher", "text", 10.0, 0.5, **low),
        row("good", "text", 12.0, 0.5, **low),
        row("bad", "text", 25.0, 0.5, **low),
    )

    board = only(table)

    assert [(r.label, r.place) for r in board.rows] == [("teacher", None), ("good", 1), ("student", None), ("bad", 2)]
    # of the gap: (12 - 20) / (10 - 20) and (25 - 20) / (10 - 20)
    assert [by_label(board)[name].gap_closed for name in ("good", "bad")] == pytest.approx([0.8, -0.5])
    assert not board.columns[0].fraction


def test_suites_in_different_units_have_no_mean(row, runs):
    table = runs(
        row("lora", "code", 0.5, 0.05), row("lora", "text", 12.0, 0.5, metric="perplexity", higher_is_better=False)
    )

    board = only(table)

    assert by_label(board)["lora"].mean is None
    assert board.mean_note == "the suites are not scored in the same unit"


def test_the_newest_done_attempt_counts_and_a_later_failure_does_not_hide_it(row, runs):
    table = runs(
        row("lora", "code", 0.3, 0.05, at=0),
        row("lora", "code", 0.4, 0.05, at=1),
        row("lora", "code", at=2, outcome="failed"),
    )

    square = by_label(only(table))["lora"].squares[0]

    assert (square.value, square.reasons) == (0.4, ())


def test_one_seed_under_two_cell_keys_is_not_taken_for_two_seeds(row, runs):
    table = runs(
        row("lora", "code", 0.3, 0.05, at=0, cell_key="threads 1"),
        row("lora", "code", 0.4, 0.05, at=1, cell_key="threads 2"),
    )

    square = by_label(only(table))["lora"].squares[0]

    assert (square.value, square.seeds) == (0.4, (0,))


def test_figures_that_are_not_the_headline_rank_nobody(row, runs):
    table = runs(
        row("lora", "code", 0.3, 0.05), row("lora", "code", 0.9, 0.05, metric="f1", headline=False, comparability="f1")
    )

    assert by_label(only(table))["lora"].mean == 0.3


def test_rows_that_are_not_comparable_are_split_and_each_board_says_why(row, runs):
    old, new = ({"task_hash": letter * 32, "comparability": letter} for letter in "cd")
    table = runs(
        row("student", "code", 0.1, 0.03, at=0, **old),
        row("lora", "code", 0.9, 0.03, at=1, **old),
        row("student", "code", 0.1, 0.03, at=2, cell_key="s2", **new),
        row("nuggets", "code", 0.5, 0.03, at=3, **new),
    )

    first, second = boards(table)

    assert [row.label for row in first.rows] == ["nuggets", "student"]
    assert [row.label for row in second.rows] == ["lora", "student"]
    assert first.apart == ("code: task configuration dddddddd, not cccccccc",)
    assert second.apart == ("code: task configuration cccccccc, not dddddddd",)


def test_limited_runs_stand_apart_after_whole_ones_however_new(row, runs):
    table = runs(
        row("lora", "code", 0.3, 0.05, at=0),
        row("lora", "code", 0.4, 0.05, at=9, limit=20, cell_key="limited", comparability="limited"),
        row("nuggets", "code", at=9, limit=20, outcome="failed"),
    )

    whole, limited = boards(table)

    assert (whole.limit, whole.apart) == (None, ("limit none",))
    assert (limited.limit, limited.apart) == (20, ("limit 20",))
    assert [row.label for row in whole.rows] == ["lora"]
    assert by_label(limited)["nuggets"].squares[0].outcome == "failed"


def test_pairs_of_one_name_with_other_weights_are_never_ranked_together(row, runs):
    table = runs(
        row("lora", "code", 0.3, 0.05), row("lora", "code", 0.4, 0.05, cell_key="other", teacher_hash="f" * 32, at=1)
    )

    first, second = boards(table)

    assert (first.apart, second.apart) == (("teacher ffffffff",), ("teacher aaaaaaaa",))


def test_one_method_with_two_settings_is_two_rows_named_by_what_differs(row, runs):
    table = runs(
        row("lora", "code", 0.3, 0.05, settings='{"lr":0.1,"rank":8}'),
        row("lora", "code", 0.4, 0.05, settings='{"lr":0.1,"rank":16}'),
    )

    assert [row.label for row in only(table).rows] == ["lora rank=16", "lora rank=8"]


def test_a_row_of_one_seed_is_flagged_and_a_reference_is_not(worked, runs):
    rows = by_label(only(runs(*worked)))

    assert {name: row.one_seed for name, row in rows.items()} == {
        "laten": True,
        "lora": False,
        "nuggets": True,
        "student": False,
        "teacher": False,
    }


def test_outcomes_count_cells(worked, runs):
    assert only(runs(*worked)).outcomes == {"done": 11, "failed": 1}


def test_a_method_is_tested_against_the_student_on_the_same_items(row, runs, items):
    student, lora = row("student", "code", 0.2, 0.1), row("lora", "code", 0.8, 0.1)
    asked = items((student, [0, 0, 0, 0, 0, 0, 1, 1, 0, 0]), (lora, [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]))

    paired = by_label(only(runs(student, lora), asked))["lora"].squares[0].paired

    # six gained, none lost: 2 * 0.5^6
    assert paired.p == pytest.approx(0.03125)
    assert (paired.gained, paired.lost, paired.n) == (6, 0, 10)


def test_a_document_that_was_edited_pairs_with_nothing(row, runs, items):
    student, lora = row("student", "code", 0.2, 0.1), row("lora", "code", 0.8, 0.1)
    asked = items((student, [0, 0]), (lora, [1, 1])).to_pylist()
    asked[3]["doc_hash"] = "another document 1"

    edited = items().from_pylist(asked, schema=items().schema)
    paired = by_label(only(runs(student, lora), edited))["lora"].squares[0].paired

    assert paired.n == 1


def test_without_the_items_of_every_seed_there_is_no_test(row, runs, items):
    student = row("student", "code", 0.2, 0.1)
    seeds = [row("lora", "code", 0.8, 0.1, seed=seed) for seed in (0, 1)]
    asked = items((student, [0, 0]), (seeds[0], [1, 1]))

    rows = by_label(only(runs(student, *seeds), asked))

    assert rows["lora"].squares[0].paired is None


@pytest.fixture
def edited(row):
    """A row of `lora` made by the code as it was (`old`) or as it is; each has its own cells."""

    def make(suite, value=None, *, seed=0, at=0, old=False, **given):
        variant = "old" if old else "new"
        cell_key = f"{variant} {suite} {seed}"
        outcome = "done" if value is not None else "failed"
        return row(
            "lora", suite, value, 0.05, seed=seed, at=at, variant=variant, cell_key=cell_key, outcome=outcome, **given
        )

    return make


def test_runs_of_older_code_are_no_seeds_of_the_newest(runs, edited):
    table = runs(
        edited("code", 0.2, seed=0, old=True, at=0),
        edited("code", 0.4, seed=1, old=True, at=1),
        edited("code", 0.7, seed=0, at=2),
    )

    board = only(table)

    (lora,) = board.rows
    # the mean with the old seed 1 would be 0.55
    assert (lora.squares[0].value, lora.squares[0].seeds) == (0.7, (0,))
    assert (lora.variant, lora.older_runs) == ("new", 2)
    assert board.outcomes == {"done": 1}


def test_a_done_run_of_older_code_does_not_hide_that_the_newest_fails(runs, edited):
    table = runs(edited("code", 0.4, old=True, at=0), edited("code", at=1, reason="no attribute 'foo'"))

    (lora,) = only(table).rows

    assert (lora.squares[0].outcome, lora.squares[0].value, lora.mean) == ("failed", None, None)
    assert [reason.text for reason in lora.squares[0].reasons] == ["no attribute 'foo'"]
    assert lora.older_runs == 1


def test_older_code_fills_no_suite_that_the_newest_has_not_done(row, runs, edited):
    table = runs(
        row("student", "facts", 0.2, 0.05),
        row("student", "code", 0.1, 0.05),
        edited("code", 0.4, old=True, at=0),
        edited("facts", 0.5, old=True, at=1),
        edited("code", 0.3, at=2),
    )

    lora = by_label(only(table))["lora"]

    assert [(square.outcome, square.value) for square in lora.squares] == [("done", 0.3), ("not run", None)]
    assert (lora.mean, lora.older_runs) == (None, 2)


def test_showing_one_suite_alone_does_not_bring_older_code_back(row, runs, edited):
    table = runs(
        row("student", "facts", 0.2, 0.05),
        edited("facts", 0.5, old=True, at=1),
        edited("code", 0.3, at=2),
    )

    (board,) = boards(table, suites=("facts",))

    assert [column.suite for column in board.columns] == ["facts"]
    assert [(row.label, row.squares[0].outcome, row.older_runs) for row in board.rows] == [
        ("student", "done", 0),
        ("lora", "not run", 1),
    ]


def test_a_suite_of_which_all_is_out_of_date_is_shown_when_asked_for(runs, edited):
    table = runs(edited("facts", 0.5, old=True, at=1), edited("code", 0.3, at=2))

    (asked,), (whole,) = boards(table, suites=("facts",)), boards(table)

    assert [(row.label, row.squares[0].outcome, row.older_runs) for row in asked.rows] == [("lora", "not run", 1)]
    assert [column.suite for column in whole.columns] == ["code"]


def test_older_code_that_is_tried_again_is_the_newest_again(runs, edited):
    table = runs(
        edited("code", 0.4, old=True, at=0),
        edited("code", 0.7, at=1),
        edited("code", old=True, at=2, reason="killed"),
    )

    (lora,) = only(table).rows

    # of one cell the done attempt counts, and the later one says that its code is at work again
    assert (lora.squares[0].value, lora.variant, lora.older_runs) == (0.4, "old", 1)


def test_the_gap_is_measured_from_references_of_the_newest_variant(row, runs):
    old, new = ({"variant": name, "at": at} for at, name in enumerate(("old", "new")))
    table = runs(
        row("student", "code", 0.4, 0.01, seed=0, cell_key="1", **old),
        row("student", "code", 0.2, 0.01, seed=0, cell_key="2", **new),
        row("teacher", "code", 0.5, 0.01, seed=0, cell_key="3", **old),
        row("teacher", "code", 0.7, 0.01, seed=0, cell_key="4", **new),
        row("lora", "code", 0.3, 0.05),
    )

    rows = by_label(only(table))

    assert (rows["student"].mean, rows["teacher"].mean) == (0.2, 0.7)
    assert (rows["student"].older_runs, rows["teacher"].older_runs, rows["lora"].older_runs) == (1, 1, 0)
    # of the gap: (0.3 - 0.2) / (0.7 - 0.2)
    assert rows["lora"].gap_closed == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("column", "words"), [("scoring_hash", "scoring code"), ("documents_hash", "documents and answers")]
)
def test_other_right_answers_or_judges_are_another_board(row, runs, column, words):
    old, new = ({column: letter * 32, "comparability": letter} for letter in "cd")
    table = runs(
        row("lora", "code", 0.9, 0.03, at=0, cell_key="old", **old),
        row("nuggets", "code", 0.5, 0.03, at=1, **new),
    )

    first, second = boards(table)

    assert [[row.label for row in board.rows] for board in (first, second)] == [["nuggets"], ["lora"]]
    assert first.apart == (f"code: {words} dddddddd, not cccccccc",)


@pytest.mark.parametrize(
    ("column", "usual", "other", "words"),
    [("device", "cpu", "cuda", "device"), ("threads", 1, 2, "threads"), ("batch_size", 16, 8, "batch size")],
)
def test_runs_computed_in_another_way_are_another_board(row, runs, column, usual, other, words):
    table = runs(
        row("lora", "code", 0.3, 0.05, at=1, **{column: usual}),
        row("lora", "code", 0.4, 0.05, seed=1, **{column: other}),
        row("nuggets", "code", outcome="failed", **{column: other}),
    )

    first, second = boards(table)

    assert (first.apart, second.apart) == ((f"{words} {usual}",), (f"{words} {other}",))
    assert [[row.label for row in board.rows] for board in (first, second)] == [["lora"], ["lora", "nuggets"]]
    assert (first.rows[0].mean, second.rows[0].mean) == (0.3, 0.4)


def test_models_are_called_by_their_labels(row, runs):
    board = only(runs(row("lora", "code", 0.3, 0.05, teacher="ours/big (12.3 M)", teacher_revision="r2")))

    assert board.teacher == "ours/big (12.3 M) r2"


def test_a_table_without_rows_has_no_boards(runs):
    assert boards(runs()) == ()


def test_a_row_chosen_by_test_scores_has_no_place_and_says_so(row, runs):
    from pkt_bench_leaderboards.sheet import write

    table = runs(
        row("student", "facts", 0.3, 0.01),
        row("honest", "facts", 0.5, 0.01, selection="validation"),
        row("seer", "facts", 0.9, 0.01, selection="oracle"),
    )

    board = boards(table)[0]

    places = {row.method: (row.place, row.squares[0].place) for row in board.rows}
    assert places == {"student": (None, None), "honest": (1, 1), "seer": (None, None)}
    said = [note.words for note in write(board).notes if note.mark == "oracle"]
    assert said == ["seer: chosen by test scores, so an upper bound and no place"]


# ---------------------------------------------------------------- tests, places, controls, forgetting, noise


@pytest.fixture
def answered(row, runs, items):
    """A board from what each method answered under each seed on suite `facts`: `{method: [[0, 1, ...], ...]}`."""

    def make(methods, **given):
        rows, worth = [], []
        for method, seeds in methods.items():
            for seed, values in enumerate(seeds):
                each = row(
                    method, "facts", sum(values) / len(values), 0.05, seed=seed, n=len(values), **given.get(method, {})
                )
                rows.append(each)
                worth.append((each, values))
        return runs(*rows), items(*worth)

    return make


RIGHT, WRONG = [1] * 40, [0] * 40


def test_places_are_by_tests_of_all_pairs_and_say_who_is_beaten(answered):
    half, less = [1] * 20 + [0] * 20, [1] * 19 + [0] * 21
    board = only(*answered({"best": [RIGHT] * 3, "half": [half] * 3, "less": [less] * 3, "worst": [WRONG] * 3}))

    rows = by_label(board)

    # half and less differ by one item of 40, and that may be chance
    assert {name: row.place for name, row in rows.items()} == {"best": 1, "half": 2, "less": 2, "worst": 4}
    assert board.place_note == ""
    assert rows["best"].beats == ("half", "less", "worst")
    assert rows["half"].beats == ("worst",)


def test_the_comparisons_of_a_board_are_corrected_together_and_the_teacher_is_none_of_them(answered):
    # six items better and none worse: 2 / 2^6
    better = [1] * 6 + [0] * 34
    methods = {"student": [WRONG], "teacher": [RIGHT], **{name: [better] for name in ("a", "b")}}

    rows = by_label(only(*answered(methods)))

    assert rows["a"].paired.p == pytest.approx(2 / 64)
    assert rows["a"].paired.p_holm == pytest.approx(2 * 2 / 64)
    assert rows["teacher"].paired.p_holm == rows["teacher"].paired.p


def test_another_row_can_be_the_baseline(answered):
    table, worth = answered({"student": [WRONG], "lora": [RIGHT], "laten": [[1] * 30 + [0] * 10]})

    (board,) = boards(table, worth, baseline="lora")
    (without,) = boards(table, worth, baseline="nobody")

    assert board.baseline == "lora"
    assert by_label(board)["laten"].paired.difference == pytest.approx(-0.25)
    assert by_label(board)["lora"].paired is None
    assert without.baseline == ""
    assert all(row.paired is None for row in without.rows)


def test_the_error_of_several_seeds_comes_from_their_answers(answered):
    seeds = [[1, 1, 0, 0] * 5, [1, 0, 1, 0] * 5, [1, 1, 1, 0] * 5]

    square = by_label(only(*answered({"lora": seeds})))["lora"].squares[0]

    # two-way table of 4 kinds of items (each 5 times) by 3 seeds, worked out: means 1, 2/3, 2/3, 0 and 1/2, 1/2, 3/4
    grand = 7 / 12
    ms_items = 3 * 5 * sum((x - grand) ** 2 for x in (1, 2 / 3, 2 / 3, 0)) / 19
    ms_seeds = 20 * sum((x - grand) ** 2 for x in (1 / 2, 1 / 2, 3 / 4)) / 2
    total = sum((x - grand) ** 2 for values in seeds for x in values)
    ms_rest = (total - 19 * ms_items - 2 * ms_seeds) / 38
    assert square.stderr == pytest.approx(((ms_items - ms_rest + ms_seeds) / 60) ** 0.5)
    assert square.values == (0.5, 0.5, 0.75)
    assert square.low < square.value < square.high


def test_a_gap_that_the_same_items_cannot_tell_from_nothing_is_not_closed(answered):
    teacher = [1] * 3 + [0] * 37

    board = only(*answered({"student": [WRONG], "teacher": [teacher], "lora": [[1] * 2 + [0] * 38]}))

    # three better and none worse: 2 / 2^3
    assert board.gap_note == "teacher and student cannot be told apart (p = 0.25)"
    assert by_label(board)["lora"].gap_closed is None


def test_the_gap_closed_has_an_interval_and_the_references_have_none(answered):
    methods = {"student": [WRONG], "teacher": [[1] * 30 + [0] * 10], "lora": [[1] * 15 + [0] * 25]}

    rows = by_label(only(*answered(methods)))

    assert rows["lora"].gap_closed == pytest.approx(0.5)
    assert rows["lora"].gap_low < 0.5 < rows["lora"].gap_high
    assert (rows["teacher"].gap_closed, rows["teacher"].gap_low) == (1.0, None)


def test_a_method_is_set_against_its_controls_with_the_same_settings(answered):
    kind = {"paradigm": "control", "control_of": "nuggets"}
    methods = {"nuggets": [[1] * 30 + [0] * 10] * 3, "nuggets:noise": [[1] * 12 + [0] * 28] * 3}

    rows = by_label(only(*answered(methods, **{"nuggets:noise": kind})))

    (against,) = rows["nuggets"].controls
    assert (against.label, against.method) == ("nuggets:noise", "nuggets")
    assert against.paired.difference == pytest.approx(18 / 40)
    assert against.paired.p_holm < 0.05
    assert rows["nuggets:noise"].controls == ()


def test_what_a_student_lost_on_another_suites_task_is_tested_against_the_untouched_one(row, runs, items):
    elsewhere = {"task": "tiny_code", "headline": False, "comparability": "code", "n": 40}
    rows = [
        row("student", "facts", 0.5, 0.05, n=40),
        row("student", "code", 1.0, 0.05, n=40),
        row("lora", "facts", 0.5, 0.05, n=40),
        {**row("lora", "facts", 0.25, 0.05), **elsewhere},
    ]
    worth = [RIGHT[:20] + WRONG[:20], RIGHT, RIGHT[:20] + WRONG[:20], RIGHT[:10] + WRONG[:30]]

    board = only(runs(*rows), items(*zip(rows, worth, strict=True)))

    (lost,) = by_label(board)["lora"].forgotten
    assert (lost.suite, lost.task, lost.value, lost.student) == ("facts", "tiny_code", 0.25, 1.0)
    assert lost.paired.difference == pytest.approx(-0.75)
    # thirty worse and none better
    assert lost.paired.p == pytest.approx(2 / 2**30)
    assert by_label(board)["student"].forgotten == ()


def test_repeats_of_an_untouched_model_show_the_noise_and_scores_taken_over_do_not(row, runs, items):
    rows = [
        row("student", "facts", 0.50, 0.05, seed=0, run_id="one", n=4),
        row("student", "facts", 0.75, 0.05, seed=1, run_id="two", n=4),
        row("student", "facts", 0.50, 0.05, seed=2, run_id="three", n=4, stage_seconds='{"score (reused)": 2.0}'),
    ]
    worth = [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 0]]

    (noise,) = only(runs(*rows), items(*zip(rows, worth, strict=True))).noise

    assert (noise.method, noise.suite, noise.runs, noise.spread, noise.items) == ("student", "facts", 2, 0.25, 1)


def test_methods_that_are_ranked_on_several_suites_are_tested_on_their_mean(row, runs, items):
    rows = [
        row(method, suite, sum(values) / 40, 0.05, n=40)
        for method, facts, code in (("student", WRONG, RIGHT), ("lora", [1] * 10 + [0] * 30, [1] * 38 + [0] * 2))
        for suite, values in (("facts", facts), ("code", code))
    ]
    worth = [WRONG, RIGHT, [1] * 10 + [0] * 30, [1] * 38 + [0] * 2]

    lora = by_label(only(runs(*rows), items(*zip(rows, worth, strict=True))))["lora"]

    # ten of eighty better and two worse
    assert (lora.paired.gained, lora.paired.lost, lora.paired.n) == (10, 2, 80)
    assert lora.paired.difference == pytest.approx((10 / 40 - 2 / 40) / 2)
    assert lora.paired.p == pytest.approx(scipy.stats.binomtest(10, 12).pvalue)


def test_where_less_is_better_an_item_that_is_worth_less_is_gained(answered):
    table, worth = answered(
        {"student": [[3.0] * 40], "lora": [[2.0] * 30 + [4.0] * 10]},
        student={"higher_is_better": False},
        lora={"higher_is_better": False},
    )

    paired = by_label(only(table, worth))["lora"].squares[0].paired

    assert (paired.gained, paired.lost) == (30, 10)
    assert paired.difference == pytest.approx(-0.5)

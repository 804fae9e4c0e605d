"""Two tables of runs set against each other: which runs, by how much, how sure, and what is not compared."""

import pytest

from pkt_bench_leaderboards.compared import MEAN, Side, compare, rows_of
from pkt_bench_leaderboards.flips import flips


@pytest.fixture
def side(runs, items):
    """A side from rows with what each document in turn was worth; None where only the score is known."""

    def make(name, *answered, row=None):
        known = [(each, values) for each, values in answered if values is not None]
        return Side(name, runs(*(each for each, _ in answered)), items(*known) if known else None, row)

    return make


@pytest.fixture
def answered(row):
    """A row of the runs table whose score is the mean of its answers, and these."""

    def make(method, suite, values, **given):
        given.setdefault("n", len(values))
        return row(method, suite, sum(values) / len(values), 0.1, **given), values

    return make


def by_suite(comparison):
    return {line.suite: line for line in comparison.lines}


def test_the_difference_is_b_minus_a_and_its_test_that_of_mcnemar(side, answered):
    before = side("before", answered("lora", "code", [0] * 8 + [1, 1]))
    after = side("after", answered("lora", "code", [1] * 7 + [0, 1, 0], at=5))

    (line,) = compare(before, after).lines

    # seven gained, one lost: p = 2 (1 + 8) / 2^8
    assert (line.a, line.b, line.better) == (0.2, 0.8, "B")
    assert line.delta == pytest.approx(0.6)
    assert (line.paired.gained, line.paired.lost, line.paired.n) == (7, 1, 10)
    assert line.paired.p == pytest.approx(18 / 256)
    assert not line.same_runs


def test_the_difference_turns_with_the_sides(side, answered):
    one = side("one", answered("lora", "code", [0] * 8 + [1, 1]))
    other = side("other", answered("lora", "code", [1] * 7 + [0, 1, 0], at=5))

    (line,) = compare(other, one).lines

    assert line.delta == pytest.approx(-0.6)
    assert line.better == "A"
    assert (line.paired.gained, line.paired.lost) == (1, 7)
    assert line.paired.p == pytest.approx(18 / 256)


def test_lower_is_better_where_the_metric_says_so(side, row):
    before = side("before", (row("lora", "loss", 2.0, higher_is_better=False), None))
    after = side("after", (row("lora", "loss", 1.5, higher_is_better=False, at=5), None))

    (line,) = compare(before, after).lines

    assert (line.delta, line.better, line.fraction) == (-0.5, "B", False)


def test_only_the_seeds_that_both_have_are_compared(side, row):
    before = side(
        "before", *((row("lora", "code", value, seed=seed), None) for seed, value in enumerate((0.1, 0.2, 0.9)))
    )
    after = side(
        "after", *((row("lora", "code", value, seed=seed, at=5), None) for seed, value in enumerate((0.3, 0.4)))
    )

    (line,) = compare(before, after).lines

    assert line.seeds == (0, 1)
    assert (line.a, line.b) == (pytest.approx(0.15), pytest.approx(0.35))


def test_without_a_seed_in_common_the_means_are_compared_and_it_is_said(side, row):
    before = side("before", (row("lora", "code", 0.1, seed=0), None))
    after = side("after", (row("lora", "code", 0.3, seed=4, at=5), None))

    (line,) = compare(before, after).lines

    assert (line.seeds, line.delta) == ((), pytest.approx(0.2))
    assert line.note == "no seed in common: A has seed 0, B has seed 4"


def test_an_untouched_model_is_set_against_every_seed(side, answered, runs, items):
    everything = [
        answered("student", "code", [0, 0, 0, 1]),
        answered("lora", "code", [1, 1, 0, 1], seed=0),
        answered("lora", "code", [1, 0, 0, 1], seed=1),
    ]
    whole = side("runs", *everything)
    student, lora = (next(row for row in rows_of(whole.runs) if row.method == name) for name in ("student", "lora"))

    (line,) = compare(side("A", *everything, row=student), side("B", *everything, row=lora)).lines
    (turned,) = compare(side("A", *everything, row=lora), side("B", *everything, row=student)).lines

    # lora has 3/4 and 1/2, the student 1/4
    assert (line.delta, turned.delta) == (pytest.approx(0.375), pytest.approx(-0.375))
    assert line.seeds == turned.seeds == (0, 1)
    assert (line.paired.seeds, line.paired.gained, turned.paired.lost) == (2, 2, 2)
    assert turned.paired.p == pytest.approx(line.paired.p)
    assert (turned.paired.low, turned.paired.high) == (
        pytest.approx(-line.paired.high),
        pytest.approx(-line.paired.low),
    )


def test_rows_that_are_not_comparable_have_no_number_and_say_in_what_they_differ(side, row):
    before = side("before", (row("lora", "code", 0.1, documents_hash="old", n=100), None))
    after = side("after", (row("lora", "code", 0.9, documents_hash="new", n=80, comparability="other"), None))

    comparison = compare(before, after)

    assert comparison.lines == ()
    (apart,) = comparison.apart
    assert apart.differs == (
        "documents and answers new, not old (B, not A)",
        "number of documents 80, not 100 (B, not A)",
    )


def test_other_conditions_are_named_on_both_sides(side, row):
    before = side("before", (row("lora", "code", 0.1, dtype="float32"), None))
    after = side("after", (row("lora", "code", 0.9, dtype="bfloat16", comparability="other"), None))

    (apart,) = compare(before, after).apart

    assert apart.differs == ("dtype bfloat16 (B), dtype float32 (A)",)


def test_the_newest_comparable_runs_count_and_never_older_ones_that_would_fit(side, row):
    before = side(
        "before",
        (row("lora", "code", 0.1, at=0), None),
        (row("lora", "code", 0.2, at=9, comparability="new", cell_key="x", documents_hash="new"), None),
    )
    after = side("after", (row("lora", "code", 0.9, at=5), None))

    comparison = compare(before, after)

    assert comparison.lines == ()
    assert len(comparison.apart) == 1


def test_a_row_that_was_not_run_again_keeps_the_runs_it_has(side, row):
    old = [(row(method, "code", 0.1, at=0), None) for method in ("lora", "kd")]
    before = side("before", *old)
    after = side("after", *old, (row("lora", "code", 0.2, at=9, comparability="new", cell_key="x", n=50), None))

    comparison = compare(before, after)

    assert [(line.b_label, line.delta) for line in comparison.lines] == [("kd", 0.0)]
    assert [apart.b_label for apart in comparison.apart] == ["lora"]


def test_a_row_that_fails_now_is_said_with_its_reason(side, row):
    before = side("before", (row("lora", "code", 0.1), None))
    after = side("after", (row("lora", "code", outcome="failed", reason="out of luck"), None))

    (apart,) = compare(before, after).apart

    assert apart.differs == ("B, seed 0: failed: out of luck",)


def test_a_seed_that_fails_now_is_said_beside_the_others(side, row):
    before = side("before", *((row("lora", "code", 0.1, seed=seed), None) for seed in (0, 1)))
    after = side(
        "after",
        (row("lora", "code", 0.1, seed=0), None),
        (row("lora", "code", seed=1, outcome="timeout", reason="took 9 s"), None),
    )

    (line,) = compare(before, after).lines

    assert line.note == "B, seed 1: timeout: took 9 s"


def test_the_mean_is_over_suites_and_only_where_all_are_compared(side, answered, row):
    def folder(name, code, facts, at):
        return side(
            name,
            answered("lora", "code", code, at=at),
            answered("lora", "facts", facts, at=at),
            answered("kd", "code", code, at=at),
            answered("kd", "math", code, at=at),
            answered("kd", "facts", facts, at=at, comparability=name),
        )

    before = folder("before", [0, 0, 0, 0], [0, 0], 0)
    after = folder("after", [1, 1, 0, 0], [1, 1], 5)

    lines = {(line.b_label, line.suite): line for line in compare(before, after).lines}

    assert set(lines) == {("lora", "code"), ("lora", "facts"), ("lora", MEAN), ("kd", "code"), ("kd", "math")}
    # a suite weighs as much as another, however many documents it has
    assert lines["lora", MEAN].delta == pytest.approx((0.5 + 1.0) / 2)
    assert lines["lora", MEAN].paired.difference == pytest.approx(0.75)


def test_p_values_of_suites_are_one_family_after_holm(side, answered):
    def folder(name, at, *changes):
        return side(
            name, *(answered("lora", suite, [0] * (20 - gained) + [1] * gained, at=at) for suite, gained in changes)
        )

    before = folder("before", 0, ("a", 0), ("b", 0), ("c", 0))
    after = folder("after", 5, ("a", 8), ("b", 6), ("c", 3))

    lines = by_suite(compare(before, after))

    ps = {"a": 2 / 2**8, "b": 2 / 2**6, "c": 2 / 2**3}
    assert {suite: lines[suite].paired.p for suite in ps} == pytest.approx(ps)
    # Holm's steps: three times the least, twice the next, the last as it is
    assert {suite: lines[suite].paired.p_holm for suite in ps} == pytest.approx(
        {"a": 3 * ps["a"], "b": 2 * ps["b"], "c": ps["c"]}
    )


def test_untouched_models_and_the_same_runs_make_no_other_test_stricter(side, answered):
    lora, kd = answered("lora", "code", [0] * 10), answered("kd", "code", [0, 1] * 5)
    before = side("before", answered("student", "code", [0] * 10), lora, kd)
    after = side(
        "after",
        answered("student", "code", [0] * 9 + [1], at=5),
        answered("lora", "code", [1] * 8 + [0, 0], at=5),
        kd,
    )

    lines = {line.b_label: line for line in compare(before, after).lines}

    assert lines["lora"].paired.p_holm == lines["lora"].paired.p == pytest.approx(2 / 2**8)
    assert [label for label, line in lines.items() if line.same_runs] == ["kd"]


def test_rows_that_were_repeated_with_the_same_answers_make_others_neither_surer_nor_less_sure(side, answered):
    worse, better = ([0] * 12, [0] * 11 + [1], [0] * 12), ([1] * 6 + [0] * 6, [1] * 9 + [0] * 3, [1] * 12)

    def folder(name, at, seeds, *others):
        rows = [("lora", seeds), *((other, worse) for other in others)]
        return side(
            name,
            *(
                answered(method, "code", values, seed=seed, at=at)
                for method, runs in rows
                for seed, values in enumerate(runs)
            ),
        )

    alone = compare(folder("before", 0, worse), folder("after", 5, better)).lines
    among = compare(folder("before", 0, worse, "kd", "gkd"), folder("after", 5, better, "kd", "gkd")).lines

    (lora,) = (line for line in among if line.b_label == "lora")
    assert lora.paired == alone[0].paired
    assert {line.paired.p for line in among if line is not lora} == {1.0}
    assert not any(line.same_runs for line in among)


def test_a_run_that_both_sides_call_alike_keeps_the_answers_of_its_side(side, answered):
    before = side("before", answered("lora", "code", [0] * 6))
    after = side("after", answered("lora", "code", [1] * 6))

    (line,) = compare(before, after).lines

    assert (line.paired.gained, line.paired.lost) == (6, 0)
    assert not line.same_runs


def test_a_score_that_is_no_mean_of_its_answers_is_not_tested_by_them(side, row, answered):
    score, values = answered("lora", "code", [0, 1, 1, 1])
    before = side("before", answered("lora", "code", [0, 0, 0, 1]))
    after = side("after", (score | {"value": 0.9}, values))

    (line,) = compare(before, after).lines

    assert line.delta == pytest.approx(0.65)
    assert line.paired is None


def test_a_method_whose_version_went_up_is_still_that_method(side, row):
    before = side("before", (row("lora", "code", 0.1, method_version="1"), None))
    after = side("after", (row("lora", "code", 0.2, method_version="2"), None))

    comparison = compare(before, after)

    assert [line.delta for line in comparison.lines] == [pytest.approx(0.1)]
    assert comparison.alone == ()


def test_what_only_one_side_has_is_listed(side, row):
    before = side("before", (row("lora", "code", 0.1), None), (row("kd", "code", 0.1), None))
    after = side(
        "after", (row("lora", "code", 0.1), None), (row("lora", "facts", 0.1), None), (row("gkd", "code", 1), None)
    )

    comparison = compare(before, after)

    assert [(alone.side, alone.label, alone.suites) for alone in comparison.alone] == [
        ("A", "kd", ("code",)),
        ("B", "gkd", ("code",)),
    ]
    assert [(apart.suite, apart.differs) for apart in comparison.apart] == [("facts", ("only B has runs of it",))]


def test_costs_are_means_over_the_runs_that_were_compared(side, row):
    before = side("before", *((row("lora", "code", 0.1, seed=seed, seconds=10.0 * seed), None) for seed in (1, 2, 3)))
    after = side(
        "after", *((row("lora", "code", 0.1, seed=seed, seconds=7.0, payload_bytes=5), None) for seed in (1, 2))
    )

    (line,) = compare(before, after).lines

    assert (line.a_costs.seconds, line.b_costs.seconds) == (15.0, 7.0)
    assert (line.a_costs.payload_bytes, line.b_costs.payload_bytes) == (None, 5)


def test_flips_are_the_documents_that_the_test_counts(side, answered):
    def folder(name, at, *seeds):
        return side(name, *(answered("lora", "code", values, seed=seed, at=at) for seed, values in enumerate(seeds)))

    before = folder("before", 0, [0, 0, 1, 0], [0, 1, 1, 1])
    after = folder("after", 5, [1, 1, 0, 0], [1, 0, 1, 1])

    comparison = compare(before, after)
    found = flips(comparison, before, after)

    # document 1 was gained under one seed and lost under the other: no change of its mean
    assert [(flip.change, flip.doc_id, flip.seed) for flip in found] == [
        ("lost", 2, 0),
        ("gained", 0, 0),
        ("gained", 0, 1),
    ]
    (line,) = comparison.lines
    assert len({flip.doc_id for flip in found if flip.change == "gained"}) == line.paired.gained == 1
    assert len({flip.doc_id for flip in found if flip.change == "lost"}) == line.paired.lost == 1
    assert (found[0].a_value, found[0].b_value, found[0].prompt, found[0].target) == (1, 0, "?", "!")

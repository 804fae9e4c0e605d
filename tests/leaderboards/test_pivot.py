import csv
import io
import json

import pytest

from pkt_bench_leaderboards import formats, pivot
from pkt_bench_leaderboards.pivot import fold


def rank(number, **more):
    return {"settings": json.dumps({"rank": number, **more})}


@pytest.fixture
def table(row, runs):
    """Two methods at two ranks on two suites; `lora` at rank 8 has three seeds on one of them."""
    return runs(
        *(row("lora", "code", 0.2, 0.1, **rank(4)), row("lora", "facts", 0.4, 0.1, **rank(4))),
        *(row("lora", "code", value, 0.1, seed=seed, **rank(8)) for seed, value in enumerate((0.2, 0.3, 0.4))),
        row("lora", "facts", 0.7, 0.1, seconds=4.0, **rank(8)),
        *(row("kd", "code", 0.5, 0.1, **rank(4)), row("kd", "facts", 0.7, 0.1, **rank(4))),
    )


def cells(folded):
    written = pivot.write(folded)
    return {
        tuple(cell.text for cell in line.cells[: written.fixed]): [cell.written for cell in line.cells[written.fixed :]]
        for line in written.lines
    }


def test_a_square_is_the_mean_over_suites_of_the_means_over_their_runs(table):
    folded = fold(table, ["method"], "settings.rank")

    assert folded.values == (4, 8)
    # three seeds on code weigh no more than one on facts: ((0.2 + 0.3 + 0.4) / 3 + 0.7) / 2
    assert cells(folded) == {("kd",): ["60.0 (2)", ""], ("lora",): ["30.0 (2)", "50.0 (4)"]}


def test_groups_may_be_several_and_of_settings(table):
    folded = fold(table, ["suite", "settings.rank"], "method")

    assert cells(folded)["code", "4"] == ["50.0 (1)", "20.0 (1)"]
    assert cells(folded)["code", "8"] == ["", "30.0 (3)"]


def test_runs_under_different_conditions_are_never_averaged(row, runs):
    table = runs(
        row("lora", "code", 0.2, 0.1, comparability="old"), row("lora", "code", 0.4, 0.1, seed=1, comparability="new")
    )

    folded = fold(table, ["method"], "suite")

    assert cells(folded) == {("lora",): ["— ¹"]}
    assert pivot.write(folded).notes[-1].words == "scored under different conditions on code, which are never averaged"
    # told apart by the column, each is what it is
    assert cells(fold(table, ["comparability"], "suite")) == {("new",): ["40.0 (1)"], ("old",): ["20.0 (1)"]}


def test_a_mean_over_fewer_suites_than_its_neighbours_have_is_not_given(row, runs):
    table = runs(row("lora", "code", 0.2, 0.1), row("lora", "facts", 0.8, 0.1), row("kd", "facts", 0.9, 0.1))

    by_seed, by_suite = fold(table, ["method"], "seed"), fold(table, ["method"], "suite")

    assert cells(by_seed) == {("kd",): ["— ¹"], ("lora",): ["50.0 (2)"]}
    assert pivot.write(by_seed).notes[-1].words == "no score on code, so no mean that compares with its neighbours"
    assert cells(by_suite) == {("kd",): ["", "90.0 (1)"], ("lora",): ["20.0 (1)", "80.0 (1)"]}


def test_scores_in_different_units_are_never_averaged(row, runs):
    table = runs(
        row("lora", "code", 0.2, 0.1, seconds=2.0),
        row("lora", "prose", 12.5, 0.1, seconds=4.0, higher_is_better=False),
    )

    assert cells(fold(table, ["method"], "seed")) == {("lora",): ["— ¹"]}
    assert cells(fold(table, ["method"], "seed", "seconds")) == {("lora",): ["3.0 (2)"]}
    assert cells(fold(table, ["suite"], "seed")) == {("code",): ["20.0 (1)"], ("prose",): ["12.50 (1)"]}


def test_a_figure_that_some_runs_do_not_tell_is_unknown_and_says_so(table):
    folded = fold(table, ["settings.rank"], "method", "seconds")

    assert cells(folded)["8",] == ["", "— ²"]
    assert [note.words for note in pivot.write(folded).notes][-1] == "3 of its runs do not say their seconds"


def test_only_the_newest_variant_and_the_attempt_that_counts_are_in_a_mean(row, runs):
    table = runs(
        row("lora", "code", 0.9, 0.1, variant="old", cell_key="old"),
        row("lora", "code", 0.2, 0.1, variant="new", cell_key="new", at=1),
        row("lora", "code", outcome="failed", variant="new", cell_key="new", at=2),
    )

    folded = fold(table, ["method"], "suite")

    assert cells(folded) == {("lora",): ["20.0 (1)"]}
    assert folded.older_runs == 1
    assert any("1 run of older variants left out" in note.words for note in pivot.write(folded).notes)


def test_numbers_are_in_order_of_size_and_the_unknown_is_last(row, runs):
    table = runs(
        *(row("lora", "code", 0.2, 0.1, **rank(each)) for each in (16, 4, "all", None, 100)),
    )

    written = pivot.write(fold(table, ["method"], "settings.rank"))

    assert [heading.title for heading in written.headings] == ["method", "4", "16", "100", "all", "—"]


def test_csv_and_json_have_a_line_for_each_square_with_the_figure_of_the_screen(table):
    folded = fold(table, ["method"], "settings.rank")

    lines = list(csv.DictReader(io.StringIO(formats.pivot_as_csv(folded))))
    content = json.loads(formats.pivot_as_json(folded, {"where": "seed < 9"}))

    assert [(line["method"], line["settings.rank"], line["runs"], line["text"]) for line in lines] == [
        ("kd", "4", "2", "60.0"),
        ("lora", "4", "2", "30.0"),
        ("lora", "8", "4", "50.0"),
    ]
    assert [float(line["value"]) for line in lines] == pytest.approx([0.6, 0.3, 0.5])
    assert [(each["group"], each["pivot"], each["runs"]) for each in content["squares"]] == [
        ({"method": "kd"}, 4, 2),
        ({"method": "lora"}, 4, 2),
        ({"method": "lora"}, 8, 4),
    ]
    assert content["filters"] == {"where": "seed < 9"}


def test_suites_that_are_not_asked_for_are_not_in_a_mean(table):
    assert cells(fold(table, ["method"], "settings.rank", suites=["facts"])) == {
        ("kd",): ["70.0 (1)", ""],
        ("lora",): ["40.0 (1)", "70.0 (1)"],
    }

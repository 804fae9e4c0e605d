"""Recorded scores as CSV and as model cards of the hub."""

import csv
import json

import pytest
import yaml

from boards import record_board
from pkt_bench.errors import RequestError
from pkt_bench.exchange.exporting import export
from pkt_bench.store import Store
from pkt_bench_leaderboards import schema
from recorded import make_cell, make_item, make_run, make_score


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded") / "runs"
    return record_board(folder, methods=("student", "lora", "nuggets:noise-spectrum"), documents=12)


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def as_text(value):
    """How a value is written, by the contract: null is nothing, numbers as Python shows them, times in ISO 8601."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


@pytest.mark.parametrize(("kind", "fields"), [("runs", schema.RUNS), ("items", schema.ITEMS)])
def test_csv_has_every_row_and_column_as_it_is_stored(recorded, tmp_path, kind, fields):
    export(str(recorded.root), "csv", tmp_path / "csv")

    stored = getattr(recorded.read(), kind).to_pylist()
    assert read(tmp_path / "csv" / f"{kind}.csv") == [
        {field.name: as_text(row[field.name]) for field in fields} for row in stored
    ]


def test_csv_numbers_are_read_back_as_the_same_numbers_and_formulas_are_text(tmp_path):
    store = Store(tmp_path / "runs")
    value = 0.1 + 0.2
    item = make_item(0, value)
    item = item.__class__(**(item.__dict__ | {"prompt": '=HYPERLINK("x")', "target": "-5", "response": "@sum,\n1"}))
    store.record(make_run(make_cell(), scores=(make_score(value, n=1, stderr=None),)), [item])

    export(str(store.root), "csv", tmp_path / "csv")

    (run,), (answer,) = read(tmp_path / "csv" / "runs.csv"), read(tmp_path / "csv" / "items.csv")
    assert (float(run["value"]), run["stderr"], float(answer["value"])) == (value, "", value)
    assert (answer["prompt"], answer["target"], answer["response"]) == ('\'=HYPERLINK("x")', "-5", "'@sum,\n1")


def test_every_student_has_a_card_of_its_own_that_the_hub_reads(recorded, tmp_path):
    from huggingface_hub import ModelCard

    done = export(str(recorded.root), "model-index", tmp_path / "cards")

    rows = [row for row in recorded.read(items=False).runs.to_pylist() if row["task"] is not None]
    cards = {path.parent.name: ModelCard.load(path) for path in (tmp_path / "cards").glob("*/README.md")}
    assert len(cards) == done.runs == len({row["run_id"] for row in rows}) == 3 * 3 * 3
    found = {
        (name.split(".")[-1], result.dataset_name, result.metric_type): (result.metric_value, result.metric_args["n"])
        for name, card in cards.items()
        for result in card.data.eval_results
    }
    assert found == {(row["run_id"], row["task"], row["metric"]): (row["value"], row["n"]) for row in rows}


def test_eval_results_name_the_data_set_that_is_given_and_the_headline_alone(recorded, tmp_path):
    from huggingface_hub import parse_eval_result_entries

    export(str(recorded.root), "model-index", tmp_path / "cards", dataset="someone/tiny")

    rows = {
        row["run_id"]: row for row in recorded.read(items=False).runs.to_pylist() if row["task"] and row["headline"]
    }
    files = sorted((tmp_path / "cards").glob("*/.eval_results/*.yaml"))
    assert len(files) == len(rows)
    for path in files:
        (entry,) = parse_eval_result_entries(yaml.safe_load(path.read_text(encoding="utf-8")))
        row = rows[path.parents[1].name.split(".")[-1]]
        assert (entry.dataset_id, entry.task_id, entry.value) == ("someone/tiny", row["task"], row["value"])
        assert json.loads(entry.notes)["seed"] == row["seed"]


def test_names_of_strangers_stay_in_the_folder(tmp_path):
    store = Store(tmp_path / "runs")
    score = make_score(task="../../up", n=1, stderr=None)
    item = make_item()
    item = item.__class__(**(item.__dict__ | {"task": "../../up"}))
    store.record(make_run(make_cell("../../../etc"), scores=(score,), run_id="/tmp/x"), [item])
    before = {path for path in tmp_path.rglob("*") if path.parts[len(tmp_path.parts)] != "out"}

    for form in ("lm-eval", "model-index"):
        export(str(store.root), form, tmp_path / "out" / form)

    assert {path for path in tmp_path.rglob("*") if path.parts[len(tmp_path.parts)] != "out"} == before
    assert len(list((tmp_path / "out" / "lm-eval").rglob("samples_*"))) == 1


def test_an_export_is_whole_or_not_there(recorded, tmp_path, monkeypatch):
    from pkt_bench.exchange import plain

    def breaks(runs, items):
        yield from [(plain.Path("runs.csv"), b"")]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plain, "files", breaks)

    with pytest.raises(Exception, match="No space left on device"):
        export(str(recorded.root), "csv", tmp_path / "csv")

    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(recorded, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")

    with pytest.raises(RequestError, match="is not empty"):
        export(str(recorded.root), "csv", tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("form", "dataset", "said"),
    [("lm_eval", "", "Did you mean 'lm-eval'"), ("csv", "a/b", "--dataset is for --as model-index alone")],
)
def test_a_request_that_makes_no_sense_is_said(recorded, tmp_path, form, dataset, said):
    with pytest.raises(RequestError, match=said):
        export(str(recorded.root), form, tmp_path / "out", dataset=dataset)


def test_a_folder_without_scores_is_said(tmp_path):
    store = Store(tmp_path / "runs")
    store.record(make_run(make_cell(), outcome="failed"))

    with pytest.raises(RequestError, match="holds no done run with scores"):
        export(str(store.root), "csv", tmp_path / "csv")

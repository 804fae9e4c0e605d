"""Folders of data: what is found where, rows in the hub's form, and what is said of what is missing."""

import json
import os

import pytest

from data_folders import arc_row, gsm8k_row, mirror, write
from pkt_bench import mirrors as rooms
from pkt_bench.errors import RequestError, UnavailableError
from pkt_bench.mirrors import dataset_has, dataset_rows, digest, expected, files, reference, use, written


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = mirror(tmp_path / "data")
    monkeypatch.setenv("PKT_BENCH_DATA", str(folder))
    return folder


ARC = reference("allenai/ai2_arc", "ARC-Easy")
PIQA = reference("baber/piqa")
GSM8K = reference("openai/gsm8k", "main")
MMLU = reference("cais/mmlu", "all")


def test_each_layout_is_found_and_the_first_folder_wins(data, tmp_path, monkeypatch):
    other = tmp_path / "other"
    write(other, "gsm8k/main/test", [gsm8k_row(7)])
    monkeypatch.setenv("PKT_BENCH_DATA", os.pathsep.join([str(other), str(data)]))

    assert files(GSM8K, "test") == (other / "gsm8k" / "main" / "test.jsonl",)
    assert files(GSM8K, "train") == (data / "gsm8k" / "train.jsonl",)
    assert files(reference("cais/mmlu", "virology"), "dev") == (data / "mmlu" / "dev" / "virology.jsonl",)
    assert [file.name for file in files(MMLU, "test")] == ["marketing.jsonl", "virology.jsonl"]


def test_a_file_of_another_configuration_is_not_taken_for_the_one_that_is_asked_for(data):
    write(data, "owner/name/train", [{"a": 1}])

    assert files(reference("owner/name", "other"), "train") == ()
    assert files(reference("owner/name"), "train") == (data / "owner" / "name" / "train.jsonl",)
    assert files(reference("allenai/ai2_arc", "ARC-Challenge"), "test") == ()


def test_plain_rows_become_the_hubs(data):
    assert dataset_rows(ARC, "test")[1] == {
        "id": "q1",
        "question": "What is 1?",
        "choices": {"text": ["a", "b", "c1"], "label": ["A", "B", "C"]},
        "answerKey": "C",
    }
    # piqa's test has no answers on the hub: what people test on is its validation split
    assert dataset_rows(PIQA, "validation")[0] == {"goal": "dresser", "sol1": "no", "sol2": "yes", "label": 1}


def test_truthfulqa_has_the_right_choice_first(data):
    write(data, "truthfulqa_mc1/test", [{"question": "?", "choices": ["x", "y", "z"], "answer": 2, "id": "t"}])

    (row,) = dataset_rows(reference("truthfulqa/truthful_qa", "multiple_choice"), "validation")

    assert row["mc1_targets"] == {"choices": ["z", "x", "y"], "labels": [1, 0, 0]}


def test_rows_of_the_hubs_form_pass_and_have_the_digest_of_plain_ones(data, tmp_path, monkeypatch):
    plain = digest(ARC, "test")
    row = arc_row(0)
    write(tmp_path, "hub/arc_easy/test", [dict(each) for each in dataset_rows(ARC, "test")])
    monkeypatch.setenv("PKT_BENCH_DATA", str(tmp_path / "hub"))

    assert digest(ARC, "test") == plain
    write(tmp_path, "hub/arc_easy/test", [row])
    os.utime(tmp_path / "hub" / "arc_easy" / "test.jsonl", ns=(1, 1))
    assert digest(ARC, "test") != plain


def test_a_string_with_a_line_separator_is_one_row(data):
    write(data, "owner/lines/train", [{"text": "one\u2028two"}])

    assert dataset_rows(reference("owner/lines"), "train") == ({"text": "one\u2028two"},)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"question": "x"', ":1 is no row of the data set gsm8k: Expecting ',' delimiter"),
        ("[1]", ":1 is no row of the data set gsm8k: it is no object"),
        ('{"question": "x"}', ":1 is no row of the data set gsm8k: it has no answer (a row has question, answer)"),
    ],
)
def test_a_row_that_is_none_is_named_by_file_and_line(data, line, said):
    (data / "gsm8k" / "test.jsonl").write_text(line)

    with pytest.raises(UnavailableError) as caught:
        dataset_rows(GSM8K, "test")

    assert f"{data / 'gsm8k' / 'test.jsonl'}{said}" in str(caught.value)


def test_a_split_that_is_missing_is_named_with_the_path_that_would_hold_it(data):
    with pytest.raises(UnavailableError) as caught:
        dataset_rows(ARC, "train")

    assert str(caught.value) == (
        "the split 'train' of the data set arc_easy (allenai/ai2_arc, ARC-Easy) is missing:"
        f" arc_easy/train.jsonl (looked for in {data}).\n"
        "  Give a folder that has it with --data-dir, or fetch it where there is a network:"
        " pkt-bench prefetch --to DIR, with the same flags."
    )
    assert expected(reference("cais/mmlu", "virology"), "test") == "mmlu/test/virology.jsonl"
    assert not dataset_has(ARC, "train")
    assert dataset_has(ARC, "test")


def test_folders_that_are_used_come_first_and_are_passed_on_to_processes(data, tmp_path):
    first = tmp_path / "first"
    first.mkdir()

    use([first])

    assert os.environ["PKT_BENCH_DATA"].split(os.pathsep) == [str(first), str(data)]
    assert rooms.folders() == (first, data)
    with pytest.raises(RequestError, match=r"--data-dir .*nowhere: there is no such folder"):
        use([tmp_path / "nowhere"])


def test_what_is_written_for_a_bundle_is_read_again_from_it(data, tmp_path, monkeypatch):
    before = {split: digest(MMLU, split) for split in ("dev", "test")}
    for split in before:
        for name, content in written(MMLU, split).items():
            (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "copy" / name).write_bytes(content)
    monkeypatch.setenv("PKT_BENCH_DATA", str(tmp_path / "copy"))

    assert {split: digest(MMLU, split) for split in before} == before


def test_rows_of_the_hub_are_written_in_the_layout(tmp_path, monkeypatch):
    # a folder is to `datasets` what a repository of the hub is
    monkeypatch.setenv("PKT_BENCH_DATA", "")
    source = tmp_path / "source"
    write(source, "train", [{"text": "a"}, {"text": "b"}])
    ref = reference(str(source))

    (content,) = written(ref, "train").values()

    assert [json.loads(line) for line in content.decode().splitlines()] == [{"text": "a"}, {"text": "b"}]

"""Suites made of lm-eval's tasks: stock prompts on given data, splits by seed, headline and chance by rule."""

import dataclasses

import pytest

from data_folders import arc_row, gsm8k_row, mirror, write
from pkt_bench import lm_tasks, planning, plugins, preflight, task_suites
from pkt_bench.data import data_digest
from pkt_bench.domain import Task
from pkt_bench.errors import RequestError, UnavailableError
from pkt_bench.preflight import Findings


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = mirror(tmp_path / "data")
    write(folder, "arc_easy/train", [arc_row(number) for number in range(2, 132)])
    monkeypatch.setenv("PKT_BENCH_DATA", str(folder))
    return folder


def suite(name, distribution="lm-eval"):
    return task_suites.find(distribution, name).suite


def test_records_are_the_training_documents_in_the_tasks_own_words(data):
    found = suite("arc_easy")
    records = {split: found.records(split) for split in ("extract", "align", "train", "validation")}
    everything = [record for each in records.values() for record in each]

    # 130 training documents, two of which are test documents; shares of 20, 80, 1000 and 100
    assert {split: len(each) for split, each in records.items()} == {
        "extract": 2,
        "align": 8,
        "train": 108,
        "validation": 10,
    }
    assert len({record.prompt for record in everything}) == 128
    assert not {record.prompt for record in everything} & set(found.test_prompts())
    number = everything[0].prompt.split()[3].rstrip("?")
    assert (everything[0].prompt, everything[0].answer) == (f"Question: What is {number}?\nAnswer:", f" c{number}")
    assert found.test_prompts()[1] == "Question: What is 1?\nAnswer:"
    assert found.records("train") == suite("arc_easy").records("train")


def test_headline_shots_and_chance_are_by_the_rule(data):
    assert suite("arc_easy").tasks == (Task("arc_easy", "acc", "none", 0, chance=1 / 3),)
    # gsm8k says five shots, and lists strict-match before flexible-extract
    assert suite("gsm8k").tasks == (Task("gsm8k", "exact_match", "strict-match", 5),)
    assert suite("piqa").tasks[0].chance == 0.5


def test_a_group_without_a_figure_of_its_own_is_its_tasks(data):
    write(data, "arc_challenge/test", [arc_row(1)])

    assert [task.name for task in suite("ai2_arc").tasks] == ["arc_challenge", "arc_easy"]


def test_a_group_that_lacks_members_names_every_file(data):
    with pytest.raises(UnavailableError) as caught:
        suite("mmlu_other")

    said = str(caught.value)
    assert "task 'mmlu_other': " in said
    assert "mmlu/test/virology.jsonl" not in said
    for subject in ("anatomy", "nutrition"):
        assert (f"mmlu/test/{subject}.jsonl" in said) == (subject == "nutrition")


def test_stock_tasks_ask_as_lm_eval_does_from_rows_of_a_folder(data):
    task = lm_tasks.load(suite("gsm8k"), Task("gsm8k", "exact_match", shots=2))["tasks"]["gsm8k"]
    task.set_fewshot_seed(1234)
    asked = task.fewshot_context(task.eval_docs[0], 2)

    assert asked.endswith("\n\nQuestion: " + gsm8k_row(100)["question"] + "\nAnswer:")
    assert asked.count("#### ") == 2
    assert len(task.eval_docs) == 5


def test_a_split_that_only_shots_need_is_missed_with_shots_alone(data):
    (data / "arc_easy" / "train.jsonl").unlink()
    made = suite("arc_easy")

    assert len(lm_tasks.load(made, Task("arc_easy", "acc"))["tasks"]["arc_easy"].eval_docs) == 4
    with pytest.raises(UnavailableError, match=r"task 'arc_easy': the split 'train' .* arc_easy/train\.jsonl"):
        lm_tasks.load(made, Task("arc_easy", "acc", shots=1))


def test_without_a_training_split_it_can_be_scored_and_not_trained_on(data):
    (data / "arc_easy" / "train.jsonl").unlink()
    write(data, "hellaswag/validation", [])
    made, findings = suite("arc_easy"), Findings()

    preflight.check_suite(made, "lm-eval/arc_easy", findings, trained=False)
    assert not findings.errors
    preflight.check_suite(made, "lm-eval/arc_easy", findings, trained=True)

    (error,) = findings.errors
    assert str(error) == (
        "suite lm-eval/arc_easy: the training split of task 'arc_easy' is not here: arc_easy/train.jsonl.\n"
        "  Students can be scored on it all the same: --tasks arc_easy, beside a --suite to train on."
    )


def test_a_task_without_one_says_so(data):
    write(data, "truthfulqa_mc1/test", [arc_row(number) for number in range(3)])

    assert task_suites.why_no_records(suite("truthfulqa_mc1")) == "task 'truthfulqa_mc1' has no training split"


def test_whoever_is_only_scored_has_the_same_identity_with_and_without_training_data(data):
    registry = plugins.load()
    before = planning.suite_identity(registry.suites.get("lm-eval/arc_easy"), trained=False)
    trained = planning.suite_identity(registry.suites.get("lm-eval/arc_easy"))
    (data / "arc_easy" / "train.jsonl").unlink()
    task_suites._suite.cache_clear()
    after = planning.suite_identity(plugins.load().suites.get("lm-eval/arc_easy"), trained=False)

    assert before == after
    assert trained["data_hash"] != before["data_hash"]


def test_another_answer_under_the_same_question_is_other_data(data):
    first = data_digest(suite("arc_easy"), trained=False)
    rows = [arc_row(number) for number in range(4)]
    write(data, "arc_easy/test", [rows[0] | {"answer": 0}, *rows[1:]])
    task_suites._suite.cache_clear()

    assert data_digest(suite("arc_easy"), trained=False) != first


def test_what_was_rendered_is_found_again_without_lm_eval(data, monkeypatch):
    made = suite("arc_easy")
    task_suites._suite.cache_clear()
    monkeypatch.setattr(task_suites, "_render", lambda *_: pytest.fail("it was rendered again"))

    again = suite("arc_easy")

    assert (again.tasks, again.test_prompts()) == (made.tasks, made.test_prompts())
    assert again.records("train") == made.records("train")


def test_a_task_of_a_folder_is_a_suite_wherever_the_folder_is(tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    folder.mkdir()
    rows = [{"q": f"{n}+1?", "a": str(n + 1)} for n in range(40)]
    for split in ("train", "test"):
        write(tmp_path, f"rows/{split}", rows[:30] if split == "train" else rows[30:])
    (folder / "sums.yaml").write_text(
        "task: sums\ndataset_path: json\noutput_type: generate_until\n"
        f"dataset_kwargs:\n  data_files:\n    train: {tmp_path}/rows/train.jsonl\n"
        f"    test: {tmp_path}/rows/test.jsonl\n"
        "training_split: train\ntest_split: test\ndoc_to_text: '{{q}}'\ndoc_to_target: '{{a}}'\n"
        "generation_kwargs:\n  until: ['x']\nmetric_list:\n  - metric: exact_match\n"
    )
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    shelf = plugins.load().suites

    offer = shelf.get(str(folder))

    assert shelf.get(f"{offer.distribution}/{offer.item.name}") is offer
    assert shelf.get(f"{folder}/sums") is offer
    assert offer.item.records("train")[0].answer.strip().isdigit()
    assert planning.suite_identity(offer)["suite"]["distribution"] == "mine"
    with pytest.raises(RequestError, match="has no YAML file that defines a task"):
        shelf.get(str(tmp_path / "rows"))


def test_a_suite_of_a_plugin_wins_over_a_task_of_the_same_name(data):
    shelf = plugins.load().suites

    assert shelf.get("gsm8k").provider == "papers"
    assert shelf.get("lm-eval/gsm8k").distribution == "lm-eval"
    assert shelf.get("arc_easy") is shelf.get("lm-eval/arc_easy")
    assert shelf.get("lm-eval/pkt_gsm8k_oi_8shot").item.task_path == shelf.get("gsm8k").item.task_path
    with pytest.raises(RequestError, match=r"lm-eval .* has no task 'arc_esy'\. Did you mean arc_easy"):
        shelf.get("lm-eval/arc_esy")


def test_a_metric_that_has_to_be_fetched_is_refused_before_anything_runs(tmp_path, monkeypatch):
    folder = tmp_path / "fetched"
    folder.mkdir()
    (folder / "docs.py").write_text(
        "def docs(**_):\n    from datasets import Dataset, DatasetDict\n"
        "    return DatasetDict({'test': Dataset.from_list([{'q': 'a', 'a': 'b'}])})\n"
    )
    (folder / "fetched.yaml").write_text(
        "task: fetched\ncustom_dataset: !function docs.docs\noutput_type: generate_until\ntest_split: test\n"
        "doc_to_text: q\ndoc_to_target: a\ngeneration_kwargs:\n  until: ['x']\n"
        "metric_list:\n  - metric: rouge_of_the_hub\n    aggregation: mean\n    higher_is_better: true\n"
    )

    with pytest.raises(UnavailableError, match="task 'fetched' measures rouge_of_the_hub, which lm-eval does not have"):
        plugins.load().suites.get(f"{folder}/fetched")


def test_records_cut_to_fewer_are_still_those_of_a_task(data):
    from pkt_bench.data import cut

    made = cut(suite("arc_easy"), 5)

    assert task_suites.made_here(made)
    assert len(made.records("train")) == 5
    assert not task_suites.made_here(dataclasses.replace(made, records=lambda _: ()))

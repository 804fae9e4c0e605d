"""A group of tasks: lm-eval's own figure, and answers it can be worked out from and paired by."""

import dataclasses
import json
import statistics

import pytest

from pkt_bench import integrity, lm_tasks, rescoring, scoring
from pkt_bench.domain import Knobs, Task
from pkt_bench.errors import ContractError, UnavailableError
from pkt_bench.models import LoadedPair
from pkt_bench.planning import suite_identity
from pkt_bench.reports import part_of
from pkt_bench.rows import scoring_hash
from pkt_bench.scoring import score
from pkt_bench.store import Store
from pkt_bench.testing import pico_pair, pico_suite
from recorded import make_cell, make_run, make_score

pytestmark = pytest.mark.filterwarnings("default")  # lm-eval and datasets warn about their own dependencies

SIZES = {"small": 2, "large": 6}
# a random model is wrong on one task and right on the other only by luck: these gold answers are both
GOLD = {"small": [0, 1], "large": [0, 1, 2, 3, 0, 1]}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return LoadedPair(pico_pair(tmp_path_factory.mktemp("pair")))


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """Two tasks of two and six documents; a group in which documents count alike, and one in which tasks do."""
    plain = pico_suite(tmp_path_factory.mktemp("group"))
    (yaml,) = plain.task_path.glob("*.yaml")
    for name, gold in GOLD.items():
        rows = [{"prompt": f"{name} {number}:", "choices": list("xyzw"), "gold": g} for number, g in enumerate(gold)]
        (plain.task_path / f"{name}.json").write_text(json.dumps(rows))
        code = (plain.task_path / "documents.py").read_text().replace("documents.json", f"{name}.json")
        (plain.task_path / f"{name}_documents.py").write_text(code)
        words = (
            yaml.read_text().replace("task: pico", f"task: {name}").replace("documents.test", f"{name}_documents.test")
        )
        (plain.task_path / f"{name}.yaml").write_text(words)
    for name, by_size in (("by_size", True), ("by_task", False)):
        (plain.task_path / f"{name}.yaml").write_text(
            f"group: {name}\ntask:\n  - small\n  - large\naggregate_metric_list:\n"
            f"  - metric: acc\n    weight_by_size: {by_size}\nmetadata:\n  version: 3\n"
        )
    (plain.task_path / "tagged.yaml").write_text(
        (plain.task_path / "small.yaml").read_text().replace("task: small", "task: third\ntag: word")
    )
    return plain


def scored(loaded, suite, name, **knobs):
    asked = dataclasses.replace(suite, tasks=(Task(name, "acc", chance=0.25),), test_prompts=list)
    return score(loaded.student, loaded.tokenizer, asked, Knobs(**knobs))


def values(found, task):
    return [item.value for item in found.items if item.task == task]


def test_a_group_has_the_figure_lm_eval_gives_it_and_those_of_its_tasks_beside_it(loaded, suite):
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    lm = HFLM(pretrained=loaded.student, tokenizer=loaded.tokenizer, batch_size=1, add_bos_token=True)
    names = ["by_size", "by_task"]
    manager = TaskManager(include_path=str(suite.task_path), include_defaults=False)
    plain = {
        name: simple_evaluate(model=lm, tasks=[name], task_manager=manager, bootstrap_iters=0)["results"]
        for name in names
    }

    found = {name: scored(loaded, suite, name) for name in names}

    for name in names:
        (head,) = (each for each in found[name].scores if each.headline)
        assert (head.task, head.value, head.chance) == (name, plain[name][name]["acc,none"], 0.25)
        assert head.task_version == "3"
        beside = {each.task: each.value for each in found[name].scores if not each.headline}
        assert beside == {part: plain[name][part]["acc,none"] for part in SIZES}
    assert plain["by_size"]["by_size"]["acc,none"] != plain["by_task"]["by_task"]["acc,none"]


def test_documents_of_a_group_are_numbered_through_whatever_the_limit(loaded, suite):
    whole = scored(loaded, suite, "by_size").items
    limited = scored(loaded, suite, "by_size", limit=3).items

    named = {(item.doc_id, item.doc_hash, item.prompt) for item in whole if item.task == "by_size"}
    assert sorted(number for number, _, _ in named) == list(range(8))
    assert {item.doc_id for item in limited if item.task == "by_size"} == {0, 1, 2, 3, 4}
    assert {(item.doc_id, item.doc_hash, item.prompt) for item in limited if item.task == "by_size"} < named
    assert [item.prompt for item in whole if (item.task, item.doc_id) == ("by_size", 2)] == ["large 0:"]


def test_a_mean_over_documents_has_the_standard_error_of_its_documents(loaded, suite):
    found = scored(loaded, suite, "by_size")
    answers = values(found, "by_size")

    assert found.scores[0].n == 8
    assert found.scores[0].value == pytest.approx(statistics.mean(answers))
    assert found.scores[0].stderr == pytest.approx(statistics.stdev(answers) / 8**0.5)


def test_where_tasks_count_alike_they_are_what_the_figure_is_the_mean_of(loaded, suite):
    found = scored(loaded, suite, "by_task")

    assert found.scores[0].n == 2
    assert values(found, "by_task") == [statistics.mean(values(found, part)) for part in SIZES]
    assert found.scores[0].value == pytest.approx(statistics.mean(values(found, "by_task")))


@pytest.mark.parametrize("name", ["by_size", "by_task"])
def test_what_is_recorded_of_a_group_is_found_sound(name, loaded, suite, tmp_path):
    found = scored(loaded, suite, name)
    store = Store(tmp_path / "runs")
    cell = make_cell(tasks=[{"name": name}])
    store.record(make_run(cell, scores=found.scores), found.items)
    store.write_board()

    checked = integrity.check(tmp_path / "runs")

    assert checked.faults == ()
    assert checked.scores == 3


def test_documents_of_a_group_are_asked_again_by_their_numbers(loaded, suite):
    from pkt_bench import reports

    whole = {item.doc_id: item for item in scored(loaded, suite, "by_size").items if item.task == "by_size"}
    lm = scoring.scorer_of(loaded.student, loaded.tokenizer, suite, Knobs(scorer="stock"))

    report = scoring.run_task(lm, lm_tasks.load(suite, Task("by_size", "acc")), "by_size", 0, documents=[7, 3])

    again = {number: worth for number, _, _, _, worth in reports.responses(report)}
    assert again == {number: whole[number].value for number in (3, 7)}


def test_documents_of_a_group_are_judged_again_by_the_task_they_belong_to(loaded, suite):
    judge = rescoring.judge_of(suite, Task("by_size", "acc"))

    assert [task.task_name for task in judge.tasks] == ["small"] * 2 + ["large"] * 6
    assert judge.documents[7]["prompt"] == "large 5:"
    assert rescoring.judge_of(suite, Task("by_task", "acc")) == (
        "not scored again: by_task is the mean of its tasks' figures, which are no answers"
    )


def test_a_number_beyond_the_last_document_is_an_error():
    assert part_of(SIZES, 7) == ("large", 5)
    with pytest.raises(IndexError, match="no document 8 among 8"):
        part_of(SIZES, 8)


def test_a_word_for_several_tasks_has_no_figure_and_says_which_they_are(loaded, suite):
    with pytest.raises(ContractError, match="'word' is lm-eval's word for several tasks: name one of third"):
        scored(loaded, suite, "word")


def test_a_group_that_is_not_there_is_an_error_that_lists_what_is(loaded, suite):
    with pytest.raises(UnavailableError, match=r"has no task 'by_sise' \(it has: .*by_size"):
        scored(loaded, suite, "by_sise")


@pytest.fixture
def beside(loaded, suite, tmp_path):
    """A run of another suite whose student was scored on a group, too."""
    found = scored(loaded, suite, "by_size")
    its_own = {"suite": {"name": "by_size", "code": "3" * 32, "task_files": "4" * 32}, "tasks": [{"name": "by_size"}]}
    cell = make_cell(also_score=[its_own | {"data_hash": "5" * 32, "prompt_hash": "6" * 32}])
    store = Store(tmp_path / "runs")
    store.record(make_run(cell, scores=(make_score(headline=True), *found.scores)), found.items)
    return store, scoring_hash(its_own["suite"])


def test_members_of_a_group_beside_the_suite_say_what_judged_the_group(beside):
    store, judged_by = beside

    rows = {row["task"]: row for row in store.read().runs.to_pylist()}

    assert {rows[task]["scoring_hash"] for task in ("by_size", "small", "large")} == {judged_by}
    assert {rows[task]["data_hash"] for task in ("by_size", "small", "large")} == {"5" * 32}
    assert rows["tiny_code"]["data_hash"] == "d" * 32


def test_answers_to_members_of_a_group_are_judged_again_by_the_group(suite):
    judges = rescoring.Judges()
    asked = dataclasses.replace(suite, tasks=(Task("by_size", "acc"),))
    offer = dataclasses.replace(next(iter(judges._shelf)), item=asked)
    judges._suites["by_size"] = offer
    judged_by = scoring_hash(suite_identity(offer)["suite"])

    whole, member = (judges.of({"task": task, "scoring_hash": judged_by}) for task in ("by_size", "large"))

    assert len(whole.documents) == sum(SIZES.values())
    assert [document["prompt"] for document in member.documents] == [f"large {number}:" for number in range(6)]

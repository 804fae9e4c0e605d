"""Stored answers are judged again by the real tasks of the embedded suites."""

import json

import pytest

from pkt_bench import integrity, lm_tasks, plugins, rescoring
from pkt_bench.planning import suite_identity
from pkt_bench.store import Store
from recorded import make_cell, make_item, make_run, make_score

TASK = "tiny_arithmetic"


@pytest.fixture(scope="module")
def documents():
    suite = plugins.load().suites.get("arithmetic").item
    task = lm_tasks.load(suite, suite.tasks[0])["tasks"][TASK]
    return [(rescoring.document_hash(each), str(task.doc_to_target(each)).strip()) for each in list(task.eval_docs)[:4]]


def record(root, documents, values):
    """A run that answered every document rightly, and was given `values` for it."""
    suite = suite_identity(plugins.load().suites.get("arithmetic"))["suite"]
    items = [
        make_item(number, value, metric="exact_match").__class__(
            TASK, "exact_match", "none", number, digest, "p", "q", target, json.dumps([target]), value
        )
        for number, ((digest, target), value) in enumerate(zip(documents, values, strict=True))
    ]
    mean = sum(values) / len(values)
    stderr = (mean * (1 - mean) / (len(values) - 1)) ** 0.5
    score = make_score(mean, task=TASK, metric="exact_match", n=len(values), stderr=stderr)
    store = Store(root)
    store.record(make_run(make_cell(suite=suite), scores=(score,)), items)
    store.write_board()
    return integrity.check(root, all_items=True)


def test_right_answers_are_right_again(tmp_path, documents):
    checked = record(tmp_path / "runs", documents, [1.0] * 4)

    again = rescoring.rescore(checked.runs, checked.items, sample=None, seed=0)

    assert (again.checked, again.faults, again.skipped) == (4, (), ())


def test_an_answer_given_another_worth_in_every_table_alike_is_found_by_its_task(tmp_path, documents):
    checked = record(tmp_path / "runs", documents, [1.0, 1.0, 0.0, 1.0])

    (fault,) = rescoring.rescore(checked.runs, checked.items, sample=None, seed=0).faults

    assert checked.faults == ()
    assert (fault.task, fault.document, fault.stored, fault.should_be) == (TASK, 2, "0.0", "1.0")


def test_another_document_under_the_same_task_files_is_a_fault(tmp_path, documents):
    renamed = [("0" * 64, documents[0][1]), *documents[1:]]
    checked = record(tmp_path / "runs", renamed, [1.0] * 4)

    (fault,) = rescoring.rescore(checked.runs, checked.items, sample=None, seed=0).faults

    assert (fault.document, fault.stored, fault.should_be) == (0, "0" * 64, documents[0][0])


def test_the_same_seed_draws_the_same_answers(tmp_path, documents):
    checked = record(tmp_path / "runs", documents, [1.0, 0.0, 0.0, 0.0])

    drawn = [rescoring.rescore(checked.runs, checked.items, sample=2, seed=3) for _ in range(2)]

    assert drawn[0] == drawn[1]
    assert drawn[0].checked == 2


@pytest.mark.slow
def test_a_saved_student_answers_the_same_when_it_is_asked_again(warm, tmp_path):
    out = tmp_path / "runs"
    chosen = ("--methods", "student", "--suite", "arithmetic", "--limit", "4", "--slots", "1")
    assert warm("run", *chosen, "--out", out, "--executor", "inline").code == 0

    answer = warm("verify", out, "--sample", "0", "--rerun", "4")

    assert (answer.code, answer.err) == (
        0,
        f"{out}: 1 runs, 1 scores, 4 answers, 0 of them scored again, 4 asked again: no faults\n",
    )

"""lm-eval's own figures, taken over unchanged, and a refusal where scoring would ask in other words than training."""

import dataclasses
import shutil

import pytest

from pkt_bench.domain import Knobs, Task
from pkt_bench.errors import ContractError, UnavailableError
from pkt_bench.models import LoadedPair
from pkt_bench.scoring import score
from pkt_bench.testing import pico_pair, pico_suite


@pytest.fixture
def loaded(tmp_path):
    return LoadedPair(pico_pair(tmp_path))


@pytest.fixture
def suite(tmp_path):
    return pico_suite(tmp_path)


def test_the_figures_are_those_of_a_plain_lm_eval_run(loaded, suite):
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    lm = HFLM(pretrained=loaded.student, tokenizer=loaded.tokenizer, batch_size=1, add_bos_token=True)
    manager = TaskManager(include_path=str(suite.task_path), include_defaults=False)
    plain = simple_evaluate(model=lm, tasks=["pico"], task_manager=manager)

    found = score(loaded.student, loaded.tokenizer, suite, Knobs())
    scores, items = found.scores, found.items

    assert scores[0].value == plain["results"]["pico"]["acc,none"]
    assert scores[0].stderr == plain["results"]["pico"]["acc_stderr,none"]
    assert [item.value for item in items] == [sample["acc"] for sample in plain["samples"]["pico"]]
    assert (scores[0].n, scores[0].headline, scores[0].chance) == (4, True, 0.25)


def test_scoring_starts_no_process(loaded, suite, monkeypatch):
    import subprocess

    def refuse(*arguments, **_):
        raise AssertionError(f"started {arguments}")

    monkeypatch.setattr(subprocess, "Popen", refuse)

    scores = score(loaded.student, loaded.tokenizer, suite, Knobs()).scores

    assert scores[0].n == 4


def test_the_limit_takes_the_first_documents(loaded, suite):
    found = score(loaded.student, loaded.tokenizer, suite, Knobs(limit=2))
    scores, items = found.scores, found.items

    assert scores[0].n == 2
    assert [item.doc_id for item in items] == [0, 1]


def test_a_metric_the_task_does_not_report_is_an_error_that_lists_what_it_does(loaded, suite):
    wrong = dataclasses.replace(suite, tasks=(Task("pico", "exact_match"),))

    with pytest.raises(ContractError, match=r"reports no exact_match under filter none; it reports acc"):
        score(loaded.student, loaded.tokenizer, wrong, Knobs())


def test_a_task_that_is_not_there_is_an_error_that_lists_what_is(loaded, suite):
    wrong = dataclasses.replace(suite, tasks=(Task("pcio", "acc"),))

    with pytest.raises(UnavailableError, match=r"has no task 'pcio' \(it has: pico\)"):
        score(loaded.student, loaded.tokenizer, wrong, Knobs())


def test_a_task_that_asks_in_other_words_than_the_records_is_refused(loaded, suite):
    other = dataclasses.replace(suite, test_prompts=lambda: ["Question: a"])

    with pytest.raises(ContractError, match="none of the suite's test prompts"):
        score(loaded.student, loaded.tokenizer, other, Knobs())


def test_the_hash_of_a_task_does_not_depend_on_where_its_files_lie(loaded, suite, tmp_path):
    shutil.copytree(suite.task_path, tmp_path / "elsewhere" / "tasks")
    moved = dataclasses.replace(suite, task_path=tmp_path / "elsewhere" / "tasks")
    shutil.copytree(suite.task_path, tmp_path / "edited")
    (file,) = (tmp_path / "edited").glob("*.yaml")
    file.write_text(file.read_text().replace("doc_to_text:", "description: 'Think. '\ndoc_to_text:"))
    edited = dataclasses.replace(suite, task_path=tmp_path / "edited", test_prompts=list)

    here, there, other = (
        score(loaded.student, loaded.tokenizer, each, Knobs(limit=1)).scores[0].task_hash
        for each in (suite, moved, edited)
    )

    assert here == there
    assert here != other

"""lm-eval's tasks, found from the text of their files: as lm-eval finds them, and kept."""

import json
import time

import pytest

from pkt_bench import task_index
from pkt_bench.errors import UnavailableError


@pytest.fixture
def folder(tmp_path):
    def put(name, text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")

    put("a/plain.yaml", "task: plain\ntag:\n  - both  # a tag\n  - one\n")
    put("a/quoted.yaml", '"task": "quo ted"\n"tag": "both"\n')
    put("a/_base_yaml", "tag: inherited\ndataset_path: x\nmetadata: {task: none of it}\n")
    put("a/child.yaml", "include: _base_yaml\ntask: child\n")
    put("b/group.yaml", "group: all of them\ntask:\n  - plain\n  - group: inner\n    task: [child]\n")
    put("b/python.yaml", "task: python\nclass: !function python_task.Made\n")
    put("b/twice.yaml", "task: plain\n")
    put("b/folded.yaml", "doc_to_text: >-\n  task: not this\n\ntask: 'fold''ed'\n")
    put("b/broken.yaml", "task: [\n")
    put("b/inside.yaml", "dataset_kwargs:\n  task: no\n")
    return tmp_path


def test_every_way_to_say_it_is_read_as_lm_eval_reads_it(folder):
    from lm_eval.tasks import TaskManager

    theirs = TaskManager(include_path=str(folder), include_defaults=False).task_index
    ours = task_index.of_folder(folder)

    assert {name: (each.kind, each.file) for name, each in ours.items()} == {
        name: (each.kind.name, each.yaml_path) for name, each in theirs.items()
    }
    assert {name: set(each.tags) for name, each in ours.items() if each.kind == "TAG"} == {
        "both": {"plain", "quo ted"},
        "one": {"plain"},
        "inherited": {"child"},
    }


def test_a_file_that_includes_itself_does_not_hang(tmp_path):
    (tmp_path / "loop.yaml").write_text("include: loop.yaml\ntask: loop\n")

    assert list(task_index.of_folder(tmp_path)) == ["loop"]
    with pytest.raises(UnavailableError, match="it includes itself"):
        task_index.configuration(tmp_path / "loop.yaml")


def test_members_of_groups_and_tags(folder):
    index = task_index.of_folder(folder)

    assert {each.name for each in task_index.members(index["all of them"], index)} == {"plain", "child"}
    assert [each.name for each in task_index.members(index["both"], index)] == ["plain", "quo ted"]
    assert [each.name for each in task_index.members(index["child"], index)] == ["child"]


def test_a_task_is_made_of_its_file_what_that_includes_and_the_code_beside_both(folder):
    (folder / "a" / "code.py").write_text("")
    (folder / "b" / "other.py").write_text("")

    found = task_index.sources(folder / "a" / "child.yaml")

    assert {file.relative_to(folder).as_posix() for file in found} == {"a/child.yaml", "a/_base_yaml", "a/code.py"}


def test_the_index_of_the_installed_lm_eval_is_kept_by_version(tmp_path, monkeypatch):
    monkeypatch.setenv("PKT_BENCH_HOME", str(tmp_path))
    task_index.of_lm_eval.cache_clear()
    first = task_index.of_lm_eval()
    task_index.of_lm_eval.cache_clear()
    started = time.process_time()
    again = task_index.of_lm_eval()
    took = time.process_time() - started
    task_index.of_lm_eval.cache_clear()

    assert len(first) > 10_000
    assert {"gsm8k", "mmlu", "arc_easy", "hellaswag", "ai2_arc"} <= set(first)
    assert first == again
    assert took < 0.5
    kept = tmp_path / "cache" / "lm-eval" / f"{task_index.version()}.json"
    content = json.loads(kept.read_text())
    content["tasks"] = {"only": ["TASK", "x.yaml", []]}
    kept.write_text(json.dumps(content))
    assert list(task_index.of_lm_eval()) == ["only"]
    kept.write_text("half of it")
    task_index.of_lm_eval.cache_clear()
    assert task_index.of_lm_eval() == first


@pytest.mark.long
def test_the_index_is_lm_evals_own():
    from lm_eval.tasks import TaskManager

    theirs = TaskManager().task_index
    ours = task_index.of_folder(task_index.home())

    assert {name: (each.kind, each.file) for name, each in ours.items()} == {
        name: (each.kind.name, each.yaml_path) for name, each in theirs.items()
    }
    assert {name: set(each.tags) for name, each in ours.items() if each.kind == "TAG"} == {
        name: set(each.tags) for name, each in theirs.items() if each.kind.name == "TAG"
    }


def test_an_unknown_task_is_answered_with_the_nearest_and_where_all_are():
    said = str(task_index.unknown("arc_esy", {"arc_easy": None, "piqa": None}))

    assert said == (
        f"lm-eval {task_index.version()} has no task 'arc_esy'. Did you mean arc_easy?\n"
        "  It has 2: pkt-bench ls tasks PATTERN"
    )

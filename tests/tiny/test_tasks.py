"""The YAML tasks: they load without network, hold the right documents, and judge answers rightly."""

import importlib.util

import pytest

from pkt_bench_tiny import arithmetic, code, knowledge
from pkt_bench_tiny.scoring import TASK_PATH, score

NAMES = ("tiny_knowledge", "tiny_arithmetic", "tiny_code")
ITEMS = dict(zip(NAMES, (knowledge.items, arithmetic.items, code.items), strict=True))

pytestmark = pytest.mark.filterwarnings("default")  # lm-eval and datasets warn about their own dependencies


@pytest.fixture(scope="module")
def tasks():
    from lm_eval.tasks import TaskManager

    return TaskManager(include_defaults=False, include_path=str(TASK_PATH)).load(list(NAMES))["tasks"]


@pytest.mark.parametrize("name", NAMES)
def test_a_task_asks_the_prompts_of_the_test_split_in_order(tasks, name):
    task = tasks[name]

    asked = [task.doc_to_text(document) for document in task.eval_docs]

    assert asked == [item.prompt for item in ITEMS[name]("test")]


def test_the_knowledge_task_puts_the_choices_where_the_answers_are(tasks):
    task = tasks["tiny_knowledge"]

    for document, item in zip(task.eval_docs, knowledge.items("test"), strict=True):
        requests = task.construct_requests(
            doc=document,
            ctx=item.prompt,
            metadata=("tiny_knowledge", 0, 1),
            apply_chat_template=False,
            chat_template=None,
        )
        assert [request.args for request in requests] == [(item.prompt, choice) for choice in item.choices]
        assert task.doc_to_target(document) == item.gold


@pytest.mark.parametrize(
    ("said", "right"),
    [
        (" 3+4=7\n#### 7", 1.0),
        (" 3+4=7\n#### 7\n", 1.0),
        (" 3+4=8\n#### 8", 0.0),
        (" 3+4=7", 0.0),
        (" 7", 0.0),
        (" #### 77", 0.0),
    ],
)
def test_an_arithmetic_answer_is_the_number_after_the_hashes(tasks, said, right):
    from lm_eval.api.instance import Instance

    task = tasks["tiny_arithmetic"]
    document = {"prompt": "Question:", "answer": " 3+4=7\n#### 7", "number": "7"}
    instance = Instance("generate_until", document, ("Question:", {}), 0, resps=[said])
    task._instances = [instance]

    task.apply_filters()

    filtered = instance.filtered_resps["final-number"]
    assert task.process_results(document, [filtered]) == {"exact_match": right}


def _documents_module():
    spec = importlib.util.spec_from_file_location("tiny_documents", TASK_PATH / "tiny_documents.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_every_split_can_be_had_as_a_data_set(name):
    made = getattr(_documents_module(), f"{name.removeprefix('tiny_')}_documents")(version=1.0)

    assert {split: len(rows) for split, rows in made.items()} == {split: len(ITEMS[name](split)) for split in made}


def test_a_reference_body_passes_and_a_wrong_one_does_not(tasks):
    task = tasks["tiny_code"]
    document = task.eval_docs[0]

    right = task.process_results(document, [document["answer"]])
    wrong = task.process_results(document, ["\n    return None"])
    printed = task.process_results(document, ['\n    print("passed")\n    raise SystemExit(0)'])

    assert (right, wrong, printed) == ({"pass_at_1": 1.0}, {"pass_at_1": 0.0}, {"pass_at_1": 0.0})


@pytest.mark.slow
def test_the_teacher_knows_what_the_student_does_not():
    from pkt_bench_tiny import gate

    teacher = score(gate.PAIR / "teacher", "validation")
    student = score(gate.PAIR / "student", "validation")

    assert gate.failures(teacher, student) == []

"""The suites of the papers: splits, prompts that scoring asks in, judges, on a few rows and on the data beside us."""

import json

import pytest

from data_folders import SHARED, gsm8k_row, mirror, needs_shared, write
from pkt_bench import lm_tasks, planning, plugins, preflight
from pkt_bench.domain import SPLITS, Task
from pkt_bench.overlap import overlap
from pkt_bench_papers import gsm8k, humaneval, mbpp, mmlu

NAMES = ("gsm8k", "mmlu", "humaneval", "mbpp")


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = mirror(tmp_path / "data")
    monkeypatch.setenv("PKT_BENCH_DATA", str(folder))
    return folder


@pytest.fixture
def shared(monkeypatch):
    monkeypatch.setenv("PKT_BENCH_DATA", str(SHARED))


def load(suite, name=""):
    name = name or suite.tasks[0].name
    return lm_tasks.load(suite, Task(name, suite.tasks[0].metric))["tasks"][name]


def test_none_of_them_is_among_all_suites_for_their_data_have_to_be_fetched():
    registry = plugins.load()

    assert set(NAMES) <= {offer.item.name for offer in registry.suites}
    assert {name.rpartition("/")[2] for name in planning.suites_of(registry.pairs.get("tiny").item, registry)} == {
        "arithmetic",
        "code",
        "knowledge",
    }


def test_a_gsm8k_record_is_the_chain_on_a_line_and_the_number(data):
    record = gsm8k.record(gsm8k_row(1))

    assert gsm8k.PROMPT.render(record) == (
        "Answer the following question.\n\nQuestion: Ann has 1 apples and buys 2 more. How many are there?\nAnswer:",
        " She has 1+2=3. So the answer is 3.",
    )


@pytest.mark.parametrize(
    ("said", "number", "right"),
    [
        ("She has 3. So the answer is 1,234.", "1234", True),
        ("first 12, then 13", "12", False),
        ("no number at all", "3", False),
        ("it costs $2.50", "2.50", True),
    ],
)
def test_the_last_number_counts_with_commas_removed(said, number, right):
    assert gsm8k.is_right(said, number) == right


def test_eight_exemplars_stand_before_the_question_and_end_as_records_do(data):
    task = load(gsm8k.suite(), "pkt_gsm8k_oi_8shot")
    asked = task.fewshot_context(task.eval_docs[0], 0)

    assert asked.startswith("Answer the following questions.\n\nQuestion: There are 15 trees in the grove.")
    assert asked.count("\nAnswer: ") == asked.count("So the answer is ") == 8
    assert asked.endswith(f"\n\nQuestion: {gsm8k_row(100)['question']}\nAnswer:")


def test_mmlu_is_trained_on_validation_rows_and_on_its_shots_where_there_are_none(data):
    suite = mmlu.suite()
    notes = list(preflight.missing_data(suite))
    write(data, "mmlu/validation/virology", [row(n) for n in range(90)])
    with_validation = mmlu.suite()

    assert "suite 'mmlu': the test has 2 of 57 subjects: no score on it is one on MMLU" in notes
    assert any("records are made of the dev rows" in note for note in notes)
    assert {record.messages[1].content.split("?")[0] for split in SPLITS for record in suite.records(split)} == {
        f"{subject} {n}" for subject in ("marketing", "virology") for n in range(5)
    }
    assert not any("dev rows" in note for note in preflight.missing_data(with_validation))
    assert {record.messages[1].content.split()[0] for record in with_validation.records("train")} == {"validation"}


def row(number):
    return {"subject": "virology", "question": f"validation {number}?", "choices": list("wxyz"), "answer": number % 4}


def test_mmlu_asks_in_the_words_of_the_stock_task(data):
    suite = mmlu.suite()
    stock = lm_tasks.load(
        plugins.load().suites.get("lm-eval/mmlu_virology").item, Task("mmlu_virology", "acc", shots=5)
    )
    stock = stock["tasks"]["mmlu_virology"]
    stock.set_config(key="num_fewshot", value=5)
    stock.set_fewshot_seed(1)
    ours = load(suite, "pkt_mmlu_oi_5shot")
    virology = [document for document in ours.eval_docs if document["subject"] == "virology"]

    assert [ours.fewshot_context(document, 0) for document in virology] == [
        stock.fewshot_context(document, 5) for document in stock.eval_docs
    ]
    zero = load(suite)
    assert [zero.fewshot_context(document, 0) for document in zero.eval_docs] == list(suite.test_prompts())


SOLUTIONS = [
    {"text": "Write a function to add.", "code": "def add(a, b):\r\n  # sum\r\n  return a + b", "task_id": 601},
    {"text": "Write a function to sort.", "code": "import heapq\r\ndef top(x): \r\n\treturn sorted(x)", "task_id": 602},
    {"text": "Two statements after.", "code": "def one(x):\n    return x\nprint(one(1))", "task_id": 603},
]


def test_a_row_of_mbpp_becomes_a_function_to_complete_or_is_left_out():
    rows = [
        {**row, "test_list": [f"assert {name}(1) == 1"], "test_setup_code": ""}
        for row, name in zip(SOLUTIONS, ("add", "top", "one"), strict=True)
    ]
    made = [humaneval.record(row) for row in rows]

    assert made[0].prompt == 'def add(a, b):\n    """Write a function to add.\n    """'
    assert made[0].answer == "\n    # sum\n    return a + b"
    assert made[1].prompt == 'import heapq\ndef top(x):\n    """Write a function to sort.\n    """'
    assert made[2] is None
    prompt, answer = mbpp.PROMPT.render(mbpp.record(rows[0]))
    assert prompt == (
        "Complete the following python function.\n\n\nWrite a function to add.\ndef add(a, b)\n"
        "Here is the completed function:\n\n\n```python\n"
    )
    assert answer == "def add(a, b):\n  # sum\n  return a + b\n```"


@pytest.mark.parametrize(
    ("said", "program"),
    [
        ("def f():\n    return 1\n```\nThis function", "def f():\n    return 1\n"),
        ("def f():\n    return 1\n", "def f():\n    return 1\n"),
        ("Sure, here it is:\n```python\ndef f():\n    return 1\n```\nand so on", "def f():\n    return 1\n"),
    ],
)
def test_code_is_taken_out_of_its_fence(said, program):
    assert mbpp.program_of(said) == program


# ---------------------------------------------------------------- on the data beside the repository


@needs_shared
def test_splits_have_the_sizes_of_the_papers_share_nothing_and_hold_no_test_prompt(shared):
    sizes = {}
    for name in NAMES:
        suite = plugins.load().suites.get(name).item
        records = [record for split in SPLITS for record in suite.records(split)]
        found = overlap(suite)

        sizes[name] = [len(suite.records(split)) for split in ("extract", "align", "train", "validation")]
        assert len({record.prompt for record in records}) == len(records)
        assert {split: each.exact for split, each in found.splits.items()} == dict.fromkeys(SPLITS, 0)
        if name in {"gsm8k", "humaneval"}:
            assert str(found) == f"suite '{name}': overlap with test documents: none (exact prompts; 13-grams of words)"

    # MMLU's validation rows are not there, and HumanEval has no training data of its own
    assert sizes == {
        "gsm8k": [20, 80, 1000, 200],
        "mmlu": [6, 25, 49, 64],
        "humaneval": [20, 80, 231, 40],
        "mbpp": [32, 40, 300, 2],
    }


@needs_shared
def test_gsm8k_records_are_those_of_the_papers_to_the_letter(shared):
    rows = [json.loads(line) for line in (SHARED / "gsm8k" / "train.jsonl").read_text().split("\n") if line]
    compared = 0
    for split in ("extract", "align", "train"):
        for line in (SHARED / "pkt" / "gsm" / f"{split}.jsonl").read_text().split("\n"):
            if line:
                theirs = json.loads(line)
                ours = gsm8k.record(rows[int(theirs["id"].removeprefix("gsm_"))])
                prompt, answer = gsm8k.PROMPT.render(ours)
                asked, answered = (turn["content"] for turn in theirs["messages"])
                assert (prompt.removesuffix("\nAnswer:"), "Answer:" + answer) == (asked, answered)
                compared += 1

    assert compared == 1100


@needs_shared
def test_scoring_asks_in_the_very_words_that_records_are_rendered_in(shared):
    for name in NAMES:
        suite = plugins.load().suites.get(name).item
        task = load(suite)
        known = suite.test_prompts()

        assert [task.fewshot_context(each, 0) for each in list(task.eval_docs)[:50]] == list(known[:50])
        assert len(task.eval_docs) == len(known)


def judged(task, key, before=""):
    """How many canonical solutions pass, of how many; and how many of as many wrong answers."""
    documents = list(task.eval_docs)
    right = sum(next(iter(task.process_results(each, [before + each[key]]).values())) for each in documents)
    wrong = sum(next(iter(task.process_results(each, ["\n    pass"]).values())) for each in documents[:20])
    return right, len(documents), wrong


@needs_shared
@pytest.mark.long
def test_canonical_solutions_pass_and_empty_answers_do_not(shared):
    assert judged(load(humaneval.suite()), "solution") == (86, 86, 0)
    assert judged(load(mbpp.suite()), "code") == (250, 250, 0)


@needs_shared
def test_the_first_canonical_solutions_pass_under_stock_and_parity_tasks(shared):
    stock = lm_tasks.load(plugins.load().suites.get("lm-eval/humaneval").item, Task("humaneval", "pass@1"))
    stock = stock["tasks"]["humaneval"]
    ours = load(humaneval.suite())

    assert stock.UNSAFE_CODE is False  # what is unsafe about it is done in the sandbox
    for document, theirs in list(zip(ours.eval_docs, stock.eval_docs, strict=True))[:6]:
        program = theirs["prompt"] + theirs["canonical_solution"]
        assert stock.process_results(theirs, [[program]]) == {"pass@1": 1.0}
        assert stock.process_results(theirs, [[theirs["prompt"] + "    return None"]]) == {"pass@1": 0.0}
        assert ours.process_results(document, [document["solution"]]) == {"pass_at_1": 1.0}
        assert ours.process_results(document, [[document["solution"], "\n    return None"]]) == {"pass_at_1": 0.5}
    first = next(iter(mbpp.test_rows()))
    assert load(mbpp.suite()).process_results(first, [first["code"] + "\n```\n"]) == {"pass_at_1": 1.0}

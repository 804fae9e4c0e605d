"""The generators: sizes, disjointness, speed, and what the checkpoints may have read."""

import ast
import subprocess
import sys
from itertools import islice

import pytest

from pkt_bench_tiny import arithmetic, code, knowledge, pretraining
from pkt_bench_tiny.splits import SIZES, SPLITS, seeded

SUITES = {"knowledge": knowledge, "arithmetic": arithmetic, "code": code}
READERS = ("teacher", "student")
DOCUMENTS = 20_000


@pytest.fixture(scope="module", params=READERS)
def read(request):
    return list(islice(pretraining.documents(request.param), DOCUMENTS))


@pytest.mark.parametrize("suite", SUITES)
def test_every_split_has_its_size(suite):
    sizes = {split: len(SUITES[suite].items(split)) for split in SPLITS}

    assert sizes == SIZES


@pytest.mark.parametrize("suite", SUITES)
def test_no_fact_problem_or_meaning_is_in_two_splits(suite):
    owners = {}

    for split in SPLITS:
        for item in SUITES[suite].items(split):
            owners.setdefault(item.key, set()).add(split)

    assert {key: splits for key, splits in owners.items() if len(splits) > 1} == {}


@pytest.mark.parametrize("suite", SUITES)
def test_no_prompt_is_in_two_splits(suite):
    owners = {}

    for split in SPLITS:
        for item in SUITES[suite].items(split):
            owners.setdefault(item.prompt, set()).add(split)

    assert {prompt: splits for prompt, splits in owners.items() if len(splits) > 1} == {}


@pytest.mark.parametrize("suite", SUITES)
def test_no_record_occurs_twice_within_a_split(suite):
    for split in SPLITS:
        prompts = [item.prompt for item in SUITES[suite].items(split)]
        assert len(set(prompts)) == len(prompts)


def test_programs_of_different_splits_differ_in_what_they_do():
    behaviour = {}
    for split in SPLITS:
        for item in code.items(split):
            scope = {}
            exec(item.program, scope)
            results = tuple(repr(scope[code.ENTRY_POINT](list(probe))) for probe in code.PROBES)
            behaviour.setdefault(results, set()).add(split)

    shared = {results for results, splits in behaviour.items() if len(splits) > 1}

    assert shared == set()


@pytest.mark.parametrize("split", SPLITS)
def test_every_reference_program_passes_its_own_cases(split):
    for item in code.items(split):
        scope = {}
        exec(item.program, scope)
        assert all(scope[code.ENTRY_POINT](*arguments) == expected for arguments, expected in item.cases)


def test_cases_are_plain_literals():
    for item in code.items("test"):
        assert ast.literal_eval(repr(item.cases)) == item.cases


def test_a_chain_of_arithmetic_is_true_and_ends_in_its_number():
    for split in SPLITS:
        for item in arithmetic.items(split):
            *chain, last = item.answer.strip().split("\n")
            assert len(chain) == item.steps
            for line in chain:
                left, right = line.split("=")
                assert eval(left) == int(right)
                assert 0 <= int(right) <= arithmetic.LARGEST
            assert last == f"#### {chain[-1].split('=')[1]}" == f"#### {item.number}"


def test_the_right_choice_is_the_fact_and_no_other_choice_is():
    for item in knowledge.items("test"):
        assert item.answer == f" {item.fact.what}"
        assert len(set(item.choices)) == 4
        assert set(item.choices) <= {f" {value}" for value in item.fact.relation.values}


def test_right_choices_favour_no_position():
    counts = [sum(item.gold == place for item in knowledge.items("test")) for place in range(4)]

    # 200 draws at 1/4: mean 50, standard deviation 6.1; four of them is far out
    assert all(abs(count - 50) < 25 for count in counts), counts


def test_no_checkpoint_reads_a_held_out_fact_as_a_question(read):
    held = {i.prompt for split in ("validation", "test") for i in knowledge.items(split)}
    held_facts = {(f.who, f.relation.name) for f in knowledge.facts() if f.split in ("validation", "test")}

    asked = {document.prompt for document in read if document.kind == "quiz"}

    assert asked & held == set()
    for who, name in held_facts:
        relation = next(r for r in knowledge.RELATIONS if r.name == name)
        assert not {f"Question: {q.format(who=who)}\nAnswer:" for q in relation.questions} & asked


def test_no_checkpoint_reads_a_held_out_problem_or_program(read):
    texts = {document.prompt for document in read}
    bodies = {document.answer for document in read if document.kind == "function"}

    for split in ("validation", "test"):
        assert not texts & {item.prompt for item in arithmetic.items(split)}
        assert not texts & {item.prompt for item in code.items(split)}
        assert not bodies & {item.answer for item in code.items(split)}


@pytest.mark.parametrize("reader", READERS)
def test_no_checkpoint_reads_a_held_out_problem_with_other_names_and_objects(reader):
    diet = pretraining.DIETS[reader]
    stream = arithmetic.problems(seeded(f"{reader} problem"), diet.steps, diet.largest)

    plots = {problem.key for problem in islice(stream, DOCUMENTS)}

    assert plots & arithmetic.held_out() == set()


def test_no_checkpoint_reads_a_program_that_behaves_like_a_held_out_one(read):
    held = code.held_out()
    behaves = {}
    for document in read:
        if document.kind == "function" and document.answer not in behaves:
            scope = {}
            exec(document.prompt + document.answer, scope)
            results = (repr(scope[code.ENTRY_POINT](list(probe))) for probe in code.PROBES)
            behaves[document.answer] = " ".join(results)

    assert len(behaves) > 20
    assert not set(behaves.values()) & held


def test_the_student_is_told_some_test_facts_and_not_others():
    tested = {(item.fact.who, item.fact.relation.name) for item in knowledge.items("test")}

    known = tested & knowledge.known_to_student()

    assert len(known) == 80
    assert len(tested - known) == 120


def test_the_student_reads_no_statement_of_a_fact_it_is_not_told():
    known = knowledge.known_to_student()
    untold = {
        fact.statement(form)
        for fact in knowledge.facts()
        if (fact.who, fact.relation.name) not in known
        for form in range(4)
    }

    told = " ".join(
        document.answer
        for document in islice(pretraining.documents("student"), DOCUMENTS)
        if document.kind == "biography"
    )

    assert [statement for statement in untold if statement in told] == []


def test_a_stream_is_the_same_on_every_call():
    first = list(islice(pretraining.documents("teacher"), 500))

    second = list(islice(pretraining.documents("teacher"), 500))

    assert first == second


def test_all_records_of_all_suites_are_made_within_half_a_second_each_and_without_torch():
    script = (
        "import sys, time, importlib\n"
        "from pkt_bench_tiny import splits\n"
        "for name in ('knowledge', 'arithmetic', 'code'):\n"
        "    start = time.process_time()\n"
        "    suite = importlib.import_module('pkt_bench_tiny.' + name)\n"
        "    for split in splits.SPLITS: suite.items(split)\n"
        "    assert time.process_time() - start < 0.5, name\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr

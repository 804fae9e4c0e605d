"""What is offered, what it is a control of, and which pairs and suites are skipped, with the reason to the word."""

import dataclasses
import subprocess
import sys

import pytest

from pkt_bench import Question
from pkt_bench.errors import RequestError
from pkt_bench.models import architecture
from pkt_bench.settings import parse_settings
from pkt_bench.testing import pico_suite
from pkt_bench_baselines import pkt_bench_methods
from pkt_bench_baselines.settings import LoraSettings

METHODS = {method.name: method for method in pkt_bench_methods()}
ADAPTED = ["lora", "lora-gaussian", "lora-matched", "pissa", "seqkd", "kd", "gkd"]


@pytest.fixture
def question(tmp_path, pair_of):
    def ask(name, family="llama", *, same_tokenizer=True, without=(), student=None, **settings):
        pair, suite = pair_of(), pico_suite(tmp_path)
        records = suite.records
        return Question(
            pair=pair,
            teacher=architecture(pair.teacher),
            student=dataclasses.replace(architecture(pair.student), family=family, **(student or {})),
            same_tokenizer=same_tokenizer,
            suite=dataclasses.replace(suite, records=lambda split: [] if split in without else records(split)),
            settings=METHODS[name].settings(**settings),
        )

    return ask


def test_the_plugin_loads_no_torch():
    code = (
        "import sys, pkt_bench_baselines as p; list(p.pkt_bench_methods()); print({'torch', 'peft'} & set(sys.modules))"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "set()"


def test_controls_name_what_they_are_controls_of_and_distillation_takes_the_teachers_outputs_alone():
    controls = {name: method.control_of for name, method in METHODS.items() if method.control_of}
    uses = {name: method.uses for name, method in METHODS.items()}

    assert controls == {"lora-gaussian": "lora", "lora-matched": "laten"}
    assert {name for name, use in uses.items() if use == "outputs"} == {"seqkd", "kd", "gkd"}
    assert {name for name, use in uses.items() if use == "weights"} == {"teacher"}


@pytest.mark.parametrize("name", METHODS)
def test_a_pair_of_llamas_with_all_splits_is_taken_by_every_method(question, name):
    assert METHODS[name].skip(question(name)) is None


@pytest.mark.parametrize("name", ADAPTED)
def test_a_student_of_a_family_that_cannot_be_adapted_is_skipped(question, name):
    said = METHODS[name].skip(question(name, "gpt2"))

    assert said == (
        "the student of pair 'llama' is a gpt2 model; adapters are put on gemma, gemma2, gemma3_text, llama, mistral,"
        " qwen2, qwen3"
    )


@pytest.mark.parametrize("name", ["student", "teacher", "full"])
def test_methods_without_an_adapter_take_any_family(question, name):
    assert METHODS[name].skip(question(name, "gpt2", same_tokenizer=False)) is None


@pytest.mark.parametrize("name", ["kd", "gkd"])
def test_distributions_over_different_tokens_are_not_compared(question, name):
    said = METHODS[name].skip(question(name, same_tokenizer=False))

    assert said == (
        "teacher and student have different tokenizers, so their distributions are over different tokens;"
        " seqkd needs only the teacher's text"
    )
    assert METHODS["seqkd"].skip(question("seqkd", same_tokenizer=False)) is None


@pytest.mark.parametrize("split", ["extract", "align"])
def test_without_what_laten_aligns_on_there_is_no_matched_control(question, split):
    said = METHODS["lora-matched"].skip(question("lora-matched", without=(split,)))

    assert said == f"suite 'pico' has no {split} records to learn from"


@pytest.mark.parametrize("name", [*ADAPTED, "full"])
def test_several_rates_need_a_validation_split_and_one_does_not(question, name):
    said = METHODS[name].skip(question(name, without=("validation",)))
    alone = METHODS[name].skip(question(name, without=("validation",), learning_rate=1e-3))

    assert said == (
        "suite 'pico' has no validation records to choose a learning rate by; give one alone:"
        " --set METHOD.learning_rate=..."
    )
    assert alone is None


def test_a_rank_beyond_the_smaller_side_of_a_matrix_has_no_principal_directions(question):
    said = METHODS["pissa"].skip(question("pissa", student={"kv_heads": 1}))

    assert said == ("rank 16 is too large for the student's k_proj (8, 32); it may be 8 at most: --set pissa.rank=...")


def test_an_odd_rank_has_no_orthogonal_start():
    with pytest.raises(RequestError, match="the orthogonal start splits the rank in two halves, and 3 is odd"):
        parse_settings("lora", LoraSettings, {"rank": "3", "init": "orthogonal"})


@pytest.mark.parametrize("rate", ["0", "1.5", "nan"])
def test_a_rate_of_full_tuning_is_above_0_and_at_most_1(rate):
    with pytest.raises(RequestError, match=r"full\.learning_rate"):
        parse_settings("full", METHODS["full"].settings, {"learning_rate": rate})

"""What a method needs is worked out from configurations alone, by the method's own formulas."""

import pytest

from pkt_bench.known_models import KNOWN_MODELS
from pkt_bench.models import architecture, parameter_count
from pkt_bench.testing import pico_pair

PLUGIN = """
from pkt_bench import Estimate, Method, Settings, Transferred, hookimpl


class Sized(Settings):
    copies: int = 2


def keep(context):
    return Transferred(context.pair.student)


def needs(question):
    amount = 4.0 * question.settings.copies * question.teacher.parameters
    return [Estimate("teacher's copies", "4 copies N_T", amount, "bytes")]


def skip(question):
    return None if question.same_tokenizer else "the tokenizers differ"


@hookimpl
def pkt_bench_methods():
    yield Method("copying", "copies", "post-align", keep, Sized, estimate=needs, skip=skip)
    yield Method("silent", "says nothing", "post-align", keep, Settings)
"""


@pytest.fixture
def needs_of(tmp_path, warm, pico):
    plugin = tmp_path / "copying.py"
    plugin.write_text(PLUGIN, encoding="utf-8")

    def ask(pair, *more):
        return warm(
            *("plan", "--estimate", "--plugin", plugin, "--plugin", pico.plugin, "--pair", pair, "--suite", "pico"),
            *("--methods", "copying,silent", "--out", tmp_path / "runs", *more),
        )

    return ask


@pytest.mark.parametrize(
    ("name", "published"),
    # the sizes on the models' pages: all numbers stored, norm weights and biases included
    [
        ("llama-7b", 6_738_415_616),
        ("llama-13b", 13_015_864_320),
        ("llama-2-7b", 6_738_415_616),
        ("llama-2-13b", 13_015_864_320),
        ("tinyllama-1.1b", 1_100_048_384),
        ("qwen2.5-1.5b", 1_543_714_304),
        ("qwen2.5-3b", 3_085_938_688),
    ],
)
def test_known_sizes_give_the_published_number_of_parameters_but_for_norms_and_biases(name, published):
    counted = KNOWN_MODELS[name].architecture.parameters

    assert 0 <= published - counted <= 1e-3 * published


@pytest.mark.parametrize("sizes", [{}, {"num_key_value_heads": 2, "tie_word_embeddings": True}], ids=["plain", "gqa"])
def test_a_configuration_gives_the_shapes_and_the_count_of_its_matrices(tmp_path, sizes):
    from safetensors import safe_open

    ref = pico_pair(tmp_path, teacher=sizes).teacher

    shape = architecture(ref)

    with safe_open(ref.path / "model.safetensors", "pt") as file:
        stored = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    matrices = {name: size for name, size in stored.items() if len(size) == 2}
    for module in ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"):
        (found,) = {size for name, size in matrices.items() if f".{module}." in name}
        assert shape.module_shape(module) == found
    assert shape.module_shape("embed_tokens") == matrices["model.embed_tokens.weight"][::-1]
    assert shape.parameters == sum(rows * columns for rows, columns in matrices.values())
    assert 0 < parameter_count(ref) - shape.parameters < 0.02 * shape.parameters


def test_a_pair_of_known_models_needs_no_files(needs_of):
    answer = needs_of("llama-2-13b:llama-2-7b", "--json")

    assert answer.code == 0, answer.err
    copying, silent = answer.lines()
    assert copying["pair"] == "llama-2-13b:llama-2-7b"
    (line,) = copying["estimates"]
    assert line["amount"] == pytest.approx(8 * 13.0157e9, rel=1e-3)
    assert (line["unit"], line["formula"]) == ("bytes", "4 copies N_T")
    assert (silent["method"], silent["estimates"]) == ("silent", [])


def test_the_table_shows_amounts_in_decimal_units_and_who_says_nothing(needs_of):
    answer = needs_of("llama-2-13b:llama-2-7b")

    assert "104 GB" in answer.out
    assert "silent, llama-2-13b:llama-2-7b, pico: the method offers no estimate" in answer.out


def test_settings_move_an_estimate(needs_of):
    (copying, _) = needs_of("pico", "--json", "--set", "copying.copies=5").lines()

    assert copying["estimates"][0]["amount"] % 5 == 0


def test_a_method_that_would_skip_says_why_instead(needs_of):
    answer = needs_of("qwen2.5-3b:llama-2-7b", "--json")

    assert answer.lines()[0]["skipped"] == "the tokenizers differ"


def test_a_folder_with_a_configuration_alone_will_do(needs_of, tmp_path):
    pair = pico_pair(tmp_path / "bare")
    for ref in (pair.teacher, pair.student):
        (ref.path / "model.safetensors").unlink()

    answer = needs_of(f"{pair.teacher.path}:{pair.student.path}", "--json")

    expected = 8.0 * architecture(pair.teacher).parameters
    assert answer.lines()[0]["estimates"][0]["amount"] == expected


def test_a_name_that_is_no_model_is_refused_with_those_that_are(needs_of):
    answer = needs_of("llama-3-8b:llama-2-7b")

    assert answer.code == 2
    assert "'llama-3-8b' is neither a folder with a config.json nor a model whose sizes are known here." in answer.err
    assert "llama-2-13b" in answer.err

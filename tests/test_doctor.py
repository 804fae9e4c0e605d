"""doctor says what is here, and of a pair, also of one that is not here, what it needs and which methods can do it."""

import json

import pytest

from pkt_bench import matching
from pkt_bench.known_models import KNOWN_MODELS
from pkt_bench.testing import pico_pair


def said(answer):
    assert answer.err == "" or answer.code == 3, answer.err
    return json.loads(answer.out)


def test_a_pair_that_is_here_is_measured_and_its_methods_asked(pkt_bench, pico, tmp_path):
    answer = pkt_bench(
        *("doctor", "--json", "--plugin", pico.plugin, "--pair", "pico", "--suite", "pico"),
        *("--methods", "scale,choosy", "--out", tmp_path / "runs"),
    )

    found = said(answer)
    assert answer.code == 0, found["problems"]
    (pair,) = found["pairs"]
    sizes = {size["what"]: (size["teacher"], size["student"]) for size in pair["match"]["sizes"]}
    assert (sizes["layers"], sizes["hidden size"], sizes["query heads"]) == ((3, 2), (48, 32), (6, 4))
    assert pair["match"]["vocabularies"] == "same tokenizer"
    assert pair["match"]["stored"][0] == {"dtypes": ["float32"], "biases": []}
    assert {each["method"]: each["why_not"] for each in pair["abilities"]} == {"scale": "", "choosy": "it is Monday"}
    topics = {fact["topic"] for fact in found["facts"]}
    assert topics == {"versions", "machine", "disk", "hub", "extras", "plugins", "sandbox"}


def test_a_pair_that_is_known_by_its_sizes_needs_no_files_but_cannot_run_offline(pkt_bench, pico, tmp_path):
    answer = pkt_bench(
        *("doctor", "--json", "--plugin", pico.plugin, "--pair", "llama-2-13b:llama-2-7b", "--suite", "pico"),
        *("--methods", "scale", "--out", tmp_path / "runs"),
        HF_HUB_CACHE=tmp_path / "hub",
    )

    found = said(answer)
    (pair,) = found["pairs"]
    stages = {stage["stage"]: stage["bytes"] for stage in pair["stages"]}
    # the numbers stored, by the models' pages, but for norms
    assert stages["load the teacher"] == pytest.approx(4 * 13_015_864_320, rel=1e-3)
    assert stages["load the student"] == pytest.approx(8 * 6_738_415_616, rel=1e-3)
    assert pair["match"]["stored"] == [None, None]
    assert answer.code == 3
    assert all("is not in the hub's cache" in problem for problem in found["problems"])


def test_what_was_asked_for_and_cannot_work_ends_with_3(pkt_bench, tmp_path):
    answer = pkt_bench("doctor", "--device", "cuda:7", "--out", tmp_path / "runs")

    assert answer.code == 3
    assert "cannot work: device: --device cuda:7" in answer.err


def test_modules_that_are_larger_both_ways_can_be_windowed(tmp_path):
    pair = pico_pair(tmp_path, student={"intermediate_size": 112})

    found = matching.match(pair)

    assert found.windowed == ("q_proj", "k_proj", "v_proj", "o_proj")
    assert (
        list(found.lines())[-1] == "windows: none of the student's shape in the teacher's gate_proj, up_proj, down_proj"
    )


def test_heads_that_share_keys_are_said(tmp_path):
    pair = pico_pair(tmp_path, student={"num_key_value_heads": 2})

    assert "heads 6 of 8 to 4 (on 2) of 8" in list(matching.match(pair).lines())[1]


# ---------------------------------------------------------------- ls pairs, and the papers'


def test_a_listing_says_what_pairs_need_and_which_are_here(pkt_bench, pico, tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text('[far]\nteacher = "llama-2-13b"\nstudent = "llama-2-7b"\nlicence = "Llama 2"\nsuites = ["gsm8k"]\n')

    answer = pkt_bench(
        *("ls", "pairs", "--plugin", pico.plugin, "--pairs-file", mine, "--format", "json"),
        HF_HUB_CACHE=tmp_path / "hub",
    )

    rows = {row["pair"]: row for row in json.loads(answer.out)}
    assert (rows["pico"]["here"], rows["pico"]["student parameters"]) == ("yes", 37_088)
    far = rows["far"]
    assert (far["here"], far["licence"], far["suites"]) == ("no", "Llama 2", "gsm8k")
    # 19.75e9 parameters of both, 6.74e9 of the student
    assert (far["float32 GB"], far["bfloat16 GB"], far["tuning GB"]) == (79.0, 39.5, 80.9)


def test_the_pairs_of_the_papers_are_known_by_their_sizes_and_have_a_licence():
    from pkt_bench_papers.pairs import pairs

    offered = list(pairs())

    known = {model.hub for model in KNOWN_MODELS.values()}
    assert len({pair.name for pair in offered}) == len(offered) >= 8
    for pair in offered:
        assert {pair.teacher.hub, pair.student.hub} <= known, pair.name
        assert pair.licence
        assert set(pair.suites) <= {"gsm8k", "mmlu", "humaneval", "mbpp"}
        teacher, student = (KNOWN_MODELS_BY_HUB[ref.hub].architecture for ref in (pair.teacher, pair.student))
        assert teacher.parameters > student.parameters
    assert {"llama2-13b-7b", "llama2-13b-7b-chat", "llama1-30b-7b", "qwen2.5-3b-1.5b-instruct"} <= {
        pair.name for pair in offered
    }


KNOWN_MODELS_BY_HUB = {model.hub: model for model in KNOWN_MODELS.values()}

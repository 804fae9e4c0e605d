"""A control is its method without one ingredient: planned by name, run by the harness, told apart in the row."""

import json

import pytest
from transformers import AutoModelForCausalLM

from pkt_bench import Control, Method, Settings
from pkt_bench.errors import ContractError

PLUGIN = """
import json
from dataclasses import replace
from pathlib import Path

import torch

from pkt_bench import Control, Method, Settings, Transferred, hookimpl
from pkt_bench.domain import ModelRef, Pair
from pkt_bench.testing import pico_suite

HERE = Path(__file__).parent


class Mixing(Settings):
    share: float = 0.5
    rows: int = 4


def mix(context):
    with context.stage("mix"), torch.no_grad():
        teacher, student = context.pair.teacher, context.pair.student
        rows = context.settings.rows
        taken = teacher.model.layers[0].mlp.up_proj.weight[:rows, :32] * context.settings.share
        student.model.layers[0].mlp.up_proj.weight[:rows] += taken
    notes = {"teacher_layers": teacher.config.num_hidden_layers, "taken": taken.double().norm().item()}
    return Transferred(student, {"rows": taken}, notes=notes)


def peek(context):
    best = context.test_score(context.pair.student)
    with torch.no_grad():
        context.pair.student.lm_head.weight *= 1.5
    return Transferred(context.pair.student, selection=context.settings.says, notes={"seen": best})


class Saying(Settings):
    says: str = "oracle"


def zeros(teacher, random):
    for weight in teacher.parameters():
        weight.zero_()


def noise(teacher, random):
    for weight in teacher.parameters():
        weight.copy_(torch.randn(weight.shape, generator=random))


@hookimpl
def pkt_bench_pairs():
    yield Pair("duo", "random", ModelRef(HERE / "pico" / "teacher"), ModelRef(HERE / "pico" / "student"))


@hookimpl
def pkt_bench_suites():
    yield pico_suite(HERE, name="duo")


@hookimpl
def pkt_bench_methods():
    yield Method("mix", "adds rows", "post-align", mix, Mixing)
    yield Method("peek", "looks at the test", "post-align", peek, Saying)
    yield Method("plain", "needs no teacher", "language", mix, Mixing, uses="nothing")
    yield Method("mix-other", "a control with a name of its own", "control", mix, Mixing, control_of="mix")


@hookimpl
def pkt_bench_controls():
    yield Control("fewer", "one row only", of=("mix",), settings={"rows": 1})
    yield Control("random", "a teacher of noise", teacher=noise)
    yield Control("alone", "no teacher", of=("mix",), pair=lambda pair: replace(pair, teacher=pair.student))
"""


@pytest.fixture(scope="module")
def duo(tmp_path_factory):
    from pkt_bench.testing import pico_pair

    folder = tmp_path_factory.mktemp("duo")
    pico_pair(folder)
    (folder / "duo_plugin.py").write_text(PLUGIN, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def ask(duo, warm):
    def call(command, *arguments, out="runs"):
        common = ["--plugin", duo / "duo_plugin.py", "--pair", "duo", "--suite", "duo", "--json", "--out", duo / out]
        return warm(command, *common, *arguments, PKT_BENCH_LOAD_PLUGINS="")

    return call


def planned(answer):
    assert answer.code == 0, answer.err
    return {cell["method"]: cell for cell in json.loads(answer.out)["cells"]}


def test_all_leaves_controls_out_and_controls_adds_them(ask):
    assert set(planned(ask("plan"))) == {"mix", "peek", "plain"}
    with_controls = set(planned(ask("plan", "--controls", "all")))
    assert with_controls == {
        "mix", "peek", "plain", "mix-other", "mix:fewer", "mix:random", "mix:alone", "peek:random"
    }  # fmt: skip


def test_a_control_is_named_with_its_method_or_beside_it(ask):
    assert set(planned(ask("plan", "--methods", "mix:random"))) == {"mix:random"}
    assert set(planned(ask("plan", "--methods", "mix,plain", "--controls", "random,fewer"))) == {
        "mix", "plain", "mix:random", "mix:fewer"
    }  # fmt: skip


def test_a_control_nobody_has_is_refused_with_those_there_are(ask):
    answer = ask("plan", "--methods", "mix", "--controls", "nois")

    assert answer.code == 2
    assert "none of the methods chosen has a control 'nois'" in answer.err
    assert "alone, fewer, mix-other, random" in answer.err


def test_what_is_set_for_a_method_holds_for_its_controls_unless_they_set_it(ask):
    cells = planned(
        ask("plan", "--methods", "mix", "--controls", "all", "--set", "mix.share=0.25", "--set", "mix.rows=3")
    )

    assert cells["mix"]["settings"] == {"share": 0.25, "rows": 3}
    assert cells["mix:random"]["settings"] == {"share": 0.25, "rows": 3}
    assert cells["mix:fewer"]["settings"] == {"share": 0.25, "rows": 1}
    assert cells["mix-other"]["settings"] == {"share": 0.5, "rows": 4}


def test_every_control_is_a_cell_of_its_own(ask):
    cells = planned(ask("plan", "--methods", "mix", "--controls", "all"))

    assert len({cell["key"] for cell in cells.values()}) == len(cells)


def test_controls_run_with_what_stands_in_for_the_teacher_and_say_what_they_control(ask, duo):
    answer = ask("run", "--methods", "mix", "--controls", "all", "--seeds", "2", "--executor", "inline")

    assert answer.code == 0, answer.err
    import pyarrow as pa

    rows = pa.ipc.open_file(duo / "runs" / "board.arrow").read_all().to_pylist()
    notes = {(row["method"], row["seed"]): json.loads(row["notes"]) for row in rows if row["headline"]}
    teacher = AutoModelForCausalLM.from_pretrained(duo / "pico" / "teacher")
    student = AutoModelForCausalLM.from_pretrained(duo / "pico" / "student")
    taken = teacher.model.layers[0].mlp.up_proj.weight[:4, :32].detach().double().norm() / 2
    own = student.model.layers[0].mlp.up_proj.weight[:4, :32].detach().double().norm() / 2
    assert notes["mix", 0]["taken"] == pytest.approx(float(taken), rel=1e-6)
    assert notes["mix:alone", 0] == {"teacher_layers": 2, "taken": pytest.approx(float(own), rel=1e-6)}
    assert notes["mix:random", 0]["teacher_layers"] == 3
    # 128 standard normal entries, halved
    assert notes["mix:random", 0]["taken"] == pytest.approx(128**0.5 / 2, rel=0.3)
    assert notes["mix:random", 0]["taken"] != notes["mix:random", 1]["taken"]
    assert {row["method"]: row["control_of"] for row in rows} == {
        "mix": None, "mix:fewer": "mix", "mix:random": "mix", "mix:alone": "mix", "mix-other": "mix"
    }  # fmt: skip
    assert {row["paradigm"] for row in rows} == {"post-align", "control"}
    assert len({row["teacher_hash"] for row in rows}) == 1


def test_a_choice_by_test_scores_has_to_say_so(ask, duo):
    honest = ask("run", "--methods", "peek", "--executor", "inline", out="honest")
    liar = ask("run", "--methods", "peek", "--set", "peek.says=fixed", "--executor", "inline", out="liar")

    assert honest.code == 0, honest.err
    assert liar.code == 1
    assert "peek read test scores and says it selected by 'fixed'" in liar.out


def test_controls_are_listed_with_what_they_control(warm, duo):
    answer = warm("ls", "controls", "--plugin", duo / "duo_plugin.py", "--format", "json", PKT_BENCH_LOAD_PLUGINS="")

    rows = {row["control"]: row for row in json.loads(answer.out)}
    assert rows["mix:random"] == {
        "control": "mix:random",
        "of": "mix",
        "summary": "a teacher of noise",
        "distribution": "duo_plugin.py",
    }
    assert "plain:random" not in rows


def test_a_method_uses_weights_outputs_or_nothing():
    with pytest.raises(ContractError, match="has uses 'logits'; allowed: weights, outputs, nothing"):
        Method("a", "b", "control", lambda context: None, Settings, uses="logits")


def test_under_a_control_a_method_keeps_all_but_its_name():
    method = Method("a", "adds", "post-align", lambda context: None, Settings, paper="p")

    made = method.under(Control("noise", "a teacher of noise"))

    assert (made.name, made.control_of, made.paradigm, made.paper) == ("a:noise", "a", "control", "p")
    assert made.transfer is method.transfer

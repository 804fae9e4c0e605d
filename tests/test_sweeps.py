"""A sweep file may give several values of a setting: every combination becomes cells of its own."""

import json

import pytest

from pkt_bench import planning, plugins
from pkt_bench.errors import RequestError
from pkt_bench.request import build
from pkt_bench.store import Store

PLUGIN = """
from pkt_bench import Control, Method, Settings, Transferred, hookimpl


class Mixing(Settings):
    share: float = 0.5
    rows: int = 4


def mix(context):
    return Transferred(context.pair.student)


@hookimpl
def pkt_bench_methods():
    yield Method("mix", "mixes", "post-align", mix, Mixing)


@hookimpl
def pkt_bench_controls():
    yield Control("one-row", "a single row", of=("mix",), settings={"rows": 1})
"""


@pytest.fixture
def plan_of(pico, tmp_path):
    mixing = tmp_path / "mixing.py"
    mixing.write_text(PLUGIN, encoding="utf-8")

    def plan(text, assignments=(), suffix=".toml", **flags):
        file = tmp_path / f"sweep{suffix}"
        file.write_text(text, encoding="utf-8")
        given = {"pairs": ["pico"], "suites": ["pico"], "methods": ["mix"], "plugins": [pico.plugin, mixing], **flags}
        request = build({**given, "out": tmp_path / "runs"}, file, assignments)
        return planning.make_plan(request, plugins.load(request.plugins), Store(request.out))

    return plan


def settings_of(plan):
    return [json.loads(job.cell.settings) for job in plan.jobs]


def test_every_combination_of_the_values_is_a_cell_with_a_key_of_its_own(plan_of):
    plan = plan_of("[sweep.mix]\nshare = [0.1, 0.2]\nrows = [2, 3, 4]\n")

    assert settings_of(plan) == [{"share": share, "rows": rows} for share in (0.1, 0.2) for rows in (2, 3, 4)]
    assert len({job.cell.key for job in plan.jobs}) == 6


def test_what_varies_is_in_the_label_and_what_does_not_is_not(plan_of):
    plan = plan_of("[settings.mix]\nshare = 0.3\n[sweep.mix]\nrows = [2, 3]\n")

    assert [job.cell.label for job in plan.jobs] == [
        "mix rows=2, pico, pico, seed 0",
        "mix rows=3, pico, pico, seed 0",
    ]
    assert {each["share"] for each in settings_of(plan)} == {0.3}


def test_the_label_is_no_part_of_the_key(plan_of):
    swept = plan_of("[sweep.mix]\nrows = [2, 3]\n")
    single = plan_of("[settings.mix]\nrows = 2\n")

    assert swept.jobs[0].cell.key == single.jobs[0].cell.key


def test_a_control_is_swept_with_its_method_but_for_what_it_fixes(plan_of):
    plan = plan_of("[sweep.mix]\nshare = [0.1, 0.2]\nrows = [2, 3]\n", methods=["mix:one-row"])

    assert settings_of(plan) == [{"share": 0.1, "rows": 1}, {"share": 0.2, "rows": 1}]


def test_a_flag_wins_over_the_values_of_the_file(plan_of):
    plan = plan_of("[sweep.mix]\nshare = [0.1, 0.2]\nrows = [2, 3]\n", assignments=["mix.rows=9"])

    assert [each["rows"] for each in settings_of(plan)] == [9, 9]


def test_yaml_sweeps_alike(plan_of):
    plan = plan_of("sweep:\n  mix:\n    rows: [2, 3]\n", suffix=".yaml")

    assert [each["rows"] for each in settings_of(plan)] == [2, 3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sweep.mix]\nrows = 3\n", r"sweep.mix.rows is 3; give a list of the values to try"),
        ("[sweep.mix]\nrows = []\n", r"sweep.mix.rows is \[\]; give a list"),
        ("[settings.mix]\nrows = 1\n[sweep.mix]\nrows = [1, 2]\n", "leave one of them out"),
        ("[sweep.mix]\nrow = [1, 2]\n", r"mix has no setting 'row'. Did you mean 'mix.rows'\?"),
        ("[sweep.mix]\nrows = [1, 'many']\n", r"mix.rows = 'many' will not do"),
        ("[sweep.mixer]\nrows = [1]\n", "no method is called 'mixer'. Did you mean 'mix'"),
        ("sweep = [1]\n", r"sweep is a table of tables: \[sweep.lora\]"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused_in_words(plan_of, text, said):
    with pytest.raises(RequestError, match=said):
        plan_of(text)

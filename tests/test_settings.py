"""Text for a setting becomes a validated value, or an error that names the setting, the value and what is allowed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import core_schema
from typing_extensions import TypedDict

from pkt_bench import plugins
from pkt_bench.errors import ContractError, RequestError
from pkt_bench.kept_settings import as_kept, from_kept
from pkt_bench.settings import AdapterSettings, Settings, describe, parse_settings
from rich_settings import Colour, Rich, Window


def test_text_is_read_as_the_field_s_type():
    given = {"rank": "8", "learning_rate": "1e-4", "modules": "q_proj,v_proj", "alpha": "none", "train_records": "5"}

    chosen = parse_settings("lora", AdapterSettings, given)

    assert (chosen.rank, chosen.learning_rate, chosen.modules) == (8, (1e-4,), ("q_proj", "v_proj"))
    assert (chosen.alpha, chosen.train_records) == (None, 5)


@pytest.mark.parametrize(
    ("given", "phrases"),
    [
        ({"rnk": "8"}, ["lora has no setting 'rnk'. Did you mean 'lora.rank'?", "Settings: epochs"]),
        ({"rank": "0"}, ["lora.rank = '0' will not do", "at least 1 is wanted", "--set lora.rank=VALUE"]),
        ({"rank": "eight"}, ["lora.rank = 'eight' will not do", "a whole number is wanted"]),
        ({"learning_rate": "nan"}, ["lora.learning_rate = 'nan' will not do"]),
        ({"modules": "q_prj"}, ["lora.modules", "q_proj"]),
        ({"lora_dropout": "1.0"}, ["less than 1 is wanted"]),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(given, phrases):
    with pytest.raises(RequestError) as caught:
        parse_settings("lora", AdapterSettings, given)

    for phrase in phrases:
        assert phrase in str(caught.value)


def test_a_scaling_of_one_is_the_default_whatever_the_rank():
    assert AdapterSettings(rank=4).scaling == 1.0
    assert AdapterSettings(rank=4, alpha=8).scaling == 2.0


def test_every_field_of_a_settings_class_is_described_in_words():
    told = {field.name: field for field in describe(Rich)}

    kinds = {name: (field.kind, field.default, field.bounds, field.choices) for name, field in told.items()}
    assert kinds == {
        "steps": ("whole number", None, "at least 1, at most 9", ()),
        "batch": ("whole number or auto", "auto", "", ()),
        "rate": ("number or none", "none", "above 0, below 1", ()),
        "betas": ("list of numbers", "0.9,0.999", "2 of them", ()),
        "colours": ("list of choices", "red", "at least 1 of them", ("red", "blue")),
        "depth": ("choice or none", "none", "", ("1", "2", "4", "none")),
        "log": ("true or false", "false", "", ("true", "false")),
        "file": ("path or none", "none", "", ()),
        "window": ("table of start, end", '{"start": 0, "end": 8}', "", ()),
        "windows": ("list of tables of start, end", "", "", ()),
        "weights": ("table", "{}", "", ()),
        "begin": ("whole number", "0", "", ()),
        "seeds": ("list of whole numbers", "7", "", ()),
        "hook": ("anything or none", "none", "", ()),
    }
    assert (told["steps"].required, told["batch"].required) == (True, False)
    assert told["steps"].description == "How many steps."
    assert [name for name, field in told.items() if field.several] == ["betas", "colours", "windows", "seeds"]


def test_a_number_that_may_stand_for_a_list_is_described_as_a_list():
    rates = next(field for field in describe(AdapterSettings) if field.name == "learning_rate")

    assert (rates.kind, rates.default, rates.several) == ("list of numbers", "0.002,0.004,0.008", True)
    assert rates.bounds == "at least 1 of them, at most 16 of them, each above 0, at most 1"


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("batch", "8", 8),
        ("batch", "auto", "auto"),
        ("rate", "None", None),
        ("rate", "0.5", 0.5),
        ("betas", "0.9, 0.5", (0.9, 0.5)),
        ("colours", "red,blue", (Colour.RED, Colour.BLUE)),
        ("depth", "2", 2),
        ("depth", "none", None),
        ("log", "yes", True),
        ("file", "a/b", Path("a/b")),
        ("file", "none", None),
        ("window", '{"start": 1}', Window(start=1)),
        ("windows", '[{"start": 1}, {"end": 2}]', (Window(start=1), Window(end=2))),
        ("weights", '{"a": 1, "b": "2"}', {"a": 1.0, "b": 2.0}),
        ("seeds", "1,2,2", frozenset({1, 2})),
    ],
)
def test_text_is_read_by_what_the_field_takes(field, text, value):
    chosen = parse_settings("mine", Rich, {"steps": "3", field: text})

    assert getattr(chosen, field) == value


class Point(TypedDict):
    x: int
    y: NotRequired[int | None]


@dataclass
class Span:
    low: int = 0
    high: int | None = None


class Exact(BaseModel):
    kind: Literal["exact"] = "exact"
    digits: int = 3


class Near(BaseModel):
    kind: Literal["near"] = "near"
    within: float | None = 0.1


class Odd:
    """A type that has a check and no JSON Schema, and says so in its own way."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source, handler):
        return core_schema.no_info_plain_validator_function(lambda value: value)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema, handler):
        raise RuntimeError("no schema of this")


class Strange(Settings):
    steps: int | None = None
    point: Point = Field(default_factory=lambda: Point(x=0))
    span: Span = Span()
    judge: Exact | Near = Exact()
    several: list[str] | str = "one"
    free: dict[str, Any] = Field(default_factory=dict)
    maybe: dict[str, int] | None = None


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("steps", "1e3", 1000),
        ("steps", "1.5e1", 15),
        ("point", '{"x": 1, "y": "none"}', {"x": 1, "y": None}),
        ("span", '{"low": 1, "high": "none"}', Span(1, None)),
        ("judge", '{"kind": "near", "within": 0.5}', Near(within=0.5)),
        ("several", "a,b", "a,b"),
        ("several", ["a", "b"], ["a", "b"]),
        ("free", '{"a": [1, {"b": null}]}', {"a": [1, {"b": None}]}),
        ("maybe", "none", None),
        ("maybe", '{"a": "1e2"}', {"a": 100}),
    ],
)
def test_stranger_types_are_read_too(field, text, value):
    assert getattr(parse_settings("mine", Strange, {field: text}), field) == value


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"steps": "1.5e0"}, "mine.steps = '1.5e0' will not do: a whole number is wanted."),
        ({"steps": "1e999"}, "mine.steps = '1e999' will not do: a whole number is wanted."),
        ({"point": {"z": 1}}, "nobody knows the key 'z'.\n  Keys: x, y"),
        ({"span": '{"hihg": 1}'}, "nobody knows the key 'hihg'. Did you mean 'high'?"),
        ({"maybe": "[1]"}, "mine.maybe = '[1]' will not do: a table of keys is wanted."),
    ],
    ids=str,
)
def test_stranger_types_say_what_they_want(given, said):
    with pytest.raises(RequestError) as caught:
        parse_settings("mine", Strange, given)

    assert said in str(caught.value)


def test_a_type_without_a_schema_spoils_nothing():
    class Holder(Settings):
        odd: Odd = None
        """What nobody can say."""
        rank: int = 3

    told = {field.name: field for field in describe(Holder)}

    assert (told["odd"].kind, told["odd"].description) == ("anything", "What nobody can say.")
    assert told["rank"].default == "3"
    with pytest.raises(RequestError, match=r"mine\.rank = 'x' will not do: a whole number is wanted\."):
        parse_settings("mine", Holder, {"rank": "x"})


def test_what_a_file_holds_is_read_inside_its_tables_too():
    class Inner(BaseModel):
        most: int | None = 3

    class Outer(Settings):
        inner: Inner = Inner()
        parts: tuple[int | None, ...] = ()

    chosen = parse_settings("mine", Outer, {"inner": {"most": "none"}, "parts": ["none", 2]})

    assert (chosen.inner.most, chosen.parts) == (None, (None, 2))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "mine.steps has to be given.\n  Set it with --set mine.steps=VALUE"),
        ({"steps": True}, "mine.steps = True will not do: a whole number is wanted."),
        ({"batch": True}, "mine.batch = True will not do: a whole number or auto is wanted."),
        ({"depth": True}, "mine.depth = True will not do: one of 1, 2, 4 is wanted."),
        ({"batch": "aut"}, "mine.batch = 'aut' will not do: a whole number or auto is wanted. Did you mean 'auto'?"),
        ({"colours": "red,bleu"}, "mine.colours = 'red,bleu' will not do: one of red, blue is wanted. Did you mean 'b"),
        ({"depth": "3"}, "mine.depth = '3' will not do: one of 1, 2, 4 is wanted."),
        ({"betas": "0.9"}, "mine.betas = '0.9' will not do: more of them are wanted."),
        ({"window": "1:2"}, "mine.window = '1:2' will not do: a table of keys is wanted."),
        (
            {"window": '{"strat": 1}'},
            "nobody knows the key 'strat'. Did you mean 'start'?\n  Keys: start, end\n  Set it with --set mine.window=",
        ),
        ({"window": '{"start": "x"}'}, "mine.window.start = 'x' will not do: a whole number is wanted."),
        ({"window": {"start": "x"}}, "mine.window.start = 'x' will not do: a whole number is wanted."),
        ({"windows": [{"end": 1}, {"end": 0.5}]}, "mine.windows[1].end = 0.5 will not do: "),
        ({"window": '{"start": 1'}, "will not do: it is not JSON: expecting ',' delimiter at sign 12."),
        ({"weights": '{"a": 1, "a": 2}'}, "will not do: it is not JSON: a key is given twice."),
        ({"weights": '{"a": NaN}'}, "will not do: it is not JSON: NaN is no number."),
        ({"beginning": 3}, "mine has no setting 'beginning'. Did you mean 'mine.begin'?"),
    ],
    ids=str,
)
def test_what_rich_settings_refuse_is_said_with_the_place_and_what_is_wanted(given, said):
    with pytest.raises(RequestError) as caught:
        parse_settings("mine", Rich, ({"steps": 3} if given else {}) | given)

    assert said in str(caught.value)


def test_all_wrong_settings_are_said_at_once():
    with pytest.raises(RequestError) as caught:
        parse_settings("mine", Rich, {"step": 3, "widnow": 1})
    with pytest.raises(RequestError) as refused:
        parse_settings("mine", Rich, {"steps": 10, "rate": 1})

    assert "'mine.steps'?" in str(caught.value)
    assert "'mine.window'?" in str(caught.value)
    assert "mine.steps = 10 will not do: at most 9 is allowed." in str(refused.value)
    assert "mine.rate = 1 will not do: less than 1 is wanted." in str(refused.value)


def test_checks_of_a_plugin_are_said_in_its_words():
    class Checked(Settings):
        low: int = 1
        high: int = 2
        name: str = "x"

        @field_validator("name")
        @classmethod
        def _fails(cls, name):
            assert name != "bad", "no bad names"
            return {"x": name}[name]

        @model_validator(mode="after")
        def _in_order(self):
            if self.low > self.high:
                raise ValueError("low may be at most high")
            return self

    with pytest.raises(RequestError, match=r"mine: low may be at most high\.\n  Given: low='3'\n  Set it with"):
        parse_settings("mine", Checked, {"low": "3"})
    with pytest.raises(RequestError, match=r"mine\.name = 'bad' will not do: no bad names\."):
        parse_settings("mine", Checked, {"name": "bad"})
    with pytest.raises(ContractError, match=r"settings of mine cannot be checked: KeyError: 'y'\."):
        parse_settings("mine", Checked, {"name": "y"})


def test_both_spellings_of_a_field_do_but_not_at_once():
    class Renamed(Settings):
        model_config = ConfigDict(populate_by_name=True)
        beginning: int = Field(default=0, alias="begin")

    by_name = parse_settings("mine", Renamed, {"beginning": "3"})
    by_alias = parse_settings("mine", Renamed, {"begin": "3"})

    assert by_name.beginning == by_alias.beginning == 3
    with pytest.raises(RequestError, match=r"mine\.begin and mine\.beginning are one setting; leave one of them out"):
        parse_settings("mine", Renamed, {"begin": 1, "beginning": 2})


def test_the_defaults_of_everything_installed_can_be_typed():
    registry = plugins.load()
    models = {offer.item.settings for offer in (*registry.methods, *registry.executors, *registry.trackers)}

    for model in models:
        typed = {field.name: field.default for field in describe(model)}
        assert parse_settings("each", model, typed) == model()


def test_settings_come_back_from_a_row_as_they_were():
    asked = {
        "steps": 3,
        "begin": 5,
        "window": {"start": 1},
        "windows": [{"end": 2}],
        "colours": ["red", "blue"],
        "file": "a/b",
        "weights": {"b": 1, "a": 2},
        "seeds": [3, 1, 2],
        "rate": None,
    }
    chosen = parse_settings("mine", Rich, asked)

    kept = as_kept(chosen)

    assert kept["begin"] == 5
    assert kept["seeds"] == [1, 2, 3]
    assert from_kept(Rich, json.dumps(kept)) == chosen


def test_what_is_kept_of_a_set_does_not_depend_on_the_process():
    class Inner(BaseModel):
        words: frozenset[str]

    class Outer(Settings):
        parts: tuple[Inner, ...]
        by_name: dict[str, Inner]

    words = [f"word-{number}" for number in range(20)]
    chosen = parse_settings("mine", Outer, {"parts": [{"words": words[::-1]}], "by_name": {"a": {"words": words}}})

    assert as_kept(chosen) == {"parts": [{"words": sorted(words)}], "by_name": {"a": {"words": sorted(words)}}}


@pytest.mark.slow
def test_a_cell_with_rich_settings_is_run_and_found_again(pkt_bench, pico, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pkt_bench import Method, Transferred, hookimpl\n"
        "from rich_settings import Rich\n\n\n"
        "def move(context):\n"
        "    import torch\n\n"
        "    with torch.no_grad():\n"
        "        context.pair.student.lm_head.weight *= context.settings.beginning + context.settings.window.start\n"
        "    return Transferred(context.pair.student)\n\n\n"
        "@hookimpl\n"
        "def pkt_bench_methods():\n"
        "    yield Method('rich', 'a method of many settings', 'language', move, Rich)\n"
    )
    words = (
        *("run", "--plugin", pico.plugin, "--plugin", tmp_path / "mine.py", "--pair", "pico", "--suite", "pico"),
        *("--methods", "rich", "--out", tmp_path / "runs", "--json", "--set", "rich.steps=3", "--set", "rich.begin=2"),
        *("--set", 'rich.window={"start": 1}', "--set", "rich.seeds=1,2,3", "--set", "rich.colours=red,blue"),
    )

    first = pkt_bench(*words, PYTHONHASHSEED="1")
    second = pkt_bench("plan", *words[1:], PYTHONHASHSEED="2")

    assert first.lines()[-1]["outcomes"] == {"done": 1}
    assert [cell["state"] for cell in json.loads(second.out)["cells"]] == ["done"]

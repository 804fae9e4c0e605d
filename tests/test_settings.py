"""Text for a setting becomes a validated value, or an error that names the setting, the value and what is allowed."""

import enum
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pkt_bench import plugins
from pkt_bench.errors import ContractError, RequestError
from pkt_bench.settings import AdapterSettings, Settings, describe, parse_settings


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


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Window(BaseModel):
    start: int = 0
    end: int = 8


class Rich(Settings):
    """One field of every kind that a plugin may have."""

    steps: int = Field(ge=1, le=9)
    """How many
    steps."""
    batch: int | Literal["auto"] = "auto"
    rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    colours: tuple[Colour, ...] = Field(default=(Colour.RED,), min_length=1)
    depth: Literal[1, 2, 4] | None = None
    log: bool = False
    file: Path | None = None
    window: Window = Window()
    windows: tuple[Window, ...] = ()
    weights: dict[str, float] = Field(default_factory=dict)
    beginning: int = Field(default=0, alias="begin")
    seeds: frozenset[int] = frozenset({7})
    hook: Callable[[], None] | None = None


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

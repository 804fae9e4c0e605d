"""Text for a setting becomes a validated value, or an error that names the setting, the value and what is allowed."""

import enum
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from pkt_bench.errors import RequestError
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

"""A settings class with a field of every kind that a plugin may have."""

import enum
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from pkt_bench.settings import Settings


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

"""Settings of methods: what they share, and how text from the command line becomes a validated instance."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pkt_bench.errors import RequestError

Module = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "embed_tokens", "lm_head"]


class Settings(BaseModel):
    """Base of every method's settings: frozen, no unknown names, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


Rate = Annotated[float, Field(gt=0, le=1)]


class FinetuneSettings(Settings):
    """The schedule that every tuned method shares by default, so that methods differ by their start alone."""

    epochs: int = Field(default=3, ge=1, le=100)
    """Passes over the train split."""
    learning_rate: tuple[Rate, ...] = Field(default=(2e-3, 4e-3, 8e-3), min_length=1, max_length=16)
    """Peak learning rate of AdamW; linear warm-up, then linear decay to 0. Of several, each is tried from the same
    start on the same batches, and the one with the lowest loss on the validation split is kept."""
    batch_size: int = Field(default=16, ge=1, le=4096)
    """Records per optimiser step."""
    warmup_ratio: float = Field(default=0.03, ge=0, le=1)
    """Share of the steps spent warming up."""
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    """Decoupled weight decay of AdamW."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are clipped to this norm."""
    max_length: int = Field(default=2048, ge=8)
    """Tokens of a record beyond this are cut."""
    train_records: int | None = Field(default=None, ge=1)
    """Use the first so many records of the train split; unset means all."""

    @field_validator("learning_rate", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, int | float) else value


class AdapterSettings(FinetuneSettings):
    """A LoRA adapter and the schedule that tunes it."""

    rank: int = Field(default=16, ge=1, le=4096)
    """Rank of the adapter."""
    alpha: float | None = Field(default=None, gt=0)
    """Scaling is alpha / rank; unset means alpha = rank, a scaling of 1."""
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapter's input. Above 0, an adapter that starts non-zero changes the student in training."""
    modules: tuple[Module, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
        "embed_tokens",
        "lm_head",
    )
    """Modules that get an adapter: those of every layer, and the embedding and the head unless they are tied."""

    @property
    def scaling(self) -> float:
        """What the adapter's product is multiplied by."""
        return 1.0 if self.alpha is None else self.alpha / self.rank


S = TypeVar("S", bound=BaseModel)


def parse_settings(method: str, model: type[S], given: Mapping[str, Any]) -> S:
    """Validates `given` for `method`; text is read as the field's type.

    Raises:
        RequestError: an unknown name (nearest one offered) or a value of the wrong type or out of range.
    """
    known = model.model_fields
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f" Did you mean '{method}.{near[0]}'?" if near else ""
            listing = ", ".join(known) if known else "none: this method has no settings"
            raise RequestError(f"{method} has no setting '{name}'.{hint}\n  Settings: {listing}")
    try:
        return model.model_validate({name: _from_text(value, known[name].annotation) for name, value in given.items()})
    except ValidationError as error:
        lines = []
        # of a field with several problems the first says what is wrong; the others follow from it
        first = {str(problem["loc"][0]) if problem["loc"] else "": problem for problem in reversed(error.errors())}
        for where, problem in reversed(first.items()):
            seen = given.get(where, problem.get("input"))
            about = known[where].description if where in known else None
            lines.append(
                f"{method}.{where} = {seen!r} will not do: {plainly(problem)}.{nearest(problem)}"
                + (f"\n  {where}: {about}" if about else "")
                + f"\n  Set it with --set {method}.{where}=VALUE"
            )
        raise RequestError("\n".join(lines)) from None


_BOUNDS = {
    "greater_than_equal": ("ge", "at least {} is wanted"),
    "greater_than": ("gt", "more than {} is wanted"),
    "less_than_equal": ("le", "at most {} is allowed"),
    "less_than": ("lt", "less than {} is wanted"),
    "multiple_of": ("multiple_of", "a multiple of {} is wanted"),
    "too_short": ("min_length", "at least {} of them are wanted"),
    "too_long": ("max_length", "at most {} of them are allowed"),
}
_WANTED = {
    "int_": "a whole number is wanted",
    "float_": "a number is wanted",
    "finite_number": "a finite number is wanted",
    "bool_": "true or false is wanted",
    "string_": "text is wanted",
    "path_": "a path is wanted",
    "tuple_": "a list is wanted",
    "list_": "a list is wanted",
    "dict_": "a table of keys is wanted",
    "missing": "a value is wanted",
}


def plainly(problem: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    """What pydantic found wrong with a value, in the words of the rest of the bench: what is wanted instead."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in _BOUNDS:
        name, text = _BOUNDS[kind]
        bound = context[name]
        return text.format(int(bound) if float(bound).is_integer() else bound)
    if kind == "literal_error":
        return f"one of {', '.join(choices_of(problem))} is wanted"
    return next((text for start, text in _WANTED.items() if kind.startswith(start)), problem["msg"]).removeprefix(
        "Value error, "
    )


def nearest(problem: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    """` Did you mean 'x'?` where the value is nearly one of those that a `Literal` field takes."""
    if problem["type"] != "literal_error":
        return ""
    near = difflib.get_close_matches(str(problem["input"]), choices_of(problem), n=1, cutoff=0.4)
    return f" Did you mean '{near[0]}'?" if near else ""


def choices_of(problem: Any) -> list[str]:  # noqa: ANN401 - pydantic's ErrorDetails
    """The values a `Literal` field takes, from the error of one that it does not take."""
    return [part.strip(" '") for part in problem["ctx"]["expected"].replace(" or ", ", ").split(",")]


def _from_text(value: object, annotation: object) -> object:
    """Text from `--set`: `none` is None, and a field that takes several values splits at commas."""
    if not isinstance(value, str):
        return value
    if value.lower() in {"none", "null"} and "None" in str(annotation):
        return None
    if str(annotation).startswith(("tuple[", "list[")):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value

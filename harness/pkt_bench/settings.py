"""Settings of methods: what they share, and how what was given becomes a validated instance."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from pkt_bench.as_typed import UnreadableError, read, spellings
from pkt_bench.described import Field, describe
from pkt_bench.errors import ContractError, RequestError

__all__ = [
    "AdapterSettings",
    "Field",
    "FinetuneSettings",
    "Module",
    "Settings",
    "choices_of",
    "describe",
    "nearest",
    "parse_settings",
    "plainly",
]

Module = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "embed_tokens", "lm_head"]


class Settings(BaseModel):
    """Base of every method's settings: frozen, no unknown names, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


Rate = Annotated[float, pydantic.Field(gt=0, le=1)]
Rates = Annotated[tuple[Rate, ...], pydantic.Field(min_length=1, max_length=16)]


class FinetuneSettings(Settings):
    """The schedule that every tuned method shares by default, so that methods differ by their start alone."""

    epochs: int = pydantic.Field(default=3, ge=1, le=100)
    """Passes over the train split."""
    learning_rate: tuple[Rate, ...] = pydantic.Field(default=(2e-3, 4e-3, 8e-3), min_length=1, max_length=16)
    """Peak learning rate of AdamW; linear warm-up, then linear decay to 0. Of several, each is tried from the same
    start on the same batches, and the one with the lowest loss on the validation split is kept."""
    batch_size: int = pydantic.Field(default=16, ge=1, le=4096)
    """Records per optimiser step."""
    warmup_ratio: float = pydantic.Field(default=0.03, ge=0, le=1)
    """Share of the steps spent warming up."""
    weight_decay: float = pydantic.Field(default=0.0, ge=0, le=1)
    """Decoupled weight decay of AdamW."""
    max_grad_norm: float = pydantic.Field(default=1.0, gt=0)
    """Gradients are clipped to this norm."""
    max_length: int = pydantic.Field(default=2048, ge=8)
    """Tokens of a record beyond this are cut."""
    train_records: int | None = pydantic.Field(default=None, ge=1)
    """Use the first so many records of the train split; unset means all."""

    @field_validator("learning_rate", mode="before", json_schema_input_type=Rates | Rate)
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, int | float) else value


class AdapterSettings(FinetuneSettings):
    """A LoRA adapter and the schedule that tunes it."""

    rank: int = pydantic.Field(default=16, ge=1, le=4096)
    """Rank of the adapter."""
    alpha: float | None = pydantic.Field(default=None, gt=0)
    """Scaling is alpha / rank; unset means alpha = rank, a scaling of 1."""
    lora_dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
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
        RequestError: unknown names (the nearest ones offered) or values of the wrong type or out of range; all at once.
        ContractError: a check of the model's own raised something else than what pydantic takes for a refusal.
    """
    known = spellings(model)
    lines = _names(method, model, given)
    values: dict[str, object] = {}
    for key in [key for key in given if key in known]:
        try:
            values[key] = read(given[key], model.model_fields[known[key]].annotation)
        except UnreadableError as error:
            seen = given[key] if isinstance(given[key], str) else error.seen
            lines.append(_line(method, model, (key, *error.where), seen, error.said))
    if lines:
        raise RequestError("\n".join(lines))
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise RequestError("\n".join(_refused(method, model, given, values, error))) from None
    except Exception as error:
        raise ContractError(
            f"the settings of {method} cannot be checked: {type(error).__name__}: {error}."
            "\n  Its own check has to raise ValueError; tell the author of the plugin."
        ) from error


def _names(method: str, model: type[BaseModel], given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the names alone."""
    known = spellings(model)
    shown = list(dict.fromkeys(next(key for key, field in known.items() if field == name) for name in known.values()))
    lines = []
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f" Did you mean '{method}.{near[0]}'?" if near else ""
            listing = ", ".join(shown) if shown else "none: this method has no settings"
            lines.append(f"{method} has no setting '{name}'.{hint}\n  Settings: {listing}")
    spelled: dict[str, list[str]] = {}
    for name in given:
        spelled.setdefault(known.get(name, name), []).append(f"{method}.{name}")
    twice = [names for names in spelled.values() if len(names) > 1]
    return lines + [f"{' and '.join(names)} are one setting; leave one of them out." for names in twice]


def _refused(
    method: str, model: type[BaseModel], given: Mapping[str, Any], values: Mapping[str, Any], error: ValidationError
) -> list[str]:
    """What pydantic refused, a text for each place: of several problems there the first, or what each type wants."""
    places: dict[tuple[str | int, ...], list[Any]] = {}
    for problem in error.errors():
        place, tried = _place(model, values, problem["loc"])
        before = places.setdefault(place, [])
        # of a value with several problems the first says what is wrong; the others follow from it
        if tried or not before:
            before.append(problem)
    lines = []
    for place, problems in places.items():
        if not place:
            asked = ", ".join(f"{name}={given[name]!r}" for name in given) or "nothing"
            lines.append(
                f"{method}: {plainly(problems[0])}.\n  Given: {asked}\n  Set it with --set {method}.FIELD=VALUE"
            )
            continue
        if place[0] not in given:
            lines.append(f"{method}.{place[0]} has to be given.\n  Set it with --set {method}.{place[0]}=VALUE")
            continue
        seen = given[str(place[0])] if len(place) == 1 else problems[0]["input"]
        lines.append(_line(method, model, place, seen, f"{wanted(problems)}.{nearest(problems[-1])}"))
    return lines


def _place(
    model: type[BaseModel], values: Mapping[str, Any], loc: Sequence[str | int]
) -> tuple[tuple[str | int, ...], bool]:
    """Where a problem is, as the user wrote it, and whether it is one of several types that were tried there."""
    if not loc:
        return (), False
    known = spellings(model)
    first = str(loc[0])
    spelled = next((key for key in (first, *known) if key in values and known.get(key) == known.get(first)), first)
    place: list[str | int] = [spelled]
    inside, tried = values.get(spelled), False
    for step in loc[1:]:
        if isinstance(inside, Mapping) and step in inside:
            inside = inside[step]
        elif isinstance(step, int):
            inside = inside[step] if isinstance(inside, list | tuple) and step < len(inside) else None
        elif inside is None or isinstance(inside, Mapping):
            inside = None
        else:
            tried = True
            continue
        place.append(step)
    # of a list of plain values all of it is shown
    while len(place) > 1 and isinstance(place[-1], int):
        place.pop()
    return tuple(place), tried


def _line(method: str, model: type[BaseModel], place: Sequence[str | int], seen: object, said: str) -> str:
    name, *inside = place
    spelled = str(name) + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in inside)
    info = model.model_fields[spellings(model)[str(name)]]
    text, newline, listing = said.partition("\n")
    stop = "" if text.endswith((".", "?")) else "."
    told = next((each for each in describe(model) if each.name == name), None)
    example = f"'{told.default}'" if told and told.default and told.default[0] in "{[" else "VALUE"
    return (
        f"{method}.{spelled} = {seen!r} will not do: {text}{stop}{newline}{listing}"
        + (f"\n  {name}: {' '.join(info.description.split())}" if info.description else "")
        + f"\n  Set it with --set {method}.{name}={example}"
    )


_BOUNDS = {
    "greater_than_equal": ("ge", "at least {} is wanted"),
    "greater_than": ("gt", "more than {} is wanted"),
    "less_than_equal": ("le", "at most {} is allowed"),
    "less_than": ("lt", "less than {} is wanted"),
    "multiple_of": ("multiple_of", "a multiple of {} is wanted"),
    "string_too_short": ("min_length", "a text of at least {} letters is wanted"),
    "string_too_long": ("max_length", "a text of at most {} letters is wanted"),
    "too_short": ("min_length", "at least {} of them are wanted"),
    "too_long": ("max_length", "at most {} of them are allowed"),
}
_CHOICES = ("literal_error", "enum")
# by how pydantic's name of the problem begins
_WANTED = {
    "int_": "a whole number is wanted",
    "float_": "a number is wanted",
    "finite_number": "a finite number is wanted",
    "bool_": "true or false is wanted",
    "string_": "text is wanted",
    "path_": "a path is wanted",
    "tuple_": "a list is wanted",
    "list_": "a list is wanted",
    "set_": "a list is wanted",
    "frozen_set_": "a list is wanted",
    "dict_": "a table of keys is wanted",
    "mapping_": "a table of keys is wanted",
    "model_": "a table of keys is wanted",
    "dataclass_": "a table of keys is wanted",
    "missing": "a value is wanted",
}


def plainly(problem: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    """What pydantic found wrong with a value, in the words of the rest of the bench: what is wanted instead."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in _BOUNDS:
        name, text = _BOUNDS[kind]
        bound = context[name]
        return text.format(int(bound) if float(bound).is_integer() else bound)
    if kind == "missing" and isinstance(problem["loc"][-1], int):
        return "more of them are wanted"
    if kind == "string_pattern_mismatch":
        return f"text like {context['pattern']} is wanted"
    if kind in _CHOICES:
        several = choices_of(problem)
        return f"one of {', '.join(several)} is wanted" if len(several) > 1 else f"{several[0]} is wanted"
    said = next((text for start, text in _WANTED.items() if kind.startswith(start)), problem["msg"])
    return str(said).removeprefix("Value error, ").removeprefix("Assertion failed, ")


def wanted(problems: Sequence[Any]) -> str:
    """What is wanted instead of a value that several types were tried on: `a whole number or auto is wanted`."""
    texts = list(dict.fromkeys(map(plainly, problems)))
    ends = (" is wanted", " are wanted", " is allowed", " are allowed")
    if len(texts) > 1 and all(text.endswith(ends) for text in texts):
        return " or ".join(text.rpartition(" ")[0].rpartition(" ")[0] for text in texts) + " is wanted"
    return texts[0]


def nearest(problem: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    """` Did you mean 'x'?` where the value is nearly one of those that a `Literal` field takes."""
    if problem["type"] not in _CHOICES:
        return ""
    near = difflib.get_close_matches(str(problem["input"]), choices_of(problem), n=1, cutoff=0.4)
    return f" Did you mean '{near[0]}'?" if near else ""


def choices_of(problem: Any) -> list[str]:  # noqa: ANN401 - pydantic's ErrorDetails
    """The values a `Literal` field takes, from the error of one that it does not take."""
    return [part.strip(" '") for part in problem["ctx"]["expected"].replace(" or ", ", ").split(",")]

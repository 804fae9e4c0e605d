"""Settings of methods: what they share, what is said of each, and how text becomes a validated instance."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from pkt_bench.errors import RequestError

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


@dataclass(frozen=True)
class Field:
    """One setting, as people are told of it.

    Attributes:
        name: as typed after `METHOD.`, the alias where the model takes nothing else.
        kind: its type in words: `whole number`, `number`, `text`, `true or false`, `path`, `list of numbers`, `table`,
            and so on; ` or none` where it may be unset.
        default: as it would be typed after `--set METHOD.FIELD=`; None where a value has to be given, or where the
            default is worked out from other fields.
        required: whether a value has to be given.
        bounds: in words, empty where there are none: `at least 1, at most 100`, `each above 0 and at most 1`.
        choices: the values it takes, or each of a list takes, where they are few and known, as typed; `none` among them
            where it may be unset.
        several: whether it takes a list, written with commas.
        description: the field's docstring as one line.
    """

    name: str
    kind: str
    default: str | None
    required: bool
    bounds: str
    choices: tuple[str, ...]
    several: bool
    description: str


def describe(model: type[BaseModel]) -> tuple[Field, ...]:
    """What there is to set in `model`, field by field, in its order; for listings, pages and completion."""
    schema = model.model_json_schema(schema_generator=_Lenient)
    known = schema.get("properties", {})
    return tuple(
        _told(spelling(model, name), info, known.get(_alias(info) or name, {}), schema.get("$defs", {}))
        for name, info in model.model_fields.items()
    )


def spelling(model: type[BaseModel], name: str) -> str:
    """How the field `name` is spelled by whoever sets it: its alias where the model takes nothing else."""
    by_name = model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name")
    return name if by_name else _alias(model.model_fields[name]) or name


def typed(value: object) -> str:
    """A value as it is typed after `--set METHOD.FIELD=`: commas between those of a list, JSON for a table."""
    if isinstance(value, Enum):
        return typed(value.value)
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        # 1e-05 is 1e-5 to people
        return repr(value).replace("e-0", "e-").replace("e+0", "e")
    if isinstance(value, str | int | Path):
        return str(value)
    if isinstance(value, tuple | list | set | frozenset):
        parts = [typed(each) for each in value]
        plain = all(isinstance(each, str | int | float | Path | Enum) for each in value)
        if plain and not any("," in part or part != part.strip() or not part for part in parts):
            return ",".join(parts)
    return json.dumps(pydantic.TypeAdapter(Any).dump_python(value, mode="json"))


class _Lenient(GenerateJsonSchema):
    """Schemas of fields of any type: of one that JSON cannot say nothing is known, and the others stay."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default", "skipped-discriminator"}  # noqa: RUF012

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:  # noqa: ANN401, ARG002
        return {}


def _alias(info: FieldInfo) -> str | None:
    given = info.validation_alias or info.alias
    if isinstance(given, pydantic.AliasChoices):
        given = next((each for each in given.choices if isinstance(each, str)), None)
    return given if isinstance(given, str) else None


def _told(name: str, info: FieldInfo, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Field:
    arms = _arms(schema, definitions)
    inner = [arm for arm in arms if arm.get("type") != "null"]
    optional = len(inner) < len(arms)
    several = any(arm.get("type") == "array" for arm in inner)
    # one of a list may stand for the list: said once
    items = [item for arm in inner if arm.get("type") == "array" for item in _items(arm, definitions)]
    inner = [arm for arm in inner if arm not in items]
    choices = [choice for arm in (*inner, *items) for choice in _choices(arm)]
    closed = all(_choices(arm) for arm in (*(a for a in inner if a.get("type") != "array"), *items))
    # where any number will do but also one word, the word is said
    kinds = dict.fromkeys(_kind(arm, definitions, closed=closed) for arm in inner)
    bounds = dict.fromkeys(filter(None, (_bounds(arm, definitions) for arm in inner)))
    required = info.is_required()
    return Field(
        name=name,
        kind=" or ".join((*kinds, *(("none",) if optional else ()))) or "none",
        default=None if required else _default(info),
        required=required,
        bounds="; or ".join(bounds),
        choices=(*dict.fromkeys(choices), *(("none",) if optional else ())) if choices and closed else (),
        several=several,
        description=" ".join((info.description or "").split()),
    )


def _default(info: FieldInfo) -> str | None:
    try:
        return typed(info.get_default(call_default_factory=True, validated_data={}))
    except Exception:  # noqa: BLE001 - a factory that wants the other fields, or a value no text stands for
        return None


def _arms(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The types a schema allows, one by one, references followed."""
    if "$ref" in schema:
        return _arms(definitions.get(schema["$ref"].rpartition("/")[2], {}), definitions)
    parts = schema.get("anyOf") or schema.get("oneOf")
    if parts:
        return [arm for part in parts for arm in _arms(part, definitions)]
    if len(schema.get("allOf", ())) == 1:
        return _arms(schema["allOf"][0], definitions)
    return [{key: value for key, value in schema.items() if key not in {"title", "description", "default"}}]


def _items(arm: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[dict[str, Any]]:
    parts = [*arm.get("prefixItems", ()), *((arm["items"],) if isinstance(arm.get("items"), Mapping) else ())]
    found: list[dict[str, Any]] = []
    for part in parts:
        found += [each for each in _arms(part, definitions) if each not in found]
    return found


def _choices(arm: Mapping[str, Any]) -> list[str]:
    values = arm["enum"] if "enum" in arm else [arm["const"]] if "const" in arm else None
    if values is None:
        return ["true", "false"] if arm.get("type") == "boolean" else []
    return [typed(value) for value in values]


_KINDS = {
    "integer": ("whole number", "whole numbers"),
    "number": ("number", "numbers"),
    "string": ("text", "texts"),
    "boolean": ("true or false", "true or false"),
    "object": ("table", "tables"),
    "null": ("none", "none"),
}
_FORMATS = {"path": "path", "file-path": "path", "directory-path": "path", "date": "date", "date-time": "date and time"}


def _kind(arm: Mapping[str, Any], definitions: Mapping[str, Any], *, many: bool = False, closed: bool = True) -> str:
    if arm.get("type") == "array":
        items = _items(arm, definitions)
        inside = dict.fromkeys(_kind(item, definitions, many=True, closed=closed) for item in items)
        return f"list of {' or '.join(inside) or 'anything'}"
    if "enum" in arm or "const" in arm:
        return (("choice", "choices")[many]) if closed else " or ".join(_choices(arm))
    if arm.get("properties"):
        return f"{('table', 'tables')[many]} of {', '.join(arm['properties'])}"
    if arm.get("format") in _FORMATS:
        return _FORMATS[arm["format"]] + "s" * many
    return _KINDS.get(str(arm.get("type")), ("anything", "anything"))[many]


def _bounds(arm: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    said = []
    for key, text in (
        ("exclusiveMinimum", "above {}"),
        ("minimum", "at least {}"),
        ("exclusiveMaximum", "below {}"),
        ("maximum", "at most {}"),
        ("multipleOf", "a multiple of {}"),
        ("minLength", "at least {} letters"),
        ("maxLength", "at most {} letters"),
        ("pattern", "like {}"),
    ):
        if key in arm:
            said.append(text.format(typed(_whole(arm[key]))))
    least, most = arm.get("minItems", 0), arm.get("maxItems")
    if least and least == most:
        said.append(f"{least} of them")
    else:
        said += [f"at least {least} of them"] * bool(least) + [f"at most {most} of them"] * (most is not None)
    each = dict.fromkeys(filter(None, (_bounds(item, definitions) for item in _items(arm, definitions))))
    said += [f"each {text}" for text in each]
    return ", ".join(said)


def _whole(bound: object) -> object:
    return int(bound) if isinstance(bound, float) and bound.is_integer() and abs(bound) < 1e15 else bound


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

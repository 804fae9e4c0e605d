"""What there is to set: a settings class described field by field, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema

from pkt_bench.as_typed import aliases, spelling, text_of

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo


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
    known, definitions = schema.get("properties", {}), schema.get("$defs", {})
    told = []
    for name, info in model.model_fields.items():
        of_field: Mapping[str, Any] = next((known[key] for key in (*aliases(info), name) if key in known), {})
        told.append(_told(spelling(model, name), info, of_field, definitions))
    return tuple(told)


class _Lenient(GenerateJsonSchema):
    """Schemas of fields of any type: of one that JSON cannot say nothing is known, and the others stay."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default", "skipped-discriminator"}  # noqa: RUF012

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:  # noqa: ANN401, ARG002
        return {}


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
        return text_of(info.get_default(call_default_factory=True, validated_data={}))
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
    return [text_of(value) for value in values]


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
            said.append(text.format(text_of(_whole(arm[key]))))
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

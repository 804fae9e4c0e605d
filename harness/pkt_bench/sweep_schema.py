"""JSON Schemas of sweep files and of settings, for editors: every key, name and setting of the plugins at hand.

A schema accepts whatever the program accepts. It cannot see all that the program refuses: bounds of a number written as
text, checks that plugins make themselves, names that only the network or a file of pairs knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pkt_bench import request
from pkt_bench.as_typed import aliases, spellings, text_of
from pkt_bench.described import LenientSchema, schema_of
from pkt_bench.executors import BUILT_IN

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pkt_bench.offers import Offer
    from pkt_bench.plugins import Registry

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]
Texts = Mapping[str, Sequence[Schema]]

_NUMBER = r"[-+]?[0-9_.]+([eE][-+]?[0-9_]+)?"
_NUMBER_TEXT: Schema = {"type": "string", "pattern": rf"^\s*({_NUMBER}|[-+]?[iI][nN][fF]\w*|[nN][aA][nN])\s*$"}
_BOOL_TEXT: Schema = {
    "type": "string",
    "pattern": "^([tT]([rR][uU][eE])?|[fF]([aA][lL][sS][eE])?|[yY]([eE][sS])?|[nN][oO]?|[oO][nN]|[oO][fF][fF]|0|1)$",
}
_NONE_TEXT: Schema = {"type": "string", "pattern": "^([nN][oO][nN][eE]|[nN][uU][lL][lL])$"}
# of what is no setting: as the request reads numbers
_AMOUNT_TEXT: Schema = {
    "type": "string",
    "pattern": r"^\s*[-+]?(0|[1-9][0-9_]*)?(\.[0-9]+)?([eE][-+]?[0-9]+)?\s*$",
}
_LIST_TEXT: Schema = {"type": "string"}
_TABLE_TEXT: Schema = {"type": "string", "pattern": r"^\s*\{"}
_ALSO: Texts = {
    "integer": [_NUMBER_TEXT],
    "number": [_NUMBER_TEXT],
    "boolean": [{"enum": [0, 1]}, _BOOL_TEXT],
    "null": [_NONE_TEXT],
}
"""What will do for a type of JSON in settings, beside it; and what outside of them."""
_ALSO_OUTSIDE: Texts = {**_ALSO, "integer": [_AMOUNT_TEXT], "number": [_AMOUNT_TEXT], "null": []}
_PATHS = ("path", "file-path", "directory-path")


def of_sweep_files(registry: Registry) -> Schema:
    """The schema of sweep files, as long as nothing but `registry` is installed."""
    models = _Models()
    keys = schema_of(request.Request)["properties"]
    special = _special_keys(registry) | {
        "settings": _settings_of_all(registry, models),
        "sweep": _sweeps_of_all(registry, models),
    }
    properties: Schema = {"$schema": {"type": "string", "description": "Where an editor finds this schema."}}
    for name in request.KEYS:
        said = {key: keys[name][key] for key in ("description", "default") if key in keys[name]}
        said["description"] = " ".join(said["description"].split())
        properties[name] = said | (special.get(name) or _loosened(keys[name], {}, also=_ALSO_OUTSIDE))
    return {
        "$schema": DIALECT,
        "title": "A sweep file of pkt-bench",
        "description": "What `pkt-bench run --config FILE` runs, with what the plugins installed here offer.",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": models.definitions,
    }


def of_settings(name: str, model: type[BaseModel]) -> Schema:
    """The schema of the settings of one method, executor or tracker alone."""
    return {"$schema": DIALECT, "title": f"Settings of {name}"} | _settings(
        model, "#/$defs/{model}", keep_required=True
    )


# ---------------------------------------------------------------- settings


class _Models:
    """The settings classes met so far, each with one definition: methods and their controls share them."""

    def __init__(self) -> None:
        self.definitions: Schema = {}
        self._names: dict[type[BaseModel], str] = {}

    def reference(self, model: type[BaseModel]) -> Schema:
        """A reference to the definition of `model`, which is made where it is the first."""
        if model not in self._names:
            plain = re.sub(r"\W", "", model.__name__) or "Settings"
            taken = sum(name.rstrip("0123456789") == plain for name in self._names.values())
            name = f"{plain}{taken + 1}" if taken else plain
            self._names[model] = name
            self.definitions[name] = _settings(model, f"#/$defs/{name}/$defs/{{model}}")
        return {"$ref": f"#/$defs/{self._names[model]}"}

    def swept(self, model: type[BaseModel]) -> Schema:
        """The same with a list of values to try for each field."""
        of_one = self.reference(model)["$ref"]
        name = f"{self._names[model]}.sweep"
        self.definitions[name] = {
            "type": "object",
            "properties": {
                field: {key: told[key] for key in ("description",) if key in told}
                | {"type": "array", "minItems": 1, "items": {"$ref": f"{of_one}/properties/{_pointer(field)}"}}
                for field, told in self.definitions[self._names[model]]["properties"].items()
            },
            "additionalProperties": False,
        }
        return {"$ref": f"#/$defs/{name}"}


def _settings(model: type[BaseModel], references: str, *, keep_required: bool = False) -> Schema:
    made = schema_of(model, schema_generator=_AsRead, ref_template=references)
    definitions = made.get("$defs", {})
    fields = made.get("properties", {})
    properties: Schema = {}
    for key, name in spellings(model).items():
        field: Schema = next(
            (fields[each] for each in (*aliases(model.model_fields[name]), name) if each in fields), {}
        )
        said = {each: field[each] for each in ("description", "default", "examples") if each in field}
        if "description" in said:
            said["description"] = " ".join(said["description"].split())
        properties[key] = said | _loosened(field, definitions)
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if keep_required and made.get("required"):
        schema["required"] = made["required"]
    if definitions:
        schema["$defs"] = {name: _loosened_definition(inner, definitions) for name, inner in definitions.items()}
    return schema


class _AsRead(LenientSchema):
    """What a validator before the type's own makes of a value is not known, unless it says so: anything may do."""

    def function_before_schema(self, schema: Any) -> Schema:  # noqa: ANN401 - pydantic's core schema
        return self._anything(schema, super().function_before_schema(schema))

    def function_wrap_schema(self, schema: Any) -> Schema:  # noqa: ANN401 - see above
        return self._anything(schema, super().function_wrap_schema(schema))

    def _anything(self, schema: Any, inner: Schema) -> Schema:  # noqa: ANN401 - see above
        whole_model = schema["schema"]["type"] in {"model", "model-fields"}
        return inner if whole_model or schema.get("json_schema_input_schema") else {"anyOf": [inner, {}]}


def _settings_of_all(registry: Registry, models: _Models) -> Schema:
    """A table for each method, executor and tracker, by its name and by DISTRIBUTION/NAME."""
    found: dict[str, list[Schema]] = {}
    about: dict[str, str] = {}
    for name, item in (
        *_spelled(registry.methods),
        *((executor.name, executor) for executor in BUILT_IN.values()),
        *_spelled(registry.executors),
        *_spelled(registry.trackers),
    ):
        found.setdefault(name, []).append(models.reference(item.settings))
        about.setdefault(name, item.summary)
    return _tables(found, about)


def _sweeps_of_all(registry: Registry, models: _Models) -> Schema:
    found: dict[str, list[Schema]] = {}
    about: dict[str, str] = {}
    for name, item in _spelled(registry.methods):
        found.setdefault(name, []).append(models.swept(item.settings))
        about.setdefault(name, item.summary)
    return _tables(found, about)


def _tables(found: Mapping[str, Sequence[Schema]], about: Mapping[str, str]) -> Schema:
    properties = {}
    for name, several in found.items():
        arms = [each for at, each in enumerate(several) if each not in several[:at]]
        properties[name] = {"description": about[name]} | (arms[0] if len(arms) == 1 else {"anyOf": arms})
    # a distribution has more than one spelling, and a control may say whose it is, too
    others = {"/": {"type": "object"}}
    return {"type": "object", "properties": properties, "patternProperties": others, "additionalProperties": False}


def _spelled(shelf: Iterable[Offer[Any]]) -> Iterator[tuple[str, Any]]:
    """Everything on a shelf by its name, and then by DISTRIBUTION/NAME, which is rarely wanted."""
    offers = list(shelf)
    yield from ((offer.item.name, offer.item) for offer in offers)
    yield from ((offer.qualified, offer.item) for offer in offers)


def _plain(shelf: Iterable[Offer[Any]]) -> list[str]:
    return list(dict.fromkeys(offer.item.name for offer in shelf))


# ---------------------------------------------------------------- what text will do, too


def _loosened(node: Mapping[str, Any], definitions: Mapping[str, Any], *, also: Texts = _ALSO) -> Schema:
    """What a value may be in a file: what pydantic's schema of the type says, or text that is read as it."""
    arms = _arms_of(node, definitions, also=also)
    arms = [arm for at, arm in enumerate(arms) if arm not in arms[:at]]
    return arms[0] if len(arms) == 1 else {"anyOf": arms}


_NOT_THE_TYPE = ("title", "description", "default", "examples", "deprecated", "discriminator")


def _arms_of(node: Mapping[str, Any], definitions: Mapping[str, Any], *, also: Texts) -> list[Schema]:
    plain = {key: value for key, value in node.items() if key not in _NOT_THE_TYPE}
    parts = plain.get("anyOf") or plain.get("oneOf")
    if parts:
        return [arm for part in parts for arm in _arms_of(part, definitions, also=also)]
    if "enum" in plain or "const" in plain:
        values = plain["enum"] if "enum" in plain else [plain["const"]]
        texts = [text_of(value) for value in values if not isinstance(value, str)]
        said: Schema = {"enum": list(values)}
        return [said, {"type": "string", "pattern": f"^({'|'.join(map(_literally, texts))})$"}] if texts else [said]
    kind = str(plain.get("type"))
    if kind in also:
        return [plain, *also[kind]]
    return _structured(plain, definitions)


def _structured(plain: Schema, definitions: Mapping[str, Any]) -> list[Schema]:
    if "$ref" in plain:
        inner = definitions.get(plain["$ref"].rpartition("/")[2], {})
        return [{"$ref": plain["$ref"]}, *([_TABLE_TEXT] if inner.get("type") == "object" else [])]
    if plain.get("type") == "array":
        return [_loosened_list(plain, definitions), _text_of_list(plain, definitions)]
    if plain.get("type") == "object":
        return [_loosened_definition(plain, definitions), _TABLE_TEXT]
    # of a date or a duration pydantic takes numbers, too, and more texts than the format knows
    return [{}] if plain.get("format", _PATHS[0]) not in _PATHS else [plain]


def _loosened_list(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    made = {key: value for key, value in node.items() if key != "uniqueItems"}
    if "prefixItems" in made:
        made["prefixItems"] = [_loosened(each, definitions) for each in made["prefixItems"]]
    if isinstance(made.get("items"), Mapping):
        made["items"] = _loosened(made["items"], definitions)
    return made


def _text_of_list(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """Values with commas, or JSON: words and numbers are looked at, anything else may be text."""
    items = node.get("items")
    if not isinstance(items, Mapping):
        return _LIST_TEXT
    arms = _arms_of(items, definitions, also=_ALSO)
    words = [word for arm in arms for word in arm.get("enum", ()) if isinstance(word, str)]
    if words and all("enum" in arm for arm in arms):
        return {"type": "string", "pattern": rf"^\s*\[|{_listed(map(_literally, words), least=0)}"}
    if all(arm.get("type") in {"integer", "number"} or arm == _NUMBER_TEXT for arm in arms):
        return {"type": "string", "pattern": rf"^\s*\[|{_listed([_NUMBER], least=0)}"}
    return _LIST_TEXT


def _loosened_definition(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """A table inside settings: its keys, or whatever its keys are, each loosened."""
    if node.get("type") != "object":
        return _loosened(node, definitions) | {key: node[key] for key in ("description",) if key in node}
    made = {key: value for key, value in node.items() if key not in {"title", "default"}}
    if "properties" in made:
        made["properties"] = {
            name: {key: inner[key] for key in ("description", "default") if key in inner}
            | _loosened(inner, definitions)
            for name, inner in made["properties"].items()
        }
        made.setdefault("additionalProperties", False)
    if isinstance(made.get("additionalProperties"), Mapping):
        made["additionalProperties"] = _loosened(made["additionalProperties"], definitions)
    return made


# ---------------------------------------------------------------- keys that are read in a way of their own


def _special_keys(registry: Registry) -> Schema:
    of_methods = [offer.item.name for offer in registry.methods if offer.item.control_of]
    controls = dict.fromkeys((*(name.rpartition(":")[2] for name in of_methods), *of_methods))
    count: Schema = {"type": "number", "exclusiveMinimum": 0}
    return {
        "methods": _names(["all", *_plain(registry.methods)], closed=True),
        "controls": _names(["all", *controls], closed=True),
        "pairs": _names(["all", *_plain(registry.pairs)]),
        "suites": _names(["all", *_plain(registry.suites)]),
        "also_score": _names(["all", *_plain(registry.suites)]),
        "data_dir": {"type": "array", "items": {"type": "string"}},
        "plugins": {"type": "array", "items": {"type": "string"}},
        "tasks": _names([]),
        "allow_pickle": _names([]),
        "trust_remote_code": _names([]),
        "track": _names(_plain(registry.trackers), closed=True),
        "retry": _names([*request.RETRIED, "all", "none"], closed=True),
        "executor": {"anyOf": [{"enum": [*BUILT_IN, *_plain(registry.executors)]}, {"type": "string", "pattern": "/"}]},
        "device": {"anyOf": [{"enum": ["cpu", "cuda"]}, {"type": "string", "pattern": r"^(cpu|cuda|mps|xpu)(:\d*)?$"}]},
        "batch_size": {
            "anyOf": [{"enum": ["auto"]}, {"type": "integer", "minimum": 1, "maximum": request.MAX_BATCH}, _AMOUNT_TEXT]
        },
        "budget": {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {
                        name: {"anyOf": [count if name == "seconds" else count | {"type": "integer"}, _AMOUNT_TEXT]}
                        for name in request.BUDGET
                    },
                    "additionalProperties": False,
                },
                _spending(least=1),
                {"type": "array", "minItems": 1, "items": _spending(least=0)},
            ]
        },
        "cell_seconds": {
            "anyOf": [
                count,
                _AMOUNT_TEXT,
                {"type": "string", "pattern": r"^\s*(\d+(\.\d+)?[smhd])+\s*$"},
                {"type": "null"},
            ]
        },
        "cell_memory": _size(),
        "cell_disk": _size(),
    }


def _size() -> Schema:
    unit = "([bB]|[kKmMgGtT]([iI])?[bB])?"
    text = {"type": "string", "pattern": rf"^\s*\d+(\.\d+)? ?{unit}\s*$"}
    return {"anyOf": [{"type": "number", "minimum": 1 << 20}, text, _AMOUNT_TEXT, {"type": "null"}]}


def _spending(*, least: int) -> Schema:
    part = rf"({'|'.join(request.BUDGET)})\s*=[^,]*"
    return {"type": "string", "pattern": _listed([part], least=least)}


def _names(offered: Sequence[str], *, closed: bool = False) -> Schema:
    """A list of names, or text with commas; where it is closed, others than these have to say whose they are."""
    parts = [*map(_literally, offered), "[^,]*/[^,]*"] if closed else ["[^,]*[^,\\s][^,]*"]
    suggested: list[Schema] = [{"enum": list(offered)}] if offered else []
    one, some = ({"type": "string", "pattern": _listed(parts, least=least)} for least in (1, 0))
    return {"anyOf": [*suggested, one, {"type": "array", "minItems": 1, "items": {"anyOf": [*suggested, some]}}]}


def _listed(parts: Iterable[str], *, least: int) -> str:
    """A pattern for parts with commas between; empty ones are passed over when read."""
    return rf"^[\s,]*(({'|'.join(parts)})\s*(,[\s,]*|$)){{{least},}}$"


def _literally(text: str) -> str:
    """A pattern for this very text, as JavaScript reads patterns: `-` may not be escaped there."""
    return re.sub(r"[.*+?^${}()|\[\]\\]", r"\\\g<0>", text)


def _pointer(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")

"""Values as people type them: text from `--set` or a file read as a field's type, and a value as such a text."""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pydantic
from pydantic import BaseModel
from pydantic.fields import FieldInfo

Where = tuple[str | int, ...]
_NONE = ("none", "null")


class UnreadableError(Exception):
    """What was typed cannot be read as the field's type: `where` below the field, what stood there, what is wrong."""

    def __init__(self, where: Where, seen: object, said: str) -> None:
        super().__init__(said)
        self.where, self.seen, self.said = where, seen, said


def read(value: object, kind: Any, where: Where = ()) -> object:  # noqa: ANN401 - an annotation
    """`value` with every text in it turned into what `kind` takes; what no type asks to be read stays, for pydantic.

    `none` is None where a field may be unset, a list is text with commas, a table or a list of tables is JSON. The same
    holds inside the lists and tables of a file, which has no other way to write None (TOML).

    Raises:
        UnreadableError: JSON with a fault in it, a key that a table does not have, true or false where a number stands.
    """
    kind = _bare(kind)
    if get_origin(kind) in (Union, types.UnionType):
        return _read_one_of(value, [_bare(each) for each in get_args(kind)], where)
    if get_origin(kind) is Literal or _is_a(kind, Enum):
        return next((each for each in _values(kind) if text_of(each) == value), value)
    if isinstance(value, bool) and kind in (int, float):
        # pydantic takes true for 1
        raise UnreadableError(where, value, f"a {'whole ' if kind is int else ''}number is wanted")
    if isinstance(value, str):
        if _is_table(kind) or (_is_list(kind) and value.lstrip().startswith("[")):
            value = _from_json(value, where)
        elif _is_list(kind):
            value = tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, Mapping) and _is_table(kind):
        return _read_table(value, kind, where)
    if isinstance(value, list | tuple) and _is_list(kind):
        kinds = _of_items(kind)
        items = [read(each, next(kinds), (*where, at)) for at, each in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    return value


def text_of(value: object) -> str:
    """A value as it is typed after `--set METHOD.FIELD=`: commas between those of a list, JSON for a table."""
    if isinstance(value, Enum):
        return text_of(value.value)
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        # 1e-05 is 1e-5 to people
        return repr(value).replace("e-0", "e-").replace("e+0", "e")
    if isinstance(value, str | int | Path):
        return str(value)
    if isinstance(value, tuple | list | set | frozenset):
        parts = [text_of(each) for each in value]
        plain = all(isinstance(each, str | int | float | Path | Enum) for each in value)
        if plain and not any("," in part or part != part.strip() or not part for part in parts):
            return ",".join(parts)
    return json.dumps(pydantic.TypeAdapter(Any).dump_python(value, mode="json"))


def spelling(model: type[BaseModel], name: str) -> str:
    """How the field `name` is spelled by whoever sets it: its alias where the model takes nothing else."""
    return next(iter(_of_field(model, name)))


def spellings(model: type[BaseModel]) -> dict[str, str]:
    """Every key that a model takes, and the field that it stands for; the first of a field is the one to show."""
    return {key: name for name in model.model_fields for key in _of_field(model, name)}


def unknown_key(key: object, known: Sequence[str]) -> str:
    """` Did you mean 'x'?` where `key` is nearly one of those that are known, else nothing."""
    near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""


def aliases(info: FieldInfo) -> list[str]:
    """The other keys that a field is given by."""
    given = info.validation_alias or info.alias
    choices = given.choices if isinstance(given, pydantic.AliasChoices) else [given]
    return [each for each in choices if isinstance(each, str)]


def _of_field(model: type[BaseModel], name: str) -> list[str]:
    config, others = model.model_config, aliases(model.model_fields[name])
    by_name = config.get("populate_by_name") or config.get("validate_by_name")
    if config.get("validate_by_alias") is False:
        return [name]
    return [name, *others] if by_name or not others else others


def _read_one_of(value: object, kinds: list[Any], where: Where) -> object:
    """By the one type of several that what is given looks like."""
    words = [each for kind in kinds for each in _values(kind)]
    if isinstance(value, str):
        for word in words:
            if text_of(word) == value:
                return word
        if type(None) in kinds and value.lower() in _NONE:
            return None
    others = [kind for kind in kinds if kind is not type(None) and not _values(kind)]
    lists, tables = [kind for kind in others if _is_list(kind)], [kind for kind in others if _is_table(kind)]
    plain = [kind for kind in others if kind not in lists and kind not in tables]
    if isinstance(value, str):
        if any(_takes(kind, value) for kind in plain):
            return value
        likely = tables if value.lstrip().startswith("{") or not lists else lists
    elif isinstance(value, bool):
        likely = plain[:1] if all(kind in (int, float) for kind in plain) else []
    else:
        likely = tables if isinstance(value, Mapping) else lists if isinstance(value, list | tuple) else []
    # where several would do, pydantic finds out which
    return read(value, likely[0], where) if len(likely) == 1 else value


def _takes(kind: Any, value: object) -> bool:  # noqa: ANN401 - an annotation
    try:
        pydantic.TypeAdapter(kind).validate_python(value)
    except Exception:  # noqa: BLE001 - also a type that pydantic knows inside the model alone
        return False
    return True


def _read_table(value: Mapping[Any, Any], kind: Any, where: Where) -> object:  # noqa: ANN401 - an annotation
    if not _is_model(kind):
        of_values = get_args(kind)[1] if len(get_args(kind)) == 2 else Any
        return {key: read(each, of_values, (*where, str(key))) for key, each in value.items()}
    known, kinds = _fields(kind)
    if known is not None:
        for key in value:
            if key not in known:
                said = f"nobody knows the key '{key}'.{unknown_key(key, [*known])}\n  Keys: {', '.join(known)}"
                raise UnreadableError(where, value, said)
    return {key: read(each, kinds.get(str(key), Any), (*where, str(key))) for key, each in value.items()}


def _fields(kind: Any) -> tuple[dict[str, str] | None, dict[str, Any]]:  # noqa: ANN401 - an annotation
    """The keys that a class with fields takes (None: any), and the type of each."""
    if _is_a(kind, BaseModel):
        known = spellings(kind)
        kinds = {key: kind.model_fields[name].annotation for key, name in known.items()}
        return (None if kind.model_config.get("extra") == "allow" else known), kinds
    hints = typing.get_type_hints(kind, include_extras=True)
    return {name: name for name in hints}, hints


def _from_json(text: str, where: Where) -> object:
    if not text.lstrip().startswith(("{", "[")):
        # a validator of the field may know what to do with it; if none does, pydantic says what is wanted
        return text

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) < len(pairs):
            raise ValueError("a key is given twice")
        return table

    def refuse(word: str) -> float:
        raise ValueError(f"{word} is no number")

    try:
        return typing.cast("object", json.loads(text, object_pairs_hook=once, parse_constant=refuse))
    except json.JSONDecodeError as error:
        said = f"it is not JSON: {error.msg[:1].lower()}{error.msg[1:]} at sign {error.pos + 1}"
        raise UnreadableError(where, text, said) from None
    except (ValueError, RecursionError) as error:
        raise UnreadableError(where, text, f"it is not JSON: {error}") from None


def _bare(kind: Any) -> Any:  # noqa: ANN401 - an annotation
    """The type below its bounds and other names of it."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif type(kind).__name__ == "TypeAliasType":
            kind = kind.__value__
        elif isinstance(kind, typing.NewType):
            kind = kind.__supertype__
        elif _is_a(kind, pydantic.RootModel):
            kind = kind.model_fields["root"].annotation
        else:
            return kind


def _is_a(kind: Any, base: type) -> bool:  # noqa: ANN401 - an annotation
    kind = get_origin(kind) or kind
    return isinstance(kind, type) and issubclass(kind, base)


def _is_list(kind: Any) -> bool:  # noqa: ANN401 - an annotation
    return (_is_a(kind, Sequence) or _is_a(kind, AbstractSet)) and not _is_a(kind, str) and not _is_a(kind, bytes)


def _is_model(kind: Any) -> bool:  # noqa: ANN401 - an annotation
    return _is_a(kind, BaseModel) or (isinstance(kind, type) and dataclasses.is_dataclass(kind)) or _is_typed_dict(kind)


def _is_typed_dict(kind: Any) -> bool:  # noqa: ANN401 - an annotation
    return _is_a(kind, dict) and hasattr(kind, "__total__")


def _is_table(kind: Any) -> bool:  # noqa: ANN401 - an annotation
    return _is_a(kind, Mapping) or _is_model(kind)


def _values(kind: Any) -> tuple[Any, ...]:  # noqa: ANN401 - an annotation
    """The values a type has, where they are written in it."""
    if get_origin(kind) is Literal:
        return tuple(value for each in get_args(kind) for value in (_values(each) or (each,)))
    return tuple(kind) if _is_a(kind, Enum) else ()


def _of_items(kind: Any) -> Iterator[Any]:  # noqa: ANN401 - an annotation
    """The type of each item of a list, without end."""
    given = get_args(kind)
    repeated = given[0] if given else Any
    if _is_a(kind, tuple) and given and Ellipsis not in given:
        yield from given
        repeated = Any
    while True:
        yield repeated

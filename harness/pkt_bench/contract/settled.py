"""Whether the settings of a method are plain data, documented, and can be given on a command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from pkt_bench.as_typed import spelling, text_of
from pkt_bench.contract.findings import Finding, counted
from pkt_bench.domain import Method
from pkt_bench.errors import PktBenchError
from pkt_bench.kept_settings import as_kept, from_kept
from pkt_bench.settings import parse_settings


def of_settings(method: Method) -> Iterator[Finding]:
    """Whether its settings are plain data, documented, and can be given on the command line."""
    promise = "its settings are plain and documented"
    model = method.settings
    wrong = list(_defects(method.name, model))
    if wrong:
        yield Finding(
            promise,
            "broken",
            "; ".join(wrong),
            "Settings are a class of fields with defaults: `class Mine(Settings):`, each with a docstring below it and"
            " bounds in Field(default=..., ge=..., le=...).",
        )
        return
    count = len(model.model_fields)
    yield Finding(promise, "kept", counted(count, "setting") if count else "it has none")
    open_ends = [name for name, field in model.model_fields.items() if _is_unbounded_number(field)]
    if open_ends:
        yield Finding(
            "its settings have bounds",
            "remark",
            f"any number at all is taken for {', '.join(open_ends)}",
            "Field(default=..., ge=..., le=...) refuses a typo before anything starts.",
        )


def can_be_kept(method: Method) -> bool:
    """Whether its settings can be part of a row at all: without that no cell of it can be planned."""
    try:
        json.dumps(as_kept(method.settings()), allow_nan=False)
    except Exception:  # noqa: BLE001 - a stranger's class may raise anything; what, is found where it is looked at
        return False
    return True


def _defects(name: str, model: type[BaseModel]) -> Iterator[str]:
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        yield f"settings is {model!r}, not a class made from pkt_bench.Settings"
        return
    try:
        defaults = model()
    except ValueError as error:
        yield f"it cannot be made without values: {_short(error)}"
        return
    if not model.model_config.get("frozen"):
        yield "it can be changed after it was validated (frozen)"
    if model.model_config.get("extra") != "forbid":
        yield "it takes names that it does not have (extra='forbid')"
    undocumented = [field for field, told in model.model_fields.items() if not (told.description or "").strip()]
    if undocumented:
        yield f"nothing says what {', '.join(undocumented)} means"
    yield from _not_plain(model, defaults)
    yield from _not_typed(name, model, defaults)


def _not_plain(model: type[BaseModel], defaults: BaseModel) -> Iterator[str]:
    """Settings are kept in rows and digested into keys as JSON."""
    try:
        text = json.dumps(as_kept(defaults), allow_nan=False)
        if from_kept(model, text) != defaults:
            yield "its defaults are not what they were after a way through JSON"
        model.model_json_schema()
    except Exception as error:  # noqa: BLE001 - pydantic's many kinds
        yield f"its defaults are no plain JSON: {_short(error)}"


def _not_typed(name: str, model: type[BaseModel], defaults: BaseModel) -> Iterator[str]:
    for field in model.model_fields:
        value = getattr(defaults, field)
        words, spelled = text_of(value), spelling(model, field)
        if not words:
            # nobody types nothing
            continue
        try:
            typed = getattr(parse_settings(name, model, {spelled: words}), field)
        except PktBenchError:
            yield f"its own default cannot be given as --set {name}.{spelled}={words}"
        else:
            if typed != value:
                yield f"--set {name}.{spelled}={words} gives {typed!r}, not its default {value!r}"


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _is_unbounded_number(field: Any) -> bool:  # noqa: ANN401 - pydantic's FieldInfo
    plain = field.annotation in {int, float} or str(field.annotation) in {"int | None", "float | None"}
    return plain and not any(
        hasattr(bound, name) for bound in field.metadata for name in ("ge", "gt", "le", "lt", "multiple_of")
    )

"""Settings as the JSON that rows keep and that keys of cells digest, and back to what they were."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import BaseModel

S = TypeVar("S", bound="BaseModel")


def as_kept(settings: BaseModel) -> dict[str, Any]:
    """Plain JSON values by the names that people type. Sets are in order: a process has an order of its own for them.

    Raises:
        ValueError: a value that JSON does not hold.
    """
    kept = settings.model_dump(mode="json", by_alias=True)
    ordered: dict[str, Any] = _in_order(kept, settings.model_dump(by_alias=True))
    return ordered


def from_kept(model: type[S], text: str) -> S:
    """The settings whose `as_kept` is this JSON.

    Raises:
        ValueError: it is not of this model.
    """
    return model.model_validate_json(text, by_alias=True, by_name=True)


def _in_order(kept: Any, was: Any) -> Any:  # noqa: ANN401 - any value of JSON
    """`kept` with what was a set in order, at any depth."""
    if isinstance(was, Mapping) and isinstance(kept, dict) and len(was) == len(kept):
        return {name: _in_order(each, before) for (name, each), before in zip(kept.items(), was.values(), strict=True)}
    if isinstance(kept, list):
        if isinstance(was, set | frozenset):
            return sorted(kept, key=lambda each: json.dumps(each, sort_keys=True))
        if isinstance(was, list | tuple) and len(was) == len(kept):
            return [_in_order(each, before) for each, before in zip(kept, was, strict=True)]
    return kept

"""Which data set a task's configuration names, and which of its splits the task cannot be scored without."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pkt_bench import mirrors
from pkt_bench.domain import DataRef

# what `datasets` makes of files: not a name on the hub
_BUILDERS = frozenset({"json", "csv", "text", "parquet", "arrow", "pandas", "imagefolder", "audiofolder", "xml"})


def data_of(config: Mapping[str, Any]) -> DataRef | None:
    """The data set of the hub that a task's configuration names; None where it makes its own, or reads files.

    `splits` are those it has a use for, the one it is scored on first.
    """
    path = config.get("dataset_path")
    if not isinstance(path, str) or path in _BUILDERS or config.get("custom_dataset") or Path(path).exists():
        return None
    settings = config.get("dataset_kwargs") or {}
    name = config.get("dataset_name")
    return mirrors.reference(path, name if isinstance(name, str) else "", settings.get("revision", ""), splits(config))


def splits(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The splits a configuration names, the one it is scored on first."""
    named = (config.get(f"{kind}_split") for kind in ("test", "validation", "training", "fewshot"))
    own = (config.get("fewshot_config") or {}).get("split") if isinstance(config.get("fewshot_config"), dict) else None
    return tuple(dict.fromkeys(split for split in (*named, own) if isinstance(split, str)))


def needed(config: Mapping[str, Any], shots: int) -> tuple[str, ...]:
    """The splits without which a task cannot be scored: its documents, and where there are shots, what shows them."""
    scored = config.get("test_split") or config.get("validation_split")
    if shots == 0 or config.get("num_fewshot") == 0:
        return (scored,) if scored else ()
    own = config.get("fewshot_config")
    given = own.get("samples") if isinstance(own, dict) else None
    shown = (own.get("split") if isinstance(own, dict) else None) or config.get("fewshot_split")
    if shown is None and given is not None:
        return (scored,) if scored else ()
    shown = shown or config.get("training_split") or config.get("validation_split") or scored
    return tuple(dict.fromkeys(split for split in (scored, shown) if split))

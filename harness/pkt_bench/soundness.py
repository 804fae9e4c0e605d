"""Whether a checkpoint is whole and can be loaded: what transformers lets pass is looked for in its files."""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
import importlib.util
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pkt_bench.checkpoints import architecture, json_of, tensors, weight_bytes
from pkt_bench.domain import ModelRef
from pkt_bench.errors import IntegrityError, RequestError, UnavailableError

# families whose weights are named and shaped as `Architecture.module_shape` and `_MODULES` say
_PLAIN_LAYOUT = frozenset({"llama", "mistral", "qwen2", "qwen3"})
_MODULES = {
    **dict.fromkeys(("q_proj", "k_proj", "v_proj", "o_proj"), "self_attn"),
    **dict.fromkeys(("gate_proj", "up_proj", "down_proj"), "mlp"),
}
# up to so many bytes, a checkpoint's numbers are looked at in the plan; larger ones when they are loaded
LOOKED_AT_BYTES = 256 << 20


def check_family(ref: ModelRef) -> None:
    """Checks that the installed transformers knows the model, or that the model's own code is there and allowed.

    Raises:
        UnavailableError: it would take the checkpoint's own code, which was not allowed, or lies elsewhere.
        RequestError: nobody knows such a model.
    """
    config = json_of(ref.path / "config.json")
    family, known = str(config.get("model_type")), known_families()
    if "remote-code" in ref.consents:
        elsewhere = [str(name) for name in _leaves(config.get("auto_map") or {}) if "--" in str(name)]
        if elsewhere:
            raise UnavailableError(
                f"{ref.path}: its code lies in another repository ({elsewhere[0].partition('--')[0]}), and what is"
                " trusted is the code in its own folder.\n  Copy that code beside its weights, and name it in auto_map."
            )
        return
    if not known or family in known:
        return
    release = importlib.metadata.version("transformers")
    if config.get("auto_map"):
        files = sorted(
            {str(name).partition(".")[0].rpartition("--")[2] + ".py" for name in _leaves(config["auto_map"])}
        )
        raise UnavailableError(
            f"{ref.path}: a '{family}' model is built by code that comes with it ({', '.join(files)}; auto_map in"
            f" config.json), and transformers {release} does not know it without.\n"
            f"  Where you trust its author: --trust-remote-code {ref.hub or ref.path}. Else use a model that"
            " transformers knows, or a newer transformers."
        )
    near = difflib.get_close_matches(family, known, n=1, cutoff=0.6)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise RequestError(
        f"{ref.path / 'config.json'}: transformers {release} knows no model_type '{family}'.{hint}\n"
        "  Upgrade transformers if the model is newer, or mend the file."
    )


def _leaves(value: Any) -> list[Any]:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in _leaves(each)]
    return [leaf for each in value for leaf in _leaves(each)] if isinstance(value, list) else [value]


@functools.cache
def known_families() -> frozenset[str]:
    """Every `model_type` of the installed transformers, from its files: importing it takes seconds. Empty: unknown."""
    spec = importlib.util.find_spec("transformers")
    folder = Path(spec.origin).parent / "models" / "auto" if spec is not None and spec.origin else Path()
    found: set[str] = set()
    for name in ("auto_mappings.py", "configuration_auto.py"):
        if spec is not None and (folder / name).is_file():
            found |= set(re.findall(r'\(\s*"([\w.-]+)",\s*"\w+Config"', (folder / name).read_text(encoding="utf-8")))
    return frozenset(found)


def check_tokenizer(ref: ModelRef) -> None:
    """Checks that a tokenizer is there and that each of its ids has a row in the embedding.

    Raises:
        RequestError: there is none, or it has more ids than the model has rows (on CUDA that kills the process).
    """
    file = ref.path / "tokenizer.json"
    if not file.is_file():
        if any((ref.path / name).is_file() for name in ("tokenizer.model", "vocab.json")):
            return
        raise RequestError(f"{ref.path} has no tokenizer (tokenizer.json). Save one there with save_pretrained.")
    content = json_of(file)
    try:
        vocabulary = content["model"].get("vocab", ())
        ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else [len(vocabulary) - 1]
        ids += [token["id"] for token in content.get("added_tokens", ())]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RequestError(f"{file} is not a tokenizer. Save it again with save_pretrained.") from None
    rows = architecture(ref).vocabulary
    if ids and max(ids) >= rows:
        raise RequestError(
            f"{ref.path}: the tokenizer has the id {max(ids)}, the model's embedding has {rows} rows."
            "\n  Tokenizer and model do not belong together."
        )


def check_layout(ref: ModelRef) -> None:
    """Checks that every matrix that the configuration announces is there, in its shape: of families laid out plainly.

    Raises:
        IntegrityError: one is missing or has another shape; transformers would fill it in at random.
    """
    shape = architecture(ref)
    if shape.family not in _PLAIN_LAYOUT:
        return
    wanted = {"model.embed_tokens.weight": (shape.vocabulary, shape.hidden), "model.norm.weight": (shape.hidden,)}
    if not shape.tied:
        wanted["lm_head.weight"] = (shape.vocabulary, shape.hidden)
    for layer in range(shape.layers):
        for module, block in _MODULES.items():
            wanted[f"model.layers.{layer}.{block}.{module}.weight"] = shape.module_shape(module)
    found = tensors(ref)
    advice = "Configuration and weights do not fit; fetch the whole checkpoint."
    missing = [name for name in wanted if name not in found]
    if missing:
        raise IntegrityError(f"{ref.path}: weights are missing: {_first(missing)}.\n  {advice}")
    other = [
        f"{name} is {_by(found[name].shape)}, config.json says {_by(size)}"
        for name, size in wanted.items()
        if found[name].shape != size
    ]
    if other:
        raise IntegrityError(f"{ref.path}: weights have another shape: {_first(other, 2)}.\n  {advice}")


def check_finite(ref: ModelRef) -> None:
    """Looks for NaN and infinity in a checkpoint of up to `LOOKED_AT_BYTES`, without torch.

    Raises:
        IntegrityError: a weight holds one.
    """
    if weight_bytes(ref) > LOOKED_AT_BYTES:
        return
    import numpy as np

    # the exponent of NaN and infinity is all ones
    exponents = {
        "F32": ("<u4", 0x7F800000),
        "F16": ("<u2", 0x7C00),
        "BF16": ("<u2", 0x7F80),
        "F64": ("<u8", 0x7FF << 52),
    }
    for name, tensor in tensors(ref).items():
        if tensor.dtype not in exponents:
            continue
        kind, ones = exponents[tensor.dtype]
        numbers = np.fromfile(tensor.file, kind, math.prod(tensor.shape), offset=tensor.start)
        if ((numbers & numbers.dtype.type(ones)) == ones).any():
            raise IntegrityError(f"{ref.path}: {name} holds NaN or infinity. Fetch the checkpoint again.")


def check_report(ref: ModelRef, report: Mapping[str, Any]) -> None:
    """Reads what transformers says of the names and shapes it found (trap 12).

    Raises:
        IntegrityError: a weight is missing, unexpected or of another shape.
    """
    for complaint in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        names = sorted(_key(entry) for entry in report.get(complaint) or ())
        if names:
            raise IntegrityError(
                f"{ref.path}: {complaint.replace('_', ' ')} in the checkpoint: {_first(names)}.\n"
                "  Configuration and weights do not fit; fetch the whole checkpoint."
            )


def _key(entry: object) -> str:
    """A name, or a name with the shape of the checkpoint and that of the model."""
    if not isinstance(entry, tuple) or len(entry) != 3:
        return str(entry)
    name, theirs, ours = entry
    return f"{name} ({_by(tuple(theirs))}, the model's is {_by(tuple(ours))})"


def _first(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))

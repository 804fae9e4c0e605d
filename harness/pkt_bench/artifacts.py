"""What a method leaves behind: the new student, saved as the change it is, loaded again, measured."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pkt_bench.domain import Pair
from pkt_bench.errors import ContractError, DivergedError, IntegrityError
from pkt_bench.models import LoadedPair, Spread, load, load_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MANIFEST = "artifact.json"
ADAPTER = "adapter"
TENSORS = "changed.safetensors"

Kind = Literal["student", "teacher", "adapter", "tensors"]


@dataclass(frozen=True)
class Artifact:
    """A saved student.

    `kind`: `student` (nothing changed) and `teacher` point at the pair's own checkpoints; `adapter` is a PEFT folder
    that loads on the pristine student; `tensors` holds the changed tensors under the student's own names. An adapter
    whose base was changed as well has both.
    """

    kind: Kind
    bytes: int
    changed_tensors: int
    delta_over_weight: float | None


def save(model: PreTrainedModel, loaded: LoadedPair, folder: Path) -> Artifact:
    """Saves `model` into `folder` (made here) as its change against the pristine student.

    Raises:
        ContractError: the model has other tensors or shapes than the student.
        DivergedError: it holds NaN or infinity.
    """
    folder.mkdir(parents=True)
    if model is loaded.__dict__.get("teacher"):
        artifact = Artifact("teacher", 0, 0, None)
    else:
        artifact = _save_change(model, loaded, folder)
    (folder / MANIFEST).write_text(json.dumps(asdict(artifact), indent=1), encoding="utf-8")
    return artifact


def kind_of(folder: Path) -> Kind:
    """What kind of student was saved.

    Raises:
        IntegrityError: the folder is not a whole artifact.
    """
    try:
        kind: Kind = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["kind"]
    except (OSError, ValueError, KeyError):
        raise IntegrityError(f"{folder} is not a saved student. Run the cell again with --fresh.") from None
    return kind


def load_artifact(
    folder: Path,
    pair: Pair,
    dtype: str,
    device: str,
    *,
    teacher_dtype: str | None = None,
    spread: Spread | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The saved student (or the teacher, for the method that is one) with its tokenizer, ready to score.

    `teacher_dtype` and `spread` are the teacher's, as in `LoadedPair`.

    Raises:
        IntegrityError: the folder is not a whole artifact.
    """
    kind = kind_of(folder)
    if kind == "teacher":
        model = load(pair.teacher, teacher_dtype or dtype, device, spread)
        return model, load_tokenizer(pair.teacher)
    ref = pair.student
    model = load(ref, dtype, device)
    if (folder / TENSORS).is_file():
        from safetensors.torch import load_file

        state = model.state_dict()
        changed = load_file(folder / TENSORS)
        for name, weight in changed.items():
            state[name].copy_(weight.to(state[name].device))
    if kind == "adapter":
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, folder / ADAPTER).eval()
    return model, load_tokenizer(ref)


def probe_ids(loaded: LoadedPair, prompts: list[list[int]]) -> torch.Tensor:
    """A fixed batch of token ids `(b, t)` to compare logits on: the prompts cut to the shortest of them, at most 64."""
    import torch

    length = max(1, min([64, *(len(ids) for ids in prompts)]))
    return torch.tensor([ids[:length] for ids in prompts], device=loaded.device)


def logits_on(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    """The model's logits `(b, t, V)` on `ids`, in evaluation mode, float32, on the CPU."""
    import torch

    was_training = model.training
    model.eval()
    with torch.inference_mode():
        logits = model(input_ids=ids, use_cache=False).logits.float().cpu()
    model.train(was_training)
    return logits


def _save_change(model: PreTrainedModel, loaded: LoadedPair, folder: Path) -> Artifact:
    import torch
    from peft import PeftModel
    from safetensors.torch import save_file

    is_adapter = isinstance(model, PeftModel)
    if is_adapter:
        _check_plain(model)
    pristine = loaded.pristine_student.state_dict()
    state = _base_state(model) if is_adapter else dict(model.state_dict())
    _check_same_tensors(state, pristine)
    changed = {name: weight for name, weight in state.items() if not torch.equal(weight, pristine[name])}
    deltas = {name: (weight.float() - pristine[name].float()) for name, weight in changed.items()}
    if changed:
        save_file({name: weight.detach().cpu().clone() for name, weight in changed.items()}, folder / TENSORS)
    if is_adapter:
        _save_adapter(model, folder / ADAPTER)
        for name, delta in _adapter_deltas(model).items():
            deltas[name] = deltas[name] + delta if name in deltas else delta
    deltas = {name: delta for name, delta in deltas.items() if bool((delta != 0).any())}
    for name, delta in deltas.items():
        if not torch.isfinite(delta).all():
            raise DivergedError(f"the new student's {name} holds NaN or infinity")
    moved = sum(float(delta.double().pow(2).sum()) for delta in deltas.values())
    weight = sum(float(pristine[name].double().pow(2).sum()) for name in deltas)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    kind: Kind = "adapter" if is_adapter else "tensors" if changed else "student"
    return Artifact(kind, size, len(deltas), (moved / weight) ** 0.5 if weight else 0.0)


def _check_plain(model: PreTrainedModel) -> None:
    """What is saved is what PEFT calls one LoRA adapter named default; anything else can be handed over merged."""
    found = {name: str(getattr(c.peft_type, "value", c.peft_type)) for name, c in model.peft_config.items()}
    config = next(iter(model.peft_config.values()))
    extras = [name for name in ("use_dora", "modules_to_save") if getattr(config, name, None)]
    if found != {"default": "LORA"} or extras:
        what = ", ".join(f"{name}: {kind}" for name, kind in found.items()) + "".join(f", {name}" for name in extras)
        raise ContractError(
            f"the new student carries adapters that cannot be saved as they are ({what}); one LoRA adapter named"
            " 'default' can. Merge them (merge_and_unload) and return the plain model.",
            "returns",
        )


def _save_adapter(model: PreTrainedModel, folder: Path) -> None:
    model.save_pretrained(folder, save_embedding_layers=False)
    # a data-dependent initialisation named here would be done again by whoever loads the adapter, and change the base
    config_file = folder / "adapter_config.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    config["init_lora_weights"] = True
    config["base_model_name_or_path"] = None
    # PEFT keeps them as a set: a program in which texts have other hashes would write another file
    config["target_modules"] = sorted(config["target_modules"])
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def _base_state(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """The tensors of the model under the adapter, by the names they have without one."""
    state = {}
    for name, weight in model.base_model.model.state_dict().items():
        if ".base_layer." in name:
            state[name.replace(".base_layer.", ".")] = weight
        elif not any(part.startswith("lora_") for part in name.split(".")):
            state[name] = weight
    return state


def _adapter_deltas(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """What each adapted weight `(out, in)` would change by if the adapter were merged."""
    deltas = {}
    for path, module in model.base_model.model.named_modules():
        if hasattr(module, "get_delta_weight") and getattr(module, "active_adapters", None):
            delta = sum(module.get_delta_weight(name).detach().float() for name in module.active_adapters)
            deltas[f"{path}.weight"] = delta
    return deltas


def _check_same_tensors(state: dict[str, torch.Tensor], pristine: dict[str, torch.Tensor]) -> None:
    for name in (*pristine, *state):
        ours = tuple(state[name].shape) if name in state else "absent"
        theirs = tuple(pristine[name].shape) if name in pristine else "absent"
        if ours != theirs:
            raise ContractError(
                f"the new student is not the student's architecture: {name} is {ours}, the student's is {theirs}",
                "shapes",
            )

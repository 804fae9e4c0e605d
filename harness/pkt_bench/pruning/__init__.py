"""A smaller student cut out of a model: which layers and neurons go, and how what is left is healed.

    measure   what each layer and each neuron does on records     importance
    cut       a model of fewer layers and neurons                 cutting
    heal      the language modelling loss on the records          healing
    save      a Hugging Face folder, with `pruned.json` beside

A student made so has its teacher's own weights, so putting teacher weights back into it is favoured by construction: it
shows that a transfer works at all, not that a method does. `pruned.json` says so, and a pair made of it should, too.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pkt_bench import __version__, durable, environment, models
from pkt_bench.data import Encoded, encode
from pkt_bench.domain import ModelRef, PromptSpec, Record
from pkt_bench.errors import RequestError
from pkt_bench.pruning import importance

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

REPORT = "pruned.json"
CAVEAT = "the student is cut from the teacher, so putting teacher weights back into it is favoured by construction"
HELD_OUT = 0.1
"""Share of the records that nothing is measured or healed on, and the losses are."""
FEWEST_RECORDS = 20
MEASURED_RECORDS = 32

Choice = Literal["influence", "even"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Healing:
    """How a pruned model is tuned: AdamW on all weights, linear warm-up over a tenth of the steps, then down to 0."""

    steps: int = 30
    learning_rate: float = 5e-4
    batch_size: int = 8


@dataclass(frozen=True)
class Pruning:
    """What to cut and how to heal.

    `layers` is how many are kept, chosen by `choose`: those of most influence, or evenly spaced ones; `keep` names them
    instead. `ffn` is how many neurons each layer keeps, the most important ones. `max_length` cuts records.
    """

    layers: int | None = None
    keep: tuple[int, ...] | None = None
    ffn: int | None = None
    choose: Choice | None = None
    healing: Healing | None = None
    max_length: int = 512
    seed: int = 0
    dtype: str = "float32"
    device: str = "cpu"


@dataclass(frozen=True)
class Pruned:
    """What came of it: the losses are nats per token on held-out records, None where there are no records."""

    parent: str
    parent_digest: str
    kept_layers: tuple[int, ...]
    of_layers: int
    kept_neurons: int
    of_neurons: int
    parameters: int
    of_parameters: int
    layer_influence: tuple[float, ...] | None
    records: str | None
    records_used: int
    records_held_out: int
    loss_parent: float | None
    loss_pruned: float | None
    loss_healed: float | None
    healing: dict[str, Any] | None
    seconds: float
    seed: int
    caveat: str
    made_with: dict[str, str]


def prune(
    ref: ModelRef, out: Path, how: Pruning, records: tuple[Record, ...] = (), say: Say = lambda _: None
) -> Pruned:
    """Makes a smaller model out of the one in `ref`, and puts it whole into `out`, which must not be there.

    Raises:
        RequestError: the folder is there, nothing is cut, more is to be kept than there is, or records are wanting.
    """
    from pkt_bench.pruning.cutting import smaller
    from pkt_bench.pruning.healing import heal
    from pkt_bench.training import mean_cross_entropy

    began = time.monotonic()
    shape = models.architecture(ref)
    check(shape.layers, shape.ffn, out, how, records)
    environment.seed_everything(how.seed)
    say(f"loading {ref.label}")
    parent, tokenizer = models.load(ref, how.dtype, how.device), models.load_tokenizer(ref)
    used, held_out = _split(records, tokenizer, how)
    pass_tokens = environment.pass_tokens(how.device)

    def loss_of(model: PreTrainedModel) -> float | None:
        return mean_cross_entropy(model, held_out, pass_tokens) if held_out else None

    measured = None
    if used:
        say(f"measuring layers and neurons on {min(len(used), MEASURED_RECORDS)} records")
        measured = importance.measure(parent, used[:MEASURED_RECORDS])
    kept = _layers(shape.layers, how, None if measured is None else measured.influence)
    neurons = None
    if how.ffn is not None and measured is not None:
        neurons = [importance.largest(measured.neurons[layer], how.ffn) for layer in kept]
    before = loss_of(parent)
    say(f"keeping {len(kept)} of {shape.layers} layers" + (f", {how.ffn} of {shape.ffn} neurons" if how.ffn else ""))
    student = smaller(parent, kept, neurons)
    del parent
    pruned = loss_of(student)
    healed = None
    if how.healing is not None:
        say(f"healing with {how.healing.steps} steps of {how.healing.batch_size} records")
        heal(student, used, how.healing, how.seed, pass_tokens, say)
        healed = loss_of(student)
    report = Pruned(
        parent=ref.label,
        parent_digest=models.checkpoint_digest(ref),
        kept_layers=tuple(kept),
        of_layers=shape.layers,
        kept_neurons=how.ffn or shape.ffn,
        of_neurons=shape.ffn,
        parameters=sum(weight.numel() for weight in student.parameters()),
        of_parameters=shape.parameters,
        layer_influence=None if measured is None else measured.influence,
        records=_digest(records) if records else None,
        records_used=len(used),
        records_held_out=len(held_out),
        loss_parent=before,
        loss_pruned=pruned,
        loss_healed=healed,
        healing=None if how.healing is None else asdict(how.healing),
        seconds=time.monotonic() - began,
        seed=how.seed,
        caveat=CAVEAT,
        made_with={"pkt_bench": __version__, **environment.library_versions()},
    )
    _save(student, ref, report, out)
    return report


def check(layers: int, neurons: int, out: Path, how: Pruning, records: tuple[Record, ...]) -> None:
    """Looks at what is asked for, of a model with so many layers and neurons a layer, before anything is loaded.

    Raises:
        RequestError: as `prune`.
    """
    if out.exists():
        raise RequestError(f"{out} is there already. Name a new folder with --out, or remove it.")
    if how.keep is not None:
        wrong = [layer for layer in how.keep if not 0 <= layer < layers]
        if wrong or list(how.keep) != sorted(set(how.keep)):
            raise RequestError(
                f"--keep-layers {','.join(map(str, how.keep))} will not do: the model has the layers 0 to {layers - 1};"
                " name each once, in order."
            )
    left = len(how.keep) if how.keep is not None else layers if how.layers is None else how.layers
    width = neurons if how.ffn is None else how.ffn
    if not 1 <= left <= layers:
        raise RequestError(f"--layers {left} will not do: the model has {layers}, and at least one is kept.")
    if not 1 <= width <= neurons:
        raise RequestError(f"--ffn {width} will not do: the model has {neurons} neurons a layer.")
    if (left, width) == (layers, neurons):
        raise RequestError("nothing is cut: say --layers N, --keep-layers A,B or --ffn N with fewer than there are.")
    wanting = [
        flag
        for flag, wanted in (
            ("--ffn", how.ffn is not None),
            ("--choose influence", how.choose == "influence"),
            ("healing", how.healing is not None),
        )
        if wanted
    ]
    if wanting and not records:
        raise RequestError(f"{wanting[0]} needs records to measure on: give --records FILE.jsonl.")
    if records and len(records) < FEWEST_RECORDS:
        raise RequestError(
            f"{len(records)} records are too few: {FEWEST_RECORDS} are wanted, a tenth of them held out to measure on."
        )


def _split(
    records: tuple[Record, ...], tokenizer: PreTrainedTokenizerBase, how: Pruning
) -> tuple[list[Encoded], list[Encoded]]:
    """Records to use and records to measure on, as token ids, all of them supervised: a language model reads it all."""
    order = list(records)
    random.Random(how.seed).shuffle(order)  # noqa: S311 - no secret
    data = [
        Encoded(encoded.ids, min(1, len(encoded.ids)))
        for encoded in (encode(record, PromptSpec(user="{content}\n"), tokenizer, how.max_length) for record in order)
        if len(encoded.ids) > 1
    ]
    count = round(len(data) * HELD_OUT)
    return data[count:], data[:count]


def _layers(layers: int, how: Pruning, influence: tuple[float, ...] | None) -> list[int]:
    if how.keep is not None:
        return list(how.keep)
    count = layers if how.layers is None else how.layers
    if influence is None or how.choose == "even":
        return importance.evenly(layers, count)
    return importance.most_influential(influence, count)


def _digest(records: tuple[Record, ...]) -> str:
    from pkt_bench.domain import digest_of

    return digest_of({"records": [[[m.role, m.content] for m in record.messages] for record in records]})


def _save(student: PreTrainedModel, parent: ModelRef, report: Pruned, out: Path) -> None:
    """Puts the folder together beside its place, and renames it into it once it is whole."""
    aside = out.with_name(f".{out.name}.aside")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    student.save_pretrained(aside)
    for name in models.TOKENIZER_FILES:
        # as they are: saved anew, they would be another tokenizer to whoever compares digests
        if (parent.path / name).is_file():
            shutil.copyfile(parent.path / name, aside / name)
    (aside / REPORT).write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
    durable.put_in_place(aside, out)

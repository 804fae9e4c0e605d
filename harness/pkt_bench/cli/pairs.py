"""`pkt-bench pairs`: making pairs. `pairs prune` cuts a smaller student out of a model."""

from __future__ import annotations

import json as json_format
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pkt_bench.errors import RequestError

if TYPE_CHECKING:
    from pkt_bench.pruning import Pruned

pairs = typer.Typer(help="Make pairs.", no_args_is_help=True)


@pairs.callback()
def about() -> None:
    """Make pairs of your own."""


@pairs.command()
def prune(
    model: Annotated[Path, typer.Argument(help="The model's folder, in Hugging Face layout.")],
    out: Annotated[Path, typer.Option("--out", help="The new student's folder.")],
    layers: Annotated[int | None, typer.Option("--layers", help="Keep so many layers. (default: all)")] = None,
    keep_layers: Annotated[
        str | None, typer.Option("--keep-layers", metavar="0,1,4-7", help="Keep these layers, counted from 0.")
    ] = None,
    ffn: Annotated[
        int | None, typer.Option("--ffn", help="Keep so many feed-forward neurons a layer. (default: all)")
    ] = None,
    choose: Annotated[
        str | None,
        typer.Option(
            "--choose",
            metavar="influence|even",
            help="Which layers stay: those that change what passes through most, or evenly spaced ones."
            " (default: influence where there are records)",
        ),
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option("--records", "--heal", metavar="FILE.jsonl", help="Text to measure and heal on. (default: none)"),
    ] = None,
    heal_steps: Annotated[int, typer.Option("--heal-steps", help="Steps of healing; 0: none.")] = 30,
    heal_learning_rate: Annotated[float, typer.Option("--heal-learning-rate", help="Its peak learning rate.")] = 5e-4,
    heal_batch: Annotated[int, typer.Option("--heal-batch", help="Records of a step.")] = 8,
    max_length: Annotated[int, typer.Option("--max-length", help="Cut records to so many tokens.")] = 512,
    seed: Annotated[int, typer.Option("--seed", help="Orders the records.")] = 0,
    dtype: Annotated[str, typer.Option("--dtype", help="float32, bfloat16 or float16.")] = "float32",
    device: Annotated[str, typer.Option("--device", help="A torch device.")] = "cpu",
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Cut a smaller student out of a model, and heal it on records."""
    from pkt_bench.domain import ModelRef
    from pkt_bench.preflight import check_device
    from pkt_bench.pruning import Healing, Pruning
    from pkt_bench.pruning import prune as made
    from pkt_bench.records_file import read_records

    if keep_layers is not None and layers is not None:
        raise RequestError("--layers and --keep-layers both say which layers stay. Give one of them.")
    if choose not in {None, "influence", "even"}:
        raise RequestError(f"--choose {choose}: influence or even is wanted.")
    if dtype not in {"float32", "bfloat16", "float16"}:
        raise RequestError(f"--dtype {dtype}: float32, bfloat16 or float16 is wanted.")
    for flag, value, least in (
        ("--heal-steps", heal_steps, 0),
        ("--heal-batch", heal_batch, 1),
        ("--max-length", max_length, 8),
    ):
        if value < least:
            raise RequestError(f"{flag} {value} will not do: at least {least} is wanted.")
    if not 0 < heal_learning_rate <= 1:
        raise RequestError(f"--heal-learning-rate {heal_learning_rate:g} will not do: above 0, at most 1.")
    check_device(device)
    found = read_records(records) if records is not None else ()
    how = Pruning(
        layers=layers,
        keep=None if keep_layers is None else _indices(keep_layers),
        ffn=ffn,
        choose=choose,  # type: ignore[arg-type] # looked at above
        healing=Healing(heal_steps, heal_learning_rate, heal_batch) if found and heal_steps else None,
        max_length=max_length,
        seed=seed,
        dtype=dtype,
        device=device,
    )
    ref = ModelRef(model.expanduser().resolve())
    report = made(ref, out, how, found, lambda said: typer.echo(said, err=True))
    typer.echo(json_format.dumps(asdict(report)) if json else _summary(report, model, out))


def _indices(text: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise RequestError(f"--keep-layers {text}: write indices from 0, and spans of them: 0,1,4-7.")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


def _summary(report: Pruned, model: Path, out: Path) -> str:
    parts = (
        f"{report.parameters / 1e6:.1f} M of {report.of_parameters / 1e6:.1f} M parameters",
        f"{len(report.kept_layers)} of {report.of_layers} layers",
        f"{report.kept_neurons} of {report.of_neurons} neurons a layer",
        f"in {report.seconds:.0f} s",
    )
    lines = [f"{out}: {', '.join(parts)}", f"layers kept: {', '.join(map(str, report.kept_layers))}"]
    if report.loss_parent is not None and report.loss_pruned is not None:
        healed = "" if report.loss_healed is None else f", healed {report.loss_healed:.3f}"
        lines.append(
            f"loss on {report.records_held_out} held-out records, nats a token:"
            f" {report.parent} {report.loss_parent:.3f}, pruned {report.loss_pruned:.3f}{healed}"
        )
    lines += [f"note: {report.caveat}", f"next: pkt-bench run --pair {model}:{out}"]
    return "\n".join(lines)

"""The best neurons alone, of each record and of those that decide: the lists of the exact scores, without the scores.

A table of all scores serves every choice of records and every rate, and costs one evaluation of the vocabulary per
neuron and record. Where the vocabulary is large, the lists that a run needs are had for a fraction of that by bounds
(`certified.py`), and hold for these records and up to these counts alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pkt_bench_laten.anatomy import Kind, ScoreName
from pkt_bench_laten.certified import certified_top, certified_top_each, geometry
from pkt_bench_laten.locate import View, check_finite, vector_scores

NAMES: tuple[ScoreName, ...] = ("ffn", "attention", "value")
KINDS: tuple[Kind, ...] = ("ffn", "attention")


@dataclass(frozen=True)
class Counts:
    """How long the lists are, by score: of each record alone, and of the records that decide together."""

    each: Mapping[ScoreName, int]
    joint: Mapping[ScoreName, int]


@dataclass(frozen=True)
class Shortlist:
    """The best neurons by one record, or by several together: a `Ranking`.

    Attributes:
        layer_scores: by kind, [L].
        sizes: how many neurons a layer has, by score.
        lists: by score, best first, [L, count].
    """

    layer_scores: Mapping[Kind, Tensor]
    sizes: Mapping[ScoreName, int]
    lists: Mapping[ScoreName, Tensor]

    def layers(self, kind: Kind) -> Tensor:
        """The scores of the layers' halves of one kind, [L]."""
        return self.layer_scores[kind]

    def size(self, name: ScoreName) -> int:
        """How many neurons a layer has."""
        return self.sizes[name]

    def best(self, name: ScoreName, layers: Sequence[int], count: int) -> Tensor:
        """The `count` best neurons of each of `layers`, best first, [K, count].

        Raises:
            ValueError: the lists are not that long.
        """
        known = self.lists[name]
        if count > known.shape[1]:
            raise ValueError(f"{count} of the best {name} neurons are asked for, and {known.shape[1]} are known")
        return known[list(layers), :count]


@dataclass(frozen=True)
class Shortlists:
    """Lists of E records, and of those that decide together.

    Attributes:
        tensors: `layer_ffn`, `layer_attention` [E, L]; by score `NAME.each` [E, L, count], `NAME.joint` [L, count],
            `NAME.size`; `evaluated`, the share of (record, neuron) pairs that were scored over the whole vocabulary.
        deciding: the records of the joint lists, by number.
    """

    tensors: Mapping[str, Tensor]
    deciding: tuple[int, ...]

    @property
    def evaluated(self) -> float:
        """The share of (record, neuron) pairs that had to be scored over the whole vocabulary."""
        return float(self.tensors["evaluated"])

    def total(self, examples: Sequence[int]) -> Shortlist:
        """The ranking by `examples` together: those that decide, or any one.

        Raises:
            ValueError: other examples than that.
        """
        together = tuple(examples) == self.deciding
        if not together and len(examples) != 1:
            raise ValueError(f"lists are known of {self.deciding} together and of each record, not of {examples}")
        chosen = torch.as_tensor(list(examples), dtype=torch.long)
        lists = {
            name: self.tensors[f"{name}.joint"] if together else self.tensors[f"{name}.each"][examples[0]]
            for name in NAMES
        }
        return Shortlist(
            layer_scores={kind: self.tensors[f"layer_{kind}"][chosen].double().sum(0) for kind in KINDS},
            sizes={name: int(self.tensors[f"{name}.size"]) for name in NAMES},
            lists=lists,
        )


@torch.no_grad()
def shortlists(seen: View, deciding: Sequence[int], counts: Counts) -> dict[str, Tensor]:
    """The tensors of `Shortlists`, on the CPU.

    Raises:
        PktBenchError: a score is not finite.
    """
    lens = seen.lens
    texts = torch.as_tensor(list(deciding), device=lens.targets.device)
    together = lens.of(texts)
    known, known_together = geometry(lens), geometry(together)
    found: dict[str, list[Tensor]] = {f"layer_{kind}": [] for kind in KINDS}
    sizes: dict[str, int] = {}
    shares: list[float] = []
    for half in seen.halves():
        scores = vector_scores(half.base, half.added, lens).cpu()
        check_finite(f"layer_{half.kind}", scores)
        found[f"layer_{half.kind}"].append(scores)
        for name, (coefficients, columns) in half.neurons.items():
            sizes[name] = columns.shape[2]
            each = certified_top_each(half.base, coefficients, columns, lens, counts.each[name], known=known)
            joint = certified_top(
                half.base[texts], coefficients[texts], columns, together, counts.joint[name], known=known_together
            )
            found.setdefault(f"{name}.each", []).append(each.neurons.cpu())
            found.setdefault(f"{name}.joint", []).append(joint.neurons.cpu())
            shares += [each.evaluated, joint.evaluated]
    tensors = {
        name: torch.stack(parts, dim=0 if name.endswith(".joint") else 1).contiguous() for name, parts in found.items()
    }
    if "value" not in sizes:  # every head has channels of its own: the same list, channel by channel
        sizes["value"] = sizes["attention"]
        tensors |= {f"value.{part}": tensors[f"attention.{part}"].clone() for part in ("each", "joint")}
    tensors |= {f"{name}.size": torch.tensor(size) for name, size in sizes.items()}
    return {**tensors, "evaluated": torch.tensor(sum(shares) / len(shares), dtype=torch.float64)}

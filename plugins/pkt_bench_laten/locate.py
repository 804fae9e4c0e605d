"""Which layers and neurons make a model say the right token: scores through the frozen final norm.

With k the final norm's scale at the true last-layer output, g its gain and W_U the head, LP(v) = log
softmax(k W_U (g v))[y] is linear in v up to the softmax. A neuron that adds w to the base b therefore scores

    LP(b + w) - LP(b) = -log1p( sum over v != y of p_v expm1(u_v - u_y) )
    p = softmax(k W_U (g b)),  u = k W_U (g w)

which subtracts no two nearly equal numbers, so float32 also ranks neurons of layers where p_y is nearly 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from random import Random
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import Tensor

from pkt_bench import Locating, PktBenchError
from pkt_bench_laten import anatomy
from pkt_bench_laten.anatomy import Kind, Module, ScoreName
from pkt_bench_laten.internals import Internals, read_internals, stream_internals

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pkt_bench import LayerStream

Norm = Literal["rms", "published"]
Attention = Literal["self", "sum"]
Mode = Literal["exact", "first-order"]
Pairing = Literal["best", "depth", "random"]

BLOCK = 1 << 17
"""Entries of one block of [neurons, vocabulary], half a MiB in float32: it and its copies stay in a core's cache."""

# ---------------------------------------------------------------- scores


@dataclass(frozen=True)
class Scores:
    """Scores of E examples; neurons and layers of one model.

    Attributes:
        layer_ffn, layer_attention: [E, L].
        ffn: feed-forward neurons, [E, L, f].
        attention: channels of o_proj, [E, L, heads * head_dim].
        value: channels of v_proj, [E, L, kv_heads * head_dim], each scored together for the query heads that
            share it.
    """

    layer_ffn: Tensor
    layer_attention: Tensor
    ffn: Tensor
    attention: Tensor
    value: Tensor

    def layers(self, kind: Kind) -> Tensor:
        """The scores of the layers' halves of one kind, [L]; for a single example."""
        scores: Tensor = getattr(self, f"layer_{kind}")
        return scores

    def size(self, name: ScoreName) -> int:
        """How many neurons a layer has."""
        scores: Tensor = getattr(self, name)
        return scores.shape[-1]

    def best(self, name: ScoreName, layers: Sequence[int], count: int) -> Tensor:
        """The `count` best neurons of each of `layers`, best first, [K, count]; for a single example."""
        return ranked(getattr(self, name)[list(layers)], count)

    def total(self, examples: Sequence[int]) -> Scores:
        """The scores of `examples` summed in float64, as a single example (shapes without E)."""
        chosen = torch.as_tensor(list(examples), dtype=torch.long)
        return Scores(**{field.name: getattr(self, field.name)[chosen].double().sum(0) for field in fields(self)})

    def tensors(self) -> dict[str, Tensor]:
        """For the cache."""
        return {field.name: getattr(self, field.name).clone() for field in fields(self)}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Scores:
        """Back from the cache."""
        return cls(**tensors)


@torch.no_grad()
def score(
    model: PreTrainedModel, examples: Sequence[Locating], *, norm: Norm, attention: Attention, mode: Mode
) -> Scores:
    """Scores of every layer and neuron on every example, in the examples' order, on the CPU."""
    return score_views(view(model, examples, norm=norm, attention=attention), mode)


@torch.no_grad()
def score_views(seen: View, mode: Mode) -> Scores:
    """Scores of every layer and neuron from what a model holds; float32, or float64 for a float64 model.

    Raises:
        PktBenchError: a score is not finite.
    """
    neurons = exact_scores if mode == "exact" else first_order_scores
    found: dict[str, list[Tensor]] = {field.name: [] for field in fields(Scores)}
    name: str
    for half in seen.halves():
        found[f"layer_{half.kind}"].append(vector_scores(half.base, half.added, seen.lens))
        for name, (coefficients, columns) in half.neurons.items():
            found[name].append(neurons(half.base, coefficients, columns, seen.lens))
    if not found["value"]:
        found["value"] = found["attention"]
    stacked = {name: torch.stack(values, dim=1).cpu() for name, values in found.items()}
    for name, values in stacked.items():
        check_finite(name, values)
    return Scores(**stacked)


def check_finite(name: str, scores: Tensor) -> None:
    """Raises PktBenchError where a score is NaN or infinite."""
    if not torch.isfinite(scores).all():
        raise PktBenchError(
            f"laten: {name} scores hold NaN or infinity: the model's activations overflow.\n  Run with --dtype float32."
        )


# ---------------------------------------------------------------- what is scored


@dataclass(frozen=True)
class Half:
    """The attention or feed-forward half of one layer, for B texts.

    Attributes:
        kind: which half.
        base: the residual stream that it adds to, [B, d].
        added: all that it adds, [B, d].
        neurons: by score, each neuron's part of that: coefficients [B, G, n] and columns [d, G, n]. `value` is left out
            where every head has its own value channels: it is `attention` then.
    """

    kind: Kind
    base: Tensor
    added: Tensor
    neurons: Mapping[ScoreName, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class View:
    """What B texts look like inside a model, with what is needed to score it.

    Attributes:
        internals: at the texts' last positions.
        lens: how vectors become log-probabilities of the texts' targets.
        heads: the attention heads.
        weights: the model's weights, read when a half is looked at.
        attention: whether an attention channel adds the last position's own value, or all positions'.
    """

    internals: Internals
    lens: Lens
    heads: anatomy.Heads
    weights: anatomy.Weights
    attention: Attention

    def halves(self) -> Iterator[Half]:
        """Attention and feed-forward of every layer in order, one weight in memory at a time."""
        dtype = self.lens.head.dtype
        internals = self.internals
        added = internals.self_value if self.attention == "self" else internals.context
        for layer in range(internals.x.shape[1]):
            x, a, c, m = (part[:, layer].to(dtype) for part in (internals.x, internals.a, internals.c, internals.m))
            out = self.weights(layer, "o_proj").to(dtype)
            coefficients = added[:, layer].to(dtype)
            neurons: dict[ScoreName, tuple[Tensor, Tensor]] = {
                "attention": (coefficients.flatten(1)[:, None], out[:, None])
            }
            if self.heads.group > 1:
                neurons["value"] = by_value_channel(coefficients, out, self.heads)
            yield Half("attention", x, a, neurons)
            down = self.weights(layer, "down_proj").to(dtype)
            yield Half("ffn", x + a, m, {"ffn": (c[:, None], down[:, None])})


@torch.no_grad()
def view(model: PreTrainedModel, examples: Sequence[Locating], *, norm: Norm, attention: Attention) -> View:
    """One forward over the examples through a model in memory."""
    internals = read_internals(model, [example.ids for example in examples])
    return _view(model, internals, examples, anatomy.weights_of(model), norm, attention)


@torch.no_grad()
def streamed_view(stream: LayerStream, examples: Sequence[Locating], *, norm: Norm, attention: Attention) -> View:
    """The same through a model that is read from its files, layer by layer."""
    internals = stream_internals(stream, [example.ids for example in examples])
    return _view(stream.model, internals, examples, anatomy.weights_in(stream), norm, attention)


def _view(
    model: PreTrainedModel,
    internals: Internals,
    examples: Sequence[Locating],
    weights: anatomy.Weights,
    norm: Norm,
    attention: Attention,
) -> View:
    dtype = torch.float64 if internals.x.dtype == torch.float64 else torch.float32
    lens = Lens(
        head=anatomy.head_weight(model).detach().to(dtype),
        gain=anatomy.norm_gain(model, dtype).detach(),
        scale=final_scale(internals.last.to(dtype), anatomy.norm_epsilon(model), norm),
        targets=torch.tensor([example.target for example in examples], device=internals.x.device),
    )
    return View(internals, lens, anatomy.heads(model.config), weights, attention)


@dataclass(frozen=True)
class Lens:
    """How vectors become log-probabilities: head [V, d], gain [d]; per text a scale [B] and a target [B]."""

    head: Tensor
    gain: Tensor
    scale: Tensor
    targets: Tensor

    def of(self, texts: Tensor) -> Lens:
        """The lens of some of the texts, by number."""
        return Lens(self.head, self.gain, self.scale[texts], self.targets[texts])

    def logits(self, vectors: Tensor) -> Tensor:
        """[B, d] -> [B, V]."""
        return (vectors * self.gain * self.scale[:, None]) @ self.head.T


def final_scale(last: Tensor, epsilon: float, norm: Norm) -> Tensor:
    """The scalar the final norm multiplies by, from the last layer's output [B, d] -> [B].

    `rms` is RMSNorm's own. `published` takes the standard deviation for the variance and so a second root of
    it.
    """
    if norm == "rms":
        return torch.rsqrt(last.square().mean(-1) + epsilon)
    deviation = torch.sqrt(last.var(-1, unbiased=False) + 1e-5)
    return torch.rsqrt(deviation + 1e-6)


def vector_scores(base: Tensor, added: Tensor, lens: Lens) -> Tensor:
    """LP(base + added) - LP(base) for one vector per text: [B, d], [B, d] -> [B]."""
    log_p = lens.logits(base).log_softmax(-1)
    change = lens.logits(added)
    return torch.stack(
        [
            log_gain(log_p[text], change[text : text + 1] - change[text, target])[0]
            for text, target in enumerate(lens.targets.tolist())
        ]
    )


def exact_scores(base: Tensor, coefficients: Tensor, columns: Tensor, lens: Lens) -> Tensor:
    """LP(base + sum_g coefficient_g column_g) - LP(base) for n neurons of G columns each.

    base [B, d], coefficients [B, G, n], columns [d, G, n] -> [B, n]. The product of head and columns is taken
    once for all texts, a block of neurons at a time: [neurons, vocabulary] never exists as a whole.
    """
    members, n = columns.shape[1:]
    log_p = lens.logits(base).log_softmax(-1)
    targets = lens.targets.tolist()
    steps = (coefficients * lens.scale[:, None, None]).transpose(1, 2)[..., None]  # [B, n, G, 1]
    # two plain dimensions: a third would make the product a batch of small ones
    gained = (columns.permute(2, 1, 0) * lens.gain).reshape(n * members, -1)
    scores = base.new_empty(base.shape[0], n)
    # below 64 rows, reading the head again costs more than the cache saves
    width = max(64, BLOCK // lens.head.shape[0])
    for start in range(0, n, width):
        stop = min(start + width, n)
        seen = (gained[start * members : stop * members] @ lens.head.T).view(stop - start, members, -1)
        for text, target in enumerate(targets):
            change = (seen - seen[..., target, None]).mul_(steps[text, start:stop])
            summed = change[:, 0] if members == 1 else change.sum(1)
            scores[text, start:stop] = log_gain(log_p[text], summed)
    return scores


def first_order_scores(base: Tensor, coefficients: Tensor, columns: Tensor, lens: Lens) -> Tensor:
    """The first-order term of `exact_scores`, same arguments: coefficient * <column, d LP / d base>."""
    p = lens.logits(base).softmax(-1)
    p[torch.arange(len(p)), lens.targets] = 0
    rest = p.sum(-1, keepdim=True)  # 1 - p_y without the cancellation
    gradient = (rest * lens.head[lens.targets] - p @ lens.head) * lens.gain * lens.scale[:, None]
    return (coefficients * torch.einsum("bd,dgn->bgn", gradient, columns)).sum(1)


def by_value_channel(coefficients: Tensor, out: Tensor, heads: anatomy.Heads) -> tuple[Tensor, Tensor]:
    """Coefficients [B, heads, w] and o_proj [d, heads * w] by channel of v_proj: [B, G, n], [d, G, n].

    Channel (u, j) of key-value head u feeds channel j of the G query heads that share u, so these columns
    move together.
    """
    split = (heads.kv, heads.group, heads.width)
    coefficients = coefficients.view(-1, *split).transpose(1, 2).flatten(2)
    return coefficients, out.reshape(-1, *split).transpose(1, 2).flatten(2)


def log_gain(log_p: Tensor, change: Tensor) -> Tensor:
    """-log1p(sum over v of p_v expm1(change_v)): log_p [V], change [n, V], 0 at the target -> [n]."""
    total = torch.expm1(change) @ log_p.exp()
    gain = -torch.log1p(total)
    # a large effect needs no protection against cancellation, but against overflow and against log1p near -1
    large = ~((total > -0.5) & (total < 1e30))
    if large.any():
        gain[large] = -torch.logsumexp(log_p + change[large], dim=1)
    return gain


# ---------------------------------------------------------------- selection


@dataclass(frozen=True)
class Place:
    """Neurons of one module kind: layers in ascending order, and for each the neurons, best first: [K, n]."""

    layers: tuple[int, ...]
    neurons: Tensor

    def first(self, count: int) -> Place:
        """The `count` best of each layer."""
        return Place(self.layers, self.neurons[:, :count])


Places = Mapping[Module, Place]


def neuron_count(size: int, rate: float) -> int:
    """How many of a student's `size` neurons a rate means: rounded down as published, at least one."""
    return max(1, int(size * rate))


def ranked(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` highest of the last axis; equal scores by ascending index."""
    return scores.sort(dim=-1, descending=True, stable=True).indices[..., :count]


class Ranking(Protocol):
    """What places are chosen by: the scores of a model's layers, and its best neurons."""

    def layers(self, kind: Kind) -> Tensor:
        """The scores of the layers' halves of one kind, [L]."""

    def size(self, name: ScoreName) -> int:
        """How many neurons a layer has."""

    def best(self, name: ScoreName, layers: Sequence[int], count: int) -> Tensor:
        """The `count` best neurons of each of `layers`, best first, [K, count]."""


def choose_places(
    teacher: Ranking,
    student: Ranking,
    rate: float,
    modules: Sequence[Module],
    pairing: Pairing = "best",
    random: Random | None = None,
) -> tuple[Places, Places]:
    """Teacher's and student's places; neuron q of one goes to neuron q of the other.

    The student uses all its L_S layers; which of the teacher's they meet is `paired_layers`. Counts come from the
    student, and where a teacher has fewer channels (grouped queries) from the teacher.

    Raises:
        ValueError: the student has more layers than the teacher, and pairing is not by depth.
    """
    teacher_places: dict[Module, Place] = {}
    student_places: dict[Module, Place] = {}
    layers = {
        kind: paired_layers(teacher.layers(kind), len(student.layers(kind)), pairing, random)
        for kind in sorted({anatomy.KIND[module] for module in modules})
    }
    for module in modules:
        theirs, name = layers[anatomy.KIND[module]], anatomy.SCORE[module]
        ours = tuple(range(len(theirs)))
        count = min(neuron_count(student.size(name), rate), teacher.size(name))
        teacher_places[module] = Place(theirs, teacher.best(name, theirs, count))
        student_places[module] = Place(ours, student.best(name, ours, count))
    return teacher_places, student_places


def paired_layers(scores: Tensor, depth: int, pairing: Pairing, random: Random | None = None) -> tuple[int, ...]:
    """The teacher layers that meet a student's `depth` layers, in order.

    Args:
        scores: of the teacher's layers, [L_T].
        depth: L_S.
        pairing: `best`: the L_S with the highest scores, ascending, as published. `depth`: layer l meets the teacher's
            at the same relative depth, l (L_T - 1) / (L_S - 1) rounded, whatever the scores; a student deeper than its
            teacher meets some of them several times. `random`: any L_S, ascending.
        random: for pairing at random.

    Raises:
        ValueError: L_S > L_T, and pairing is not by depth.
    """
    there = len(scores)
    if pairing == "depth":
        if depth == 1:
            return (there - 1,)
        # in whole numbers: a half is rounded down
        return tuple((2 * layer * (there - 1) + depth - 2) // (2 * (depth - 1)) for layer in range(depth))
    if depth > there:
        raise ValueError(f"the student has {depth} layers, the teacher {there}")
    if pairing == "random":
        return tuple(sorted((random or Random(0)).sample(range(there), depth)))  # noqa: S311 - no secret
    return tuple(sorted(ranked(scores, depth).tolist()))

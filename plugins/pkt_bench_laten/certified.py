"""The exactly highest-scoring neurons without scoring all of them: bounds first, scores where bounds overlap.

With q_v = p_v / (1 - p_y) for v other than the target y, and x_v = u_v - u_y the change a neuron makes to token v's
logit against y's, the score of `locate.exact_scores` is -log1p((1 - p_y) T), T = sum of q_v expm1(x_v). A part of the
sum over likely tokens is taken exactly; for the others, expm1(x) = x + phi(x), 0 <= phi(x_v) <= phi(reach distance_v):

    sum q_v x_v  <=  rest of T  <=  sum q_v x_v + sum q_v phi(reach distance_v)

where the linear sum is one dot product per neuron, reach = |coefficient| |column| and distance_v = |W_v - W_y|. A
neuron whose bounds leave its place open is scored in float32 with an allowance for rounding; those that remain open are
scored in float64. So set and order are those of a float64 evaluation of the same tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pkt_bench_laten.locate import BLOCK, Lens, log_gain

LIKELY = 64
"""Tokens whose part of the sum is exact in the bounds."""

NEGLIGIBLE = 1e-30
"""Shares below are left out in float32, where their products would be subnormal and a hundred times slower."""

ROUNDING = 2.0
"""Allowance for float32 in units of epsilon * reach * norms; errors measured stay below a tenth of it."""

TAIL_LIMIT = 0.01
"""The most mass outside the likely tokens; beyond it the curvature is not bounded, and neurons are scored."""

FEW = 32
"""The fewest neurons scored at a time: fewer, and reading the head costs more than they do."""

CLOSE = 1e-5
"""Bounds this near, relative to the score, count as the score."""

CLEAR = 1e-3
"""How near they must be after scoring: the allowance for rounding is wider than the rounding."""


@dataclass(frozen=True)
class Selected:
    """The best neurons.

    Attributes:
        neurons: [count] (or [B, count], a list per text), best first; equal scores by ascending index.
        scores: theirs, float64, same shape; relative error at most about 1e-5.
        evaluated: the share of neurons that had to be scored over the whole vocabulary.
    """

    neurons: Tensor
    scores: Tensor
    evaluated: float


@dataclass(frozen=True)
class Geometry:
    """The head's rows: norms [V], and upper bounds of the distances to each text's target [B, V]."""

    norms: Tensor
    distances: Tensor


def geometry(lens: Lens) -> Geometry:
    """What the bounds need of the head; the same for every layer, so worth keeping for all calls with one lens."""
    norms = torch.linalg.vector_norm(lens.head, dim=1)
    squares = norms.square()
    own = squares[lens.targets, None]
    apart = squares + own - 2 * (lens.head[lens.targets] @ lens.head.T)
    return Geometry(norms, (apart.clamp_min(0) + 1e-5 * (squares + own)).sqrt())


@torch.no_grad()
def certified_top(
    base: Tensor, coefficients: Tensor, columns: Tensor, lens: Lens, count: int, *, known: Geometry | None = None
) -> Selected:
    """The `count` neurons with the highest sum over the B texts of `locate.exact_scores` (same arguments).

    base [B, d], coefficients [B, G, n], columns [d, G, n], float32 or float64 on any device that has float64.
    Float32 products must not be rounded to TF32. `known` is `geometry(lens)`.

    Raises:
        ValueError: `count` is not between 1 and n, or an input is not finite.
    """
    found = _Search(base, coefficients, columns, lens, count, known or geometry(lens), joint=True).run()
    return Selected(found.neurons[0], found.scores[0], found.evaluated)


@torch.no_grad()
def certified_top_each(
    base: Tensor, coefficients: Tensor, columns: Tensor, lens: Lens, count: int, *, known: Geometry | None = None
) -> Selected:
    """`certified_top` of each text alone, products shared: neurons and scores [B, count]."""
    return _Search(base, coefficients, columns, lens, count, known or geometry(lens), joint=False).run()


# ---------------------------------------------------------------- what one text says


@dataclass(frozen=True)
class _Reading:
    """B texts at their base, float64 unless said otherwise.

    Attributes:
        log_p: [B, V].
        rest: 1 - p_y without cancellation, [B].
        likely, shares: per text the tokens whose part is exact, and their q.
        tail: q of the other tokens, [B, V], of the lens's dtype; zero where negligible.
        dropped: how many are negligible, [B].
        mass: sum of q of the other tokens, [B].
        centre: their sum of q_v (W_v - W_y), [B, d].
    """

    log_p: Tensor
    rest: Tensor
    likely: list[Tensor]
    shares: list[Tensor]
    tail: Tensor
    dropped: Tensor
    mass: Tensor
    centre: Tensor


def _read(base: Tensor, lens: Lens, tail_limit: float) -> _Reading:
    vectors = base.double() * lens.gain.double() * lens.scale.double()[:, None]
    texts = torch.arange(len(base), device=base.device)
    logits = vectors.new_empty(len(base), len(lens.head))
    centre = torch.zeros_like(vectors)
    top = vectors.new_full((len(base), 1), -1e300)
    for start, rows in _in_double(lens.head):
        part = vectors @ rows.T
        logits[:, start : start + len(rows)] = part
        inside = (lens.targets >= start) & (lens.targets < start + len(rows))
        part[texts[inside], lens.targets[inside] - start] = -torch.inf
        higher = torch.maximum(top, part.amax(1, keepdim=True))
        centre = centre * (top - higher).exp() + (part - higher).exp() @ rows
        top = higher
    log_p = logits.log_softmax(-1)
    logits[texts, lens.targets] = -torch.inf
    log_rest = (logits - top).exp().sum(1, keepdim=True).log() + top
    q = (logits - log_rest).exp()
    centre *= (top - log_rest).exp()
    likely, shares = [], []
    for text in texts.tolist():
        share, token = q[text].topk(min(LIKELY, q.shape[1]))
        if 1 - share.sum() > tail_limit:
            share, token = share[:0], token[:0]
        likely.append(token)
        shares.append(share)
        centre[text] -= share @ lens.head[token].double()
        q[text, token] = 0
    mass = q.sum(1)
    centre -= mass[:, None] * lens.head[lens.targets].double()
    negligible = q < NEGLIGIBLE
    return _Reading(
        log_p=log_p,
        rest=(log_p.scatter(1, lens.targets[:, None], -torch.inf)).exp().sum(1),
        likely=likely,
        shares=shares,
        tail=q.masked_fill(negligible, 0).to(base.dtype),
        dropped=negligible.sum(1),
        mass=mass,
        centre=centre,
    )


def _in_double(head: Tensor) -> Iterator[tuple[int, Tensor]]:
    step = max(64, BLOCK // head.shape[1])
    for start in range(0, len(head), step):
        yield start, head[start : start + step].double()


# ---------------------------------------------------------------- the search


class _Search:
    """Bounds of every (text, neuron), made narrower where the order of a list still depends on them."""

    def __init__(
        self,
        base: Tensor,
        coefficients: Tensor,
        columns: Tensor,
        lens: Lens,
        count: int,
        known: Geometry,
        *,
        joint: bool,
    ) -> None:
        size = columns.shape[2]
        if not 1 <= count <= size:
            raise ValueError(f"count is {count}, there are {size} neurons: it may be 1 to {size}")
        self.columns, self.lens, self.count, self.known, self.joint = columns, lens, count, known, joint
        self.steps = coefficients.double() * lens.scale.double()[:, None, None]
        self.norms = (known.norms.max() + known.norms[lens.targets]).double()
        self.reading = _read(base, lens, TAIL_LIMIT)
        self.reach = self.steps.new_zeros(len(base), size)
        self.exact_part = torch.zeros_like(self.reach)
        self.low = torch.zeros_like(self.reach)
        self.high = torch.zeros_like(self.reach)
        width = max(64, (1 << 20) // (columns.shape[0] * columns.shape[1]))
        for start in range(0, size, width):
            self._bound(slice(start, start + width))
        self.score = (self.low + self.high) / 2
        self.scored = torch.zeros_like(self.reach, dtype=torch.bool)
        self.final = self.reach == 0  # a neuron without effect scores 0
        for values in (self.low, self.high, self.score):
            values.masked_fill_(self.final, 0)

    def run(self) -> Selected:
        """Narrows until the lists are certain."""
        while True:
            low, high, final = self._lists(self.low), self._lists(self.high), self._all(self.final)
            scored = self._all(self.scored | self.final)
            candidates, overlapping = _overlaps(low, high, self.count)
            size = self._lists(torch.maximum(self.low.abs(), self.high.abs()))
            wide = ~((high - low).isfinite() & (high - low <= size * torch.where(scored, CLEAR, CLOSE)))
            unclear = candidates & ~final & (overlapping | wide)
            if (unclear & ~scored).any():
                self._score(self._pairs(self._next(high, unclear & ~scored, scored)))
            elif unclear.any():
                self._finish(self._pairs(unclear))
            else:
                break
        score = self._lists(self.score).masked_fill(~candidates, -torch.inf)
        best = score.sort(dim=1, descending=True, stable=True)
        return Selected(best.indices[:, : self.count], best.values[:, : self.count], self.scored.double().mean().item())

    def _lists(self, values: Tensor) -> Tensor:
        return values.sum(0, keepdim=True) if self.joint else values

    def _all(self, flags: Tensor) -> Tensor:
        return flags.all(0, keepdim=True) if self.joint else flags

    def _pairs(self, flags: Tensor) -> Tensor:
        return flags.expand(self.reach.shape)

    def _next(self, high: Tensor, open_: Tensor, scored: Tensor) -> Tensor:
        """The unclear with the highest upper bounds: as many as a list lacks, then half of what is left."""
        chosen = torch.zeros_like(open_)
        for row in range(len(high)):
            left = int(open_[row].sum())
            lacking = self.count - int(scored[row].sum())
            take = min(left, lacking if lacking > 0 else max(FEW, left // 2))
            order = high[row].masked_fill(~open_[row], -torch.inf).topk(take).indices
            chosen[row, order] = True
        return chosen & open_

    def _bound(self, block: slice) -> None:
        lens, reading, norms = self.lens, self.reading, self.norms
        columns = self.columns[:, :, block].permute(2, 1, 0).double() * lens.gain.double()  # [m, G, d]
        steps = self.steps[:, :, block].transpose(1, 2)  # [B, m, G]
        linear = ((columns @ reading.centre.T).permute(2, 0, 1) * steps).sum(2)
        reach = (steps.abs() * columns.norm(dim=2)).sum(2)
        if not (linear.isfinite().all() and reach.isfinite().all()):
            raise ValueError("base, coefficients, columns or head hold NaN or infinity")
        own = columns @ lens.head[lens.targets].double().T  # [m, G, B]
        for text, (tokens, shares) in enumerate(zip(reading.likely, reading.shares, strict=True)):
            part = linear[text]
            if len(tokens):
                seen = columns @ lens.head[tokens].double().T - own[..., text, None]
                self.exact_part[text, block] = (seen * steps[text, ..., None]).sum(1).expm1() @ shares
                part = part + self.exact_part[text, block]
            more = self._curvature(text, reach[text]) if len(tokens) else torch.inf
            span = reach[text] * norms[text]
            slack = 1e-13 * span * (2 + part.abs())
            more = more + len(lens.head) * 1e-300 * span.exp()  # for what underflows even in float64
            bounds = _between(reading.rest[text], part - slack, part + more + slack)
            self.low[text, block], self.high[text, block] = bounds
        self.reach[:, block] = reach

    def _curvature(self, text: int, reach: Tensor) -> Tensor:
        """Sum over the other tokens of q_v phi(reach distance_v), distances rounded up to one of 128: [m] -> [m]."""
        distances = self.known.distances[text].double()
        edges = torch.linspace(0, distances.max().item() * (1 + 1e-9), 129, device=reach.device, dtype=torch.float64)
        bins = torch.bucketize(distances, edges).clamp(1, 128)
        weight = torch.zeros_like(edges).index_add_(0, bins, self.reading.tail[text].double())
        used = weight > 0
        z = reach[:, None] * edges[used]
        return (z.expm1() - z).clamp_min(0) @ weight[used] * (1 + 1e-6)

    def _score(self, wanted: Tensor) -> None:
        """Scores wanted (text, neuron) pairs [B, n] in the lens's precision, with bounds of rounding."""
        reading, norms = self.reading, self.norms
        epsilon = torch.finfo(self.columns.dtype).eps
        sums = self._tail_sums(wanted)
        for text in range(len(wanted)):
            chosen = wanted[text].nonzero()[:, 0]
            span = self.reach[text, chosen] * norms[text]
            error = ROUNDING * epsilon * span * (sums[text] + 2 * reading.mass[text])
            error += reading.dropped[text] * NEGLIGIBLE * span.exp()
            total = self.exact_part[text, chosen] + sums[text]
            slack = error.abs() + 1e-13 * span * (2 + total.abs())
            rest = reading.rest[text]
            self.score[text, chosen] = -(rest * total).log1p()
            bounds = _between(rest, total - slack, total + slack)
            self.low[text, chosen], self.high[text, chosen] = bounds
        self.scored |= wanted

    def _tail_sums(self, wanted: Tensor) -> list[Tensor]:
        """Sum over the other tokens of q_v expm1(x_v) of the wanted pairs, a float64 vector per text."""
        lens, reading, dtype = self.lens, self.reading, self.columns.dtype
        members = self.columns.shape[1]
        parts: list[list[Tensor]] = [[] for _ in wanted]
        for block in wanted.any(0).nonzero()[:, 0].split(max(1, 128 // members)):
            gained = self.columns[:, :, block].permute(2, 1, 0) * lens.gain  # [m, G, d]
            picks = [wanted[text, block].nonzero()[:, 0] for text in range(len(wanted))]
            steps = [
                self.steps[text][:, block[pick]].T[..., None].to(dtype) for text, pick in enumerate(picks)
            ]  # [pairs, G, 1]
            folded = sum(map(len, picks)) <= len(block) * members
            if folded:  # one vector per pair takes a smaller product than one per column
                vectors = torch.cat([(gained[p] * s).sum(1) for p, s in zip(picks, steps, strict=True)])
            else:
                vectors = gained.flatten(0, 1)
            own = vectors @ lens.head[lens.targets].T
            sums = [reading.mass.new_zeros(len(pick)) for pick in picks]
            width = max(64, BLOCK // max(1, len(vectors)))
            for start in range(0, len(lens.head), width):
                seen = vectors @ lens.head[start : start + width].T
                first = 0
                for text, pick in enumerate(picks):
                    if folded:
                        rows = slice(first, first + len(pick))
                        first += len(pick)
                        change = seen[rows] - own[rows, text, None]
                    else:
                        change = seen - own[:, text, None]
                        change = change.view(len(block), members, -1)
                        change = (change if len(pick) == len(block) else change[pick]).mul_(steps[text])
                        change = change[:, 0] if members == 1 else change.sum(1)
                    sums[text] += change.expm1_() @ reading.tail[text, start : start + width]
            for text, found in enumerate(sums):
                parts[text].append(found)
        return [torch.cat(part) for part in parts]

    def _finish(self, wanted: Tensor) -> None:
        """Scores wanted pairs in float64; nothing is more certain."""
        lens = self.lens
        members = self.columns.shape[1]
        for block in wanted.any(0).nonzero()[:, 0].split(max(1, 32 // members)):
            gained = (self.columns[:, :, block].permute(2, 1, 0).double() * lens.gain.double()).flatten(0, 1)
            seen = torch.cat([gained @ rows.T for _, rows in _in_double(lens.head)], dim=1)
            for text, target in enumerate(lens.targets.tolist()):
                pick = wanted[text, block].nonzero()[:, 0]
                change = (seen - seen[:, target, None]).view(len(block), members, -1)[pick]
                change = (change * self.steps[text][:, block[pick]].T[..., None]).sum(1)
                self.score[text, block[pick]] = log_gain(self.reading.log_p[text], change)
        for bound in (self.low, self.high):
            bound[wanted] = self.score[wanted]
        self.final |= wanted


def _between(rest: Tensor, least: Tensor, most: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of -log1p(rest * total) from those of the total; infinite where rounding or overflow leave none."""
    low, high = -(rest * most).log1p(), -(rest * least).log1p()
    return low.masked_fill(~(low < torch.inf), -torch.inf), high.masked_fill(~(high > -torch.inf), torch.inf)


def _overlaps(low: Tensor, high: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Of bounds [R, n]: which may be among the `count` highest, and which of these overlap another of these."""
    candidates = high >= low.topk(count, dim=1).values[:, -1:]
    low, high = (bound.masked_fill(~candidates, -torch.inf) for bound in (low, high))
    order = high.argsort(dim=1, descending=True)
    low, high = low.gather(1, order), high.gather(1, order)
    overlap = torch.zeros_like(candidates)
    overlap[:, :-1] = low[:, :-1] <= high[:, 1:]
    overlap[:, 1:] |= low.cummin(1).values[:, :-1] <= high[:, 1:]
    return candidates, torch.zeros_like(candidates).scatter(1, order, overlap) & candidates

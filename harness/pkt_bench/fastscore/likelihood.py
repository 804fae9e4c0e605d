"""Log-likelihoods of continuations, from one tree of all contexts and continuations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pkt_bench.fastscore.engine import Engine
from pkt_bench.fastscore.tree import Pass, grow, key, passes

Encoded = tuple[Sequence[int], Sequence[int]]
"""A context and its continuation, as tokens; neither is empty."""


def log_likelihoods(engine: Engine, requests: Sequence[Encoded], tokens: int, asks: int) -> list[tuple[float, bool]]:
    """The log-likelihood of each continuation after its context, and whether greedy decoding would say it.

    What is added up, and in what type, is what lm-eval adds up: the log-softmax of the logits in the model's dtype.

    Args:
        engine: with an empty buffer.
        requests: what to score.
        tokens: how many tokens one pass may have.
        asks: of how many tokens one pass may give logits.
    """
    numbers: dict[bytes, int] = {}
    # the last token is predicted, and never read
    sequences = [
        numbers.setdefault(key(context, continuation[:-1]), len(numbers)) for context, continuation in requests
    ]
    root, paths = grow(list(numbers))
    slots: dict[tuple[int, int, int], tuple[int, int]] = {}
    used = 0
    found = []
    for number, (_, continuation) in zip(sequences, requests, strict=True):
        asked = (number, len(continuation), continuation[-1])
        if asked not in slots:
            slots[asked] = (used, used + len(continuation))
            end = paths[number][-1].end
            for slot, target in enumerate(continuation, start=used):
                depth = end - len(continuation) + slot - used
                node = next(node for node in reversed(paths[number]) if node.start <= depth)
                node.asks.setdefault(depth - node.start, []).append((target, slot))
            used += len(continuation)
        found.append(slots[asked])
    engine.tokens_distinct += root.size
    greedy = np.zeros(used, dtype=np.bool_)
    answers = [_answer(engine, row, greedy) for row in passes(root, tokens, asks)]
    values = torch.cat([value for _, value in answers])
    values = values[torch.cat([slots for slots, _ in answers]).argsort()]
    return [(float(values[begin:end].sum()), bool(greedy[begin:end].all())) for begin, end in found]


def _answer(engine: Engine, row: Pass, greedy: NDArray[np.bool_]) -> tuple[torch.Tensor, torch.Tensor]:
    """Runs one pass; gives slots and the log-probabilities of their tokens, and sets what is `greedy`."""
    tokens = np.concatenate([piece.node.tokens[piece.begin : piece.end] for piece in row.pieces])
    positions = np.concatenate(
        [np.arange(piece.node.start + piece.begin, piece.node.start + piece.end) for piece in row.pieces]
    )
    seen = np.zeros((len(row), row.base + len(row)), dtype=np.bool_)
    seen[:, : row.base] = True
    ends: list[int] = []
    asks: list[int] = []
    predicted: list[tuple[int, int, int]] = []
    begin = 0
    for piece in row.pieces:
        end = begin + len(piece)
        if piece.parent >= 0:
            seen[begin:end, row.base :] = seen[ends[piece.parent] - 1, row.base :]
        seen[begin:end, row.base + begin : row.base + end] |= np.tri(len(piece), dtype=np.bool_)
        if piece.answers:
            for offset, wanted in piece.node.asks.items():
                if piece.begin <= offset < piece.end:
                    predicted += [(len(asks), target, slot) for target, slot in wanted]
                    asks.append(begin + offset - piece.begin)
        ends.append(end)
        begin = end
    engine.buffer.used = row.base
    logits = engine.run(tokens, positions, seen, asks)
    if row.kept:
        engine.buffer.used = row.base + len(row)
    if not asks:
        return torch.empty(0, dtype=torch.long), logits.new_empty(0, device="cpu")
    logits = torch.log_softmax(logits, dim=-1)
    numbers, targets, slots = (torch.tensor(column) for column in zip(*predicted, strict=True))
    numbers, targets = numbers.to(logits.device), targets.to(logits.device)
    greedy[slots.numpy()] = (logits.argmax(dim=-1)[numbers] == targets).cpu().numpy()
    return slots, logits[numbers, targets].cpu()

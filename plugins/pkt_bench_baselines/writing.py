"""A model writes answers: many prompts at once, rows that are done leave the batch, chance is drawn beforehand.

`generate` of transformers would do. This computes no row that is done, and it takes no sampling default from a
checkpoint's `generation_config.json` (top-k, repetition penalty), which would be part of the method without being among
its settings; its greedy answers are those of `generate`.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

ROWS = 64
"""Prompts answered at once, at most."""
CACHE_BYTES = 4 * 2**30
"""So many of them that their keys and values take no more than this, if there is more than one."""


@torch.no_grad()
def write(
    model: Any,  # noqa: ANN401 - a PreTrainedModel or PEFT's wrapper around one
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    ends: frozenset[int],
    temperature: float = 0.0,
) -> list[tuple[int, ...]]:
    """An answer to each prompt, at most `limits` tokens each; the token of `ends` that finished it is its last.

    The token at position t is drawn by one number in [0, 1) per prompt and position, through the inverse of the
    cumulative distribution. They all come from torch's random state at once, in the order of the prompts, so what a
    prompt is answered depends on no other prompt (but for rounding).

    Args:
        model: in evaluation mode; nothing of it is changed.
        prompts: token ids, at least one each.
        limits: at least 1 each.
        ends: tokens that finish an answer.
        temperature: of the sampling; 0 takes the most likely token.
    """
    chance = torch.rand(len(prompts), max(limits), dtype=torch.float64) if temperature > 0 else None
    answers: list[tuple[int, ...]] = [()] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    per_token = key_value_bytes(model)
    batches: list[list[int]] = []
    for index in order:
        tokens = len(prompts[index]) + max(limits)
        fits = batches and len(batches[-1]) < min(ROWS, CACHE_BYTES // (tokens * per_token))
        if fits:
            batches[-1].append(index)
        else:
            batches.append([index])
    for rows in batches:
        drawn = None if chance is None else chance[rows]
        written = _write(model, [prompts[i] for i in rows], [limits[i] for i in rows], ends, temperature, drawn)
        for row, answer in zip(rows, written, strict=True):
            answers[row] = answer
    return answers


def _write(
    model: Any,  # noqa: ANN401
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    ends: frozenset[int],
    temperature: float,
    chance: Tensor | None,
) -> list[tuple[int, ...]]:
    """As `write`, for one batch: prompts are padded on the left and masked there."""
    from transformers import DynamicCache

    if hasattr(model, "get_base_model"):  # PEFT puts its layers into the student, which answers by itself
        model = model.get_base_model()
    # transformers 5.2x renamed it, and tells whoever uses the old name
    argument = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
    device = model.device
    width = max(len(prompt) for prompt in prompts)
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros(len(prompts), width, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    ids, mask = ids.to(device), mask.to(device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    answers: list[list[int]] = [[] for _ in prompts]
    writing = list(range(len(prompts)))
    for step in range(max(limits)):
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
            **{argument: cache},
        ).logits[:, -1]
        tokens = next_tokens(logits, temperature, None if chance is None else chance[writing, step])
        chosen = tokens.tolist()
        for row, token in zip(writing, chosen, strict=True):
            answers[row].append(token)
        going_on = [
            place
            for place, (row, token) in enumerate(zip(writing, chosen, strict=True))
            if token not in ends and step + 1 < limits[row]
        ]
        if not going_on:
            break
        if len(going_on) < len(writing):
            kept = torch.tensor(going_on, device=device)
            cache.batch_select_indices(kept)
            tokens, mask, positions = tokens[kept], mask[kept], positions[kept]
            writing = [writing[place] for place in going_on]
        ids = tokens[:, None]
        positions = positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(writing), 1)], 1)
    return [tuple(answer) for answer in answers]


def key_value_bytes(model: Any) -> int:  # noqa: ANN401 - of any family
    """Bytes of the keys and values that a model keeps of a token."""
    config = model.config
    heads = config.num_attention_heads
    shared = getattr(config, "num_key_value_heads", None) or heads
    channels = getattr(config, "head_dim", None) or config.hidden_size // heads
    return int(2 * config.num_hidden_layers * shared * channels * model.dtype.itemsize)


def next_tokens(logits: Tensor, temperature: float, chance: Tensor | None) -> Tensor:
    """The next token `(b,)` of each row of `logits` `(b, V)`: the most likely, or the one where `chance` `(b,)` falls.

    Drawn from softmax(logits / temperature) by the inverse of its cumulative distribution, in float64: a token of
    probability 0 is never drawn.
    """
    if chance is None:
        return logits.argmax(-1)
    heights = torch.softmax(logits.double() / temperature, -1).cumsum(-1)
    # rounding leaves the last height beside 1, and numbers that are not finite give no order at all
    falls = (chance.to(heights)[:, None] * heights[:, -1:]).contiguous()
    return torch.searchsorted(heights, falls, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:  # noqa: ANN401 - of any family
    """The tokens that end a text, by the tokenizer and by the checkpoint's generation configuration."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    several = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in [tokenizer.eos_token_id, *several] if token is not None)

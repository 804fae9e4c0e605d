"""How many documents a batch may have, by the memory that is free: found once, then pinned."""

from __future__ import annotations

from typing import Any

import psutil
import torch

from pkt_bench.fastscore.families import causal_model

TOKENS_PER_DOCUMENT = 16
"""Tokens of a pass for each document of a batch. On a CPU 256 to 512 tokens cost least, each."""
LOGITS_PER_TOKEN = 2**16
"""Logits of a pass for each of its tokens, at most: of a large vocabulary fewer tokens are asked about at once."""
COLUMNS_PER_DOCUMENT = 256
"""Columns (tokens with keys and values) that generations of a batch may see, for each of its documents."""
SEQUENCES_PER_DOCUMENT = 4
"""Generations that grow together for each document of a batch."""

# beyond these, more at once saves nothing
_MOST = {"cpu": 16}
_MOST_ELSEWHERE = 128
_SHARE = 0.5
_STOCK_WINDOW = 2048


def automatic(model: Any, window: int, *, stock: bool) -> int:  # noqa: ANN401 - a PreTrainedModel, or PEFT's wrapper
    """The largest power of two of documents that half of the free memory holds.

    Stock lm-eval holds the logits of whole documents, and their log-softmax, in float32; the fast scorer those of some
    tokens, and keys and values.
    """
    base = causal_model(model)
    device = base.get_input_embeddings().weight.device
    vocabulary, width = base.get_output_embeddings().weight.shape
    size = base.dtype.itemsize
    layers = base.config.num_hidden_layers
    if stock:
        length = min(window, _STOCK_WINDOW)
        document = length * (vocabulary * (size + 4 + size) + 16 * width * size)
    else:
        logits = min(vocabulary, LOGITS_PER_TOKEN) * (3 * size + 4)
        document = TOKENS_PER_DOCUMENT * (logits + 16 * width * size) + COLUMNS_PER_DOCUMENT * 2 * layers * width * size
    fits = int(_SHARE * _free(device)) // document
    most = _MOST.get(device.type, _MOST_ELSEWHERE)
    return 1 << (max(1, min(fits, most)).bit_length() - 1)


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)

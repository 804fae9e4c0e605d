"""How much is computed at once for each document of a batch."""

from __future__ import annotations

TOKENS_PER_DOCUMENT = 16
"""Tokens of a pass for each document of a batch. On a CPU 256 to 512 tokens cost least, each."""
LOGITS_PER_TOKEN = 2**16
"""Logits of a pass for each of its tokens, at most: of a large vocabulary fewer tokens are asked about at once."""
COLUMNS_PER_DOCUMENT = 256
"""Columns (tokens with keys and values) that generations of a batch may see, for each of its documents."""
SEQUENCES_PER_DOCUMENT = 4
"""Generations that grow together for each document of a batch."""

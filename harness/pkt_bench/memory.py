"""How much memory training takes, by formula: what `plan` and `doctor` compare with what a machine has."""

from __future__ import annotations

from dataclasses import dataclass

from pkt_bench.domain import Architecture

GRADIENT_BYTES = 4
ADAM_BYTES = 8
"""AdamW keeps two numbers a trained weight, in float32."""
LOGIT_COPIES = 5
"""Logits, those of supervised tokens, their logarithms, and the gradients of the last two."""


@dataclass(frozen=True)
class TrainingBytes:
    """What training holds, in bytes."""

    weights: int
    gradients: int
    optimiser: int
    activations: int
    logits: int

    @property
    def peak(self) -> int:
        """The most that is held at once: gradients grow as activations go."""
        return self.weights + self.optimiser + max(self.activations + self.logits, self.gradients)


def training_bytes(
    shape: Architecture,
    *,
    trainable: int | None = None,
    pass_tokens: int,
    number_bytes: int = 4,
    checkpointing: bool = False,
) -> TrainingBytes:
    """What training a Llama-like model holds, on passes of `pass_tokens` padded tokens.

    A layer keeps, of each token, for the way back: eight vectors of the hidden size d (both norms, their inputs and
    outputs, both residual sums), the queries and the attention's output before and after rotation and projection, keys
    and values likewise, and four vectors of the feed-forward size f (gate, its activation, up, their product). With
    checkpointing it keeps its input alone, and one layer at a time keeps all of that. Attention is computed in blocks
    and keeps no square of the length.

    Args:
        shape: of the model.
        trainable: numbers that are trained; None: all.
        pass_tokens: padded tokens of one pass.
        number_bytes: of a weight and of an activation.
        checkpointing: whether activations are computed again on the way back.
    """
    trained = shape.parameters if trainable is None else trainable
    query, shared = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    layer = 8 * shape.hidden + 4 * query + 4 * shared + 4 * shape.ffn
    kept = shape.layers * shape.hidden + layer if checkpointing else shape.layers * layer
    return TrainingBytes(
        weights=shape.parameters * number_bytes,
        gradients=trained * GRADIENT_BYTES,
        optimiser=trained * ADAM_BYTES,
        activations=kept * pass_tokens * number_bytes,
        logits=LOGIT_COPIES * shape.vocabulary * pass_tokens * 4,
    )

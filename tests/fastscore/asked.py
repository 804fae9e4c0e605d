"""Requests as lm-eval makes them, and how far two answers to them are apart."""

import random

# windows shorter than the requests, so that whoever forgets them computes something else
_SLIDING = {
    "sliding_window": 6,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "num_hidden_layers": 3,
}
FAMILIES = {
    "llama": {"num_key_value_heads": 2},
    "mistral": {"sliding_window": 7, "tie_word_embeddings": True},
    "qwen2": {},
    "qwen3": {"tie_word_embeddings": True},
    "gemma": {},
    "gemma2": _SLIDING,
    "gemma3_text": _SLIDING,
}
WORDS = ("the ", "cat ", "sat ", " on", "é", "漢", "mat\n", "\n\n", "Q: ", "A:", "  ", "zz", "0")


def ask(kind, *arguments):
    """Requests of one kind, as lm-eval makes them."""
    from lm_eval.api.instance import Instance

    return [
        Instance(request_type=kind, doc={}, arguments=each, idx=number, metadata=("task", number, 1))
        for number, each in enumerate(arguments)
    ]


def text(rng, most=12):
    return "".join(rng.choice(WORDS) for _ in range(rng.randint(0, most)))


def ragged(count, seed=0):
    """Contexts and continuations of all lengths, with much in common: empty contexts, twins, one-token answers."""
    rng = random.Random(seed)
    shots = [text(rng, 20), text(rng, 6), ""]
    found = []
    while len(found) < count:
        context = rng.choice(shots) + rng.choice(shots) + text(rng)
        choices = ["A", "B", " yes", " yes, and no", "é", text(rng) + "x"]
        found += [(context, rng.choice(choices)) for _ in range(rng.randint(1, 4))]
    return [("", "x"), ("", "xy"), ("q", "q"), *found][:count]


def worst(ours, stock):
    """The largest difference of log-likelihoods, by their size."""
    return max(abs(a - b) / (1 + abs(b)) for (a, _), (b, _) in zip(ours, stock, strict=True))

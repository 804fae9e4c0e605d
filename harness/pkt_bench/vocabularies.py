"""How the vocabularies of a pair stand to each other, from the tokenizers' files."""

from __future__ import annotations

import json
import math

from pkt_bench.digests import tokenizer_digest
from pkt_bench.domain import ModelRef


def vocabulary(ref: ModelRef) -> dict[str, int]:
    """Token by text, with its id, from `tokenizer.json`; empty where the tokenizer is of another kind."""
    file = ref.path / "tokenizer.json"
    if not file.is_file():
        return {}
    content = json.loads(file.read_text(encoding="utf-8"))
    listed = content["model"].get("vocab", ())
    tokens = listed if isinstance(listed, dict) else {text: number for number, (text, *_) in enumerate(listed)}
    return {**tokens, **{token["content"]: token["id"] for token in content.get("added_tokens", ())}}


def vocabulary_relation(teacher: ModelRef, student: ModelRef) -> str:
    """How a pair's vocabularies stand to each other, in words: the same, one a beginning of the other, or a share."""
    if tokenizer_digest(teacher) == tokenizer_digest(student):
        return "same tokenizer"
    theirs, ours = vocabulary(teacher), vocabulary(student)
    if not (theirs and ours):
        return "different tokenizers"
    if theirs == ours:
        return f"same vocabulary ({len(ours)} tokens), other tokenizer settings"
    for larger, smaller, names in ((theirs, ours, ("student", "teacher")), (ours, theirs, ("teacher", "student"))):
        if smaller.items() <= larger.items():
            return (
                f"different tokenizers; the {names[0]}'s {len(smaller)} tokens have the same ids in the {names[1]}'s"
                f" {len(larger)}"
            )
    shared = len(theirs.keys() & ours.keys())
    share = math.floor(100 * shared / len(ours))
    return (
        f"different tokenizers; {shared} of the student's {len(ours)} tokens ({share} %) are tokens of the teacher too"
    )

"""How seed records become tokens for the teacher: by the suite's prompt, or by the tokenizer's chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pkt_bench import ContractError, Encoded

if TYPE_CHECKING:
    from pkt_bench import Record, TransferContext


def rendered(context: TransferContext, records: Sequence[Record], window: int) -> list[Encoded]:
    """Records as token ids of at most `window` tokens, by `context.settings.rendering`.

    Raises:
        ContractError: the teacher's tokenizer has no chat template, or one that a record's answer cannot be told from.
    """
    if context.settings.rendering == "base":
        return context.encoded(records, window)
    tokenizer = context.pair.teacher_tokenizer
    if not tokenizer.chat_template:
        raise ContractError(
            "the teacher's tokenizer has no chat template to render seed records with."
            "\n  Use rendering=base, or a teacher that was tuned to chat."
        )
    return [chat_encoded(tokenizer, record, window) for record in records]


def chat_encoded(tokenizer: Any, record: Record, window: int) -> Encoded:  # noqa: ANN401 - transformers has no types
    """One record under a tokenizer's chat template, the special tokens and the end of the turn by the template.

    Supervised is what follows the template's opening of the assistant's turn.

    Raises:
        ContractError: the prompt, rendered alone, is not how the whole record begins.
    """
    turns = [{"role": turn.role, "content": turn.content} for turn in record.messages]
    prompt = tokenizer.apply_chat_template(turns[:-1], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(turns, tokenize=False)
    if not whole.startswith(prompt):
        raise ContractError(
            "the chat template does not begin a record as it begins its prompt, so the answer cannot be told apart."
            f"\n  The prompt ends with {prompt[-40:]!r}; the record has {whole[: len(prompt)][-40:]!r} there."
            "\n  Use rendering=base."
        )
    # tokenised together, as the suite's prompt is: a token that spans prompt and answer counts as the answer's
    ids = tokenizer.encode(whole, add_special_tokens=False)
    alone = tokenizer.encode(prompt, add_special_tokens=False)
    shared = next((at for at, (a, b) in enumerate(zip(ids, alone, strict=False)) if a != b), len(alone))
    return Encoded(tuple(ids[:window]), min(shared, window))

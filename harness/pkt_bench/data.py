"""Records: rendered and tokenised by the suite's one PromptSpec, hashed, and checked against the test documents."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from pkt_bench import mirrors
from pkt_bench.domain import SPLITS, PromptSpec, Record, Split, Suite
from pkt_bench.errors import UnavailableError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Encoded:
    """A record as token ids; the first `prompt_length` of them are the prompt, the rest is what is supervised."""

    ids: tuple[int, ...]
    prompt_length: int

    @property
    def labels(self) -> tuple[int, ...]:
        """The ids with the prompt masked by -100, as `transformers` losses read them."""
        return (-100,) * self.prompt_length + self.ids[self.prompt_length :]

    @property
    def supervised(self) -> int:
        """How many tokens are supervised; 0 where the prompt alone fills the window."""
        return len(self.ids) - self.prompt_length


def encode(record: Record, prompt: PromptSpec, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Encoded:
    """Tokenises prompt and answer together, as lm-eval does when it scores, and cuts the end at `max_length`.

    The prompt is as many tokens as it has alone, so an answer's first token is the one that follows in the joint text:
    tokenised apart, a sentencepiece tokenizer would put a blank in front of the answer.
    """
    prompt_text, answer_text = prompt.render(record)
    begin = [tokenizer.bos_token_id] if prompt.bos and tokenizer.bos_token_id is not None else []
    end = [tokenizer.eos_token_id] if prompt.eos and tokenizer.eos_token_id is not None else []
    prompt_length = len(begin) + len(tokenizer.encode(prompt_text, add_special_tokens=False))
    ids = [*begin, *tokenizer.encode(prompt_text + answer_text, add_special_tokens=False), *end]
    return Encoded(tuple(ids[:max_length]), min(prompt_length, max_length))


ENDING = '. ")\n,]'
"""Characters that may end an answer without being its content; the target is the token before them."""


@dataclass(frozen=True)
class Locating:
    """A solved example: the model reads `ids` and should say `target` next."""

    ids: tuple[int, ...]
    target: int


def locating(prompt: str, answer: str, tokenizer: PreTrainedTokenizerBase, *, bos: bool) -> Locating | None:
    """Prompt and answer as one text without the answer's ending; its last token is the target.

    None where nothing of the answer is left, or the text has no token before the target.
    """
    kept = answer.rstrip(ENDING)
    if not kept:
        return None
    ids = list(tokenizer.encode(prompt + kept, add_special_tokens=False))
    if bos and tokenizer.bos_token_id is not None:
        ids.insert(0, tokenizer.bos_token_id)
    return Locating(tuple(ids[:-1]), ids[-1]) if len(ids) > 1 else None


def alignment_batches(
    locating: Sequence[Record], align: Sequence[Record], *, steps: int, batch_size: int, seed: int, order_seed: int
) -> list[list[Record]]:
    """What an alignment sees: for each of `steps` steps one locating record, and then its companions.

    Locating records come one after the other in a shuffled order, from the start again when they are used up. The
    companions, `batch_size - 1` of them or as many as there are, are drawn without replacement; for seed 0 as the
    published code of arXiv 2505.14436 draws them, `random.seed(step); random.sample(...)`. Whoever wants to compare at
    equal data takes the same batches.
    """
    order = list(range(len(locating)))
    random.Random(order_seed).shuffle(order)  # noqa: S311 - no secret
    count = min(batch_size - 1, len(align))
    batches = []
    for step in range(steps):
        drawn = random.Random(seed * 1_000_003 + step).sample(range(len(align)), count)  # noqa: S311 - no secret
        batches.append([locating[order[step % len(order)]], *(align[index] for index in drawn)])
    return batches


@functools.lru_cache(maxsize=64)
def cut(suite: Suite, train_records: int | None) -> Suite:
    """The suite with the first so many records of its train split; None: as it is.

    Whoever asks it, a method, an estimate or a digest, sees the same records.
    """
    if train_records is None:
        return suite

    @functools.wraps(suite.records)
    def records(split: Split) -> Sequence[Record]:
        found = suite.records(split)
        return found[:train_records] if split == "train" else found

    return replace(suite, records=records)


@functools.lru_cache(maxsize=64)
def data_digest(suite: Suite, *, trained: bool = True) -> str:
    """BLAKE2b-128 over every split's records in order, the prompt spec, the test prompts, and what they are made of.

    That is the rows of data sets that do not come with the suite: what is not in a prompt may be in them. Of a
    suite that is only scored on (`trained` is false) the records do not count.
    """
    state = hashlib.blake2b(digest_size=16)
    state.update(json.dumps(asdict(suite.prompt), sort_keys=True).encode())
    for split in SPLITS if trained else ():
        state.update(split.encode())
        for record in suite.records(split):
            state.update(json.dumps([[m.role, m.content] for m in record.messages]).encode())
    for text in suite.test_prompts():
        state.update(json.dumps(text).encode())
    for ref in suite.needs:
        state.update(json.dumps([ref.name, ref.config, ref.revision]).encode())
        for needed in ref.splits:
            with contextlib.suppress(UnavailableError):
                # a split that is not here, and was not needed for the records either
                state.update(f"{needed} {mirrors.digest(ref, needed)}".encode())
    return state.hexdigest()

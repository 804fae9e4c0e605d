"""How much of the test a suite's own records give away: prompts that are test prompts, runs of words in both."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pkt_bench.domain import SPLITS, PromptSpec, Record, Suite

WORDS = 13
"""Words that must be the same in a row to count as copied: the n of the contamination check of GPT-3 (arXiv
2005.14165, appendix C)."""


@dataclass(frozen=True)
class SplitOverlap:
    """Of `records` in a split, how many have a test document's prompt, and how many share `WORDS` words in a row."""

    records: int
    exact: int
    ngrams: int


@dataclass(frozen=True)
class Overlap:
    """A suite's records against its `tests` test documents, split by split."""

    suite: str
    tests: int
    splits: Mapping[str, SplitOverlap]

    def __str__(self) -> str:
        if not self.tests:
            return f"suite '{self.suite}': overlap with test documents: unknown, it offers no test prompts"
        found = [
            f"{split} {counts.exact} and {counts.ngrams} of {counts.records} records"
            for split, counts in self.splits.items()
            if counts.exact or counts.ngrams
        ]
        how = f"(exact prompts; {WORDS}-grams of words)"
        return f"suite '{self.suite}': overlap with test documents: {', '.join(found) or 'none'} {how}"


@functools.lru_cache(maxsize=64)
def overlap(suite: Suite) -> Overlap:
    """Compares every record with the test prompts (trap 11).

    Exact: the rendered prompt of a record is a test prompt, in whatever case and spacing. By n-grams: what a record
    says itself, its answer included, has `WORDS` words in a row with a test prompt, in whatever case and punctuation;
    the words that a suite puts around every record are no copy. A text of fewer words is compared whole, as rendered.
    """
    prompts = suite.test_prompts()
    exact = {_plain(text) for text in prompts}
    runs = {run for text in prompts for run in _runs(text)}
    splits: dict[str, SplitOverlap] = {}
    for split in SPLITS:
        records = suite.records(split)
        same = [_plain(suite.prompt.render(record)[0]) in exact for record in records]
        shared = [_shares(record, suite.prompt, runs) for record in records]
        splits[split] = SplitOverlap(
            records=len(records),
            exact=sum(same),
            ngrams=sum(either or both for either, both in zip(same, shared, strict=True)),
        )
    return Overlap(suite.name, len(prompts), splits)


def _shares(record: Record, spec: PromptSpec, runs: set[int]) -> bool:
    """Whether a record's own words, or all of a rendered text that is short, are among `runs`."""
    own = re.findall(r"\w+", " ".join(turn.content for turn in record.messages if turn.role != "system").lower())
    if not runs.isdisjoint(_windows(own)):
        return True
    prompt, answer = spec.render(record)
    short = [text for text in (prompt, f"{prompt} {answer}") if len(re.findall(r"\w+", text)) < WORDS]
    return any(not runs.isdisjoint(_runs(text)) for text in short)


def _runs(text: str) -> Iterable[int]:
    """A hash of each `WORDS` words in a row, or of all of them where there are fewer (none of no words)."""
    words = re.findall(r"\w+", text.lower())
    if len(words) < WORDS:
        return [hash(tuple(words))] if words else []
    return _windows(words)


def _windows(words: Sequence[str]) -> Iterator[int]:
    return map(hash, zip(*(words[start:] for start in range(WORDS)), strict=False))


def _plain(text: str) -> str:
    return " ".join(text.lower().split())

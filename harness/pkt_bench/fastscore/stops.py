"""When a generation ends: after the token after which lm-eval's stopping criteria would end it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any


class Stops:
    """lm-eval's criterion for several stop strings at once, each in the decoded last tokens of a generation.

    As many tokens are looked at as the stop string has, and two more (`MultiTokenEOSCriteria` of lm-eval).
    """

    def __init__(self, tokenizer: Any, strings: Sequence[str], ends: Collection[int]) -> None:  # noqa: ANN401
        self._tokenizer, self._ends = tokenizer, frozenset(ends)
        self._strings: dict[int, list[str]] = {}
        for string in strings:
            look = len(tokenizer.encode(string, add_special_tokens=False)) + 2
            self._strings.setdefault(look, []).append(string)
        self._known: dict[tuple[int, ...], bool] = {}

    def __call__(self, said: list[int]) -> bool:
        """Whether a generation has come to its end with its last token."""
        return said[-1] in self._ends or any(self._has(tuple(said[-look:]), look) for look in self._strings)

    def _has(self, tokens: tuple[int, ...], look: int) -> bool:
        key = (look, *tokens)
        if key not in self._known:
            text = self._tokenizer.decode(list(tokens))
            self._known[key] = any(string in text for string in self._strings[look])
        return self._known[key]

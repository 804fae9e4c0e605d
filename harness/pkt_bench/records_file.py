"""Records of one's own: a JSON Lines file, an object a line, in any of the usual shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from pkt_bench.domain import Message, Record
from pkt_bench.errors import RequestError

SHAPES = '{"messages": [{"role", "content"}, ...]}, {"prompt", "answer"}, {"question", "answer"} or {"text"}'


def read_records(path: Path) -> tuple[Record, ...]:
    """Every record of a file. Of `{"text": ...}` all is the answer: the prompt is empty.

    Raises:
        RequestError: the file is not there, holds nothing, or a line is no record, with its place.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}. Give the path of a JSON Lines file.") from None
    except UnicodeDecodeError:
        raise RequestError(f"{path} is not UTF-8 text. Save it as UTF-8.") from None
    records = tuple(_records(path, text))
    if not records:
        raise RequestError(f"{path} holds no record. A line of it is {SHAPES}.")
    return records


def _records(path: Path, text: str) -> Iterator[Record]:
    # not splitlines: it also splits inside of strings, at U+2028 and U+0085
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except json.JSONDecodeError as error:
            raise RequestError(f"{path}:{number}:{error.colno}: not JSON: {error.msg}.") from None
        record = _record(content) if isinstance(content, dict) else None
        if record is None:
            raise RequestError(f"{path}:{number}: no record. A line is {SHAPES}, with text in it.")
        yield record


def _record(content: Mapping[str, Any]) -> Record | None:
    if "messages" in content:
        return _of_messages(content["messages"])
    for prompt in ("prompt", "question"):
        if prompt in content:
            return _of_texts(content[prompt], content.get("answer"))
    return _of_texts("", content.get("text"))


def _of_texts(prompt: object, answer: object) -> Record | None:
    if isinstance(prompt, str) and isinstance(answer, str) and answer:
        return Record.of(prompt, answer)
    return None


def _of_messages(messages: object) -> Record | None:
    if not isinstance(messages, list) or not messages:
        return None
    found = []
    for each in messages:
        role, content = (each.get("role"), each.get("content")) if isinstance(each, dict) else (None, None)
        if role not in {"system", "user", "assistant"} or not isinstance(content, str):
            return None
        found.append(Message(cast("Literal['system', 'user', 'assistant']", role), content))
    return Record(tuple(found)) if found[-1].role == "assistant" and found[-1].content else None

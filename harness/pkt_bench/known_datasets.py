"""Data sets of the hub as folders of files may hold them: their short names, their rows, their quirks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Known:
    """A data set of the hub under the name its folder has.

    Attributes:
        folder: the short name.
        hubs: repositories that hold it, the one to fetch it from first.
        config: the configuration that the folder is; `*`: any, each with files of its own.
        fields: of the hub's rows, in the hub's order: a row is these and nothing else, so that it has the same digest
            wherever it came from.
        splits: what the hub has of it that tasks ask for.
        plain: makes a row of the hub's from `question`, `choices` (a list) and `answer` (the index of the right one).
        stands_in: `{"validation": "test"}`: where there is no file for the first, one for the second holds it: of these
            data sets the hub's own test has no answers, and what people test on is the validation split.
        unnamed: the configuration may be left out, as it is the hub's only or first one.
        licence: as its page says.
    """

    folder: str
    hubs: tuple[str, ...]
    config: str
    fields: tuple[str, ...]
    splits: tuple[str, ...]
    plain: Callable[[Row], Row] | None = None
    stands_in: Mapping[str, str] = field(default_factory=dict)
    unnamed: bool = False
    licence: str = ""

    def row(self, given: Row) -> Row:
        """A row as the hub has it.

        Raises:
            ValueError: it is neither the hub's nor plain; says what is missing.
        """
        row = self.plain(given) if self.plain is not None and "choices" in given and "answer" in given else given
        missing = [name for name in self.fields if name not in row]
        if missing:
            plain = "; or question, choices and answer" if self.plain is not None else ""
            raise ValueError(f"it has no {', no '.join(missing)} (a row has {', '.join(self.fields)}{plain})")
        return {name: row[name] for name in self.fields}


def _arc(row: Row) -> Row:
    if not isinstance(row["choices"], list):
        return row
    labels = [chr(ord("A") + number) for number in range(len(row["choices"]))]
    return {
        "id": str(row.get("id", "")),
        "question": row["question"],
        "choices": {"text": row["choices"], "label": labels},
        "answerKey": labels[row["answer"]],
    }


def _piqa(row: Row) -> Row:
    first, second = row["choices"]
    return {"goal": row["question"], "sol1": first, "sol2": second, "label": row["answer"]}


def _truthfulqa(row: Row) -> Row:
    """The right choice first, as the hub's rows have it and the task expects."""
    right = row["choices"][row["answer"]]
    choices = [right, *(text for number, text in enumerate(row["choices"]) if number != row["answer"])]
    return {
        "question": row["question"],
        "mc1_targets": {"choices": choices, "labels": [1] + [0] * (len(choices) - 1)},
    }


_ARC_FIELDS = ("id", "question", "choices", "answerKey")
_ARC_HUBS = ("allenai/ai2_arc", "ai2_arc")
_THREE = ("train", "validation", "test")

KNOWN = (
    Known("gsm8k", ("openai/gsm8k", "gsm8k"), "main", ("question", "answer"), ("train", "test"), licence="MIT"),
    Known(
        "mmlu",
        ("cais/mmlu", "hails/mmlu_no_train"),
        "*",
        ("question", "subject", "choices", "answer"),
        ("dev", "validation", "test"),
        licence="MIT",
    ),
    Known(
        "humaneval",
        ("openai/openai_humaneval", "openai_humaneval"),
        "openai_humaneval",
        ("task_id", "prompt", "canonical_solution", "test", "entry_point"),
        ("test",),
        unnamed=True,
        licence="MIT",
    ),
    Known(
        "mbpp",
        ("google-research-datasets/mbpp", "mbpp"),
        "full",
        ("task_id", "text", "code", "test_list", "test_setup_code", "challenge_test_list"),
        ("prompt", *_THREE),
        unnamed=True,
        licence="CC-BY-4.0",
    ),
    Known("arc_easy", _ARC_HUBS, "ARC-Easy", _ARC_FIELDS, _THREE, _arc, licence="CC-BY-SA-4.0"),
    Known("arc_challenge", _ARC_HUBS, "ARC-Challenge", _ARC_FIELDS, _THREE, _arc, licence="CC-BY-SA-4.0"),
    Known(
        "piqa",
        ("baber/piqa", "ybisk/piqa", "piqa"),
        "plain_text",
        ("goal", "sol1", "sol2", "label"),
        _THREE,
        _piqa,
        {"validation": "test"},
        unnamed=True,
        licence="AFL-3.0",
    ),
    Known(
        "hellaswag",
        ("Rowan/hellaswag", "hellaswag"),
        "default",
        ("ind", "activity_label", "ctx_a", "ctx_b", "ctx", "endings", "source_id", "split", "split_type", "label"),
        _THREE,
        unnamed=True,
        licence="MIT",
    ),
    Known(
        "truthfulqa_mc1",
        ("truthfulqa/truthful_qa", "truthful_qa"),
        "multiple_choice",
        ("question", "mc1_targets"),
        ("validation",),
        _truthfulqa,
        {"validation": "test"},
        licence="Apache-2.0",
    ),
)


def known(hub: str, config: str) -> Known | None:
    """What is known of a configuration of a repository."""
    for each in KNOWN:
        if hub in each.hubs and (each.config in {"*", config} or (not config and each.unnamed)):
            return each
    return None

"""A folder of data of a few rows each, in the documented layout, and the larger one beside the repository."""

import json
import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[1].parent / "shared" / "data"

# a test that needs it is skipped where it is absent, but not where everything has to run
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir() and not os.environ.get("CI"), reason="../shared/data is not beside this checkout"
)


def write(folder, name, rows):
    file = folder / f"{name}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def gsm8k_row(number):
    return {
        "question": f"Ann has {number} apples and buys {number + 1} more. How many are there?",
        "answer": f"She has {number}+{number + 1}=<<{number}+{number + 1}={2 * number + 1}>>{2 * number + 1}\n"
        f"#### {2 * number + 1}",
    }


def arc_row(number):
    return {"id": f"q{number}", "question": f"What is {number}?", "choices": ["a", "b", f"c{number}"], "answer": 2}


def mirror(folder):
    """Data sets in each of the three layouts; `arc_easy` has no train, `piqa` no validation."""
    write(folder, "gsm8k/train", [gsm8k_row(number) for number in range(60)])
    write(folder, "gsm8k/test", [gsm8k_row(number) for number in range(100, 105)])
    write(folder, "arc_easy/test", [arc_row(number) for number in range(4)])
    write(folder, "piqa/test", [{"id": "p", "question": "dresser", "choices": ["no", "yes"], "answer": 1}] * 3)
    for subject in ("marketing", "virology"):
        rows = [
            {"subject": subject, "question": f"{subject} {n}?", "choices": list("wxyz"), "answer": n % 4}
            for n in range(5)
        ]
        write(folder, f"mmlu/dev/{subject}", rows[:5])
        write(folder, f"mmlu/test/{subject}", rows[:3])
    return folder

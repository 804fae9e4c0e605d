"""The gate of the pair: does the teacher know what the student does not, with room left?

`python -m pkt_bench_tiny.gate [--split test]` scores both models and prints the table.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from .scoring import Figure, score

PAIR: Final = Path(__file__).parent / "pair"
"""The shipped pair."""

LEAST_TEACHER: Final = 0.80
"""The teacher's figure on every suite is at least this."""

LEAST_GAP: Final = 0.30
"""The student stays at least this far below the teacher on every suite."""

KNOWLEDGE_CHANCE: Final = 0.25
"""What guessing gives with four choices; the student is at least two standard errors above it."""


def failures(teacher: Mapping[str, Figure], student: Mapping[str, Figure]) -> list[str]:
    """One sentence for every condition that is not met; empty when the gate is passed."""
    found: list[str] = []
    for suite, figure in teacher.items():
        gap = figure.value - student[suite].value
        if figure.value < LEAST_TEACHER:
            found.append(f"{suite}: the teacher has {figure.value:.3f}, at least {LEAST_TEACHER:.2f} is needed")
        if gap < LEAST_GAP:
            found.append(f"{suite}: the gap is {gap:.3f}, at least {LEAST_GAP:.2f} is needed")
    guess = student["knowledge"]
    if guess.value < KNOWLEDGE_CHANCE + 2 * guess.stderr:
        found.append(
            f"knowledge: the student has {guess.value:.3f} (standard error {guess.stderr:.3f}), "
            f"not two standard errors above the {KNOWLEDGE_CHANCE:.2f} of guessing"
        )
    return found


def table(teacher: Mapping[str, Figure], student: Mapping[str, Figure]) -> str:
    """Both models' figures as a Markdown table."""
    lines = ["| suite | teacher | student | items |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {suite} | {figure.value:.3f} ± {figure.stderr:.3f} "
        f"| {student[suite].value:.3f} ± {student[suite].stderr:.3f} | {figure.n} |"
        for suite, figure in teacher.items()
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Score both models, print the table and what fails. Returns 0 if the gate is passed, else 1."""
    parser = argparse.ArgumentParser(prog="python -m pkt_bench_tiny.gate", description=__doc__)
    parser.add_argument("--pair", type=Path, default=PAIR, help="folder of the pair")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    options = parser.parse_args(arguments)
    teacher = score(options.pair / "teacher", options.split)
    student = score(options.pair / "student", options.split)
    print(table(teacher, student))
    problems = failures(teacher, student)
    for problem in problems:
        print(f"gate: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

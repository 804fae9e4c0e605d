"""What the teacher and the student read before anybody measures them: endless seeded streams of documents.

The teacher is told every fact and shown problems and programs of every kind. The student is told 40 % of
the facts and shown the easy part. Neither ever meets a validation or test item: their facts come as
statements without a question, their problems and programs not at all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from . import arithmetic, code, knowledge
from .splits import seeded

Reader = Literal["teacher", "student"]

PROMPT_WEIGHT = 0.25
"""How much a token of a prompt counts in the pretraining loss; every other token counts 1."""


@dataclass(frozen=True)
class Document:
    """A text to learn; the part before `answer`, if any, is a prompt and counts less."""

    kind: str
    prompt: str
    answer: str


@dataclass(frozen=True)
class Diet:
    """Shares of the tokens by kind of document, and how hard the problems and programs are.

    `steps`: odds of problems of one, two and three steps. `single_share`: of the programs, those of one operation.
    `largest`: the largest number in problems and equations.
    """

    biography: float
    quiz: float
    equation: float
    problem: float
    function: float
    steps: tuple[int, int, int]
    single_share: float
    largest: int


DIETS: dict[Reader, Diet] = {
    "teacher": Diet(0.14, 0.05, 0.15, 0.38, 0.28, steps=(2, 5, 4), single_share=0.2, largest=arithmetic.LARGEST),
    "student": Diet(0.14, 0.03, 0.15, 0.38, 0.30, steps=(95, 5, 0), single_share=0.95, largest=30),
}


def _streams(reader: Reader) -> dict[str, Iterator[Document]]:
    diet = DIETS[reader]
    known = knowledge.known_to_student() if reader == "student" else None
    families = code.STUDENT_FAMILIES if reader == "student" else None

    return {
        "biography": (
            Document("biography", "", text) for text in knowledge.biographies(seeded(f"{reader} biography"), known)
        ),
        "quiz": (Document("quiz", i.prompt, i.answer) for i in knowledge.quizzes(seeded(f"{reader} quiz"), known)),
        "equation": (
            Document("equation", "", text)
            for text in arithmetic.equations(seeded(f"{reader} equation"), 8, diet.largest)
        ),
        "problem": (
            Document("problem", i.prompt, i.answer)
            for i in arithmetic.problems(seeded(f"{reader} problem"), diet.steps, diet.largest)
        ),
        "function": (
            Document("function", i.prompt, i.answer)
            for i in code.functions(seeded(f"{reader} function"), diet.single_share, families)
        ),
    }


# Tokens per document, roughly: turns shares of tokens into odds of documents.
_LENGTHS = {"biography": 45, "quiz": 17, "equation": 52, "problem": 65, "function": 65}


def documents(reader: Reader) -> Iterator[Document]:
    """The endless stream of one reader, the same on every call."""
    rng = seeded(f"{reader} mixture")
    diet, streams = DIETS[reader], _streams(reader)
    kinds = tuple(streams)
    odds = [getattr(diet, kind) / _LENGTHS[kind] for kind in kinds]
    while True:
        yield next(streams[rng.choices(kinds, odds)[0]])

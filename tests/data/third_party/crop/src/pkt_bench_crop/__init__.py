"""crop: part of the teacher's embedding, cropped to the student's width, in place of the student's.

E' = (1 - s) E_S + s E_T[:, C] for the columns C that are kept, each scaled to the norm that the student's had. Made up
for the tests of pkt-bench: what a small project that offers a method looks like.
"""

from typing import Literal

from pydantic import Field

from pkt_bench import Control, Method, Question, Settings, TransferContext, Transferred, hookimpl


class Crop(Settings):
    """What crop can be told."""

    strength: float = Field(default=0.5, gt=0, le=1)
    """How much of the embedding comes from the teacher."""
    columns: Literal["first", "random"] = "first"
    """Which of the teacher's columns are kept."""


def skip(question: Question) -> str | None:
    """Needs one vocabulary, and a teacher that has columns to spare."""
    if not question.same_tokenizer:
        return "teacher and student have different tokenizers, so rows of their embeddings mean different tokens"
    if question.teacher.hidden < question.student.hidden:
        return f"the teacher is {question.teacher.hidden} wide, the student {question.student.hidden}: nothing to crop"
    return None


def transfer(context: TransferContext) -> Transferred:
    """One stage: crop, scale, blend."""
    import torch

    student, settings = context.pair.student, context.settings
    with context.stage("crop"), torch.no_grad():
        own = student.get_input_embeddings().weight
        theirs = context.pair.teacher.get_input_embeddings().weight
        width = own.shape[1]
        random = settings.columns == "random"
        kept = torch.randperm(theirs.shape[1])[:width] if random else torch.arange(width)
        cropped = theirs[:, kept].to(own.dtype)
        cropped = cropped * (own.norm(dim=0) / cropped.norm(dim=0).clamp_min(1e-9))
        own.lerp_(cropped, settings.strength)
    return Transferred(student, payload={"embed_tokens": cropped})


@hookimpl
def pkt_bench_methods():
    """The method."""
    yield Method(
        "crop",
        "the teacher's embedding, cropped",
        "pre-align",
        transfer,
        Crop,
        skip=skip,
        paper="https://example.org/crop",
    )


@hookimpl
def pkt_bench_controls():
    """Any columns, instead of the first ones."""
    yield Control("random-columns", "any columns", of=("crop",), settings={"columns": "random"})

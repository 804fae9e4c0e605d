"""Why a pair or suite cannot be done, from the configurations alone."""

from __future__ import annotations

from pkt_bench import LLAMA_LIKE, Question, adapted_modules
from pkt_bench_nuggets.settings import NuggetsSettings, PostPktSettings

OUTSIDE = {"embed_tokens", "lm_head"}


def skip_nuggets(question: Question) -> str | None:
    """Why the teacher has no student-sized blocks to give, or None."""
    reasons = (_other_layout(question), _no_blocks(question), _nothing_else_to_take(question))
    return next((reason for reason in reasons if reason), None) or _rank_too_large(question, "nuggets")


def skip_postpkt(question: Question) -> str | None:
    """As `nuggets` where the start comes from the teacher; the other starts ask for the student alone."""
    settings: PostPktSettings = question.settings
    reasons = [_other_layout(question), _nothing_to_take_away(question), _other_schedule(question)]
    reasons.append(_no_alignment(question))
    if settings.init == "nuggets":
        reasons += [_no_blocks(question), _nothing_else_to_take(question)]
    if settings.init != "gaussian":
        reasons.append(_rank_too_large(question, "postpkt"))
    return next((reason for reason in reasons if reason), None)


def _other_layout(question: Question) -> str | None:
    for role, model in (("teacher", question.teacher), ("student", question.student)):
        if model.family not in LLAMA_LIKE:
            known = ", ".join(sorted(LLAMA_LIKE))
            return f"the {role} is a {model.family} model; blocks are cut from layers laid out as in {known}"
    return None


def _no_blocks(question: Question) -> str | None:
    teacher, student = question.teacher, question.student
    settings: NuggetsSettings = question.settings
    if not question.same_tokenizer:
        return "teacher and student have different tokenizers; the paper's method is for models that share one"
    if teacher.layers < student.layers:
        return (
            f"the teacher has {teacher.layers} layers and the student {student.layers};"
            " every student layer needs a teacher layer of its own"
        )
    if student.tied and settings.origin == "embedding":
        return "the student's embedding and head are tied and get no adapter, so none can start from the teacher's"
    for module in adapted_modules(settings.modules, tied=student.tied):
        large, small = teacher.module_shape(module), student.module_shape(module)
        if module in OUTSIDE and teacher.vocabulary != student.vocabulary:
            return (
                f"the teacher's {module} has {teacher.vocabulary} tokens and the student's {student.vocabulary};"
                " a block of it would belong to other tokens: leave embed_tokens and lm_head out of nuggets.modules"
            )
        if large[0] < small[0] or large[1] < small[1]:
            return (
                f"the student's {module} {small} does not fit into the teacher's {large},"
                " so no block of its shape can be cut out"
            )
    return None


def _nothing_else_to_take(question: Question) -> str | None:
    """A control that draws what is as large as the whole draws the same: it is the method under another name."""
    control = question.control
    drawn = set() if control is None else {"layers", "structure"} & set(control.settings)
    if control is None or not drawn:
        return None
    teacher, student = question.teacher, question.student
    modules = adapted_modules(question.settings.modules, tied=student.tied)
    alike = {
        "layers": teacher.layers == student.layers,
        "structure": all(teacher.module_shape(module) == student.module_shape(module) for module in modules),
    }
    if not all(alike[name] for name in drawn):
        return None
    what = {"layers": "as many layers as the student", "structure": "matrices of the student's shape"}
    said = " and ".join(what[name] for name in sorted(drawn))
    return f"the teacher has {said}, so there is nothing else to draw: '{control.name}' would be the method itself"


def _rank_too_large(question: Question, method: str) -> str | None:
    settings: NuggetsSettings = question.settings
    for module in adapted_modules(settings.modules, tied=question.student.tied):
        shape = question.student.module_shape(module)
        if settings.rank > min(shape):
            return (
                f"rank {settings.rank} is too large for the student's {module} {shape};"
                f" it may be {min(shape)} at most: --set {method}.rank=..."
            )
    return None


def _nothing_to_take_away(question: Question) -> str | None:
    settings: PostPktSettings = question.settings
    control = question.control
    if control is None or settings.init == "nuggets" or "init" in control.settings:
        return None
    return (
        f"with postpkt.init={settings.init} nothing comes from the teacher, so '{control.name}' is postpkt itself;"
        " it is a control of postpkt.init=nuggets"
    )


def _other_schedule(question: Question) -> str | None:
    settings: PostPktSettings = question.settings
    if settings.preset == "paper" and "humaneval" in question.suite.name.lower():
        return (
            f"the paper tunes on {question.suite.name} by another schedule than on its other tasks:"
            " --set postpkt.preset=paper-humaneval"
        )
    return None


def _no_alignment(question: Question) -> str | None:
    settings: PostPktSettings = question.settings
    if settings.data == "align":
        for split in ("extract", "align"):
            if not question.suite.records(split):
                return f"suite '{question.suite.name}' has no {split} records, so LaTen's alignment sees none"
    return None

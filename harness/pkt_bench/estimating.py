"""What methods would need on a pair, by formula: from configurations alone, so that weights need not be there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pkt_bench import models
from pkt_bench.domain import Control, Estimate, Method, ModelRef, Pair, Question, Suite
from pkt_bench.errors import RequestError
from pkt_bench.known_models import KNOWN_MODELS, KnownModel
from pkt_bench.planning import chosen_settings, controls_of, named_or_given, suites_of, under_control
from pkt_bench.plugins import Offer, Registry
from pkt_bench.request import Request


@dataclass(frozen=True)
class Need:
    """What a method needs on a pair for these suites: its estimates, or why it would be skipped."""

    pair: str
    method: str
    suites: tuple[str, ...]
    estimates: tuple[Estimate, ...]
    skipped: str = ""


def estimate(request: Request, registry: Registry) -> list[Need]:
    """The needs of every method on every pair of a request; suites that need the same share a line.

    A pair is an installed one, or TEACHER:STUDENT, where each is a folder with a `config.json` or one of
    `KNOWN_MODELS` (`llama-2-13b:llama-2-7b`).

    Raises:
        RequestError: a name is unknown, a setting is wrong, or there is no configuration.
    """
    methods = registry.methods.expand(request.methods)
    methods += controls_of(methods, request.controls, registry)
    given, named = named_or_given(request.pairs)
    pairs = [offer.item for offer in registry.pairs.expand(named)] if named else []
    pairs += [Pair(name, "", _reference(sides[0]), _reference(sides[1])) for name, sides in given.items()]
    return [
        need
        for pair in pairs
        for offer in methods
        for need in _needs(request, pair, offer, _suites(request.suites, pair, registry))
    ]


def _suites(names: Sequence[str], pair: Pair, registry: Registry) -> list[Suite]:
    chosen = [each for name in names for each in (suites_of(pair, registry) if name == "all" else (name,))]
    return [offer.item for offer in registry.suites.expand(chosen)]


def _needs(request: Request, pair: Pair, offer: Offer[Method], suites: Sequence[Suite]) -> list[Need]:
    method = offer.item
    found: dict[tuple[str, tuple[Estimate, ...], str], tuple[str, ...]] = {}
    for settings in chosen_settings(request, offer):
        for suite in suites:
            asked = _question(under_control(pair, method), suite, settings, method.control)
            skipped = method.skip(asked) or ""
            amounts = () if skipped or method.estimate is None else tuple(method.estimate(asked))
            key = method.name, amounts, skipped
            found[key] = (*found.get(key, ()), suite.name)
    return [Need(pair.name, name, names, amounts, why) for (name, amounts, why), names in found.items()]


def _question(pair: Pair, suite: Suite, settings: object, control: Control | None) -> Question:
    teacher, student = (_known_or_read(ref) for ref in (pair.teacher, pair.student))
    return Question(
        pair=pair,
        teacher=teacher.architecture,
        student=student.architecture,
        same_tokenizer=teacher.tokenizer == student.tokenizer,
        suite=suite,
        settings=settings,
        control=control,
    )


def _reference(side: str) -> ModelRef:
    if side.lower() in KNOWN_MODELS:
        return ModelRef(Path(side.lower()), name=side.lower())
    folder = Path(side).expanduser().resolve()
    if not folder.is_dir() and "/" not in side:
        raise RequestError(
            f"'{side}' is neither a folder with a config.json nor a model whose sizes are known here.\n"
            f"  Known: {', '.join(KNOWN_MODELS)}"
        )
    return ModelRef(folder)


def _known_or_read(ref: ModelRef) -> KnownModel:
    known = KNOWN_MODELS.get(ref.name) if ref.path == Path(ref.name) else None
    return known or KnownModel(models.architecture(ref), models.tokenizer_digest(ref))

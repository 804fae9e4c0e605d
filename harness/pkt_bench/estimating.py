"""What methods would need on a pair, by formula: from configurations alone, so that weights need not be there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pkt_bench import hub, models, strangers
from pkt_bench.domain import Control, Estimate, Method, ModelRef, Pair, Question, Suite
from pkt_bench.errors import PktBenchError, RequestError
from pkt_bench.known_models import KNOWN_MODELS, KnownModel, known
from pkt_bench.planning import asked_pairs, chosen_settings, controls_of, is_typed, suites_of, under_control
from pkt_bench.plugins import Offer, Registry
from pkt_bench.preflight import Findings
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

    A pair is an installed one, or TEACHER:STUDENT, where each is a folder with a `config.json`, a model of the hub that
    is in its cache, or one of `KNOWN_MODELS` (`llama-2-13b:llama-2-7b`): nothing is fetched.

    Raises:
        RequestError: a name is unknown, a setting is wrong, or there is no configuration.
    """
    findings = Findings()
    asked = asked_pairs(request, registry, findings)
    findings.raise_all()
    # what was typed keeps the words it was typed in
    typed = iter(text for text in request.pairs if is_typed(text, registry))
    pairs = [replace(pair, name=next(typed)) if was_typed else pair for pair, was_typed in asked]
    return needs(request, registry, pairs)


def needs(request: Request, registry: Registry, pairs: Sequence[Pair]) -> list[Need]:
    """The needs of every method of a request on these pairs, whether their files are here or their sizes are known.

    Raises:
        RequestError: a name is unknown, a setting is wrong, or there is no configuration.
    """
    methods = registry.methods.expand(request.methods)
    methods += controls_of(methods, request.controls, registry)
    return [need for pair in pairs for offer in methods for need in _needs(request, pair, offer, registry)]


def _suites(names: Sequence[str], pair: Pair, registry: Registry) -> list[Suite]:
    chosen = [each for name in names for each in (suites_of(pair, registry) if name == "all" else (name,))]
    return [offer.item for offer in registry.suites.expand(chosen)]


def _needs(request: Request, pair: Pair, offer: Offer[Method], registry: Registry) -> list[Need]:
    method = offer.item
    suites = _suites(request.suites, pair, registry)
    found: dict[tuple[str, tuple[Estimate, ...], str], tuple[str, ...]] = {}
    for settings in chosen_settings(request, offer):
        for suite in suites:
            asked = _question(under_control(pair, method), suite, settings, method.control)
            with strangers.called():
                skipped = method.skip(asked) or ""
                amounts = () if skipped or method.estimate is None else tuple(method.estimate(asked))
            key = registry.methods.name_of(offer), amounts, skipped
            found[key] = (*found.get(key, ()), suite.name)
    return [Need(pair.name, name, names, amounts, why) for (name, amounts, why), names in found.items()]


def _question(pair: Pair, suite: Suite, settings: object, control: Control | None) -> Question:
    teacher, student = (known_or_read(ref) for ref in (pair.teacher, pair.student))
    return Question(
        pair=pair,
        teacher=teacher.architecture,
        student=student.architecture,
        same_tokenizer=teacher.tokenizer == student.tokenizer,
        suite=suite,
        settings=settings,
        control=control,
    )


def known_or_read(ref: ModelRef) -> KnownModel:
    """The sizes of a model: from its folder, from the hub's cache, or as they are known.

    Raises:
        RequestError: it is neither here nor known.
    """
    if ref.hub and not ref.found:
        located = hub.locate(ref)
        sizes = known(ref.hub) if located is None or located.gguf else None
        if sizes is not None:
            return sizes
        if located is None or located.gguf:
            raise RequestError(
                f"'{hub.spelled(ref)}' is neither in the hub's cache nor a model whose sizes are known here.\n"
                f"  Known: {', '.join(KNOWN_MODELS)}"
            )
        ref = located
    if not ref.path.is_dir() and ref.path.parent == Path.cwd():
        raise RequestError(
            f"'{ref.path.name}' is neither a folder with a config.json nor a model whose sizes are known here.\n"
            f"  Known: {', '.join(KNOWN_MODELS)}"
        )
    return KnownModel(models.architecture(ref), models.tokenizer_digest(ref))


def parameters(ref: ModelRef) -> int | None:
    """Numbers of a model: by its weight files, else by its sizes as they are known; None where nothing says."""
    try:
        located = hub.locate(ref) if ref.hub and not ref.found else ref
        if located is not None and not (located.path / located.gguf).is_file():
            return models.parameter_count(located)
        return known_or_read(ref).architecture.parameters
    except PktBenchError:
        return None

"""methods x pairs x suites x seeds -> cells: to run, done before, or skipped with a reason. Loads no model."""

from __future__ import annotations

import difflib
import functools
import hashlib
import itertools
import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pkt_bench import matching, mirrors, models, pairs_file, preflight, resolving, strangers, task_suites
from pkt_bench.data import cut, data_digest
from pkt_bench.domain import (
    Cell,
    Control,
    Job,
    Knobs,
    Method,
    ModelRef,
    Outcome,
    Pair,
    Question,
    Skip,
    Suite,
    canonical,
    digest_of,
)
from pkt_bench.environment import library_versions
from pkt_bench.errors import RequestError, UnavailableError
from pkt_bench.finding import normal
from pkt_bench.kept_settings import as_kept
from pkt_bench.offered import BUILT_IN_EXECUTORS
from pkt_bench.offers import Offer, Shelf, split_name
from pkt_bench.overlap import Overlap, overlap
from pkt_bench.plugins import Registry, code_digest
from pkt_bench.preflight import Findings
from pkt_bench.request import Request
from pkt_bench.sandbox import Refusal, probe
from pkt_bench.settings import Settings, parse_settings
from pkt_bench.stages import file_digest
from pkt_bench.store import Store
from pkt_bench.task_suites import LM_EVAL

# rooms of the harness whose code can move a number: their digest is part of every key
MOVES_NUMBERS = (
    "adapters",
    "artifacts",
    "checkpoints",
    "code_eval",
    "data",
    "domain",
    "environment",
    "factors",
    "known_datasets",
    "lm_tasks",
    "mirrored_tasks",
    "mirrors",
    "models",
    "phases",
    "reports",
    "scoring",
    "starts",
    "streaming",
    "task_data",
    "training",
    "transfer",
)


@dataclass(frozen=True)
class Left:
    """A cell that was tried before, did not end `done`, and is not tried again: how it ended, and what would."""

    cell: Cell
    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class Plan:
    """What will run, what was done before, what will not run and why, and what a reader should know first.

    `left` were tried before and are not tried again. `warnings` are what a reader of the numbers should know; `notes`
    what was looked at and found in order, or not: the vocabularies of each pair, `overlaps` in words.
    """

    jobs: tuple[Job, ...]
    done: tuple[Cell, ...]
    skips: tuple[Skip, ...]
    warnings: tuple[str, ...]
    request: Request
    left: tuple[Left, ...] = ()
    notes: tuple[str, ...] = ()
    overlaps: tuple[Overlap, ...] = ()

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell of the plan, in whatever state."""
        jobs = (job.cell for job in self.jobs)
        return (*jobs, *self.done, *(each.cell for each in self.left), *(skip.cell for skip in self.skips))


def make_plan(
    request: Request,
    registry: Registry,
    store: Store,
    findings: Findings | None = None,
    *,
    free_bytes: int | None = None,
    fetch: bool = False,
) -> Plan:
    """Plans a request, and says at once whatever is wrong with it, with what was found before in `findings`.

    Models of the hub that are not here are downloaded if it may `fetch`. `free_bytes` is what the disk of the run
    folder has left, where it is not to be asked.

    Raises:
        RequestError: a name is unknown, a setting is wrong, a model folder is none, nothing is selected.
        UnavailableError: the device is not there, or a model of the hub, or something of a plugin.
        StorageError: the disk has too little room.
        IntegrityError: a weight file is torn.
    """
    findings = findings or Findings()
    methods = _named(registry.methods, request.methods, findings)
    with findings.gathered():
        methods += controls_of(methods, request.controls, registry)
    named = _named_suites(request, registry, findings)
    pairs = _pairs(request, registry, findings, fetch=fetch)
    works = _works(request, pairs, named, registry, findings)
    _check_trackers(request, registry, findings)
    settings: dict[str, list[BaseModel]] = {}
    called = {_qualified(offer): _called(request, offer) for offer in methods}
    for offer in methods:
        with findings.gathered():
            settings[_qualified(offer)] = chosen_settings(request, offer)
    _unknown_settings(request, registry, methods, findings)
    suites = list({_qualified(each): each for work in works for each in work.suites}.values())
    # those named are looked at where no pair can be had, too: what is missing is said at once
    asked = [each for offers in named.values() for each in offers]
    trained = {_qualified(each) for each in (*named[request.suites], *suites)}
    checked = {_qualified(each): each for each in asked}
    checked |= {_qualified(each): each for work in works for each in (*work.also, *work.suites)}
    for spelled, suite in checked.items():
        preflight.check_suite(suite.item, spelled, findings, trained=spelled in trained)
    for pair in pairs:
        for name, variants in settings.items():
            _check_window(called[name], variants, pair, findings)
    for check in (functools.partial(preflight.check_device, request.device), preflight.check_temporary):
        with findings.gathered():
            check()
    if not findings.errors and not (methods and pairs and suites):
        raise RequestError("nothing is selected: give at least one of each of --methods, --pair and --suite.")
    findings.raise_all()
    plan = _assemble(request, store, methods, works, settings, registry)
    changing = {_qualified(offer) for offer in methods if offer.item.changes_student}
    saving = sum(job.method in changing for job in plan.jobs)
    room = preflight.check_disk(plan.jobs, saving, request.out, free_bytes)
    return replace(plan, warnings=(*plan.warnings, *room))


@dataclass(frozen=True)
class _Work:
    """What is to be done with one pair: the suites of its cells, and those that every student is scored on beside."""

    pair: Pair
    suites: tuple[Offer[Suite], ...]
    also: tuple[Offer[Suite], ...]
    knobs: Knobs


_Named = Mapping[tuple[str, ...], Sequence[Offer[Suite]]]


def _named_suites(request: Request, registry: Registry, findings: Findings) -> _Named:
    """The suites asked for by name, by the words that ask for them: one that nobody offers is found once."""
    extra = tuple(f"{LM_EVAL}/{task}" for task in request.tasks)
    return {
        names: _named(registry.suites, [name for name in names if name != "all"], findings)
        for names in dict.fromkeys((request.suites, request.also_score, extra))
    }


def _works(
    request: Request, pairs: Sequence[Pair], named: _Named, registry: Registry, findings: Findings
) -> list[_Work]:
    """The suites of each pair."""
    extra = named[tuple(f"{LM_EVAL}/{task}" for task in request.tasks)]

    def chosen(names: tuple[str, ...], pair: Pair) -> list[Offer[Suite]]:
        own = _named(registry.suites, suites_of(pair, registry), findings) if "all" in names else []
        return [*own, *(offer for offer in named[names] if offer not in own)]

    def trained_on(pair: Pair) -> Iterator[Offer[Suite]]:
        for offer in chosen(request.suites, pair):
            yield replace(offer, item=cut(offer.item, request.train_records))

    return [
        _Work(
            pair,
            tuple(trained_on(pair)),
            (*chosen(request.also_score, pair), *extra),
            _knobs(request, pair),
        )
        for pair in pairs
    ]


def suites_of(pair: Pair, registry: Registry) -> tuple[str, ...]:
    """What `all` suites of a pair are: those it names, or where it names none, those that need nothing fetched."""
    if not pair.suites:
        return tuple(_qualified(offer) for offer in registry.suites if not offer.item.needs)
    # a suite of this name that somebody else offers is not meant
    homes = {offer.distribution for offer in registry.pairs.called(pair.name) if offer.item.suites == pair.suites}
    own = {
        offer.item.name: _qualified(offer)
        for offer in registry.suites
        if len(homes) == 1 and offer.distribution in homes
    }
    return tuple(own.get(name, name) for name in pair.suites)


def _knobs(request: Request, pair: Pair) -> Knobs:
    """What the request sets for every cell of a pair."""
    kind = request.device.partition(":")[0]
    batch = request.batch_size
    return Knobs(
        device=kind,
        dtype=request.dtype,
        batch_size=preflight.fitting_batch(pair, kind, request.dtype) if isinstance(batch, str) else batch,
        threads=request.threads,
        limit=request.limit,
        budget=request.spending,
        scorer=request.scorer,
        teacher_dtype=request.teacher_dtype,
        device_map=request.device_map,
        training=request.training,
    )


def _named(shelf: Shelf[Any], names: Sequence[str], findings: Findings) -> list[Offer[Any]]:
    """The offers called so; each name that nobody offers is found on its own."""
    found: dict[int, Offer[Any]] = {}
    for name in names:
        with findings.gathered():
            found |= {id(offer): offer for offer in shelf.expand([name])}
    return list(found.values())


def _pairs(request: Request, registry: Registry, findings: Findings, *, fetch: bool) -> list[Pair]:
    """The pairs asked for whose checkpoints can be planned with, found; what is missing is fetched where it may be."""
    asked = asked_pairs(request, registry, findings)
    for names, flag in ((request.allow_pickle, "--allow-pickle"), (request.trust_remote_code, "--trust-remote-code")):
        problem = resolving.unused(names, flag, [pair for pair, _ in asked])
        findings.errors += [] if problem is None else [problem]
    terms = resolving.Terms(
        fetch=fetch,
        offline=request.offline,
        pickle=request.allow_pickle,
        code=request.trust_remote_code,
        tell=_say,
    )
    pairs = []
    # one typo in the request must not cost a download or a conversion; offline all that is missing is said
    in_vain = bool(findings.errors) and fetch and not request.offline
    for pair, typed in asked:
        if in_vain and any((ref.hub and not ref.found) or ref.gguf for ref in (pair.teacher, pair.student)):
            continue
        found, problems = resolving.found_pair(pair, terms)
        findings.errors += problems if typed else [preflight.of_a_pair(pair, error) for error in problems]
        if not problems and preflight.check_pair(
            found, findings, typed=typed, allow_small_teacher=request.allow_small_teacher
        ):
            pairs.append(found)
    return pairs


def asked_pairs(request: Request, registry: Registry, findings: Findings) -> list[tuple[Pair, bool]]:
    """The pairs asked for, not yet found, each with whether it was typed as `TEACHER:STUDENT`."""
    own: dict[str, Pair] = {}
    wrong: list[RequestError] = []
    installed = {offer.item.name for offer in registry.pairs}
    if request.pairs_file is not None or any(not is_typed(text, registry) for text in request.pairs):
        own, wrong = pairs_file.read(request.pairs_file, installed)
        findings.errors += wrong
    asked: list[tuple[Pair, bool]] = []
    for text in request.pairs:
        with findings.gathered():
            if is_typed(text, registry):
                asked.append((resolving.typed_pair(text), True))
            elif text in own:
                asked.append((own[text], False))
            elif text in installed or "/" in text or not wrong:
                # what a file with a fault in it does not offer may be just what is wrong there
                asked += [(offer.item, False) for offer in _pairs_called(text, registry, own)]
    return list(dict.fromkeys(asked))


def is_typed(text: str, registry: Registry) -> bool:
    """Whether a pair is written by its two sides: it has a colon, or a slash and is no `distribution/name`."""
    if ":" in text or "/" not in text:
        return ":" in text
    distribution, name = split_name(text)
    return name not in registry.pairs.offers and not any(offer.is_of(distribution) for offer in registry.pairs)


def _pairs_called(name: str, registry: Registry, own: Mapping[str, Pair]) -> list[Offer[Pair]]:
    try:
        return registry.pairs.expand([name])
    except RequestError as error:
        if not own:
            raise
        near = difflib.get_close_matches(name, own, n=1, cutoff=0.6)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise RequestError(f"{error}\n  In the file of pairs: {', '.join(own)}.{hint}") from None


def _say(text: str) -> None:
    print(f"pkt-bench: {text}", file=sys.stderr)  # noqa: T201 - what takes minutes is said while it happens


def _check_trackers(request: Request, registry: Registry, findings: Findings) -> None:
    for name in request.track:
        with findings.gathered():
            offer = registry.trackers.get(name)
            tracker = offer.item
            parse_settings(name, tracker.settings, offer.given(request.settings))
            if missing := tracker.missing():
                raise UnavailableError(f"--track {name}: {missing}")


def _check_window(method: str, variants: Sequence[BaseModel], pair: Pair, findings: Findings) -> None:
    """A window that was asked for and is longer than the student's positions would be cut without a word."""
    positions = models.architecture(pair.student).positions
    for chosen in variants:
        length = getattr(chosen, "max_length", None)
        if "max_length" in chosen.model_fields_set and isinstance(length, int) and length > positions:
            findings.errors.append(
                RequestError(
                    f"{method}.max_length = {length} will not do: the student of pair '{pair.name}' has {positions}"
                    f" positions.\n  Give at most that, or leave it out: --set {method}.max_length={positions}"
                )
            )


def controls_of(methods: list[Offer[Method]], names: tuple[str, ...], registry: Registry) -> list[Offer[Method]]:
    """The controls called `names` of the methods chosen, beyond those that were chosen by their own name.

    Raises:
        RequestError: none of these methods has a control of such a name.
    """
    chosen = {offer.qualified for offer in methods}
    theirs = [
        offer
        for offer in registry.methods
        if offer.qualified not in chosen and any(_is_control_of(offer, method, registry) for method in methods)
    ]
    if "all" in names:
        return theirs
    found: dict[str, Offer[Method]] = {}
    for name in names:
        called = [offer for offer in theirs if _is_control_called(offer, name)]
        if not called:
            known = sorted({offer.item.name.rpartition(":")[2] for offer in theirs})
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise RequestError(
                f"none of the methods chosen has a control '{name}'.{hint}"
                f"\n  Their controls: {', '.join(known) or 'none'}. All there are: pkt-bench ls controls"
            )
        found |= {offer.qualified: offer for offer in called}
    return list(found.values())


def _is_control_of(control: Offer[Method], method: Offer[Method], registry: Registry) -> bool:
    """Whether it is a control of this method: of its own distribution's, where that has a method so called."""
    if not control.item.control_of:
        return False
    distribution, name = split_name(control.item.control_of)
    if name != method.item.name or not method.is_of(distribution):
        return False
    own = any(offer.is_of(control.distribution) for offer in registry.methods.offers.get(name, ()))
    return bool(distribution) or not own or method.is_of(control.distribution)


def _is_control_called(offer: Offer[Method], name: str) -> bool:
    """Whether a control has this name: its own, METHOD:CONTROL, or either with a distribution in front."""
    if ":" in name or offer.is_called(name):
        return offer.is_called(name)
    distribution, plain = split_name(name)
    of, _, bare = offer.item.name.rpartition(":")[2].rpartition("/")
    theirs = offer.control_distribution or offer.distribution
    if not distribution and of:
        return False  # two have this name: which is meant has to be said
    return plain == bare and (not distribution or normal(distribution) == normal(theirs))


def chosen_settings(request: Request, offer: Offer[Method]) -> list[BaseModel]:
    """The settings a method is run with: one, or one for each combination of the values that a sweep gives.

    A control takes what is asked of its method, then what makes it a control, then what is asked of it by its own name.
    """
    method = offer.item
    layers: list[list[dict[str, Any]]] = []
    if method.control is not None:
        layers += _grids(request, lambda name: _names_method_of(name, offer))
        layers.append([dict(method.control.settings)])
    layers += _grids(request, offer.is_called)
    called = _called(request, offer)
    chosen: dict[str, BaseModel] = {}
    for choice in itertools.product(*layers):
        given = {name: value for fields in choice for name, value in fields.items()}
        parsed = parse_settings(called, method.settings, given)
        # a control may fix what is swept of its method: the same settings twice are one variant
        chosen.setdefault(_as_kept(called, parsed), parsed)
    return list(chosen.values())


def _as_kept(method: str, settings: BaseModel) -> str:
    """Settings as the JSON that is kept in rows and digested into keys."""
    try:
        return canonical(as_kept(settings))
    except (TypeError, ValueError) as error:
        raise UnavailableError(
            f"the settings of {method} cannot be kept as JSON: {error}.\n  Tell its author that"
            f" `pkt-bench plugins check {method}` says more, or leave it out."
        ) from None


def _called(request: Request, offer: Offer[Method]) -> str:
    """A method as the request calls it: with its distribution, where that was written."""
    written = (*request.methods, *request.settings, *request.sweep)
    return next((name for name in written if "/" in name and offer.is_called(name)), offer.item.name)


def _names_method_of(name: str, control: Offer[Method]) -> bool:
    """Whether a name is that of the method a control was made from, plain or with its distribution."""
    distribution, plain = split_name(name)
    return plain == control.item.control_of and control.is_of(distribution)


def _grids(request: Request, names: Callable[[str], bool]) -> list[list[dict[str, Any]]]:
    """What is asked under each of these names, plain ones first: all combinations of its swept values."""
    asked = sorted({name for name in (*request.settings, *request.sweep) if names(name)}, key=lambda name: "/" in name)
    flags = [name for name in asked if "/" not in name and name in request.assigned]
    for longer in (name for name in asked if "/" in name and name not in request.assigned):
        in_file = {*request.settings.get(longer, {}), *request.sweep.get(longer, {})}
        for plain in flags:
            if both := sorted(in_file & request.settings.get(plain, {}).keys()):
                # the longer name would win, and a flag has to
                raise RequestError(
                    f"{', '.join(both)} of '{longer}' is given under that name in a file and as '{plain}' beside it."
                    f"\n  To overrule the file write --set {longer}.{both[0]}=VALUE."
                )
    return [_grid(request, name) for name in asked]


def _grid(request: Request, name: str) -> list[dict[str, Any]]:
    """What is asked of `name`, for each combination of its swept values."""
    swept = request.sweep.get(name, {})
    return [
        request.settings.get(name, {}) | dict(zip(swept, values, strict=True))
        for values in itertools.product(*swept.values())
    ]


def _variations(variants: list[BaseModel]) -> list[str]:
    """In what each variant differs from the others, as people read it: `rank=8 layers=random`."""
    dumps = [as_kept(variant) for variant in variants]
    differing = [name for name in dumps[0] if any(dump[name] != dumps[0][name] for dump in dumps)]
    return [" ".join(f"{name}={_plain(dump[name])}" for name in differing) for dump in dumps]


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _assemble(
    request: Request,
    store: Store,
    methods: list[Offer[Method]],
    works: list[_Work],
    settings: Mapping[str, list[BaseModel]],
    registry: Registry,
) -> Plan:
    attempts = store.attempts()
    outcomes = {} if request.fresh else attempts.outcomes
    pairs = [work.pair for work in works]
    jobs: list[Job] = []
    done: list[Cell] = []
    left: list[Left] = []
    skips: list[Skip] = []
    plugins = tuple(Path(p).resolve() for p in request.plugins)
    for work, suite, offer in _squares(works, methods):
        pair, knobs = work.pair, work.knobs
        signatures = {role: models.signature(getattr(pair, role)) for role in ("teacher", "student")}
        variants = settings[_qualified(offer)]
        others = tuple(other for other in work.also if _qualified(other) != _qualified(suite))
        for chosen, variation in zip(variants, _variations(variants), strict=True):
            reason = skip_reason(
                offer, question(under_control(pair, offer.item), suite.item, chosen, offer.item.control)
            )
            if reason is None and any(scored.item.runs_code for scored in (suite, *others)):
                reason = _no_sandbox()
            for seed in range(request.seeds):
                cell = replace(
                    _cell(offer, chosen, pair, suite, others, seed, knobs),
                    variation=variation,
                    called=registry.methods.name_of(offer),
                )
                before = outcomes.get(cell.key)
                if before == Outcome.DONE:
                    done.append(cell)
                elif reason is not None:
                    skips.append(Skip(cell, reason))
                elif before is not None and before not in request.retried:
                    left.append(Left(cell, before, f"ended as {before} before; --retry {before} runs it again"))
                else:
                    names = _qualified(offer), pair, _qualified(suite)
                    kind_of = (cell.method, cell.pair, cell.suite)
                    jobs.append(
                        Job(
                            cell,
                            *names,
                            plugins,
                            request.out.resolve(),
                            also_score=tuple(map(_qualified, others)),
                            fresh=request.fresh,
                            limits=request.limits,
                            device=request.device,
                            signatures=signatures,
                            expected_seconds=attempts.expected_seconds.get(kind_of),
                            pass_tokens=request.pass_tokens,
                            data_dirs=mirrors.folders(),
                        )
                    )
    suites = list({_qualified(each): each for work in works for each in work.suites}.values())
    overlaps = tuple(overlap(suite.item) for suite in suites)
    warnings = [
        *_overlap_warnings(overlaps),
        *(warning for suite in suites for warning in preflight.missing_data(suite.item)),
        *_vocabulary_warnings(pairs),
        *(f"pair '{pair.name}': {caveat}" for pair in pairs for caveat in pair.caveats),
        *preflight.memory_warnings(
            pairs,
            request.dtype,
            request.limits,
            teacher_dtype=request.teacher_dtype,
            spread=request.device_map is not None,
        ),
    ]
    matches = (f"pair '{pair.name}': {line}" for pair in pairs for line in matching.match(pair).lines())
    return Plan(
        tuple(jobs),
        tuple(done),
        tuple(skips),
        tuple(warnings),
        request,
        left=tuple(left),
        notes=(*matches, *map(str, overlaps)),
        overlaps=overlaps,
    )


def _squares(works: list[_Work], methods: list[Offer[Method]]) -> Iterator[tuple[_Work, Offer[Suite], Offer[Method]]]:
    for work in works:
        for suite, offer in itertools.product(work.suites, methods):
            yield work, suite, offer


def skip_reason(offer: Offer[Method], question: Question) -> str | None:
    """Why a method cannot do what is asked, in its own words; None where it can."""
    try:
        with strangers.called():
            reason = offer.item.skip(question)
    except Exception as error:  # noqa: BLE001 - one stranger's defect must not take the other methods along
        return f"the skip of {_qualified(offer)} raised {type(error).__name__}: {error}; tell its author"
    if reason is None or (isinstance(reason, str) and reason.strip()):
        return reason
    given = "an empty text" if isinstance(reason, str) else f"a {type(reason).__name__}"
    return f"the skip of {_qualified(offer)} gave {given}, no sentence; tell its author"


def _qualified(offer: Offer[Any]) -> str:
    return offer.qualified


def _cell(
    offer: Offer[Method],
    settings: BaseModel,
    pair: Pair,
    suite: Offer[Suite],
    others: Sequence[Offer[Suite]],
    seed: int,
    knobs: Knobs,
) -> Cell:
    method = offer.item
    chosen = as_kept(settings)
    identity = {
        "harness": harness_digest(),
        "method": {
            "name": method.name,
            "version": method.version,
            "paradigm": method.paradigm,
            "control_of": method.control_of,
            "distribution": offer.distribution,
            "distribution_version": offer.version,
            "code": code_digest(offer.module, method.transfer, *_code_of(method.control)),
            "settings": chosen,
        },
        "pair": pair.name,
        "teacher": _model_identity(pair.teacher),
        "student": _model_identity(pair.student),
        **suite_identity(suite),
        # a cell that scores nothing else has the key it always had
        **({"also_score": [suite_identity(other, trained=False) for other in others]} if others else {}),
        "seed": seed,
        "knobs": _knobs_identity(knobs),
        "scorer": {"lm_eval": library_versions()["lm_eval"]},
        "libraries": {name: _minor(v) for name, v in library_versions().items() if name != "lm_eval"},
    }
    return Cell(
        method=method.name,
        distribution=offer.distribution,
        settings=canonical(chosen),
        pair=pair.name,
        suite=suite.item.name,
        seed=seed,
        knobs=knobs,
        identity=identity,
        teacher=_label(pair.teacher),
        student=_label(pair.student),
    )


def suite_identity(suite: Offer[Suite], *, trained: bool = True) -> dict[str, Any]:
    """All of a suite that can change a result; of one made of a task and only scored on, its records cannot."""
    of_a_task = task_suites.made_here(suite.item)
    return {
        "suite": {
            "name": suite.item.name,
            # one of a folder is known by its files, not by where they are
            "distribution": Path(suite.distribution).name if of_a_task else suite.distribution,
            "distribution_version": suite.version,
            "code": code_digest(suite.module, suite.item.records),
            "task_files": _task_files(suite.item),
        },
        "data_hash": data_digest(suite.item, trained=trained or not of_a_task),
        "prompt_hash": digest_of(asdict(suite.item.prompt)),
        "tasks": [asdict(task) for task in suite.item.tasks],
    }


def _knobs_identity(knobs: Knobs) -> dict[str, Any]:
    """The knobs as a key holds them: of a budget, and of how to train, the part that is set."""
    budget = {name: amount for name, amount in asdict(knobs.budget).items() if amount is not None}
    training = {name: chosen for name, chosen in asdict(knobs.training).items() if chosen}
    identity = asdict(knobs) | {"budget": budget, "training": training}
    unset = ("budget", "training", "teacher_dtype", "device_map")
    return {name: chosen for name, chosen in identity.items() if chosen or name not in unset}


def _code_of(control: Control | None) -> list[Callable[..., Any]]:
    return [] if control is None else [part for part in (control.teacher, control.pair) if part is not None]


def _label(ref: ModelRef) -> str:
    """A checkpoint for people: its name and size, never this machine's folders."""
    return f"{ref.label} ({models.parameter_count(ref) / 1e6:.3g} M)"


def _model_identity(ref: ModelRef) -> dict[str, str]:
    return {"revision": ref.revision, "digest": models.checkpoint_digest(ref)}


def _minor(version: str) -> str:
    return ".".join(version.partition("+")[0].split(".")[:2])


@functools.cache
def harness_digest() -> str:
    """BLAKE2b-128 over the rooms of the harness that can move a number: those of several files included."""
    state = hashlib.blake2b(digest_size=16)
    here = Path(__file__).parent
    folders = (file for folder in ("fastscore", "sandbox") for file in sorted((here / folder).rglob("*.py")))
    for file in (*(here / f"{room}.py" for room in MOVES_NUMBERS), *folders):
        state.update(file.relative_to(here).as_posix().encode())
        state.update(file.read_bytes())
    return state.hexdigest()


def _task_files(suite: Suite) -> str:
    if task_suites.made_here(suite):
        return task_suites.source_digest(suite)
    if suite.task_path is None:
        # lm-eval's own, which its version names
        return ""
    if not suite.task_path.is_dir():
        raise UnavailableError(f"suite '{suite.name}': its task folder {suite.task_path} is not there.")
    return _folder_digest(suite.task_path)


@functools.lru_cache(maxsize=256)
def _folder_digest(folder: Path) -> str:
    """Over every file: a task's documents and answers may lie beside its YAML, in any format."""
    state = hashlib.blake2b(digest_size=16)
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        name = file.relative_to(folder)
        if "__pycache__" not in name.parts and not name.name.startswith("."):
            state.update(name.as_posix().encode())
            state.update(file_digest(file).encode())
    return state.hexdigest()


# ---------------------------------------------------------------- checks


def _unknown_settings(
    request: Request, registry: Registry, methods: Sequence[Offer[Method]], findings: Findings
) -> None:
    """Settings for a method nobody offers are a typo. A sweep may know more methods than a run takes; --set may not."""
    others: dict[str, type[BaseModel]] = dict.fromkeys(BUILT_IN_EXECUTORS, Settings)
    for service in (*registry.executors, *registry.trackers):
        others |= dict.fromkeys((service.item.name, _qualified(service)), service.item.settings)
    for name in dict.fromkeys((*request.settings, *request.sweep)):
        meant = [
            offer
            for offer in methods
            if offer.is_called(name) or (offer.item.control is not None and _names_method_of(name, offer))
        ]
        whose = list(dict.fromkeys(offer.distribution for offer in meant))
        with findings.gathered():
            if len(whose) > 1:
                raise RequestError(
                    f"settings are given for '{name}', and this run has that of {' and that of '.join(whose)}."
                    f"\n  Say whose: {' or '.join(f'{each}/{name}' for each in whose)}"
                )
            if meant:
                continue
            if name in others:
                _check_others(request, name, others[name])
                continue
            offer = _method_called(name, others, registry)
            if name in request.assigned:
                raise RequestError(
                    f"settings are given for '{name}', which is not among the methods of this run."
                    f"\n  Add it with --methods {name}, or leave its settings out."
                )
            # what this run leaves out is for another one, and a typo in it would be found there
            chosen_settings(request, offer)


def _check_others(request: Request, name: str, settings: type[BaseModel]) -> None:
    """Settings of an executor or a tracker, of those too that this run does without."""
    if name in request.sweep:
        raise RequestError(
            f"sweep.{name}: only settings of methods can be swept, and '{name}' is an executor or a tracker."
            f"\n  Give one value under [settings.{name}]."
        )
    if name != request.executor and name not in request.track:
        parse_settings(name, settings, request.settings[name])


def _method_called(name: str, others: Collection[str], registry: Registry) -> Offer[Method]:
    try:
        return registry.methods.get(name)
    except RequestError as error:
        near = difflib.get_close_matches(name, others, n=1, cutoff=0.6)
        first, newline, listing = str(error).partition("\n")
        if not near or "Did you mean" in first:
            raise
        hint = f"Did you mean '{near[0]}', an executor or a tracker?"
        raise RequestError(f"{first} {hint}{newline}{listing}") from None


def under_control(pair: Pair, method: Method) -> Pair:
    """The pair a method works with: the one asked for, unless it is a control that takes another."""
    return method.control.pair(pair) if method.control is not None and method.control.pair is not None else pair


def question(pair: Pair, suite: Suite, settings: BaseModel, control: Control | None = None) -> Question:
    """What a method is asked about a pair and a suite, from their files' headers alone."""
    return Question(
        pair=pair,
        teacher=models.architecture(pair.teacher),
        student=models.architecture(pair.student),
        same_tokenizer=models.tokenizer_digest(pair.teacher) == models.tokenizer_digest(pair.student),
        suite=suite,
        settings=settings,
        control=control,
    )


@functools.cache
def _no_sandbox() -> str | None:
    found = probe()
    return str(found) if isinstance(found, Refusal) else None


def _overlap_warnings(overlaps: Sequence[Overlap]) -> list[str]:
    return [
        f"suite '{found.suite}': {counts.exact} {split} records have the prompt of a test document"
        for found in overlaps
        for split, counts in found.splits.items()
        if counts.exact
    ]


def _vocabulary_warnings(pairs: list[Pair]) -> list[str]:
    return [
        f"pair '{pair.name}': teacher and student have different tokenizers"
        for pair in pairs
        if models.tokenizer_digest(pair.teacher) != models.tokenizer_digest(pair.student)
    ]

"""What a method says of itself: words, reasons, what it loads before it is needed. Nothing is run for it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping

from pkt_bench import strangers
from pkt_bench.contract.cold import Cold
from pkt_bench.contract.findings import Finding, counted
from pkt_bench.domain import Method, Pair, Suite
from pkt_bench.planning import question, under_control
from pkt_bench.plugins import Offer

LONGEST_SUMMARY = 120
SHORTEST_REASON = 10


def of_importing(cold: Cold | str) -> Iterator[Finding]:
    """Whether its plugin can be imported and asked without torch; where `cold` is text, that is what stopped it."""
    promise = "importing it loads nothing heavy"
    if isinstance(cold, str):
        yield Finding(
            promise, "broken", f"a new program could not import it: {cold}", "pkt-bench plugins list says why."
        )
    elif cold.by_import:
        yield Finding(
            promise,
            "broken",
            f"importing the plugin and asking its hooks loads {', '.join(cold.by_import)}",
            "Every command asks every plugin. Import them inside the functions that need them, and for annotations"
            " under `if TYPE_CHECKING:`.",
        )
    elif cold.by_skip:
        yield Finding(
            promise,
            "broken",
            f"asking its skip loads {', '.join(cold.by_skip)}",
            "A plan asks `skip` of every pair: answer from `question.teacher` and `question.student`, which are read"
            " from configurations.",
        )
    else:
        yield Finding(promise, "kept", f"its plugin loads in {cold.seconds:.2f} CPU-s")


def of_words(offer: Offer[Method]) -> Iterator[Finding]:
    """Whether a reader finds out what it is: a summary of a line, a docstring of its module, where it comes from."""
    promise = "it says what it is"
    method = offer.item
    wrong = []
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*(:[A-Za-z0-9][A-Za-z0-9_.+-]*)?", method.name):
        wrong.append(f"the name {method.name!r} has signs that a command line or a list of names would stumble over")
    if not method.summary.strip() or "\n" in method.summary or len(method.summary) > LONGEST_SUMMARY:
        wrong.append(f"the summary is one line of 1 to {LONGEST_SUMMARY} signs")
    if not (getattr(sys.modules.get(offer.module), "__doc__", None) or "").strip():
        wrong.append(f"the module {offer.module} has no docstring")
    if wrong:
        yield Finding(
            promise, "broken", "; ".join(wrong), "`pkt-bench plugins show` prints these: write them for readers."
        )
        return
    yield Finding(promise, "kept", method.summary)
    if not method.paper and method.paradigm not in {"reference", "control"}:
        yield Finding(
            "it says where it comes from",
            "remark",
            "paper is empty",
            "Name the paper, or the page of the method, if there is one.",
        )


def of_estimate(method: Method, suite: Suite, pairs: Mapping[str, Pair]) -> Iterator[Finding]:
    """Whether its estimate, where it has one, gives figures for every pair that it does not skip."""
    promise = "its estimate gives figures"
    if method.estimate is None:
        yield Finding(
            promise,
            "untried",
            "it has no estimate",
            "With one, `plan --estimate` and `doctor` say what it needs before a machine is rented.",
        )
        return
    wrong: list[str] = []
    count = 0
    for pair in pairs.values():
        asked = question(under_control(pair, method), suite, method.settings(), method.control)
        try:
            with strangers.called():
                needs = [] if method.skip(asked) else list(method.estimate(asked))
        except Exception as error:  # noqa: BLE001 - a stranger's function may raise anything
            wrong.append(f"it raised {type(error).__name__}: {error}")
            break
        count += len(needs)
        wrong += [
            f"'{need.what}' is {need.amount!r} {need.unit}" for need in needs if not 0 <= need.amount < float("inf")
        ]
        wrong += [f"'{need.what}' names no formula" for need in needs if not need.formula]
    if wrong:
        yield Finding(
            promise, "broken", "; ".join(dict.fromkeys(wrong)), "Estimate(what, formula, amount, unit), amount >= 0."
        )
    else:
        yield Finding(promise, "kept", counted(count, "figure"))


def of_skips(method: Method, suite: Suite, pairs: Mapping[str, Pair]) -> Iterator[Finding]:
    """Whether `skip` answers every pair with None or a sentence, the same each time."""
    promise = "skip gives a reason or none"
    wrong = []
    for label, pair in pairs.items():
        asked = question(under_control(pair, method), suite, method.settings(), method.control)
        try:
            with strangers.called():
                answers = [method.skip(asked), method.skip(asked)]
        except Exception as error:  # noqa: BLE001 - a stranger's function may raise anything
            wrong.append(f"{label}: it raised {type(error).__name__}: {error}")
            continue
        first = answers[0]
        if answers[0] != answers[1]:
            wrong.append(f"{label}: asked twice, it says {answers[0]!r} and {answers[1]!r}")
        elif first is not None and not (isinstance(first, str) and len(first.strip()) >= SHORTEST_REASON):
            wrong.append(f"{label}: it says {first!r}, which is no sentence")
    if wrong:
        yield Finding(
            promise,
            "broken",
            "\n".join(wrong),
            "skip(question) gives None, or a sentence that says why the pair cannot be done and names the sizes.",
        )
    else:
        yield Finding(promise, "kept", f"asked of {counted(len(pairs), 'pair')}")

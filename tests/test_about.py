"""`plugins show`: everything about a plugin or an offer, from what is here alone."""

import json
from dataclasses import replace

import pytest

from pkt_bench import plugins
from pkt_bench.about import gathered, look_up
from pkt_bench.errors import RequestError
from pkt_bench.planning import skip_reason

PLUGIN = '''
"""First line of the module.

The rest of it.
"""
from pkt_bench import Control, Method, Settings, UnavailableError, hookimpl


class Needs(Settings):
    rank: int
    """Must be given."""


class Optional(Settings):
    rank: int = 4


def skip(question):
    if question.pair.name == "tiny" and question.suite.name != "code":
        return "too small for words"
    if question.suite.name == "code":
        raise KeyError("surprise")
    if question.suite.name in {"mmlu", "gsm8k", "gsm8k-text"}:
        raise UnavailableError("no data")
    return None


def control_skip(question):
    return None if question.settings.rank == 4 else f"rank {question.settings.rank}"


@hookimpl
def pkt_bench_methods():
    yield Method("strict", "needs a rank", "post-align", print, Needs, skip=skip)
    yield Method("picky", "skips some", "post-align", print, Optional, skip=skip, paper="a paper")
    yield Method("ranked", "skips by rank", "post-align", print, Optional, skip=control_skip)
    yield Method("picky-control", "another", "control", print, Optional, control_of="picky")


@hookimpl
def pkt_bench_controls():
    yield Control("low", "a low rank", of=("ranked",), settings={"rank": 1})
'''


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    file = tmp_path_factory.mktemp("shown") / "shown.py"
    file.write_text(PLUGIN.lstrip(), encoding="utf-8")
    return plugins.load([file])


def test_a_method_says_who_offers_it_and_what_its_module_says(registry):
    found = look_up("shown.py/picky", registry)

    assert (found.kind, found.name, found.distribution, found.version, found.plugin) == (
        "method",
        "picky",
        "shown.py",
        "0",
        "shown",
    )
    assert found.docstring == "First line of the module.\n\nThe rest of it."
    assert found.facts["paper"] == "a paper"


def test_what_it_skips_is_gathered_by_reason_and_what_it_could_not_look_at_is_said(registry):
    skips = look_up("picky", registry).skips

    reasons = {each.reason: each.squares for each in skips.skipped}
    surprise = "the skip of shown.py/picky raised KeyError: 'surprise'; tell its author"
    assert set(reasons) == {"too small for words", surprise}
    assert set(reasons["too small for words"]) == {
        ("tiny", suite) for suite in ("arithmetic", "knowledge", "gsm8k", "gsm8k-text", "mmlu", "humaneval", "mbpp")
    }
    assert {suite for _, suite in reasons[surprise]} == {"code"}
    assert skips.lacking == ("gsm8k", "gsm8k-text", "mmlu")


def test_one_suite_without_data_hides_no_answer_about_another_pair(registry):
    skips = look_up("picky", registry).skips

    pairs, suites = len(list(registry.pairs)), len(list(registry.suites))
    # the tiny pair is asked about all suites; the others not about the three whose data are not here
    assert skips.asked == pairs * suites - 3 * (pairs - 1)


def test_a_method_without_defaults_says_which_setting_it_wants(registry):
    found = look_up("strict", registry)

    assert found.skips.problem == "not asked: it has no default for rank"
    assert (found.settings[0].required, found.settings[0].description) == (True, "Must be given.")


def test_controls_of_every_kind_are_listed_and_a_control_is_asked_with_its_own_settings(registry):
    assert ("picky-control", "another") in look_up("picky", registry).controls
    assert ("ranked:low", "a low rank") in look_up("ranked", registry).controls

    skips = look_up("ranked:low", registry).skips
    assert [each.reason for each in skips.skipped] == ["rank 1"]
    assert len(skips.skipped[0].squares) == skips.asked > 0


@pytest.mark.parametrize(
    ("name", "kind", "also"),
    [
        ("laten", "method", ("plugin",)),
        ("tiny", "pair", ("plugin",)),
        ("gsm8k", "suite", ()),
        ("ray", "executor", ("plugin",)),
        ("pkt-bench/process", "executor", ()),
        ("wandb", "tracker", ("plugin",)),
        ("noise-norm", "control", ()),
        ("baselines", "plugin", ()),
        ("pkt-bench/nuggets", "method", ("plugin",)),
    ],
)
def test_anything_that_is_offered_can_be_shown_and_says_what_else_is_called_so(registry, name, kind, also):
    found = look_up(name, registry)

    assert (found.kind, found.also) == (kind, also)
    assert found.distribution == "pkt-bench"


def test_of_a_plugin_its_hooks_and_offers_are_shown(registry):
    found = look_up("controls", registry)

    assert found.facts == {"status": "ok", "hooks": "pkt_bench_controls"}
    assert "control noise-norm" in found.offers


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("latan", "", "no plugin, and nothing that a plugin offers, is called 'latan'. Did you mean 'laten'?"),
        ("laten", "pair", "no pair is called 'laten'."),
        ("laten", "methd", "--kind 'methd' will not do. Did you mean 'method'?"),
        ("pkt-bench", "", "pkt-bench has 9 plugins.\n  Name one of them: baselines, controls, laten"),
    ],
)
def test_a_name_that_means_nothing_or_too_much_is_refused(registry, name, kind, said):
    with pytest.raises(RequestError) as caught:
        look_up(name, registry, kind)

    assert str(caught.value).startswith(said)


def test_a_pair_that_can_do_no_suite_is_named_alone():
    from pkt_bench.about import Skipped

    skipped = Skipped("why", (("one", "a"), ("one", "b"), ("two", "b")))

    assert gathered(skipped, ["a", "b"]) == ["one", "two (b)"]


def test_the_command_prints_the_same_as_text_and_as_json(pkt_bench):
    shown = pkt_bench("plugins", "show", "nuggets:self")
    as_json = json.loads(pkt_bench("plugins", "show", "nuggets:self", "--json").out)

    assert shown.code == 0, shown.err
    assert shown.out.startswith("method nuggets:self  nuggets with the student as its own teacher\n")
    for setting in as_json["settings"]:
        assert setting["description"] in shown.out
    assert as_json["facts"]["control of"] == "nuggets"
    assert "skips\n  " in shown.out


@pytest.mark.parametrize(("given", "said"), [("", "an empty text"), (True, "a bool")])
def test_a_skip_that_gives_no_sentence_is_said_to_be_its_authors_mistake(registry, given, said):
    offer = registry.methods.get("picky")
    wordless = replace(offer, item=replace(offer.item, skip=lambda question: given))

    reason = skip_reason(wordless, None)

    assert reason == f"the skip of shown.py/picky gave {said}, no sentence; tell its author"

"""Names of plugins and of what they offer: told apart by distribution, refused where they cannot be."""

import base64
import hashlib
import json
import sys
from pathlib import Path

import pytest

from pkt_bench import executors, plugins, tracking
from pkt_bench.domain import ModelRef, Pair
from pkt_bench.errors import RequestError
from pkt_bench.planning import asked_pairs, chosen_settings, controls_of, suites_of
from pkt_bench.preflight import Findings
from pkt_bench.request import build

HEAD = "from pkt_bench import Control, Executor, Method, ModelRef, Pair, Settings, Suite, Tracker, hookimpl\n"
SCALE = """
class Scale(Settings):
    factor: float = 1.0

"""


def methods(*names, **fields):
    given = "".join(f", {field}={value}" for field, value in fields.items())
    lines = [f"    yield Method({name!r}, 's', 'post-align', lambda context: None, Scale{given})\n" for name in names]
    return HEAD + SCALE + "@hookimpl\ndef pkt_bench_methods():\n" + "".join(lines)


def controls(name, of, settings="{}"):
    return (
        f"\n\n@hookimpl\ndef pkt_bench_controls():\n    yield Control({name!r}, 's', of={of!r}, settings={settings})\n"
    )


class Site:
    """A folder on the path that distributions are put into as pip lays them out."""

    def __init__(self, folder):
        self.folder = folder

    def put(self, name, points, version="1.2", **modules):
        for module, source in modules.items():
            (self.folder / f"{module}.py").write_text(source, encoding="utf-8")
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
        lines = "".join(f"{point} = {value}\n" for point, value in points.items())
        (info / "entry_points.txt").write_text(f"[pkt_bench]\n{lines}", encoding="utf-8")
        return info


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield Site(tmp_path)
    for name in set(sys.modules) - before:
        if (tmp_path / f"{name}.py").exists():
            del sys.modules[name]


@pytest.fixture
def two(site):
    """Two distributions whose plugins have one name and offer one method, each with a control of it."""
    for name in ("alpha", "beta"):
        source = methods("shared") + controls("weaker", ("shared",), "{'factor': 0.5}")
        site.put(name, {"same": f"{name}_module"}, **{f"{name}_module": source})
    return plugins.load()


def found(registry, distribution):
    return [each for each in registry.providers if each.distribution == distribution]


# ---------------------------------------------------------------- plugins


def test_two_distributions_may_call_their_entry_points_alike(two):
    (alpha,), (beta,) = found(two, "alpha"), found(two, "beta")

    assert (alpha.name, alpha.status, alpha.reason) == ("same", "ok", "")
    assert (beta.name, beta.status) == ("same", "clash")
    assert beta.reason == "the method name 'shared' is taken by alpha; write beta/shared"
    assert {two.methods.get(f"{each}/shared").module for each in ("alpha", "beta")} == {"alpha_module", "beta_module"}


@pytest.mark.parametrize("word", ["same", "alpha", "ALPHA", "alpha/same"])
def test_the_lists_take_a_plugins_name_its_distributions_or_both(two, word):
    allowed = plugins.load(environ={"PKT_BENCH_LOAD_PLUGINS": word})
    blocked = plugins.load(environ={"PKT_BENCH_DISABLE_PLUGINS": word})

    both = word == "same"
    assert [each.qualified for each in allowed.methods.offers["shared"]] == (
        ["alpha/shared", "beta/shared"] if both else ["alpha/shared"]
    )
    assert [each.qualified for each in blocked.methods.offers.get("shared", [])] == ([] if both else ["beta/shared"])
    assert found(blocked, "alpha")[0].reason == "named in PKT_BENCH_DISABLE_PLUGINS"


def test_the_block_list_wins_over_the_allow_list(two):
    registry = plugins.load(environ={"PKT_BENCH_LOAD_PLUGINS": "same", "PKT_BENCH_DISABLE_PLUGINS": "beta"})

    assert [each.qualified for each in registry.methods.offers["shared"]] == ["alpha/shared"]


def test_a_word_of_a_list_that_names_nothing_is_said_once_with_the_nearest(two):
    said = []

    plugins.load(environ={"PKT_BENCH_LOAD_PLUGINS": "nugets,alpha/sme"}, tell=said.append)

    assert [text.splitlines()[0] for text in said] == [
        (
            "PKT_BENCH_LOAD_PLUGINS names 'nugets', and no plugin and no distribution of plugins is called so."
            " Did you mean 'nuggets'?"
        ),
        (
            "PKT_BENCH_LOAD_PLUGINS names 'alpha/sme', and no plugin and no distribution of plugins is called so."
            " Did you mean 'alpha/same'?"
        ),
    ]
    assert "alpha/same, beta/same, pkt-bench/baselines" in said[0].splitlines()[1]


def test_a_word_of_a_list_that_names_nothing_is_an_error_in_strict_mode(site):
    with pytest.raises(RequestError, match=r"PKT_BENCH_DISABLE_PLUGINS names 'latn'.*Did you mean 'laten'"):
        plugins.load(environ={"PKT_BENCH_DISABLE_PLUGINS": "latn", "PKT_BENCH_STRICT_PLUGINS": "1"})


def test_two_files_of_one_name_are_refused_for_rows_could_not_tell_them_apart(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(methods(folder), encoding="utf-8")

    with pytest.raises(RequestError, match=r"are both called mine\.py"):
        plugins.load([tmp_path / "a" / "mine.py", tmp_path / "b" / "mine.py"])


# ---------------------------------------------------------------- one module, two distributions


def record(info, file, content=None):
    """Notes in RECORD that the distribution holds a file, with its digest or that of other content."""
    made = hashlib.sha256(content if content is not None else file.read_bytes()).digest()
    digest = base64.urlsafe_b64encode(made).decode().rstrip("=")
    (info / "RECORD").write_text(f"{file.name},sha256={digest},1\n", encoding="utf-8")


def test_a_module_belongs_to_the_distribution_whose_files_hold_it(site):
    site.put("a-namesake", {"plugin": "held"})
    info = site.put("the-owner", {"plugin": "held"}, version="3.4", held=methods("kept"))
    record(info, site.folder / "held.py")

    registry = plugins.load()

    (hidden,), (owner,) = found(registry, "a-namesake"), found(registry, "the-owner")
    assert (hidden.status, hidden.reason) == (
        "disabled",
        "its module held is that of the-owner 3.4 here, which hides it",
    )
    assert owner.status == "ok"
    assert registry.methods.get("kept").distribution == "the-owner"
    assert registry.methods.get("the-owner/kept").version == "3.4"


def test_of_two_distributions_that_wrote_one_file_it_belongs_to_the_one_with_its_digest(site):
    first = site.put("first-written", {"plugin": "twice_written"}, twice_written=methods("late"))
    record(first, site.folder / "twice_written.py", content=b"what was there before")
    record(site.put("last-written", {"plugin": "twice_written"}), site.folder / "twice_written.py")

    registry = plugins.load()

    assert found(registry, "first-written")[0].status == "disabled"
    assert registry.methods.get("late").distribution == "last-written"


def test_an_editable_install_holds_the_modules_of_its_project(site, tmp_path):
    site.put("a-namesake", {"plugin": "edited"})
    info = site.put("the-editable", {"plugin": "edited"}, edited=methods("fresh"))
    origin = {"url": tmp_path.as_uri(), "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(origin), encoding="utf-8")

    registry = plugins.load()

    assert registry.methods.get("fresh").distribution == "the-editable"


def test_two_plugins_of_one_distribution_that_are_one_module_are_loaded_once(site):
    site.put("repeated", {"one": "said_twice", "two": "said_twice"}, said_twice=methods("once"))

    registry = plugins.load()

    one, other = found(registry, "repeated")
    assert (one.status, other.status) == ("ok", "disabled")
    assert other.reason == "the plugin 'one' of repeated is the same module, said_twice"
    assert len(registry.methods.called("once")) == 1


# ---------------------------------------------------------------- names of offers

NAMES = "names are 1 to 64 letters, digits, dots, dashes, underlines and plus signs, the first a letter or digit"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", "''"),
        ("a b", "'a b'"),
        ("a/b", "'a/b'"),
        ("a:b", "'a:b'"),
        ("a,b", "'a,b'"),
        ("-a", "'-a'"),
        ("a\tb", r"'a\tb'"),
        ("x" * 65, f"'{'x' * 40}...'"),
    ],
)
def test_a_name_that_could_not_be_typed_is_refused(site, name, shown):
    site.put("strange", {"strange": "strange_name"}, strange_name=methods(name))

    (provider,) = found(plugins.load(), "strange")

    assert provider.status == "broken"
    assert provider.reason == f"pkt_bench_methods failed: a method has the name {shown}; {NAMES}"


def test_a_name_that_stands_for_several_is_refused(site):
    site.put("greedy", {"greedy": "greedy_name"}, greedy_name=methods("all"))

    (provider,) = found(plugins.load(), "greedy")

    assert provider.reason == (
        "pkt_bench_methods failed: a method has the name 'all', which stands for several of them; give it another"
    )


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (methods("m", "m"), "it offers two methods called 'm'"),
        (
            methods("m").replace("Scale)", "dict)"),
            (
                "pkt_bench_methods failed: method 'm': settings is the class dict;"
                " the class of its settings is wanted, made from pkt_bench.Settings"
            ),
        ),
        (
            methods("m", skip="'never'"),
            "pkt_bench_methods failed: method 'm': skip is 'never'; a function is wanted",
        ),
        (
            methods("m", estimate="3"),
            "pkt_bench_methods failed: method 'm': estimate is 3; a function is wanted",
        ),
        (
            HEAD + controls("c", "laten"),
            "pkt_bench_controls failed: control 'c': of is 'laten'; write a tuple: ('laten',)",
        ),
        (
            HEAD + "@hookimpl\ndef pkt_bench_pairs():\n    yield Pair('p', 's', 'big', 'small')\n",
            "pkt_bench_pairs failed: pair 'p': teacher is 'big'; a pkt_bench.ModelRef is wanted",
        ),
        (
            HEAD + "@hookimpl\ndef pkt_bench_executors():\n    yield Executor('inline', 's', print, Settings)\n",
            (
                "pkt_bench_executors failed: an executor has the name 'inline', which is one of pkt-bench's own;"
                " give it another"
            ),
        ),
        (
            methods("m").replace("yield", "return"),
            "pkt_bench_methods failed: it gives a Method; pkt_bench_methods yields Method records",
        ),
        ("x = 1\n", "wrong implements no hook of pkt-bench; mark one with @hookimpl"),
        (
            HEAD + "@hookimpl\ndef pkt_bench_methods():\n    raise SystemExit(3)\n",
            "pkt_bench_methods failed: SystemExit: 3",
        ),
    ],
)
def test_an_offer_that_would_fail_later_is_refused_when_it_is_loaded(site, source, reason):
    site.put("wrong", {"wrong": "wrong"}, wrong=source)

    (provider,) = found(plugins.load(), "wrong")

    assert (provider.status, provider.reason) == ("broken", reason)


def test_two_plugins_of_one_distribution_may_not_offer_one_name(site):
    site.put("selfish", {"one": "selfish_a", "two": "selfish_b"}, selfish_a=methods("m"), selfish_b=methods("m"))

    registry = plugins.load()

    assert [(each.name, each.status, each.reason) for each in found(registry, "selfish")] == [
        ("one", "ok", ""),
        ("two", "broken", "the method name 'm' is taken by the plugin 'one' of the same distribution"),
    ]
    assert registry.methods.get("m").provider == "one"


# ---------------------------------------------------------------- qualified names


def test_a_distribution_may_be_spelled_as_pip_would_take_it(two):
    assert two.methods.get("Alpha/shared") is two.methods.get("alpha/shared")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "shared",
            "the method 'shared' is offered by alpha and beta.\n  Name one of them as alpha/shared or beta/shared",
        ),
        ("gamma/shared", "gamma offers no method 'shared'; alpha and beta do.\n  Write alpha/shared or beta/shared."),
        ("alpha/laten", "alpha offers no method 'laten'; pkt-bench does.\n  Write pkt-bench/laten, or laten alone."),
        ("beta/shred", "no method of beta is called 'shred'. Did you mean 'beta/shared'?\n  It offers: shared"),
        ("beta/shared:weakr", "no method of beta is called 'shared:weakr'. Did you mean 'beta/shared:weaker'?"),
        ("alpa/shred", "no method is called 'alpa/shred'. Did you mean 'alpha/shared'?"),
    ],
)
def test_a_qualified_name_that_nobody_offers_says_who_offers_what(two, name, said):
    with pytest.raises(RequestError) as caught:
        two.methods.get(name)

    assert str(caught.value).startswith(said)


def test_a_control_of_a_method_of_its_own_is_not_one_of_a_strangers_namesake(two):
    assert [each.qualified for each in two.methods.offers["shared:weaker"]] == [
        "alpha/shared:weaker",
        "beta/shared:weaker",
    ]


def test_two_controls_of_one_name_for_one_method_carry_their_distributions(site, two):
    site.put("gamma", {"gamma": "gamma_module"}, gamma_module=HEAD + controls("weaker", ("shared",)))

    registry = plugins.load()

    assert {each.qualified for each in registry.methods if each.item.name.endswith("weaker")} == {
        "alpha/shared:alpha/weaker",
        "alpha/shared:gamma/weaker",
        "beta/shared:beta/weaker",
        "beta/shared:gamma/weaker",
    }
    assert registry.methods.get("alpha/shared:gamma/weaker").control_distribution == "gamma"
    with pytest.raises(RequestError, match="the control 'shared:weaker' is offered by") as caught:
        registry.methods.get("alpha/shared:weaker")
    assert "alpha/shared:alpha/weaker" in str(caught.value)


def test_controls_of_two_methods_of_one_name_are_both_found(two):
    both = two.methods.expand(["alpha/shared", "beta/shared"])

    assert [each.qualified for each in controls_of(both, ("weaker",), two)] == [
        "alpha/shared:weaker",
        "beta/shared:weaker",
    ]
    assert [each.qualified for each in controls_of(both, ("beta/weaker",), two)] == ["beta/shared:weaker"]
    assert [each.qualified for each in controls_of(both, ("alpha/shared:weaker",), two)] == ["alpha/shared:weaker"]


def test_settings_by_qualified_name_are_of_that_method_and_its_controls(two, tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text(
        '[settings."alpha/shared"]\nfactor = 3\n\n[sweep."beta/shared"]\nfactor = [4, 5]\n', encoding="utf-8"
    )
    request = build({}, file, ["alpha/shared:weaker.factor=6"])

    def factors(name):
        return [chosen.factor for chosen in chosen_settings(request, two.methods.get(name))]

    assert factors("alpha/shared") == [3]
    assert factors("beta/shared") == [4, 5]
    assert factors("alpha/shared:weaker") == [6]
    # what makes it a control wins over what is asked of its method
    assert factors("beta/shared:weaker") == [0.5]


def test_a_flag_with_the_plain_name_never_loses_to_a_file_with_the_longer_one_without_a_word(two, tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text('[sweep."alpha/shared"]\nfactor = [3, 4]\n', encoding="utf-8")
    alpha = two.methods.get("alpha/shared")

    with pytest.raises(RequestError) as caught:
        chosen_settings(build({}, file, ["shared.factor=2"]), alpha)
    overruled = chosen_settings(build({}, file, ["alpha/shared.factor=2"]), alpha)

    assert str(caught.value) == (
        "factor of 'alpha/shared' is given under that name in a file and as 'shared' beside it."
        "\n  To overrule the file write --set alpha/shared.factor=VALUE."
    )
    assert [chosen.factor for chosen in overruled] == [2]


# ---------------------------------------------------------------- pairs and suites

OFFERED = (
    HEAD
    + """
from pathlib import Path
from pkt_bench.testing import pico_suite

@hookimpl
def pkt_bench_pairs():
    yield Pair("tiny", "another", ModelRef(Path("big")), ModelRef(Path("small")))
    yield Pair("lone", "one", ModelRef(Path("big")), ModelRef(Path("small")))


@hookimpl
def pkt_bench_suites():
    yield pico_suite(Path(__file__).parent, name="gsm8k")
"""
)


def test_a_pair_is_found_by_its_qualified_name_and_a_typed_one_is_still_typed(site, tmp_path):
    site.put("delta", {"delta": "delta_module"}, delta_module=OFFERED)
    registry = plugins.load()
    findings = Findings()

    asked = asked_pairs(
        build({"pairs": ["delta/tiny", "pkt-bench/tiny", "delta/lone", f"{tmp_path}/a:{tmp_path}/b"]}, None),
        registry,
        findings,
    )

    assert not findings.errors
    assert [(pair.summary[:7], typed) for pair, typed in asked] == [
        ("another", False),
        ("the emb", False),
        ("one", False),
        ("given o", True),
    ]


def test_a_pair_of_the_wrong_distribution_is_told_whose_it_is(site):
    site.put("delta", {"delta": "delta_module"}, delta_module=OFFERED)
    findings = Findings()

    asked_pairs(build({"pairs": ["pkt-bench/lone"]}, None), plugins.load(), findings)

    assert str(findings.errors[0]).startswith("pkt-bench offers no pair 'lone'; delta does.\n  Write delta/lone")


def test_the_suites_a_pair_names_are_those_of_its_own_distribution(site):
    site.put("delta", {"delta": "delta_module"}, delta_module=OFFERED)
    registry = plugins.load()
    pair = next(offer.item for offer in registry.pairs if "gsm8k" in offer.item.suites)
    stranger = Pair("mine", "", ModelRef(Path("a")), ModelRef(Path("b")), suites=("gsm8k",))

    assert "pkt-bench/gsm8k" in suites_of(pair, registry)
    assert suites_of(stranger, registry) == ("gsm8k",)


# ---------------------------------------------------------------- executors and trackers

SERVICES = (
    HEAD
    + SCALE
    + """
@hookimpl
def pkt_bench_executors():
    yield Executor("slow", "one", print, Scale)


class Notes:
    def __init__(self, settings, out):
        self.settings = settings


@hookimpl
def pkt_bench_trackers():
    yield Tracker("notes", "one", Notes, Scale)
"""
)


def test_executors_and_trackers_are_chosen_and_set_by_qualified_names(site):
    for name in ("alpha", "beta"):
        site.put(name, {"same": f"{name}_service"}, **{f"{name}_service": SERVICES})
    registry = plugins.load()
    tables = {"beta/slow": {"factor": "2"}, "alpha/notes": {"factor": "3"}, "pkt-bench/inline": {}}

    executor, settings = executors.choose("beta/slow", tables, registry)
    chosen = tracking.choose(["alpha/notes", "beta/notes"], tables, registry)

    assert (executor.name, settings.factor) == ("slow", 2)
    assert [(tracker.name, set_.factor) for tracker, set_ in chosen] == [("alpha/notes", 3), ("beta/notes", 1)]
    assert executors.choose("pkt-bench/inline", tables, registry)[0].name == "inline"
    with pytest.raises(RequestError, match="the executor 'slow' is offered by alpha and beta"):
        executors.choose("slow", tables, registry)


def test_two_trackers_of_one_name_are_told_side_by_side(site, tmp_path):
    for name in ("alpha", "beta"):
        site.put(name, {"same": f"{name}_service"}, **{f"{name}_service": SERVICES})
    registry = plugins.load()
    chosen = tracking.choose(["alpha/notes", "beta/notes"], {}, registry)

    with tracking.tracked(chosen, tmp_path, registry, pytest.fail):
        told = [name for name, _ in registry.manager.list_name_plugin() if name.startswith("tracker ")]

    assert told == ["tracker alpha/notes", "tracker beta/notes"]

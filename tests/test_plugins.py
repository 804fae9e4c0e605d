"""Plugins are found, loaded one by one, checked and attributed; one that is broken hides nothing else."""

import json
import sys

import pytest

from pkt_bench import finding, plugins
from pkt_bench.errors import RequestError, UnavailableError

GOOD = """
from pkt_bench import Method, Settings, hookimpl

@hookimpl
def pkt_bench_methods():
    yield Method("{name}", "a method", "control", lambda context: None, Settings)
"""


def distribution(folder, name, module, source, entry=None):
    """A distribution as pip would lay it out: a module and a dist-info folder with its entry point."""
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    info = folder / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[pkt_bench]\n{entry or module} = {module}\n", encoding="utf-8")


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if (tmp_path / f"{name}.py").exists():
            del sys.modules[name]


def provider(registry, name):
    return next(p for p in registry.providers if p.name == name)


def test_a_stranger_that_cannot_be_imported_becomes_a_row_and_the_others_work(site):
    distribution(site, "stranger-broken", "stranger_broken", "import a_package_nobody_has\n")
    distribution(site, "stranger-fine", "stranger_fine", GOOD.format(name="fine"))

    registry = plugins.load()

    broken = provider(registry, "stranger_broken")
    assert (broken.status, broken.distribution, broken.version) == ("broken", "stranger-broken", "1.2")
    assert (
        broken.reason == "cannot be imported: no module named 'a_package_nobody_has' (pip install a_package_nobody_has)"
    )
    assert registry.methods.get("fine").distribution == "stranger-fine"


def test_a_plugin_that_exits_at_import_does_not_end_the_program(site):
    distribution(site, "stranger-exit", "stranger_exit", "raise SystemExit(3)\n")

    registry = plugins.load()

    assert provider(registry, "stranger_exit").status == "broken"


def test_a_misspelt_hook_is_named_with_the_nearest_hook(site):
    source = GOOD.format(name="m").replace("def pkt_bench_methods", "def pkt_bench_metods")
    distribution(site, "stranger-typo", "stranger_typo", source)

    registry = plugins.load()

    typo = provider(registry, "stranger_typo")
    assert typo.status == "broken"
    assert typo.reason == (
        "implements 'pkt_bench_metods', which is no hook of pkt-bench; did you mean pkt_bench_methods?"
    )


def test_a_hook_without_its_mark_is_reported_instead_of_ignored(site):
    distribution(site, "stranger-bare", "stranger_bare", GOOD.format(name="m").replace("@hookimpl\n", ""))

    registry = plugins.load()

    assert provider(registry, "stranger_bare").reason == "pkt_bench_methods is not marked with @hookimpl"


def test_a_hook_with_a_wrong_argument_is_reported(site):
    source = "from pkt_bench import hookimpl\n\n@hookimpl\ndef pkt_bench_cell_started(sell):\n    pass\n"
    distribution(site, "stranger-argument", "stranger_argument", source)

    registry = plugins.load()

    row = provider(registry, "stranger_argument")
    assert row.status == "broken"
    assert "sell" in row.reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("    yield 'laten'\n", "pkt_bench_methods failed: pkt_bench_methods yields Method records, got str"),
        ("    raise KeyError('x')\n    yield\n", "pkt_bench_methods failed: KeyError: 'x'"),
    ],
)
def test_an_offer_that_is_no_record_is_reported(site, body, reason):
    source = f"from pkt_bench import hookimpl\n\n@hookimpl\ndef pkt_bench_methods():\n{body}"
    distribution(site, "stranger-offer", "stranger_offer", source)

    registry = plugins.load()

    assert provider(registry, "stranger_offer").reason == reason


def test_a_taken_name_is_a_clash_that_names_both_and_a_qualified_name_resolves_it(site):
    distribution(site, "first-owner", "a_first", GOOD.format(name="shared"))
    distribution(
        site, "second-owner", "b_second", GOOD.format(name="shared") + GOOD.format(name="own").partition("@")[0]
    )

    registry = plugins.load()

    assert provider(registry, "b_second").status == "clash"
    assert provider(registry, "b_second").reason == (
        "the method name 'shared' is taken by first-owner; write second-owner/shared"
    )
    with pytest.raises(RequestError, match=r"offered by first-owner and second-owner\."):
        registry.methods.get("shared")
    everyone = [offer.qualified for offer in registry.methods.expand(["all"])]
    assert [name for name in everyone if name.endswith("/shared")] == ["first-owner/shared", "second-owner/shared"]
    assert registry.methods.get("second-owner/shared").provider == "b_second"


def test_an_unknown_name_offers_the_nearest_and_says_that_a_broken_plugin_may_have_it(site):
    distribution(site, "stranger-broken", "stranger_broken", "import a_package_nobody_has\n")
    distribution(site, "stranger-fine", "stranger_fine", GOOD.format(name="lanten"))

    registry = plugins.load()

    with pytest.raises(RequestError) as caught:
        registry.methods.get("lantn")
    assert "no method is called 'lantn'. Did you mean 'lanten'?" in str(caught.value)
    assert "1 plugin could not be loaded and may offer it: pkt-bench plugins list" in str(caught.value)


def test_the_allow_list_and_the_block_list_say_why_a_plugin_was_left_out(site):
    distribution(site, "one", "stranger_one", GOOD.format(name="one"))
    distribution(site, "two", "stranger_two", GOOD.format(name="two"))

    allowed = plugins.load(environ={"PKT_BENCH_LOAD_PLUGINS": "stranger_one"})
    denied = plugins.load(environ={"PKT_BENCH_DISABLE_PLUGINS": "stranger_one"})

    assert [o.item.name for o in allowed.methods] == ["one"]
    assert provider(allowed, "stranger_two").reason == "not named in PKT_BENCH_LOAD_PLUGINS"
    assert "one" not in denied.methods.offers
    assert provider(denied, "stranger_one").status == "disabled"


def test_strict_mode_turns_a_broken_plugin_into_an_error(site):
    distribution(site, "stranger-broken", "stranger_broken", "import a_package_nobody_has\n")

    with pytest.raises(UnavailableError, match="stranger_broken"):
        plugins.load(environ={"PKT_BENCH_STRICT_PLUGINS": "1"})


def test_a_file_that_is_asked_for_and_broken_is_an_error_not_a_row(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("import a_package_nobody_has\n", encoding="utf-8")

    with pytest.raises(UnavailableError, match=r"mine\.py cannot be used: cannot be imported"):
        plugins.load([file])


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(RequestError, match="there is no such file"):
        plugins.load([tmp_path / "absent.py"])


def test_the_list_names_every_plugin_of_the_file_and_its_offers(pkt_bench, pico):
    answer = pkt_bench("plugins", "list", "--plugin", pico.plugin, "--format", "json")

    row = next(row for row in json.loads(answer.out) if row["plugin"] == "pico_plugin")
    assert answer.code == 0
    assert row["status"] == "ok"
    assert "method scale" in row["offers"]
    assert "suite pico" in row["offers"]


def test_the_code_digest_notices_an_edit_without_a_new_version(tmp_path):
    file = tmp_path / "edited.py"
    file.write_text("def f():\n    return 1\n", encoding="utf-8")
    before = plugins.code_digest(finding.import_file(file).f)

    file.write_text("def f():\n    return 2\n", encoding="utf-8")

    assert plugins.code_digest(finding.import_file(file).f) != before


def test_a_file_that_is_no_python_is_an_error(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("import this is not\n", encoding="utf-8")

    with pytest.raises(UnavailableError, match=r"mine\.txt cannot be used"):
        plugins.load([file])


def test_what_a_plugin_prints_at_import_stays_out_of_the_results(site, capsys):
    distribution(site, "stranger-noisy", "stranger_noisy", "print('hello')\n" + GOOD.format(name="noisy"))

    plugins.load()

    assert "hello" not in capsys.readouterr().out


def test_the_built_in_plugins_can_all_be_used():
    found = {provider.name: (provider.status, provider.reason) for provider in plugins.load(environ={}).providers}

    assert {status for status, _ in found.values()} == {"ok"}, found


@pytest.mark.parametrize(("theirs", "status"), [(("b",), "ok"), (("a", "b"), "clash"), ((), "clash")])
def test_controls_of_one_name_clash_where_a_method_would_have_both(tmp_path, theirs, status):
    text = (
        "from pkt_bench import Control, hookimpl\n\n\n@hookimpl\ndef pkt_bench_controls():\n"
        '    yield Control("swap-all", "x", of={of!r})\n'
    )
    for name, of in (("one", ("a",)), ("two", theirs)):
        (tmp_path / f"{name}.py").write_text(text.format(of=of), encoding="utf-8")

    registry = plugins.load([tmp_path / "one.py", tmp_path / "two.py"])

    assert next(each for each in registry.providers if each.name == "two").status == status

"""`pkt-bench views` as it is typed, and the file behind it."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from pkt_bench import views
from pkt_bench.cli.views import views as app
from pkt_bench.errors import PktBenchError, RequestError, StorageError


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PKT_BENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def typed(home, capsys):
    """The command, typed; usage errors are raised as they are."""

    def type_(*words):
        code = 0
        try:
            app(list(words), standalone_mode=False)
        except PktBenchError as error:
            code = error.exit_code
            print(f"pkt-bench: {error}", file=sys.stderr)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(words, code, said.out, said.err)

    return type_


def test_what_was_saved_is_listed_and_can_be_removed(typed):
    typed("save", "ours", "--", "--where", "seed < 3", "--all")
    typed("save", "best", "--", "runs/other", "--sort", "mean")

    listed = json.loads(typed("ls", "--format", "json").stdout)
    removed = typed("rm", "ours")

    assert listed == [
        {"view": "best", "options": "runs/other --sort mean"},
        {"view": "ours", "options": "--where 'seed < 3' --all"},
    ]
    assert (removed.returncode, removed.stderr) == (0, "removed: ours\n")
    assert list(views.read()) == ["best"]


def test_a_view_that_is_saved_again_is_replaced_and_that_is_said(typed):
    first = typed("save", "ours", "--", "--all")
    again = typed("save", "ours", "--", "--sort", "mean")

    assert first.stderr == "saved: pkt-bench board --view ours\n"
    assert again.stderr == "replaced: pkt-bench board --view ours\n"
    assert views.options_of("ours") == ("--sort", "mean")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--where", "seed = 3"], "--where: write == instead of ="),
        (["--format", "xls"], "--format 'xls' will not do."),
        (["--show", "value"], "--show value is of a pivot"),
        (["--view", "other"], "a view cannot apply another one"),
        (["--all", "--help"], "--help is no option that can be saved."),
    ],
)
def test_options_that_board_would_refuse_are_refused_when_they_are_saved(typed, home, options, message):
    refused = typed("save", "ours", "--", *options)

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"pkt-bench: {message}")
    assert not home.exists()


def test_a_flag_that_board_does_not_have_is_a_usage_error(typed):
    with pytest.raises(Exception, match="No such option: --wher") as refused:
        typed("save", "ours", "--", "--wher", "x")

    # what the command line says like every usage error, and ends with 2 after
    assert any(kind.__name__ == "ClickException" for kind in type(refused.value).__mro__)


@pytest.mark.parametrize("name", ["", "a b", "../up", "-x", "x" * 65, "a/b"])
def test_a_name_that_is_no_name_is_refused(home, name):
    with pytest.raises(RequestError, match="a view cannot be called"):
        views.save(name, ["--all"])


def test_removing_what_is_not_there_names_the_nearest(typed):
    typed("save", "ours", "--", "--all")

    refused = typed("rm", "ous")

    assert refused.returncode == 2
    assert refused.stderr.startswith("pkt-bench: no view is called 'ous'. Did you mean 'ours'?\n  Saved: ours\n")


def test_nothing_is_made_by_asking(typed, home):
    assert "no views are saved" in typed("ls").stdout
    assert typed("rm", "ours").returncode == 2
    assert not home.exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"views": []}', '{"views": {"a": [1]}}', "{}", "\xff", "[" * 100_000])
def test_a_damaged_file_is_named_and_never_overwritten(home, content):
    home.mkdir()
    (home / "views.json").write_text(content, encoding="latin-1")

    with pytest.raises(StorageError, match=r"views\.json does not hold saved views"):
        views.save("ours", ["--all"])

    assert (home / "views.json").read_text(encoding="latin-1") == content


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("PKT_BENCH_HOME", str(tmp_path / "file" / "home"))

    with pytest.raises(StorageError, match=r"PKT_BENCH_HOME names another folder"):
        views.save("ours", ["--all"])


def test_several_commands_at_once_lose_no_view(home):
    names = [f"view{number}" for number in range(20)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: views.save(name, ["--sort", name]), names))

    assert views.read() == {name: ("--sort", name) for name in sorted(names)}


def test_without_a_home_of_ours_views_are_where_the_system_keeps_settings(monkeypatch, tmp_path):
    monkeypatch.delenv("PKT_BENCH_HOME", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    assert views.path() == tmp_path / "pkt-bench" / "views.json"

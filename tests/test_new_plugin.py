"""A project that `pkt-bench plugins new` writes works as it is: installed, checked, tested, run as its README says."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pyarrow as pa
import pytest

from pkt_bench.errors import RequestError
from pkt_bench.new_plugin import Names, names_for, write_project
from third_party import fresh_place

WHOLE = {
    ".github/workflows/ci.yml",
    ".gitignore",
    "README.md",
    "pyproject.toml",
    "src/pkt_bench_layer_swap/__init__.py",
    "src/pkt_bench_layer_swap/py.typed",
    "tests/test_layer_swap.py",
}


def ruff(*arguments, cwd):
    ruff = Path(sys.executable).parent / "ruff"
    done = subprocess.run([ruff, *arguments, "--no-cache"], cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("given", "method", "package", "settings"),
    [
        ("layer-swap", "layer-swap", "pkt_bench_layer_swap", "LayerSwapSettings"),
        ("pkt-bench-layer-swap", "layer-swap", "pkt_bench_layer_swap", "LayerSwapSettings"),
        ("pkt_bench_layer_swap", "layer-swap", "pkt_bench_layer_swap", "LayerSwapSettings"),
        ("x1", "x1", "pkt_bench_x1", "X1Settings"),
    ],
)
def test_one_name_gives_those_of_method_package_and_settings(given, method, package, settings, tmp_path):
    names = names_for(given, ())

    write_project(names, tmp_path / "project")

    source = (tmp_path / "project" / "src" / package / "__init__.py").read_text(encoding="utf-8")
    assert f'name="{method}"' in source
    assert f"class {settings}(Settings):" in source


@pytest.mark.parametrize("name", ["", "Swap", "1st", "a b", "a/b", "-a", "a-", "a--b", "ä", "x" * 41, "../up"])
def test_a_name_that_no_package_can_have_is_refused_with_an_example(name):
    with pytest.raises(RequestError, match=r"cannot be called .*\n.* plugins new layer-swap"):
        names_for(name, ())


@pytest.mark.parametrize("name", ["all", "none"])
def test_a_name_that_means_something_else_is_refused_as_that(name):
    with pytest.raises(RequestError, match="which stands for several or no methods"):
        names_for(name, ())


def test_a_name_that_is_taken_is_refused_before_anything_is_written():
    with pytest.raises(RequestError, match="the method name 'laten' is taken by an installed plugin"):
        names_for("pkt-bench-laten", {"laten"})


def test_a_folder_that_holds_something_is_left_as_it_is(tmp_path):
    (tmp_path / "mine.txt").write_text("work of years", encoding="utf-8")

    with pytest.raises(RequestError, match="is there already, and nothing of it is touched"):
        write_project(Names("swap"), tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_of_the_template_s_own_name_is_left(tmp_path):
    write_project(Names("swap"), tmp_path / "project")

    for file in (tmp_path / "project").rglob("*"):
        assert "anchor" not in file.name.lower()
        assert file.is_dir() or "anchor" not in file.read_text(encoding="utf-8").lower(), file


@pytest.mark.parametrize("name", ["a", "layer-swap", "-".join(["word"] * 8), "z" * 40])
def test_whatever_its_name_is_ruff_finds_nothing_to_say(name, tmp_path):
    write_project(names_for(name, ()), tmp_path / "project")

    assert ruff("check", ".", cwd=tmp_path / "project") == (0, "All checks passed!\n")
    assert ruff("format", "--check", ".", cwd=tmp_path / "project") == (0, "3 files already formatted\n")


def test_the_method_is_about_a_hundred_lines(tmp_path):
    write_project(Names("swap"), tmp_path / "project")

    source = (tmp_path / "project" / "src" / "pkt_bench_swap" / "__init__.py").read_text(encoding="utf-8")
    assert 80 <= len(source.splitlines()) <= 120


# ---------------------------------------------------------------- as its user would


@pytest.fixture(scope="module")
def place(tmp_path_factory, pkt_bench):
    """A fresh environment with a project that was written and installed there; and what the command printed."""
    top = tmp_path_factory.mktemp("new-plugin")
    place = fresh_place(top / "venv")
    answer = place.pkt_bench("plugins", "new", "layer-swap", cwd=top)
    assert answer.code == 0, answer.err
    # not -e, for which hatchling would have to fetch something
    place.install(top / "pkt-bench-layer-swap")
    return place, top / "pkt-bench-layer-swap", answer


def test_the_command_lists_what_it_wrote_and_says_what_comes_next(place):
    _, project, answer = place

    written = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    listed = {line.strip() for line in answer.out.partition("\n\n")[0].splitlines()[1:]}
    assert listed == WHOLE
    assert written >= WHOLE
    assert "  pip install -e ./pkt-bench-layer-swap\n" in answer.out
    assert "  pkt-bench run --methods student,layer-swap,teacher --suite knowledge\n" in answer.out
    assert "  pkt-bench plugins check layer-swap\n" in answer.out


def test_its_workflow_runs_what_its_readme_says(place):
    _, project, _ = place
    readme = (project / "README.md").read_text(encoding="utf-8")
    workflow = (project / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")

    for command in ("pip install -e '.[dev]'", "pytest", "ruff check .", "ruff format --check .", "mypy"):
        assert command in readme
        assert f"- run: {command}\n" in workflow


@pytest.mark.slow
def test_its_types_hold_under_its_own_strict_configuration(place):
    place, project, _ = place
    assert tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["strict"]

    done = subprocess.run(
        [place.python, "-m", "mypy", "--cache-dir", project.parent / "mypy"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "Success: no issues found in 1 source file\n")


@pytest.mark.slow
def test_its_own_tests_pass_and_the_contract_is_among_them(place):
    place, project, _ = place

    done = subprocess.run(
        [place.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


@pytest.mark.slow
def test_the_runs_of_its_readme_work_with_fewer_documents_seeds_and_methods(place, tmp_path):
    place, project, _ = place
    readme = (project / "README.md").read_text(encoding="utf-8")
    said = [line for line in readme.splitlines() if line.startswith("pkt-bench ")]
    assert said == [
        "pkt-bench run --methods student,layer-swap,teacher --suite knowledge",
        "pkt-bench plugins check layer-swap",  # its own tests do
        "pkt-bench run --methods student,layer-swap,teacher --controls all --seeds 3",
        "pkt-bench board",
    ]

    answer = place.pkt_bench(
        *("run", "--methods", "layer-swap", "--controls", "all", "--suite", "knowledge", "--limit", "4"),
        *("--executor", "inline", "--json"),
        cwd=tmp_path,
    )
    board = place.pkt_bench("board", cwd=tmp_path)

    assert answer.code == 0, answer.err
    rows = pa.ipc.open_file(tmp_path / "runs" / "board.arrow").read_all().to_pylist()
    assert {(row["method"], row["distribution"], row["outcome"]) for row in rows if row["headline"]} == {
        (name, "pkt-bench-layer-swap", "done")
        for name in (
            "layer-swap",
            *(f"layer-swap:{each}" for each in ("noise-norm", "noise-spectrum", "self", "shuffled")),
        )
    }
    assert "layer-swap:noise-norm" in board.out

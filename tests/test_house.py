"""The house keeps its layout: folders, entry points and wheel agree, and plugins use the front door alone."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import pkt_bench

ROOT = Path(__file__).resolve().parents[1]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PLUGINS = sorted(path.name for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").is_file())


def test_every_plugin_folder_is_an_entry_point_and_the_other_way_round():
    registered = CONFIG["project"]["entry-points"]["pkt_bench"]

    assert sorted(registered.values()) == PLUGINS


def test_every_package_is_in_the_wheel():
    packages = CONFIG["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert sorted(packages) == sorted(
        ["harness/pkt_bench", "leaderboards/pkt_bench_leaderboards", *(f"plugins/{name}" for name in PLUGINS)]
    )


@pytest.mark.slow
def test_the_wheel_holds_the_pair_the_tasks_the_licence_and_every_type_marker(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=300,
    )
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()

    wanted = {f"{name}/py.typed" for name in ("pkt_bench", "pkt_bench_leaderboards", *PLUGINS)}
    wanted |= {f"pkt_bench_tiny/pair/{role}/model.safetensors" for role in ("teacher", "student")}
    wanted |= {f"pkt_bench_tiny/tasks/tiny_{suite}.yaml" for suite in ("knowledge", "arithmetic", "code")}
    assert wanted <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_imports_the_front_door_and_no_other_plugin(name):
    others = {"pkt_bench_leaderboards", *PLUGINS} - {name}
    for file in (ROOT / "plugins" / name).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for module in modules:
                assert not module.startswith("pkt_bench."), f"{file}: {module} is behind the front door"
                assert module.partition(".")[0] not in others, f"{file}: {module} is another plugin"


def test_every_name_of_the_front_door_is_there_and_documented():
    for name in pkt_bench.__all__:
        value = getattr(pkt_bench, name)
        if name not in {"__version__", "Split", "hookimpl"}:
            assert value.__doc__, name


def test_the_version_is_said_once():
    assert CONFIG["project"]["version"] == pkt_bench.__version__


@pytest.mark.parametrize("name", ["pkt_bench", *PLUGINS])
def test_importing_a_package_loads_nothing_heavy(name):
    heavy = {"torch", "transformers", "peft", "lm_eval", "pyarrow"}
    script = f"import sys, {name}; print(sorted({heavy} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[]"


def test_the_harness_names_no_paper_method():
    papers = re.compile(r"\b(laten|nuggets|seeking|postpkt)\b", re.IGNORECASE)
    # examples in help texts and error messages may name a method
    allowed = re.compile(r"--set nuggets|settings\.nuggets|--methods")
    for file in (ROOT / "harness").rglob("*.py"):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            assert allowed.search(line) or not papers.search(line), f"{file}:{number}: {line}"


def test_source_roots_are_not_packages():
    for root in ("harness", "plugins", "leaderboards"):
        assert not (ROOT / root / "__init__.py").exists()

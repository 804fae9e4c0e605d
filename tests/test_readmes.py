"""What the documents say is what the code does: commands parse, paths exist, the example plugin works."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer.main

from pkt_bench import hookspecs, plugins
from pkt_bench.cli import app

ROOT = Path(__file__).resolve().parents[1]
READMES = sorted(path for path in ROOT.glob("**/README.md") if not any(p.startswith(".") for p in path.parts))
NAMES = [str(path.relative_to(ROOT)) for path in READMES]


def blocks(path, language=""):
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for said, text in fenced if said == language]


def commands(path):
    """Every `pkt-bench ...` line of the fenced blocks without a language or with a shell's."""
    text = "\n".join(block for language in ("", "sh", "bash", "console") for block in blocks(path, language))
    for line in text.replace("\\\n", " ").splitlines():
        for part in line.removeprefix("$ ").split("&&"):
            words = shlex.split(part, comments=True)
            if words and words[0] == "pkt-bench":
                yield words[1:]


@pytest.mark.parametrize("path", READMES, ids=NAMES)
def test_every_command_of_a_readme_is_one_the_command_line_knows(path):
    root = typer.main.get_command(app)
    for words in commands(path):
        command, rest = root, list(words)
        while rest and hasattr(command, "commands") and rest[0] in command.commands:
            command = command.commands[rest.pop(0)]
        flags = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        used = [word for word in rest if word.startswith("-")]
        assert not hasattr(command, "commands") or "--help" in used, f"{words}: no such command"
        assert set(used) <= flags | {"--help", "-h"}, f"{words}: {set(used) - flags}"


@pytest.mark.parametrize("path", READMES, ids=NAMES)
def test_every_link_of_a_readme_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_the_readme_promises_two_commands():
    said = "\n".join(blocks(ROOT / "README.md"))

    assert "pip install . && pkt-bench run --methods all" in said
    assert "pip install -e '.[dev]' && pytest" in said


def test_the_example_plugin_loads_and_is_judged_by_its_own_skip(tmp_path):
    file = tmp_path / "louder.py"
    file.write_text(blocks(ROOT / "plugins" / "README.md", "python")[0], encoding="utf-8")

    registry = plugins.load([file])

    assert registry.methods.get("louder").item.settings().strength == 0.1


@pytest.mark.slow
def test_the_example_plugin_runs(tmp_path, pico, pkt_bench):
    file = tmp_path / "louder.py"
    file.write_text(blocks(ROOT / "plugins" / "README.md", "python")[0], encoding="utf-8")

    answer = pkt_bench(
        *("run", "--plugin", pico.plugin, "--plugin", file, "--pair", "pico", "--suite", "pico"),
        *("--methods", "louder", "--out", tmp_path / "runs", "--json", "--executor", "inline"),
    )

    assert answer.lines()[-1]["outcomes"] == {"done": 1}


def test_the_readme_of_the_plugins_lists_every_hook_with_its_arguments():
    text = (ROOT / "plugins" / "README.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(pkt_bench_\w+)\(([^)]*)\)`", text, re.MULTILINE))

    defined = {
        name: ", ".join(getattr(hookspecs, name).__code__.co_varnames[: getattr(hookspecs, name).__code__.co_argcount])
        for name in dir(hookspecs)
        if name.startswith("pkt_bench_")
    }
    assert listed == defined


def test_the_entry_point_of_the_example_is_written_as_packaging_reads_it():
    example = tomllib.loads(blocks(ROOT / "plugins" / "README.md", "toml")[0])

    assert example == {"project": {"entry-points": {"pkt_bench": {"louder": "louder"}}}}


@pytest.mark.slow
def test_the_example_tracker_hears_how_cells_end(pkt_bench, pico, tmp_path):
    code = next(block for block in blocks(ROOT / "plugins" / "README.md", "python") if "pkt_bench_trackers" in block)
    (tmp_path / "lines.py").write_text(code, encoding="utf-8")

    answer = pkt_bench(
        *("run", "--plugin", pico.plugin, "--plugin", tmp_path / "lines.py", "--pair", "pico", "--suite", "pico"),
        *("--methods", "scale", "--out", tmp_path / "runs", "--track", "lines", "--set", "lines.file=mine.txt"),
    )

    assert answer.code == 0
    assert (tmp_path / "runs" / "logs" / "mine.txt").read_text() == "scale, pico, pico, seed 0: done\n"

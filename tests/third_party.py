"""Projects of other people, installed for real: a fresh virtual environment that sees what this one has, and their own.

Nothing is downloaded: a path file in the new environment names the folders that modules of this one come from.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from conftest import asked, environment

PROJECTS = Path(__file__).parent / "data" / "third_party"
PLUGINS = Path(__file__).parents[1] / "plugins"

# fifteen lines are all it takes to publish a plugin folder elsewhere
COPIED = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{distribution}"
version = "{version}"
description = "{package}, published by somebody else"
requires-python = ">=3.11"
dependencies = ["pkt-bench"]

[project.entry-points.pkt_bench]
{name} = "{package}"
"""


@dataclass(frozen=True)
class Place:
    """A virtual environment of its own, in which pkt-bench runs as it does here."""

    folder: Path

    @property
    def python(self):
        return self.folder / "bin" / "python"

    def install(self, *projects):
        """Installs projects with pip, built by the hatchling that is here."""
        arguments = ("install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
        subprocess.run(
            [sys.executable, "-m", "pip", "--python", str(self.folder), *arguments, *map(str, projects)],
            check=True,
            env=environment(PIP_DISABLE_PIP_VERSION_CHECK="1"),
        )

    def pkt_bench(self, *arguments, cwd=None, timeout=300, **env):
        """Runs `pkt-bench ARGUMENTS` there."""
        return asked(self.python, arguments, cwd, timeout, env)


def fresh_place(folder):
    """A new virtual environment in `folder`; every module that can be imported here can be there."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    shown = subprocess.run(
        [sys.executable, "-c", "import sys; print('\\n'.join(sys.path[1:]))"],
        check=True,
        capture_output=True,
        text=True,
        env=environment(),
    )
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "around.pth").write_text(shown.stdout, encoding="utf-8")
    return Place(folder)


def project(name, to):
    """One of the projects beside these tests, copied below `to`, so that building it leaves nothing here."""
    return Path(shutil.copytree(PROJECTS / name, to / name))


def copied_out(name, to, *, distribution, version="0.0.7"):
    """The plugin `name` of this project as a repository of its own below `to`: its folder, and fifteen lines beside."""
    package = f"pkt_bench_{name}"
    shutil.copytree(PLUGINS / package, to / distribution / package, ignore=shutil.ignore_patterns("__pycache__"))
    text = COPIED.format(distribution=distribution, version=version, package=package, name=name)
    if distribution.replace("-", "_") != package:
        # the folder is not called as the distribution is, so it is named
        text += f'\n[tool.hatch.build.targets.wheel]\npackages = ["{package}"]\n'
    (to / distribution / "pyproject.toml").write_text(text, encoding="utf-8")
    return to / distribution


# ---------------------------------------------------------------- many plugins at once

HEALTHY = '''"""{name}: the student's head, times {factor}."""

from pydantic import Field

from pkt_bench import Method, Settings, Transferred, hookimpl


class Scale(Settings):
    factor: float = Field(default={factor}, gt=0)
    """What the head is multiplied by."""


def transfer(context):
    import torch

    with context.stage("scale"), torch.no_grad():
        context.pair.student.lm_head.weight *= context.settings.factor
    return Transferred(context.pair.student)


@hookimpl
def pkt_bench_methods():
    yield Method("{name}", "scales by {factor}", "post-align", transfer, Scale, uses="nothing")
'''
BROKEN = (
    "import a_package_nobody_has\n",
    "from pkt_bench import hookimpl\n\n\n@hookimpl\ndef pkt_bench_metods():\n    return []\n",
    "from pkt_bench import hookimpl\n\n\n@hookimpl\ndef pkt_bench_methods():\n    raise RuntimeError('not today')\n",
)


def many(folder, healthy=17, broken=BROKEN):
    """Distributions as pip lays them out in `folder`, for PYTHONPATH; gives the names of the healthy methods."""
    names = [f"many-{number:02}" for number in range(healthy)]
    sources = {name: HEALTHY.format(name=name, factor=1.5 + number) for number, name in enumerate(names)}
    sources |= {f"bad-{number}": source for number, source in enumerate(broken)}
    for name, source in sources.items():
        module = f"plugin_{name.replace('-', '_')}"
        (folder / f"{module}.py").write_text(source, encoding="utf-8")
        info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[pkt_bench]\n{name} = {module}\n", encoding="utf-8")
    return names

"""Where the commands of documents run: a small world of models and data, a hub on this machine, and processes."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import lm_eval

from data_folders import arc_row, mirror, write
from hub_server import Hub
from pkt_bench.testing import pico_pair

HERE = Path(__file__).parent
SECONDS = 300
HUB_MODELS = {"Qwen/Qwen2.5-3B": "teacher", "Qwen/Qwen2.5-1.5B": "student"}
# what a command may read of its surroundings: nothing of the user's, and no terminal's size
WITHOUT = ("PKT_BENCH_DATA", "COLUMNS", "LINES", "PKT_BENCH_HOME")


@dataclass(frozen=True)
class Place:
    """Where a command runs: its folder, and one of packages that are installed besides."""

    folder: Path
    site: Path


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


class World:
    """A scratch folder with everything that commands need around them."""

    def __init__(self, folder):
        self.folder = folder
        self.hub = Hub()
        self.site = folder / "site"
        self.site.mkdir()
        self._install_small_world()
        self._upload_models()
        self._write_data()
        for name in ("home", "cache", "user"):
            (folder / name).mkdir()
        self.environment = {name: value for name, value in os.environ.items() if name not in WITHOUT} | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.site),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PKT_BENCH_DISABLE_PLUGINS": "tiny",
            "PKT_BENCH_HOME": str(folder / "home"),
            "PKT_BENCH_DATA": str(folder / "data"),
            "HOME": str(folder / "user"),
            "TERM": "xterm-256color",
            "HF_HOME": str(folder / "cache"),
            "HF_ENDPOINT": self.hub.address,
            "HF_HUB_OFFLINE": "0",
            "TRANSFORMERS_OFFLINE": "0",
            # trackers: nothing leaves this machine
            "WANDB_MODE": "offline",
            "TRACKIO_DIR": str(folder / "trackio"),
            "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
        }  # fmt: skip
        self._server = None
        self._once = {}

    def _install_small_world(self):
        pico_pair(self.site)
        shutil.copy(HERE / "small_world.py", self.site)
        info = self.site / "small_world-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: small-world\nVersion: 1\n")
        (info / "entry_points.txt").write_text("[pkt_bench]\nsmall-world = small_world\n")

    def _upload_models(self):
        """Pico models with room for the prompts of real tasks, under the names of a pair of the hub."""
        for name, role in HUB_MODELS.items():
            copy = self.folder / "hub" / role
            shutil.copytree(self.site / "pico" / role, copy)
            config = json.loads((copy / "config.json").read_text())
            config["max_position_embeddings"] = 4096
            (copy / "config.json").write_text(json.dumps(config))
            self.hub.add(name, copy)

    def _write_data(self):
        """A few rows of every data set that documents name, every subject of MMLU among them."""
        data = mirror(self.folder / "data")
        write(data, "arc_easy/train", [arc_row(number) for number in range(2, 60)])
        for file in (Path(lm_eval.__file__).parent / "tasks" / "mmlu" / "default").glob("mmlu_*.yaml"):
            subject = file.stem.removeprefix("mmlu_")
            row = {"subject": subject, "question": "Which?", "choices": list("wxyz"), "answer": 0}
            for split, count in (("dev", 5), ("validation", 2), ("test", 1)):
                write(data, f"mmlu/{split}/{subject}", [row | {"question": f"{split} {n}?"} for n in range(count)])
        program = {"prompt": "def f(x):\n", "canonical_solution": "    return x\n", "entry_point": "f"}
        write(data, "humaneval/test", [{"task_id": "0", "test": "def check(f):\n    assert f(1) == 1\n", **program}])
        rows = [
            {"task_id": n, "text": f"Add {n}.", "code": f"def add(x):\n    return x + {n}\n", "test_setup_code": ""}
            | {"test_list": [f"assert add(1) == {n + 1}"], "challenge_test_list": []}
            for n in range(60)
        ]
        for split, count in (("train", 50), ("validation", 5), ("test", 2), ("prompt", 3)):
            write(data, f"mbpp/{split}", rows[:count])

    def run(self, words, desk, text=""):
        """Runs a program, with `text` to read; gives how it ended."""
        done = subprocess.run(
            words,
            input=text,
            capture_output=True,
            text=True,
            cwd=desk.folder,
            env=self.environment | {"PYTHONPATH": f"{desk.site}{os.pathsep}{self.site}"},
            timeout=SECONDS,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def once(self, words, desk):
        """As `run`, for what would be the same for every document."""
        key = (*words, desk.folder)
        if key not in self._once:
            self._once[key] = self.run(words, desk)
        return self._once[key]

    def fork(self, program, words, desk):
        """Runs `pkt-bench` or `pytest`, in a process that is forked from one with the imports done."""
        out, err = self.folder / "stdout", self.folder / "stderr"
        for stream in (out, err):
            stream.write_text("")
        code = self._fork(program, words, desk, ["/dev/null", str(out), str(err)])
        return Ended(code, out.read_text(errors="replace"), err.read_text(errors="replace"))

    def on_a_terminal(self, words, desk, awaited, keys):
        """Runs a command of ours on a terminal, and types `keys` as soon as it shows `awaited`."""
        ours, theirs = pty.openpty()
        shown = []

        def sit_in_front():
            waiting = True
            with contextlib.suppress(OSError):
                while seen := os.read(ours, 1 << 16).decode(errors="replace"):
                    shown.append(seen)
                    if waiting and awaited in "".join(shown):
                        waiting = False
                        os.write(ours, keys.encode())

        reader = threading.Thread(target=sit_in_front, daemon=True)
        reader.start()
        try:
            code = self._fork("pkt-bench", words, desk, [os.ttyname(theirs)] * 3)
        finally:
            os.close(theirs)
            reader.join(5)
            os.close(ours)
        return Ended(code, "".join(shown), "")

    def _fork(self, program, words, desk, streams):
        if self._server is None:
            self._server = subprocess.Popen(
                [sys.executable, "-P", str(HERE / "forked.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=self.environment,
                cwd=self.folder,
            )
        order = {
            "program": program,
            "words": words,
            "folder": str(desk.folder),
            "site": str(desk.site),
            "streams": streams,
        }
        print(json.dumps(order), file=self._server.stdin, flush=True)
        return json.loads(self._server.stdout.readline())

    def close(self):
        """Ends what it started."""
        self.hub.close()
        if self._server is not None:
            self._server.stdin.close()
            self._server.wait(30)
            self._server.stdout.close()

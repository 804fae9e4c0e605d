"""Every fenced block of every document is tried: files are written, commands and scripts run, in order, for real.

They run in a folder of the document's own, in a small world (`workplace.py`): pico models by the names of the embedded
pair and of a pair of the hub, served by a hub on this machine. A new command needs no entry here. Where it cannot run
in seconds as it is written, `INSTEAD` says what runs in its place.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pytest

import boards
from docs.cutting import DOCUMENT, cut, whole
from docs.documents import FILES, ROOT, blocks, documents
from docs.programs import Desk

TRIED = {str(path.relative_to(ROOT)): path for path in documents() if blocks(path)}


@dataclass(frozen=True)
class Instead:
    """What runs in the place of a command.

    `replace` exchanges parts of it, `add` goes behind it, `first` are commands before it; `keys` are typed on a
    terminal once `shows` is to be read there.
    """

    why: str
    replace: Mapping[str, str] = field(default_factory=dict)
    add: str = ""
    first: tuple[str, ...] = ()
    shows: str = ""
    keys: str = ""

    def of(self, command):
        """The command that runs in the place of `command`."""
        for part, other in self.replace.items():
            assert part in command, f"{command}: has no {part}"
            command = command.replace(part, other)
        return f"{command} {self.add}".strip()


SOME = {"--methods all": "--methods student,lora"}
LORA, NUGGETS = (f"--set {method}.learning_rate=0.004" for method in ("lora", "nuggets"))
FEW = "--suite knowledge --train-records 8"
ALL = "eleven methods on three suites take minutes, and what random models write teaches no student"

INSTEAD = {
    "pkt-bench run --methods all": Instead(ALL, SOME, f"{FEW} {LORA}"),
    "pkt-bench run --methods all --seeds 3 --also-score all": Instead(
        ALL,
        {"--methods all": "--methods lora", "--seeds 3": "--seeds 2", "--also-score all": "--also-score arithmetic"},
        f"{FEW} {LORA}",
    ),
    "pkt-bench run --config sweep.toml --out runs/ranks": Instead(
        "nine cells of three seeds each", add=f"--seeds 1 --methods nuggets --train-records 8 {NUGGETS}"
    ),
    "pkt-bench run --budget tokens=1e6,trainable=500000 --cell-seconds 2h --cell-memory 8GiB": Instead(
        ALL, add=f"{FEW} --methods lora {LORA}"
    ),
    "pkt-bench run --retry failed,timeout": Instead(ALL, add=f"{FEW} --methods student"),
    "pkt-bench run --pair qwen2.5-3b-1.5b --suite gsm8k --tasks arc_easy,mmlu --device cuda --dtype bfloat16": Instead(
        f"no GPU, 57 subjects of MMLU, and {ALL}",
        {"--device cuda": "--device cpu", "mmlu": "mmlu_virology"},
        "--methods student --limit 1",
    ),
    "pkt-bench run --pair qwen2.5-3b-1.5b --suite gsm8k --tasks arc_easy --data-dir bundle/data --offline": Instead(
        ALL, add="--methods student --limit 1"
    ),
    "pkt-bench pairs prune MODEL_DIR --layers 24 --heal records.jsonl --out student": Instead(
        "the reader's own model, which has fewer layers here", {"MODEL_DIR": "model", "--layers 24": "--layers 1"}
    ),
    "pkt-bench board runs --where 'suite in (code, arithmetic) and seed < 3' --having 'p < 0.05'": Instead(
        "of random models none is ahead", {"board runs": "board tiny-0.1.0"}
    ),
    "pkt-bench browse tiny-0.1.0": Instead("somebody has to leave it", shows="nuggets", keys="q"),
    "pkt-bench compare HEAD~1:runs runs --fail-if 'delta < -0.01 and p < 0.05'": Instead(
        "the reader's own repository",
        first=("git init -q", "git add runs", "git commit -qm 1", "git commit -qm 2 --allow-empty"),
    ),
    "pkt-bench run --methods nuggets --controls random-windows,noise-spectrum": Instead(ALL, add=f"{FEW} {NUGGETS}"),
    "pkt-bench run --methods laten --controls all": Instead(
        "ten controls", {"--controls all": "--controls unaligned"}, FEW
    ),
    "pkt-bench run --plugin anchor.py --methods student,anchor,teacher --controls other-tokens,noise-norm"
    " --suite knowledge --seeds 3": Instead("fifteen cells", {"--seeds 3": "--seeds 1"}),
    "pkt-bench plugins check louder --plugin louder.py": Instead(
        "tests/contract and tests/test_new_plugin.py check for a minute", {" --plugin louder.py": " --help"}
    ),
    "pkt-bench run --executor ray": Instead("tests/ray starts clusters, which takes ten seconds", add="--dry-run"),
    "pkt-bench run --executor ray --set ray.address=auto --device cuda --set ray.gpus_per_cell=0.5": Instead(
        "no cluster and no GPU", {"--device cuda": "--device cpu"}, "--dry-run"
    ),
    "pkt-bench run --track wandb": Instead(ALL, add=f"{FEW} --methods student"),
    "pkt-bench run --track wandb --set wandb.mode=offline --set wandb.project=transfer": Instead(
        ALL, add=f"{FEW} --methods student --fresh"
    ),
    "pkt-bench run --track trackio": Instead(ALL, add=f"{FEW} --methods student"),
    "pkt-bench run --track trackio --set trackio.project=transfer --set trackio.name=first": Instead(
        ALL, add=f"{FEW} --methods student --fresh"
    ),
    "python -m pkt_bench_tiny.train --out my-pair": Instead("twenty minutes", add="--help"),
    "python -m pkt_bench_tiny.gate --split test": Instead("a minute", add="--help"),
}


def own_things(world, folder):
    """What the README calls the reader's: a model, and records in a file."""
    shutil.copytree(world.site / "pico" / "teacher", folder / "model")
    records = [{"prompt": f"say {number}", "answer": f"well, {number}"} for number in range(20)]
    (folder / "records.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")


def a_run_folder(_, folder):
    """What a sweep leaves."""
    boards.record_board(folder / "runs", ("student", "lora"), documents=3)


# what a document finds in its folder
SURROUNDINGS = {"README.md": own_things, "leaderboards/README.md": a_run_folder}

# what is there when the last command of a document has ended, with words that are in it
LEFT = {
    "plugins/README.md": {
        "runs/logs/mine.txt": "teacher, tiny, code, seed 0: done",
        "runs/logs/to-do.txt": "lora, tiny, code, seed 0",
        "runs/logs/stages.txt": "lora, tiny, code, seed 0: load",
        "runs/logs/bill.json": '"cells": 1',
        "runs/board.arrow": "louder:any-norm",
    },
    "plugins/TUTORIAL.md": {"runs/board.arrow": "anchor:other-tokens", "strengths/board.arrow": "0.75"},
}


def said_in(file):
    """A file as text, whatever it is."""
    if file.suffix == ".arrow":
        return str(pa.ipc.open_file(file).read_all().select(["method", "settings"]).to_pydict())
    return file.read_text(encoding="utf-8")


def try_block(desk, block):
    """Does what a block says; gives what went wrong, a line for each part of it that did."""
    if block.cut:
        # a part of a file: the reader has put it where it belongs, and has that step's file
        desk.write(block.file if block.cut.startswith("test") else "anchor.py", whole(block.cut))
        return
    if block.file:
        desk.write(block.file, block.text)
        return
    if block.language == "python":
        yield "the script", desk.script(block.text)
    elif block.language in FILES:
        yield "the file", desk.nameless()
    for command in block.commands():
        instead = INSTEAD.get(command, Instead(""))
        for before in instead.first:
            yield before, desk.run(before)
        what = instead.of(command)
        yield command, desk.type_in(what, instead.shows, instead.keys) if instead.keys else desk.run(what)


def test_the_blocks_of_the_tutorial_are_those_of_its_tested_files():
    text = DOCUMENT.read_text(encoding="utf-8")

    assert cut(text) == text, "python tests/docs/cutting.py writes them anew"


def failures(path, desk):
    """What went wrong in a document, each with its line and what was said."""
    for block in blocks(path):
        for what, ended in try_block(desk, block):
            # a hook that raises is said, and costs no cell
            if ended.code or " raised " in ended.err:
                said = f"{ended.out[-500:]}{ended.err[-3000:]}"
                yield f"line {block.line}: {what}\n  exit code {ended.code}\n{said}"


@pytest.mark.slow
@pytest.mark.parametrize("name", TRIED)
def test_what_a_document_asks_its_reader_to_do_works(name, world, tmp_path):
    folder = tmp_path / "here"
    shutil.copytree(TRIED[name].parent, folder) if "published" in name else folder.mkdir()
    SURROUNDINGS.get(name, lambda *_: None)(world, folder)

    failed = list(failures(TRIED[name], Desk(world, folder)))

    for file, words in LEFT.get(name, {}).items():
        if not (folder / file).exists() or words not in said_in(folder / file):
            failed.append(f"{file} does not say {words!r}")
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```\npkt-bench plan --methods latan\n```\n", "no method is called 'latan'"),
        ("```\npkt-bench ls pairs && pkt-bench ls suits\n```\n", "No such command 'suits'"),
        ("```\nconda install pkt-bench\n```\n", "conda is none of them"),
        ("```\npip install 'pkt-bench[gpu]'\n```\n", "has no extra 'gpu'"),
        ("```\nmypy --strict\n```\n", "has no line 'mypy --strict'"),
        ("```toml\nseeds = 3\n```\n", "has no name"),
        ("```python\nimport pkt_bench\n\npkt_bench.Metod\n```\n", "no attribute 'Metod'"),
        ("Save this\nas `a.py`:\n\n```python\n1 / 0\n```\n\n```\npkt-bench ls pairs --plugin a.py\n```\n", "ZeroDiv"),
    ],
)
def test_a_document_that_asks_for_what_does_not_work_fails(text, said, world, tmp_path):
    document = tmp_path / "document.md"
    document.write_text(text, encoding="utf-8")

    [failed] = failures(document, Desk(world, tmp_path))

    assert said in failed


def test_nothing_runs_instead_of_a_command_that_no_document_has():
    written = {command for path in TRIED.values() for block in blocks(path) for command in block.commands()}

    assert set(INSTEAD) <= written

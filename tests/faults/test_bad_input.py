"""What a user gets wrong is said in words: the whole message and the exit code of every bad input, before any work.

Each case makes a folder with one thing wrong and a command line that meets it. `bad_input.txt` beside this file has the
exit code and every word of the answer; `<here>` is the folder the command ran in.
"""

import importlib.metadata
import json
import re
import shutil
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pkt_bench import cli
from pkt_bench_leaderboards import schema

PLAIN = {"--plugin": "pico_plugin.py", "--pair": "pico", "--suite": "pico", "--methods": "scale", "--out": "runs"}
CASES = {}


@dataclass(frozen=True)
class Place:
    """A folder of one's own with a copy of the pico pair, its suite and its plugin; commands run in it."""

    folder: Path

    @property
    def student(self):
        return self.folder / "pico" / "student"

    @property
    def weights(self):
        return self.student / "model.safetensors"

    def config(self, **changes):
        """Changes `config.json` of the student; None takes a key away."""
        edit_json(self.student / "config.json", **changes)

    def write(self, name, content):
        data = content if isinstance(content, bytes) else content.encode()
        (self.folder / name).write_bytes(data)
        return name

    def plugin(self, text):
        """A second plugin file beside the one of the pico pair."""
        return ["--plugin", self.write("mine.py", f"from pkt_bench import *\nfrom pkt_bench.domain import *\n{text}")]

    def suite(self, **changes):
        """A suite 'mine' like the pico one, with fields of it changed (Python expressions)."""
        fields = ", ".join(f"{name}={value}" for name, value in {"name": "'mine'", **changes}.items())
        return [
            *self.plugin(
                "import dataclasses, pathlib\nfrom pkt_bench.testing import pico_suite\n\n\n@hookimpl\n"
                "def pkt_bench_suites():\n"
                f"    yield dataclasses.replace(pico_suite(pathlib.Path(__file__).parent), {fields})\n"
            ),
            *("--suite", "mine"),
        ]

    def tensors(self, change):
        """Rewrites the student's weights, after `change` of {name: array}."""
        content = self.weights.read_bytes()
        length = struct.unpack("<Q", content[:8])[0]
        header = json.loads(content[8 : 8 + length])
        header.pop("__metadata__", None)
        arrays = {
            name: np.frombuffer(content[8 + length :][slice(*entry["data_offsets"])], "<f4")
            .reshape(entry["shape"])
            .copy()
            for name, entry in header.items()
        }
        change(arrays)
        start, header, body = 0, {}, b""
        for name, array in arrays.items():
            data = array.astype("<f4").tobytes()
            header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [start, start + len(data)]}
            start, body = start + len(data), body + data
        said = json.dumps(header).encode()
        self.weights.write_bytes(struct.pack("<Q", len(said)) + said + body)


def edit_json(path, **changes):
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


def given(*words, without=""):
    """The command line `run` with the plain request, `words` put in the place of what they name."""
    flags = list(words)
    kept = {name: value for name, value in PLAIN.items() if name not in (*flags, without) or name == "--plugin"}
    return ["run", *(part for pair in kept.items() for part in pair), *map(str, flags)]


def case(name):
    def keep(function):
        assert name not in CASES, name
        CASES[name] = function
        return function

    return keep


def flags(name, *words):
    """A case that is its words alone."""
    case(name)(lambda place: given(*words))


def file(name, text, suffix=".toml", without=""):
    """A case that is a sweep file; flags win over it, so the one that says the same is left out."""
    case(name)(lambda place: given("--config", place.write(f"sweep{suffix}", text), without=without))


def student(name):
    """A case that does something to the student of a pair that is given by its folders."""

    def keep(function):
        def words(place):
            function(place)
            return given("--pair", "pico/teacher:pico/student")

        return case(name)(words)

    return keep


# ---------------------------------------------------------------- models


flags("model folder missing", "--pair", "pico/techer:pico/student")
flags("model folder missing, nothing beside it", "--pair", "/nowhere/t:pico/student")
flags("model of the hub", "--pair", "meta-llama/Llama-2-13b-hf:pico/student")
flags("model known by its sizes", "--pair", "llama-2-13b:llama-2-7b")
flags("model of the hub at a revision", "--pair", "meta-llama/Llama-2-13b-hf@main/q4.gguf:pico/student", "--offline")
flags("GGUF file missing", "--pair", "pico/student.gguf:pico/student")
flags("consent for nobody", "--allow-pickle", "pico/teacher", "--trust-remote-code", "pico/techer")
flags("half a pair", "--pair", "pico/teacher:")
flags("a folder and no pair", "--pair", "pico/teacher")
flags("teacher smaller", "--pair", "pico/student:pico/teacher")
flags("teacher is the student", "--pair", "pico/student:pico/student")


def pairs_file(name, text, *more):
    """A case that is a file of pairs."""

    def words(place):
        place.write("pairs.toml", text)
        return given("--pair", "mine", *more)

    case(name)(words)


pairs_file("pair of the file unknown", '[mime]\nteacher = "pico/teacher"\nstudent = "pico/student"\n')
pairs_file("pairs file no TOML", "[mine]\nteacher = pico/teacher\n")
pairs_file(
    "pairs file with strange keys",
    '[mine]\nteecher = "pico/teacher"\n[other]\nteacher = "a"\n[third]\nteacher = 3\nstudent="b"\n',
)
pairs_file("pairs file without tables", 'teacher = "pico/teacher"\n')
pairs_file("pair of a plugin shadowed", '[pico]\nteacher = "pico/teacher"\nstudent = "pico/student"\n')
pairs_file("pair of the file without its folder", '[mine]\nteacher = "pico/techer"\nstudent = "pico/student"\n')
pairs_file("pairs file missing", "", "--pairs-file", "my-pairs.toml")


@case("GGUF file that is none")
def _(place):
    place.write("model.gguf", b"no GGUF at all")
    return given("--pair", "model.gguf:pico/student")


@case("model folder is a file")
def _(place):
    place.write("weights", b"x")
    return given("--pair", "weights:pico/student")


@case("named pair without its folder")
def _(place):
    shutil.rmtree(place.folder / "pico" / "teacher")
    return given()


@case("both sides of a pair wrong")
def _(place):
    (place.student / "config.json").unlink()
    (place.folder / "pico" / "teacher" / "tokenizer.json").unlink()
    return given("--pair", "pico/teacher:pico/student")


@student("no config")
def _(place):
    (place.student / "config.json").unlink()


@student("broken config")
def _(place):
    (place.student / "config.json").write_text('{"model_type": "llama",\n "hidden_size" 32}')


@student("config of another kind")
def _(place):
    (place.student / "config.json").write_text("[1, 2]")


@student("config not text")
def _(place):
    (place.student / "config.json").write_bytes(b"\xff\xfe\x00")


@student("config without sizes")
def _(place):
    place.config(hidden_size=None, vocab_size=None)


@student("config with a size that is none")
def _(place):
    place.config(num_hidden_layers="two")


@student("unknown model type")
def _(place):
    place.config(model_type="lama")


@student("custom code")
def _(place):
    place.config(model_type="minichat", auto_map={"AutoModelForCausalLM": "modeling_minichat.MiniChat"})


@student("no weights")
def _(place):
    place.weights.unlink()


@student("pickled weights alone")
def _(place):
    place.weights.rename(place.student / "pytorch_model.bin")


@student("truncated weights")
def _(place):
    place.weights.write_bytes(place.weights.read_bytes()[:-100])


@student("empty weights")
def _(place):
    place.weights.write_bytes(b"")


@student("git-lfs pointer")
def _(place):
    place.weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


@student("bad header")
def _(place):
    place.weights.write_bytes(struct.pack("<Q", 12) + b"no header :(")


@student("shard missing")
def _(place):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (place.student / "model.safetensors.index.json").write_text(json.dumps(index))


@student("index broken")
def _(place):
    (place.student / "model.safetensors.index.json").write_text('{"weights": {}}')


@student("index leads out of the folder")
def _(place):
    index = {"weight_map": {"a": "../teacher/model.safetensors"}}
    (place.student / "model.safetensors.index.json").write_text(json.dumps(index))


@student("weight missing")
def _(place):
    place.tensors(lambda arrays: arrays.pop("model.layers.1.mlp.up_proj.weight"))


@student("weight of another shape")
def _(place):
    place.config(intermediate_size=65)


@student("weight not finite")
def _(place):
    place.tensors(lambda arrays: arrays["model.norm.weight"].fill(np.nan))


@student("no tokenizer")
def _(place):
    for found in place.student.glob("*token*"):
        found.unlink()


@student("broken tokenizer")
def _(place):
    (place.student / "tokenizer.json").write_text('{"model": 3}')


@student("token ids beyond the embedding")
def _(place):
    place.config(vocab_size=100)


@case("window longer than the positions")
def _(place):
    text = (
        (place.folder / "pico_plugin.py")
        .read_text()
        .replace("class Scale(Settings):", "class Scale(Settings):\n    max_length: int = 64")
    )
    (place.folder / "pico_plugin.py").write_text(text)
    return given("--set", "scale.max_length=512")


# ---------------------------------------------------------------- names


flags("unknown method", "--methods", "scael")
flags("unknown pair", "--pair", "pcio")
flags("unknown suite", "--suite", "pioc")
flags("unknown control", "--controls", "twin")
flags("unknown executor", "--executor", "proces")
flags("unknown tracker", "--track", "wandb")
flags("unknown outcome", "--retry", "timout")
flags("all outcomes and one", "--retry", "all,failed")
flags("done is not retried", "--retry", "done")
flags("unknown flag", "--limits", "3")
flags("flag without a value", "--seeds")
flags("a word too many", "tiny")
flags("unknown setting", "--set", "scale.facto=2")
flags("setting of the wrong type", "--set", "scale.factor=big")
flags("setting that is no number", "--set", "scale.factor=nan")
flags("setting of nobody", "--set", "scael.factor=2")
flags("setting of a method that is not run", "--set", "noise.x=2")
flags("setting without a field", "--set", "scale=2")
flags("nothing selected", "--methods", ",")
flags(
    "everything wrong",
    "--methods",
    "scael,niose",
    "--pair",
    "pcio",
    "--suite",
    "pioc",
    "--executor",
    "rya",
    "--track",
    "x",
)


@case("unknown command")
def _(place):
    return ["rnu"]


@case("unknown command of a small group")
def _(place):
    return ["cache", "gs"]


@case("schema of nobody")
def _(place):
    return ["schema", "scael", "--plugin", "pico_plugin.py"]


@case("control misspelt")
def _(place):
    control = "Control('still-life', 'nothing moves', of=('scale',), settings={'factor': 1.0})"
    offered = place.plugin(f"@hookimpl\ndef pkt_bench_controls():\n    yield {control}\n")
    return given(*offered, "--controls", "still-live")


RICH = """
import typing
import pydantic


class Window(pydantic.BaseModel):
    start: int = 0
    end: int = 8


class Rich(Settings):
    window: Window = Window()
    \"\"\"Where to look.\"\"\"
    depth: typing.Literal[1, 2] | None = None
    batch: int | typing.Literal["auto"] = "auto"
    names: tuple[typing.Literal["red", "blue"], ...] = ("red",)
    least: int = pydantic.Field(default=1, alias="min")

    @pydantic.model_validator(mode="after")
    def _in_order(self):
        if self.window.start > self.window.end:
            raise ValueError("a window ends after it starts")
        return self


@hookimpl
def pkt_bench_methods():
    yield Method("rich", "a method of many settings", "language", print, Rich)
"""


def rich(name, *settings, text=None):
    """A case of settings as rich as a plugin may have them, by `--set` or in a sweep file."""

    def words(place):
        said = [part for each in settings for part in ("--set", f"rich.{each}")]
        if text is not None:
            said += ["--config", place.write("sweep.toml", text)]
        return given(*place.plugin(RICH), "--methods", "rich", *said)

    case(name)(words)


rich("key of a table misspelt", 'window={"strat": 1}')
rich("key of a table misspelt in a file", text="[settings.rich.window]\nstrat = 1\n")
rich("value in a table of the wrong type", text='[settings.rich]\nwindow = {start = "x"}\n')
rich("table that is no JSON", 'window={"start": 1')
rich("text for a table", "window=1:8")
rich("number that is no choice", "depth=3")
rich("true for a choice of numbers", text="[settings.rich]\ndepth = true\n")
rich("neither a number nor a word", "batch=aut")
rich("choice in a list misspelt", "names=red,bleu")
rich("name of a field that has another", "least=3")
rich("check of a plugin's own", 'window={"start": 9}')
rich("several settings wrong", "batch=x", "depth=7")
rich("swept setting misspelt", text="[sweep.rich]\ndepht = [1, 2]\n")


@case("extra not installed")
def _(place):
    text = (
        "def execute(jobs, slots, moments, settings):\n    raise AssertionError\n\n\n@hookimpl\n"
        "def pkt_bench_executors():\n"
        "    yield Executor('cloud', 'far away', execute, Settings, lambda: 'pip install pkt-bench[cloud]')\n"
    )
    return given(*place.plugin(text), "--executor", "cloud")


@case("method name taken by two")
def _(place):
    text = (
        "@hookimpl\ndef pkt_bench_methods():\n"
        "    yield Method('scale', 'another', 'post-align', lambda context: None, Settings)\n"
    )
    return given(*place.plugin(text))


# ---------------------------------------------------------------- sweep files


flags("sweep file missing", "--config", "absent.toml")
flags("sweep file is a folder", "--config", "pico")
file("sweep file of another kind", "seeds = 1\n", ".ini")
file("sweep file not UTF-8", b"methods = ['caf\xe9']\n")
file("sweep file in UTF-16", "seeds = 1\n".encode("utf-16"))
file("sweep file too large", "# " + "x" * (1 << 20))
file("TOML error", 'seeds = 1\nmethods = ["a", \n')
file("TOML error in a line", "seeds = 1\nlimit == 3\n")
file("TOML key twice", "seeds = 1\nseeds = 2\n")
file("YAML error", "seeds: 1\nmethods: [a, b\nlimit: 3\n", ".yaml")
file("YAML tab", "sweep:\n\tscale: 1\n", ".yaml")
file("YAML key twice", "seeds: 1\nseeds: 2\n", ".yml")
file("YAML alias", "methods: &m [scale]\ncontrols: *m\n", ".yaml")
file("YAML object", "seeds: !!python/object/apply:os.system ['true']\n", ".yaml")
file("YAML octal", "seeds: 012\n", ".yaml")
file("YAML base of 60", "cell_seconds: 1:30\n", ".yaml")
file("YAML date that is none", "out: 2024-13-45\n", ".yaml")
file("YAML nested deeply", "a: " + "[" * 2000, ".yaml")
file("YAML control sign", "out: a\x00b\n", ".yaml")
file("YAML no for a name", "device: no\n", ".yaml")
file("sweep file is a list", "- 1\n- 2\n", ".yaml")
file("unknown keys", "sed = 1\nmetods = ['a']\n")
file("text for a number", 'seeds = "many"\n')
file("list for a number", "seeds = [0, 1, 2]\n")
file("true for a number", "limit = true\n")
file("fraction for a number", "batch_size = 1.5\n")
file("number in a list of names", "methods = ['scale', 3]\n", without="--methods")
file("empty list", "methods = []\n", without="--methods")
file("settings that are no table", "settings = 3\n")
file("setting unknown in a file", "[settings.scale]\nfacto = 2\n")
file("setting unknown in a file, of a method that is not run", "[settings.patches]\nfactr = 2\n")
file("settings of an executor misspelt", "[settings.inlin]\nx = 2\n")
file("setting of an executor that has none", "[settings.process]\nx = 2\n")
file("sweep over an executor", "[sweep.inline]\nx = [1, 2]\n")
file("sweep over one value", "[sweep.scale]\nfactor = 2\n")
file("sweep over nothing", "[sweep.scale]\nfactor = []\n")
file("sweep and setting", "[settings.scale]\nfactor = 2\n[sweep.scale]\nfactor = [1, 2]\n")
file("budget unknown in a file", "[budget]\ntokns = 5\n")
file("budget that is no number", "[budget]\ntokens = true\n")
file("budget infinite", "[budget]\nseconds = inf\n")
file("NUL in a path", 'out = "a\\u0000b"\n', without="--out")
file("lone surrogate in a path", 'out: "\\ud800"\n', ".yaml", without="--out")


# ---------------------------------------------------------------- numbers


flags("no seeds", "--seeds", "0")
flags("seeds below 0", "--seeds", "-1")
flags("seeds without end", "--seeds", "1e9")
flags("seeds that are no number", "--seeds", "nan")
flags("half a seed", "--seeds", "1.5")
flags("limit 0", "--limit", "0")
flags("limit infinite", "--limit", "inf")
flags("batch size 0", "--batch-size", "0")
flags("batch size huge", "--batch-size", "99999999999999999999")
flags("threads 0", "--threads", "0")
flags("slots below 0", "--slots", "-2")
flags("dtype misspelt", "--dtype", "float31")
flags("budget without a number", "--budget", "tokens")
flags("budget unknown", "--budget", "step=5")
flags("budget 0", "--budget", "steps=0")
flags("budget of half a token", "--budget", "tokens=1.5")
flags("budget not a number", "--budget", "seconds=nan")
flags("time 0", "--cell-seconds", "0")
flags("time in no unit", "--cell-seconds", "10 minutes")
flags("size below 0", "--cell-memory", "-8GB")
flags("size in no unit", "--cell-memory", "8 cats")
flags("size too small", "--cell-disk", "2kB")
flags("several numbers wrong", "--seeds", "0", "--limit", "x", "--cell-disk", "?")


# ---------------------------------------------------------------- the run folder and the machine


@case("run folder is a file")
def _(place):
    place.write("runs", "mine")
    return given()


@case("run folder below a file")
def _(place):
    place.write("runs", "mine")
    return given("--out", "runs/deep")


@case("run folder of somebody else")
def _(place):
    return given("--out", ".")


@case("run folder of a newer schema")
def _(place):
    (place.folder / "runs").mkdir()
    place.write("runs/pkt-bench.json", '{"format": "pkt-bench runs", "schema_version": 9999}')
    return given()


@case("run folder with a mark that is none")
def _(place):
    (place.folder / "runs").mkdir()
    place.write("runs/pkt-bench.json", "{}")
    return given()


flags("run folder that cannot be written", "--out", "/proc/self/runs")
flags("name too long", "--out", "x" * 256)
flags("path too long", "--out", "/".join(["x" * 200] * 25))
flags("name that is not UTF-8", "--out", "r\udcff")
flags("device misspelt", "--device", "gpu")
flags("device nearly right", "--device", "cdua")
flags("device not there", "--device", "cuda:7")


# ---------------------------------------------------------------- plugins and suites


flags("plugin missing", "--plugin", "absent.py")
flags("plugin is a folder", "--plugin", "pico")


@case("plugin with a syntax error")
def _(place):
    return given(*place.plugin("def broken(:\n"))


@case("plugin raises")
def _(place):
    return given(*place.plugin("raise RuntimeError('not today')\n"))


@case("plugin needs what is not here")
def _(place):
    return given(*place.plugin("import moonlib\n"))


@case("plugin without a mark")
def _(place):
    return given(*place.plugin("def pkt_bench_methods():\n    yield\n"))


@case("plugin with a misspelt hook")
def _(place):
    return given(*place.plugin("@hookimpl\ndef pkt_bench_method():\n    yield\n"))


@case("plugin yields something else")
def _(place):
    return given(*place.plugin("@hookimpl\ndef pkt_bench_methods():\n    yield 'scale'\n"))


@case("plugin yields nothing")
def _(place):
    return given(*place.plugin("@hookimpl\ndef pkt_bench_methods():\n    pass\n"))


@case("plugin with a paradigm that is none")
def _(place):
    text = "@hookimpl\ndef pkt_bench_methods():\n    yield Method('m', 's', 'magic', lambda context: None, Settings)\n"
    return given(*place.plugin(text))


@case("records raise")
def _(place):
    return given(*place.suite(records="lambda split: 1 / 0"))


@case("no records")
def _(place):
    return given(*place.suite(records="lambda split: []"))


@case("task folder missing")
def _(place):
    return given(*place.suite(task_path="pathlib.Path('absent').absolute()"))


@case("task not in its folder")
def _(place):
    return given(*place.suite(tasks="(Task('hellaswag', 'acc'),)"))


@case("task file broken")
def _(place):
    (place.folder / "tasks").mkdir()
    place.write("tasks/mine.yaml", "task: mine\nmetric_list: [\n")
    return given(*place.suite(task_path="pathlib.Path('tasks').absolute()", tasks="(Task('mine', 'acc'),)"))


@case("metric that the task has not")
def _(place):
    return given(*place.suite(tasks="(Task('pico', 'exact_match'),)"))


@case("filter that the task has not")
def _(place):
    return given(*place.suite(tasks="(Task('pico', 'acc', filter='strict'),)"))


# ---------------------------------------------------------------- what is said


def expected():
    """Exit code and words by case, from `bad_input.txt`: a line `== 2 NAME`, then what is said."""
    text = (Path(__file__).parent / "bad_input.txt").read_text(encoding="utf-8")
    parts = re.findall(r"^== (\d+) (.+)\n((?:(?!== \d).*\n)*)", text, re.MULTILINE)
    return {name: (int(code), said) for code, name, said in parts}


SAID = expected()


def plain(text, folder):
    """Without what differs from machine to machine."""
    text = text.replace(str(folder), "<here>").replace(importlib.metadata.version("transformers"), "<version>")
    return text.replace(f"reads up to {schema.SCHEMA_VERSION}", "reads up to <schema>")


@pytest.fixture
def place(pico, tmp_path, monkeypatch):
    """A folder to get things wrong in; no plugin but the one in it is loaded."""
    folder = tmp_path.resolve() / "here"
    # without what other tests of the session left there
    shutil.copytree(pico.folder, folder, ignore=lambda _, names: set(names) & {"__pycache__", "slow-started", "runs"})
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PKT_BENCH_LOAD_PLUGINS", "")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))
    return Place(folder)


@pytest.mark.parametrize("name", CASES)
def test_a_bad_input_is_told_to_the_word(name, place, monkeypatch, capsys):
    if name == "device not there" and not_this_machine():
        pytest.skip("the words are torch's, of a build without CUDA")
    words = CASES[name](place)
    before = (place.folder / "runs").exists()
    monkeypatch.setattr(sys, "argv", ["pkt-bench", *words])

    with pytest.raises(SystemExit) as ended:
        cli.main()

    said = capsys.readouterr()
    assert (ended.value.code, plain(said.err, place.folder)) == SAID[name]
    assert said.out == ""
    assert (place.folder / "runs").exists() == before, "something was begun"


@pytest.mark.parametrize("name", ["everything wrong", "truncated weights", "unknown flag", "extra not installed"])
def test_a_process_of_its_own_says_the_same(name, place, pkt_bench):
    words = CASES[name](place)

    answer = pkt_bench(*words, cwd=place.folder)

    assert (answer.code, plain(answer.err, place.folder), answer.out) == (*SAID[name], "")


@pytest.mark.parametrize("name", ["sweep file not UTF-8", "no seeds", "weight missing", "device misspelt"])
def test_a_plan_says_the_same_as_a_run(name, place, monkeypatch, capsys):
    words = CASES[name](place)
    monkeypatch.setattr(sys, "argv", ["pkt-bench", "plan", *words[1:]])

    with pytest.raises(SystemExit) as ended:
        cli.main()

    assert (ended.value.code, plain(capsys.readouterr().err, place.folder)) == SAID[name]


def test_there_are_more_than_a_hundred_of_them_and_none_ends_well():
    assert len(CASES) >= 100
    assert set(SAID) == set(CASES)
    assert {code for code, _ in SAID.values()} == {2, 3, 4, 5}


def test_no_message_shows_the_inside():
    inside = ("Traceback", "Error(", "Input should", "pydantic", "a defect in", "NoneType", "object has no")
    for name, (_, said) in SAID.items():
        assert said.startswith("pkt-bench: "), name
        assert not [word for word in inside if word in said], name


def not_this_machine():
    import torch

    return torch.backends.cuda.is_built()


@pytest.mark.parametrize("text", [b"\xef\xbb\xbfseeds = 2\n", b"seeds = 2\r\nlimit = 4\r\n", b"seeds = 2e0\n"])
def test_what_looks_strange_and_is_not_wrong_is_taken(text, place, monkeypatch, capsys):
    place.write("sweep.toml", text)
    monkeypatch.setattr(sys, "argv", ["pkt-bench", "plan", *given("--config", "sweep.toml")[1:], "--json"])

    with pytest.raises(SystemExit) as ended:
        cli.main()

    assert ended.value.code == 0
    assert [cell["seed"] for cell in json.loads(capsys.readouterr().out)["cells"]] == [0, 1]

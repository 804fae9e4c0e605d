"""The command line's contract: light commands stay light, and bad input ends in one clear message before any work."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# a run folder with a few runs
RECORDED = str(Path(__file__).parent / "data" / "runs-v1")

LIGHT = [
    ["--help"],
    ["run", "--help"],
    ["ls", "methods"],
    ["ls", "pairs"],
    ["ls", "suites"],
    ["ls", "executors"],
    ["ls", "trackers"],
    ["ls", "runs", RECORDED],
    ["cache", "ls", RECORDED],
    ["plugins", "list"],
    ["schema"],
    ["plan"],
]


@pytest.mark.parametrize("command", LIGHT, ids=lambda command: " ".join(command[:2]))
def test_a_light_command_imports_nothing_heavy(command, tmp_path):
    script = (
        "import sys\nfrom pkt_bench.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    code = end.code\n"
        "heavy = {'torch', 'transformers', 'peft', 'lm_eval', 'datasets'} & set(sys.modules)\n"
        "print(code, sorted(heavy), file=sys.stderr)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, *command],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )

    assert done.stderr.splitlines()[-1] == "0 []"
    assert done.stdout.strip()


def broken_pair(pico, tmp_path, fault):
    """A copy of the pico pair with one fault in the student."""
    folder = tmp_path / "pair"
    shutil.copytree(pico.folder / "pico", folder)
    student = folder / "student"
    weights = student / "model.safetensors"
    if fault == "no-config":
        (student / "config.json").unlink()
    elif fault == "no-weights":
        weights.unlink()
    elif fault == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif fault == "empty":
        weights.write_bytes(b"")
    elif fault == "lfs":
        weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    elif fault == "broken-config":
        (student / "config.json").write_text('{"model_type": ')
    elif fault == "no-tokenizer":
        for file in student.glob("*token*"):
            file.unlink()
    elif fault == "small-embedding":
        config = json.loads((student / "config.json").read_text())
        (student / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
    elif fault == "swapped":
        return f"{folder / 'student'}:{folder / 'teacher'}"
    return f"{folder / 'teacher'}:{folder / 'student'}"


@pytest.mark.parametrize(
    ("fault", "code", "phrase"),
    [
        ("no-config", 2, "has no config.json."),
        ("no-weights", 2, "has no *.safetensors weights"),
        ("truncated", 5, "truncated. Fetch the file again"),
        ("empty", 5, "has 0 bytes: not a safetensors file"),
        ("lfs", 5, "is a git-lfs pointer, not weights. Run: git lfs pull"),
        ("broken-config", 2, "config.json:1:16: not JSON: Expecting value."),
        ("no-tokenizer", 2, "has no tokenizer (tokenizer.json)"),
        ("small-embedding", 2, "the tokenizer has the id 256, the model's embedding has 100 rows"),
        ("swapped", 2, "swap them, or say --allow-small-teacher"),
    ],
)
def test_a_faulty_pair_is_refused_before_anything_is_loaded(warm, pico, tmp_path, fault, code, phrase):
    pair = broken_pair(pico, tmp_path, fault)

    answer = warm("run", "--plugin", pico.plugin, "--pair", pair, "--suite", "pico", "--methods", "scale", cwd=tmp_path)

    assert answer.code == code
    assert phrase in answer.err
    assert answer.err.startswith("pkt-bench: ")
    assert "Traceback" not in answer.err
    assert not list(tmp_path.rglob("*.arrow"))


@pytest.mark.parametrize(
    ("flags", "code", "phrase"),
    [
        (["--methods", "scael"], 2, "no method is called 'scael'. Did you mean 'scale'?"),
        (["--pair", "pcio"], 2, "no pair is called 'pcio'. Did you mean 'pico'?"),
        (["--suite", "pioc"], 2, "no suite is called 'pioc'. Did you mean 'pico'?"),
        (["--pair", "/nowhere/t:/nowhere/s"], 2, "there is no model folder /nowhere/t"),
        (["--seeds", "0"], 2, "--seeds 0 will not do"),
        (["--seeds", "many"], 2, "--seeds many will not do: a whole number is wanted."),
        (["--limit", "-1"], 2, "--limit -1 will not do"),
        (["--batch-size", "0"], 2, "--batch-size 0 will not do"),
        (["--executor", "rya"], 2, "no executor is called 'rya'. Did you mean 'ray'? Installed: inline, process, ray"),
        (["--device", "cdua"], 2, "a torch device is wanted"),
        (["--set", "scale.facto=2"], 2, "scale has no setting 'facto'. Did you mean 'scale.factor'?"),
        (["--set", "scale.factor=big"], 2, "scale.factor = 'big' will not do"),
        (["--set", "scael.factor=2"], 2, "no method is called 'scael'. Did you mean 'scale'?"),
        (["--set", "noise.x=2", "--methods", "scale"], 2, "'noise', which is not among the methods of this run"),
        (["--set", "scale"], 2, "write METHOD.FIELD=VALUE"),
        (["--metods", "scale"], 2, "--methods"),
        (["--plugin", "absent.py"], 2, "absent.py: there is no such file"),
        (["--config", "absent.toml"], 2, "absent.toml: No such file or directory"),
    ],
)
def test_a_bad_request_is_one_clear_message(warm, pico, tmp_path, flags, code, phrase):
    given = ["--plugin", pico.plugin, "--pair", "pico", "--suite", "pico", "--methods", "scale"]
    repeated = {flag for flag in flags if flag in {"--methods", "--pair", "--suite"}}
    kept = [part for pair in zip(given[::2], given[1::2], strict=True) if pair[0] not in repeated for part in pair]

    answer = warm("run", *kept, *flags, cwd=tmp_path)

    assert answer.code == code
    assert phrase in " ".join(answer.err.split())
    assert "Traceback" not in answer.err
    assert answer.out == ""


def test_several_wrong_names_are_said_at_once(warm, pico):
    answer = warm("plan", "--plugin", pico.plugin, "--methods", "scael", "--pair", "pcio", "--suite", "pioc")

    assert answer.code == 2
    assert all(name in answer.err for name in ("scael", "pcio", "pioc"))


def test_an_out_dir_that_is_a_file_is_refused(warm, pico, tmp_path):
    (tmp_path / "out").write_text("mine")

    answer = warm("run", "--plugin", pico.plugin, "--pair", "pico", "--suite", "pico", "--out", tmp_path / "out")

    assert answer.code == 2
    assert "is a file" in answer.err
    assert (tmp_path / "out").read_text() == "mine"


def test_a_folder_with_somebody_elses_files_is_refused(warm, pico, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")

    answer = warm("run", "--plugin", pico.plugin, "--pair", "pico", "--suite", "pico", "--out", tmp_path)

    assert answer.code == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["thesis.tex"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that even root cannot write to")
def test_an_out_dir_that_cannot_be_written_is_refused_before_any_work(warm, pico):
    answer = warm("run", "--plugin", pico.plugin, "--pair", "pico", "--suite", "pico", "--out", "/proc/self/runs")

    assert answer.code == 4
    assert "/proc/self/runs" in answer.err
    assert "Traceback" not in answer.err


def test_a_device_that_is_not_there_is_an_environment_error(warm, pico, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has the device")

    answer = warm(
        "plan", "--plugin", pico.plugin, "--pair", "pico", "--suite", "pico", "--device", "cuda", cwd=tmp_path
    )

    assert answer.code == 3
    assert "--device cuda" in answer.err
    assert "Use --device cpu" in answer.err


def test_a_cell_that_failed_and_is_not_retried_is_neither_run_nor_forgotten(warm, pico, tmp_path):
    given = (
        "--plugin",
        pico.plugin,
        "--pair",
        "pico",
        "--suite",
        "pico",
        "--methods",
        "raises",
        "--out",
        tmp_path / "r",
    )
    first = warm("run", *given, "--executor", "inline")

    plan = warm("plan", *given, "--retry", "timeout")
    record = warm("plan", *given, "--retry", "timeout", "--json").lines()[0]
    run = warm("run", *given, "--retry", "timeout")

    assert (first.code, plan.code, run.code) == (1, 0, 1)
    assert "1 cells: 0 to run, 0 done before, 1 failed before, not retried, 0 skipped" in plan.out
    assert "✗ raises, pico, pico: ended as failed before; --retry failed runs it again" in plan.out
    assert "1 failed before, not retried" in run.err
    assert [(cell["state"], cell["reason"]) for cell in record["cells"]] == [
        ("failed before", "ended as failed before; --retry failed runs it again")
    ]


def test_a_plan_in_json_says_what_the_records_give_away_and_how_vocabularies_stand(warm, pico):
    given = ("--plugin", pico.plugin, "--pair", "pico", "--suite", "pico", "--methods", "scale")

    (record,) = warm("plan", *given, "--json").lines()

    assert record["overlap"] == {
        "pico": {
            "tests": 4,
            "ngram": 13,
            "splits": {
                split: {"records": 16, "exact": 0, "ngrams": 0} for split in ("extract", "align", "train", "validation")
            },
        }
    }
    assert record["notes"][0] == "pair 'pico': vocabularies: same tokenizer"


def test_a_closed_pipe_ends_quietly(pico, tmp_path):
    command = f"{sys.executable} -m pkt_bench ls suites --plugin {pico.plugin} | true"

    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=False)

    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize("form", ["json", "csv", "md", "table"])
def test_a_listing_says_the_same_in_every_format(warm, pico, form):
    answer = warm("ls", "methods", "--plugin", pico.plugin, "--format", form)

    assert answer.code == 0
    assert "test method scale" in answer.out
    if form == "json":
        assert {"method": "scale", "paradigm": "post-align"}.items() <= next(
            row for row in json.loads(answer.out) if row["method"] == "scale"
        ).items()


def test_an_unknown_format_offers_the_nearest(warm):
    answer = warm("ls", "methods", "--format", "jsno")

    assert answer.code == 2
    assert "Did you mean 'json'?" in answer.err


def test_python_minus_m_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "pkt_bench", "--version"], capture_output=True, text=True, env=os.environ, check=True
    )

    assert done.stdout.startswith("pkt-bench 0.")


def test_a_typo_elsewhere_hides_no_fault_of_a_pair_that_is_here(warm, tmp_path):
    answer = warm("run", "--pair", f"{tmp_path}/t:{tmp_path}/s", "--suite", "knowlege", "--out", tmp_path / "runs")

    assert answer.code == 2
    assert "Did you mean 'knowledge'?" in answer.err
    assert f"{tmp_path}/t" in answer.err
    assert f"{tmp_path}/s" in answer.err

"""Shell completion as shells ask for it: through the environment, in a process of its own, for bash, zsh and fish."""

import os
import resource
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

import boards
from conftest import environment
from pkt_bench import views as saved_views
from pkt_bench.cli import completion

BASH = shutil.which("bash")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run folder in it, another one deeper, and one that is none."""
    top = tmp_path_factory.mktemp("place")
    boards.record_board(top / "runs", ("student", "lora", "nuggets:noise-spectrum"), documents=3)
    boards.record_board(top / "old" / "runs-2", ("student",), documents=3)
    (top / "rubbish").mkdir()
    return top


@pytest.fixture
def ask(place):
    """What is offered after the words of a command line, the last of which is being typed; nothing on stderr, ever."""

    def call(*words, shell="bash", **more):
        asked = {"_PKT_BENCH_COMPLETE": f"complete_{shell}"}
        if shell == "bash":
            asked |= {"COMP_WORDS": "\n".join(["pkt-bench", *words]), "COMP_CWORD": str(len(words))}
        else:
            asked |= {
                "_TYPER_COMPLETE_ARGS": " ".join(["pkt-bench", *words]),
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            }
        done = subprocess.run(
            [sys.executable, "-m", "pkt_bench"],
            env=environment(**asked, **more),
            cwd=place,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.stderr == ""
        return done.stdout.splitlines()

    return call


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("comp",), ["compare", "compact"]),
        (("run", "--methods", "nug"), ["nuggets"]),
        (("plan", "--methods", "lora,nug"), ["lora,nuggets"]),
        (("run", "--methods", "nuggets", ":", "noise-s"), ["noise-spectrum"]),
        (("run", "--controls", "noise-s"), ["noise-spectrum"]),
        (("run", "--pair", "ti"), ["tiny"]),
        (("run", "--suite", "ar"), ["arithmetic"]),
        (("run", "--also-score", "arithmetic,co"), ["arithmetic,code"]),
        (("run", "--executor", "pro"), ["process"]),
        (("run", "--track", "wan"), ["wandb"]),
        (("run", "--set", "pissa.ra"), ["pissa.rank="]),
        (("run", "--set", "lora.init", "="), ["kaiming", "gaussian", "orthogonal", "olora"]),
        (("run", "--set", "=", "lora.init", "=", "ol"), ["olora"]),
        (("run", "--set", "nuggets", ":", "noise-spectrum.split", "=", "s"), ["sqrt"]),
        (("run", "--budget", "tokens", "=", "1e6", "--methods", "=", "nug"), ["nuggets"]),
        (("schema", "nuggets", ":", "noise-s"), ["noise-spectrum"]),
        (("run", "--retry", "failed,time"), ["failed,timeout"]),
        (("ls", "runs", "r"), ["runs"]),
        (("ls", "runs", "old/"), ["old/runs-2"]),
        (("ls", "runs", ""), ["runs", "old/runs-2"]),
        (("compare", "runs", "ol"), ["old/runs-2"]),
        (("compare", "lora", "stud"), ["student", "student-arithmetic-0", "student-arithmetic-1"]),
        (("compare", "runs", "::", "lora-code-2"), ["lora-code-2"]),
        (("compare", "runs", "::"), ["lora", "student", "nuggets:noise-spectrum"]),
        (("compare", "runs", "::", "nuggets", ":", "noi"), ["noise-spectrum"]),
        (("compare", "old/runs-2", "::", "student-code-1"), ["student-code-1"]),
        (("compare", "--in", "old/runs-2", "student-code-1"), ["student-code-1"]),
        (("compare", "--in", "ru"), ["runs"]),
        (("run", "--methods", "no such thing"), []),
        (("compare", "nowhere", "::", "lo"), []),
    ],
    ids=" ".join,
)
def test_bash_is_offered_the_names_that_fit(ask, words, offered):
    found = ask(*words)

    assert set(offered) <= set(found)
    assert bool(found) is bool(offered)
    assert "rubbish" not in found


def test_zsh_and_fish_are_offered_whole_names(ask):
    in_zsh = ask("compare", "runs::lora-co", shell="zsh")
    in_fish = ask("compare", "runs::lora-co", shell="fish")
    with_help = ask("run", "--methods", "nuggets:noise-s", shell="fish")

    assert r'"runs\\:\\:lora-code-0"' in in_zsh[0]
    assert in_fish == [f"runs::lora-code-{seed}" for seed in boards.SEEDS]
    assert [line.split("\t")[0] for line in with_help] == ["nuggets:noise-spectrum"]
    assert with_help[0].split("\t")[1]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("pis", ["pissa."]),
        ("pissa.ra", ["pissa.rank="]),
        ("lora.alpha=", ["none"]),
        ("lora.rank=", ["16"]),
        ("lora.rank=8", []),
        ("laten.stream=", ["none", "true", "false"]),
        ("lora.modules=q_proj,v_", ["q_proj,v_proj"]),
        ("lora.modules=q_proj,q", []),
        ("nuggets:noise-spectrum.spl", ["nuggets:noise-spectrum.split="]),
        ("pkt-bench/lora.init=gau", ["gaussian"]),
        ("pkt-bench/pis", ["pkt-bench/pissa."]),
        ("wandb.mode=of", ["offline"]),
        ("ray.retries=", ["2"]),
        ("lora.nothing=", []),
        ("nobody.rank=", []),
    ],
)
def test_settings_and_their_values_are_offered_for_everything_that_has_some(typed, offered):
    found = completion.settings(SimpleNamespace(params={}), typed)

    names = [each if isinstance(each, str) else each[0] for each in found]
    assert [name.rpartition("=")[2] if "=" in typed else name for name in names] == offered


def test_whatever_a_plugin_offers_and_views_are_offered(tmp_path, monkeypatch):
    monkeypatch.setenv("PKT_BENCH_HOME", str(tmp_path))
    saved_views.save("ours", ["--sort", "mean"])
    context = SimpleNamespace(params={})

    def offered(typed):
        return {each if isinstance(each, str) else each[0] for each in completion.anything(context, typed)}

    assert offered("tin") == {"tiny"}
    assert offered("laten:un") == {"laten:unaligned"}
    assert {"wandb", "ray", "arithmetic", "baselines", "noise-norm"} <= offered("")
    assert completion.views(context, "o") == [("ours", "--sort mean")]


def test_values_of_a_setting_come_with_the_default_first_and_marked(ask):
    in_fish = ask("run", "--set", "lora.init=", shell="fish")
    in_zsh = ask("run", "--set", "nuggets:noise-norm.layers=", shell="zsh")
    fields = ask("run", "--set", "laten.rank", shell="fish")

    assert in_fish == [
        "lora.init=kaiming\tdefault",
        *(f"lora.init={each}" for each in ("gaussian", "orthogonal", "olora")),
    ]
    assert in_zsh[0].startswith('_arguments \'*: :(("nuggets\\\\:noise-norm.layers=sensitivity":"default"')
    assert fields[0].startswith("laten.ranking=\tnone: How exact scores give the best neurons: ")


def test_a_plugin_file_named_before_is_completed_from(ask, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from pkt_bench import Method, Settings, hookimpl\n"
        "print('loading')\n"
        "class Mine(Settings):\n    depth: int = 1\n    kinds: tuple[bool, ...] = ()\n    least: int\n"
        "@hookimpl\ndef pkt_bench_methods():\n    yield Method('mine', 'my method', 'language', print, Mine)\n"
    )

    assert ask("run", "--plugin", str(plugin), "--methods", "mi") == ["mine"]
    assert ask("run", "--plugin", str(plugin), "--set", "mine.") == [*("mine.depth=", "mine.kinds=", "mine.least=")]
    assert ask("run", "--plugin", str(plugin), "--set", "mine.kinds", "=", "true,") == ["true,false"]
    assert ask("run", "--plugin", str(plugin), "--set", "mine.least", "=") == []


def test_broken_things_are_passed_over_in_silence(ask, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('print me')")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "board.arrow").write_bytes(b"ARROW1 no more")

    assert ask("run", "--plugin", str(broken), "--methods", "lo") == []
    assert ask("compare", str(tmp_path / "runs"), "::", "lo") == []
    assert ask("run", "--methods", "lo", PKT_BENCH_STRICT_PLUGINS="1", PKT_BENCH_LOAD_PLUGINS="none") == []


def test_words_that_make_no_sense_are_passed_over_in_silence(ask):
    assert ask("run", "'") == []
    assert ask("nonsense", "--methods", "lo") == []


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_the_script_that_is_installed_works_in_a_real_bash(place, tmp_path):
    (tmp_path / "pkt-bench").write_text(f'#!/bin/sh\nexec {sys.executable} -m pkt_bench "$@"\n')
    (tmp_path / "pkt-bench").chmod(0o755)
    script = (
        'eval "$(pkt-bench --show-completion bash)"; complete -p pkt-bench\n'
        "COMP_WORDS=(pkt-bench compare runs :: lora-co); COMP_CWORD=4; _pkt_bench_completion pkt-bench\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
        "COMP_WORDS=(pkt-bench run --set lora.init = o); COMP_CWORD=5; _pkt_bench_completion pkt-bench\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )

    done = subprocess.run(
        [BASH, "--norc", "-c", script],
        env=environment(PATH=f"{tmp_path}:{os.environ['PATH']}"),
        cwd=place,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == [
        "complete -o default -F _pkt_bench_completion pkt-bench",
        *(f"lora-code-{seed}" for seed in boards.SEEDS),
        *("orthogonal", "olora"),
    ]


def test_completion_installs_itself_for_a_shell(pkt_bench, tmp_path):
    # a shell that is named, and not one that is found among the processes that started us
    named = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    answer = pkt_bench("--install-completion", "bash", **named)

    assert answer.code == 0
    assert "_PKT_BENCH_COMPLETE=complete_bash" in next(tmp_path.rglob("*.sh")).read_text()


def test_a_completion_takes_no_more_than_a_moment(ask):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ask("run", "--methods", "lo")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    # about 0.3 s; torch or lm-eval alone would take two
    assert after.ru_utime - before.ru_utime < 1.5

"""For plugin authors: pico pairs and suites, built from a config in milliseconds, and runs of them by the real harness.

With pytest, the fixtures `tiny_pair`, `pkt_bench_run` and `pkt_bench_check` give the same: see `pytest_plugin`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench.domain import ModelRef, Pair, PromptSpec, Record, Split, Suite, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

TEACHER = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 6}
STUDENT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
WORDS = ("te", "st", "tr", "ai", "in", "al", "ig")
CAPITALS = {"a": "x", "b": "y", "c": "z", "d": "w"}


def pico_pair(
    folder: Path,
    *,
    name: str = "pico",
    family: str = "llama",
    teacher: dict[str, Any] | None = None,
    student: dict[str, Any] | None = None,
    seed: int = 0,
    own_tokenizers: bool = False,
) -> Pair:
    """A pair of random models of a `family` that transformers knows, saved below `folder` with one byte tokenizer.

    With `own_tokenizers` the teacher has another one, which knows some words as well.

    `teacher` and `student` are added to the configurations (grouped-query attention, tied embeddings, other sizes);
    `head_dim` is 8 unless they say otherwise. Weights are normal with a standard deviation of 0.2; biases and the
    gains of norms are moved off their start by as much, so that whoever forgets one computes something else.
    """
    refs = []
    for role, base, given in (("teacher", TEACHER, teacher), ("student", STUDENT, student)):
        path = folder / name / role
        tokenizer = byte_tokenizer(WORDS if own_tokenizers and role == "teacher" else ())
        _save_model(path, family, {**base, "head_dim": 8, **(given or {})}, len(tokenizer), seed)
        tokenizer.save_pretrained(path)
        refs.append(ModelRef(path))
    return Pair(name, f"random {family} models of a few thousand weights", teacher=refs[0], student=refs[1])


def byte_tokenizer(words: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """256 bytes, `words` of two letters, and one special token (the last id) that begins, ends and pads."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {sign: number for number, sign in enumerate((*alphabet, *words))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[(word[0], word[1]) for word in words]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    end = "<|end|>"
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=end, eos_token=end, pad_token=end)


def pico_suite(folder: Path, *, name: str = "pico") -> Suite:
    """A multiple-choice suite of a few records with its lm-eval task, written below `folder`."""
    path = folder / f"{name}-tasks"
    path.mkdir(parents=True, exist_ok=True)
    documents: list[dict[str, Any]] = [
        {"prompt": f"test {c}:", "choices": list(CAPITALS.values()), "gold": i} for i, c in enumerate(CAPITALS)
    ]
    _write(path / "documents.json", json.dumps(documents))
    _write(
        path / "documents.py",
        "import json\nimport pathlib\n\nimport datasets\n\n\n"
        "def test(**_):\n"
        "    rows = json.loads((pathlib.Path(__file__).parent / 'documents.json').read_text())\n"
        "    return {'test': datasets.Dataset.from_list(rows)}\n",
    )
    _write(
        path / f"{name}.yaml",
        f"task: {name}\ncustom_dataset: !function documents.test\ntest_split: test\noutput_type: multiple_choice\n"
        "doc_to_text: '{{prompt}}'\ndoc_to_choice: '{{choices}}'\ndoc_to_target: '{{gold}}'\ntarget_delimiter: ' '\n"
        "metric_list:\n  - metric: acc\n    aggregation: mean\n    higher_is_better: true\nmetadata:\n  version: 1\n",
    )

    def records(split: Split) -> Sequence[Record]:
        return [Record.of(f"{split} {letter}{n}:", f" {x}") for n in range(4) for letter, x in CAPITALS.items()]

    return Suite(
        name=name,
        summary="letters",
        records=records,
        prompt=PromptSpec(),
        tasks=(Task(name, "acc", chance=0.25),),
        task_path=path,
        test_prompts=lambda: [document["prompt"] for document in documents],
    )


@dataclass(frozen=True)
class Ran:
    """What a run left.

    Attributes:
        code: its exit code.
        out: what it printed of results: JSON, an object a line.
        err: what it said about them.
        folder: its run folder.
        pair: what it ran on, where that is a record.
    """

    code: int
    out: str
    err: str
    folder: Path
    pair: Pair | None = None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The headline row of each cell, or the one that says why it has none, by the columns of the runs table."""
        import pyarrow as pa

        with pa.OSFile(str(self.folder / "board.arrow")) as file:
            rows: list[dict[str, Any]] = pa.ipc.open_file(file).read_all().to_pylist()
        return [row for row in rows if row["headline"] or row["task"] is None]

    @property
    def row(self) -> dict[str, Any]:
        """The row of a run of one cell.

        Raises:
            AssertionError: it was none or several; with what the run said.
        """
        rows = self.rows
        assert len(rows) == 1, f"{len(rows)} cells were run, not one; exit code {self.code}\n{self.err}"
        return rows[0]

    def student(self, row: Mapping[str, Any] | None = None) -> PreTrainedModel:
        """The student that a cell saved, loaded as scoring does: that of `row`, or of the run's only one.

        Raises:
            AssertionError: the run was not on a `Pair` record.
            IntegrityError: the cell saved none.
        """
        from pkt_bench.artifacts import load_artifact

        assert self.pair is not None, "name the pair as a Pair record, such as tiny_pair"
        key = (row or self.row)["cell_key"]
        model, _ = load_artifact(self.folder / "artifacts" / key, self.pair, "float32", "cpu")
        return model


def run_methods(
    *methods: str,
    pair: Pair | str,
    out: Path,
    suite: str = "",
    settings: Mapping[str, Any] | None = None,
    plugin: Path | Sequence[Path] = (),
    arguments: Sequence[str] = (),
    code: int = 0,
) -> Ran:
    """Runs methods with the real `pkt-bench run`, in a process of its own, and gives what it left.

    Args:
        methods: as for `--methods`.
        pair: a `Pair` with both folders, or as for `--pair`.
        out: the run folder; what is done in it is not done again.
        suite: as for `--suite`; by default one of letters, a few records that take a second.
        settings: of the one method that is run, by name.
        plugin: single-file plugins to load.
        arguments: further flags, `("--seeds", "2")`.
        code: the exit code that is expected.

    Raises:
        AssertionError: it ended with another exit code; with what it said.
    """
    from pkt_bench.contract.trying import ground_file

    letters = ground_file(out.parent / f"{out.name}-letters")
    files = [plugin] if isinstance(plugin, Path) else list(plugin)
    named = pair if isinstance(pair, str) else f"{pair.teacher.path}:{pair.student.path}"
    words = ["run", "--methods", ",".join(methods), "--pair", named, "--suite", suite or f"{letters.name}/pico"]
    words += [word for file in (*files, letters) for word in ("--plugin", str(file))]
    words += [word for text in assigned(methods[0], settings or {}) for word in ("--set", text)]
    words += ["--out", str(out), "--executor", "inline", "--allow-small-teacher", "--json", *arguments]
    done = subprocess.run(
        [sys.executable, "-m", "pkt_bench", *words],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, f"pkt-bench {' '.join(words)}\nended with {done.returncode}:\n{done.stderr}"
    return Ran(done.returncode, done.stdout, done.stderr, out, None if isinstance(pair, str) else pair)


def assigned(method: str, settings: Mapping[str, Any]) -> list[str]:
    """Settings as `--set` takes them: `METHOD.FIELD=VALUE`."""

    def text(value: Any) -> str:  # noqa: ANN401 - a setting's value
        if value is None:
            return "none"
        if isinstance(value, Mapping):
            return json.dumps(value)
        return ",".join(map(text, value)) if isinstance(value, list | tuple) else str(value)

    return [f"{method}.{name}={text(value)}" for name, value in settings.items()]


def _write(path: Path, text: str) -> None:
    """Writes a file that several processes may write and read at once: whole, or not yet there."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def _save_model(path: Path, family: str, sizes: dict[str, Any], vocabulary: int, seed: int) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = AutoConfig.for_model(
            family,
            vocab_size=vocabulary,
            max_position_embeddings=256,
            initializer_range=0.2,
            bos_token_id=vocabulary - 1,
            eos_token_id=vocabulary - 1,
            pad_token_id=vocabulary - 1,
            **{"num_key_value_heads": sizes["num_attention_heads"], **sizes},
        )
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim == 1:
                    weight.add_(torch.randn_like(weight), alpha=0.2)
        bars = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        model.save_pretrained(path)
        if bars:
            logging.enable_progress_bar()

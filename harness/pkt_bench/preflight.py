"""Before anything expensive starts: everything that is wrong is found, and said at once.

The light checks read files' headers, configurations and YAML; a plan makes them too. The heavy ones (`problems`) load
what they ask about, tasks and tokenizers and empty models, in a process that has the libraries imported anyway.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from pkt_bench import mirrors, models, task_suites
from pkt_bench.data import data_digest
from pkt_bench.domain import SPLITS, Architecture, CellLimits, Job, ModelRef, Pair, Suite, Task
from pkt_bench.errors import PktBenchError, RequestError, StorageError, UnavailableError, together
from pkt_bench.spans import size as _size

# an artifact may be the whole student; logs, rows and stage results lie beside it
SAVED_SHARE, BESIDE_BYTES = 1.2, 64 << 20
LONGEST_PROMPTS = 8
"""So many of the longest test prompts are tokenised to see whether they fit into the model."""


class Findings:
    """What is wrong, gathered until all is looked at, and then said at once."""

    def __init__(self) -> None:
        self.errors: list[PktBenchError] = []

    @contextlib.contextmanager
    def gathered(self) -> Iterator[None]:
        """Keeps an error that is raised inside, and goes on after the block."""
        try:
            yield
        except PktBenchError as error:
            self.errors.append(error)

    def raise_all(self) -> None:
        """Raises what was found as one error, numbered; its kind is the worst of them.

        Raises:
            PktBenchError: of the class with the largest exit code: retyping cures a typo, and not a torn file.
        """
        if not self.errors:
            return
        worst = max(self.errors, key=lambda error: error.exit_code)
        raise type(worst)(together(str(error) for error in self.errors))


# ---------------------------------------------------------------- models


def check_pair(pair: Pair, findings: Findings, *, typed: bool, allow_small_teacher: bool) -> bool:
    """Looks at both checkpoints of a pair; says whether they can be planned with.

    What is missing of a pair that was `typed` is the request's fault, of one by name the environment's.
    """
    found = Findings()
    for ref in dict.fromkeys((pair.teacher, pair.student)):
        _check_checkpoint(ref, found)
    if not found.errors:
        with found.gathered():
            _check_sizes(pair, allow_small_teacher=allow_small_teacher)
        findings.errors += found.errors
    else:
        findings.errors += found.errors if typed else [of_a_pair(pair, error) for error in found.errors]
    return not found.errors


def of_a_pair(pair: Pair, error: PktBenchError) -> PktBenchError:
    """What is wrong with a pair that has a name, as its fault: whoever asked for it wrote nothing wrong."""
    kind = UnavailableError if isinstance(error, RequestError) else type(error)
    return kind(f"pair '{pair.name}': {error}")


def _check_checkpoint(ref: ModelRef, findings: Findings) -> None:
    before = len(findings.errors)
    try:
        with findings.gathered():
            models.architecture(ref)
        if len(findings.errors) > before and not (ref.path / "config.json").is_file():
            return  # there is nothing to look at
        for check in (models.check_family, models.weight_files, models.check_tokenizer):
            # a file that is wrong in the eyes of two checks is said once
            with findings.gathered():
                check(ref)
        if len(findings.errors) == before:
            with findings.gathered():
                models.check_layout(ref)
                models.check_finite(ref)
    except OSError as error:
        findings.errors.append(RequestError(f"{error.filename} cannot be read: {error.strerror}."))


def _check_sizes(pair: Pair, *, allow_small_teacher: bool) -> None:
    if allow_small_teacher:
        return
    teacher, student = models.parameter_count(pair.teacher), models.parameter_count(pair.student)
    if models.checkpoint_digest(pair.teacher) == models.checkpoint_digest(pair.student):
        raise RequestError(
            f"pair '{pair.name}': teacher ({pair.teacher.path}) and student ({pair.student.path}) are the same"
            " checkpoint.\n  Name two, or say --allow-small-teacher if that is what you want."
        )
    if teacher <= student:
        raise RequestError(
            f"pair '{pair.name}': the teacher ({pair.teacher.path}, {teacher:,} parameters) is not larger than the"
            f" student ({pair.student.path}, {student:,} parameters).\n"
            "  A pair is written TEACHER:STUDENT; swap them, or say --allow-small-teacher if that is what you want."
        )


# ---------------------------------------------------------------- suites


def check_suite(suite: Suite, called: str, findings: Findings, *, trained: bool = True) -> None:
    """Asks a suite for its records and test prompts, and reads the files of its tasks.

    One that is not `trained` on, and is made of a task, need not have records.
    """
    try:
        data_digest(suite)
        empty = not any(len(suite.records(split)) for split in SPLITS)
    except PktBenchError as error:
        findings.errors.append(UnavailableError(f"suite {called}: {error}{_also_missing(suite)}"))
        return
    except Exception as error:  # noqa: BLE001 - a stranger's generator may raise anything
        findings.errors.append(
            UnavailableError(
                f"suite {called}: its records cannot be had: {type(error).__name__}: {error}\n"
                "  Leave it out with --suite, or tell its author."
            )
        )
        return
    if empty and (why := task_suites.why_no_records(suite)):
        if trained:
            findings.errors.append(
                UnavailableError(
                    f"suite {called}: {why}.\n"
                    f"  Students can be scored on it all the same: --tasks {suite.name}, beside a --suite to train on."
                )
            )
    elif empty:
        findings.errors.append(
            UnavailableError(
                f"suite {called} has no records in any split.\n  Leave it out with --suite, or tell its author."
            )
        )
    with findings.gathered():
        _check_tasks(suite, called)


def _also_missing(suite: Suite) -> str:
    """All the files that a suite is made of and that are not here, where it is more than one."""
    named = ((ref, split) for ref in suite.needs for split in ref.splits)
    absent = [mirrors.expected(ref, split) for ref, split in named if not mirrors.dataset_has(ref, split)]
    return f"\n  It is made of {len(absent)} that are missing: {', '.join(absent)}" if len(absent) > 1 else ""


def missing_data(suite: Suite) -> Iterator[str]:
    """What a reader should know of a suite's data: splits without a record, test documents that nobody knows."""
    splits = [split for split in SPLITS if not len(suite.records(split))]
    if splits:
        yield f"suite '{suite.name}' has no {' and no '.join(splits)} records; methods that need them are skipped"
    # records may say themselves how they were made
    notes = getattr(inspect.unwrap(suite.records), "notes", tuple)
    yield from (f"suite '{suite.name}': {note}" for note in notes())
    if not suite.test_prompts():
        yield f"suite '{suite.name}' offers no test prompts, so its records cannot be compared with its test"


class _TaskLoader(yaml.SafeLoader):
    """Reads the YAML of an lm-eval task without running what it names with `!function`."""


_TaskLoader.add_multi_constructor("!", lambda loader, suffix, node: None)  # noqa: ARG005 - the library's signature


def _check_tasks(suite: Suite, called: str) -> None:
    folder = suite.task_path
    if folder is None or task_suites.made_here(suite):
        return  # lm-eval read them to make the suite, or will in the heavy checks
    if not folder.is_dir():
        raise UnavailableError(
            f"suite {called}: its task folder {folder} is not there.\n  Leave it out with --suite, or tell its author."
        )
    defined: dict[str, dict[str, Any]] = {}
    for file in sorted((*folder.rglob("*.yaml"), *folder.rglob("*.yml"))):
        try:
            content = yaml.load(file.read_text(encoding="utf-8"), Loader=_TaskLoader)  # noqa: S506 - a SafeLoader
        except (yaml.YAMLError, OSError, ValueError) as error:
            mark = getattr(error, "problem_mark", None)
            place = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
            said = getattr(error, "problem", None) or str(error)
            raise UnavailableError(
                f"suite {called}: {file}{place} is no task: {said}.\n"
                "  Leave the suite out with --suite, or tell its author."
            ) from None
        if isinstance(content, dict) and isinstance(content.get("task"), str):
            defined[content["task"]] = content
    for task in suite.tasks:
        if task.name not in defined:
            raise UnavailableError(
                f"suite {called}: {folder} has no task '{task.name}' (it has: {', '.join(defined) or 'none'}).\n"
                "  Leave the suite out with --suite, or tell its author."
            )
        _check_metric(called, task, defined[task.name])


def _check_metric(called: str, task: Task, content: dict[str, Any]) -> None:
    """Where the file itself says what it measures: a list that is included or computed cannot be told from here."""
    if "include" in content:
        return
    listed = content.get("metric_list")
    if isinstance(listed, list):
        metrics = [entry.get("metric") if isinstance(entry, dict) else None for entry in listed]
        if None not in metrics and task.metric not in metrics:
            raise _no_metric(called, task, f"metric '{task.metric}'", metrics)
    filters = content.get("filter_list")
    names = [entry.get("name") for entry in filters if isinstance(entry, dict)] if isinstance(filters, list) else []
    if task.filter not in (names or ["none"]):
        raise _no_metric(called, task, f"filter '{task.filter}'", names or ["none"])


def _no_metric(called: str, task: Task, what: str, there: Iterable[object]) -> UnavailableError:
    return UnavailableError(
        f"suite {called}: its task '{task.name}' has no {what} (it has: {', '.join(map(str, there))}).\n"
        "  Leave the suite out with --suite, or tell its author."
    )


# ---------------------------------------------------------------- the machine


def check_device(device: str) -> None:
    """Puts something on the device.

    Raises:
        UnavailableError: it is not there, with what was seen.
    """
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = str(error).strip().splitlines()[0].rstrip(".")
        raise UnavailableError(
            f"--device {device}: {first}.\n  Seen: {devices()}. Use --device cpu, or a machine that has one."
        ) from None


def devices() -> str:
    """The devices that torch sees, in words."""
    import torch

    seen = ["cpu"]
    if torch.cuda.is_available():
        seen += [f"cuda:{n} ({torch.cuda.get_device_name(n)})" for n in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        seen.append("mps")
    masked = os.environ.get("CUDA_VISIBLE_DEVICES")
    return ", ".join(seen) + (f" (CUDA_VISIBLE_DEVICES={masked})" if masked is not None else "")


def check_temporary() -> None:
    """Writes a file where temporary ones go.

    Raises:
        UnavailableError: nothing can be written there.
    """
    named = next((os.environ[name] for name in ("TMPDIR", "TEMP", "TMP") if os.environ.get(name)), None)
    try:
        # a folder that is named and cannot be used is passed over in silence by Python, and used by others
        with tempfile.TemporaryFile(dir=named) as file:
            file.write(b"\0" * 4096)
    except OSError as error:
        where = named or "/tmp"  # noqa: S108 - only named
        raise UnavailableError(
            f"temporary files cannot be written to {where}: {error.strerror}.\n"
            "  Make room there, or name another folder: TMPDIR=FOLDER pkt-bench ..."
        ) from None


def check_disk(jobs: Sequence[Job], saving: int, out: Path, free: int | None = None) -> list[str]:
    """Compares the room that the run folder may need with what is free (`free`, where it is known).

    `saving` of the jobs save a student, which is at most as large as the one they started from; an adapter is far
    smaller. Gives a warning where it suffices for some of them.

    Raises:
        StorageError: there is not room for one, with figures.
    """
    if not jobs:
        return []
    largest = max(models.weight_bytes(job.pair.student) for job in jobs)
    at_least, at_most = (int(largest * count * SAVED_SHARE) + BESIDE_BYTES for count in (min(saving, 1), saving))
    there = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.is_dir())
    left = shutil.disk_usage(there).free if free is None else free
    if left >= at_most:
        return []
    said = (
        f"{out} has {_size(left)} free, and this run may need {_size(at_most)}: {saving} students of up to"
        f" {_size(largest)} each, and {_size(BESIDE_BYTES)} for logs and rows"
    )
    if left >= at_least:
        return [f"{said}; adapters take far less"]
    raise StorageError(f"{said}.\n  Make room, or name another folder with --out.")


def memory_warnings(
    pairs: Iterable[Pair],
    dtype: str,
    limits: CellLimits,
    machine: int | None = None,
    *,
    teacher_dtype: str | None = None,
    spread: bool = False,
) -> Iterator[str]:
    """Says which model alone has more bytes than a cell may hold, or than the machine has.

    A teacher held in a type of its own counts in that one; one that is `spread` does not count.
    """
    widths = {"float32": 4}
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if machine is None else machine
    for pair in pairs:
        held = [(pair.student, dtype), *([] if spread else [(pair.teacher, teacher_dtype or dtype)])]
        sizes = [(models.parameter_count(ref) * widths.get(kind, 2), ref.label, kind) for ref, kind in held]
        needed, label, kind = max(sizes)
        what = f"pair '{pair.name}': {label} takes {_size(needed)} in {kind}"
        if needed > total:
            yield f"{what}, and this machine has {_size(total)}; methods that read it layer by layer may do"
        elif limits.memory_bytes is not None and needed > limits.memory_bytes:
            yield f"{what}, and --cell-memory allows {_size(limits.memory_bytes)}"


DOCUMENT_TOKENS, LARGEST_BATCH = 1024, {"cpu": 16}


def fitting_batch(pair: Pair, device: str, dtype: str) -> int:
    """Documents of `DOCUMENT_TOKENS` that fit beside either model into half of what the device has: a power of two.

    Each token holds its keys and values, two copies of its hidden states and its logits, in float32. On a CPU larger
    batches are slower. The plan pins what this gives, so that a score does not depend on what else the machine did.
    """
    width = 4 if dtype == "float32" else 2
    room = device_bytes(device)
    fits = []
    for ref in (pair.teacher, pair.student):
        shape = models.architecture(ref)
        left = room / 2 - shape.parameters * width
        fits.append(max(1, int(left // (token_bytes(shape, width) * DOCUMENT_TOKENS))))
    return min(1 << min(fits).bit_length() - 1, LARGEST_BATCH.get(device, 64))


def token_bytes(shape: Architecture, width: int) -> int:
    """Bytes of one token of a scoring batch: keys and values of `width` bytes, hidden states and logits in float32."""
    kept = 2 * shape.layers * shape.kv_heads * shape.head_dim * width
    return kept + 4 * (2 * (2 * shape.hidden + shape.ffn) + shape.vocabulary)


def device_bytes(device: str) -> int:
    """Memory of a device: of all of it, not of what is free at the moment."""
    if device == "cuda":
        import torch

        return int(torch.cuda.get_device_properties(0).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


# ---------------------------------------------------------------- heavy: in a process that has the libraries


def problems(jobs: Sequence[Job]) -> list[str]:
    """What the heavy checks find, in words; see `check_heavy`."""
    return [str(error) for error in _heavy(jobs).errors]


def check_heavy(jobs: Sequence[Job]) -> None:
    """Loads what can be loaded without weights: each suite's tasks, each checkpoint's tokenizer and empty model.

    Raises:
        PktBenchError: what was found, numbered, of the worst kind among it.
    """
    _heavy(jobs).raise_all()


def _heavy(jobs: Sequence[Job]) -> Findings:
    from pkt_bench import plugins

    findings = Findings()
    if not jobs:
        return findings
    registry = plugins.load(jobs[0].plugins, tell=plugins.quiet)
    mirrors.use(jobs[0].data_dirs)
    names = dict.fromkeys(name for job in jobs for name in (job.suite, *job.also_score))
    suites = {name: registry.suites.get(name).item for name in names}
    for called, suite in suites.items():
        _load_tasks(suite, called, findings)
    for ref in dict.fromkeys(ref for job in jobs for ref in (job.pair.teacher, job.pair.student)):
        with findings.gathered(), _quiet():
            _load_empty(ref)
    for student, called in dict.fromkeys((job.pair.student, job.suite) for job in jobs):
        if not findings.errors:
            with findings.gathered():
                _check_lengths(student, suites[called])
    return findings


def _load_tasks(suite: Suite, called: str, findings: Findings) -> None:
    from pkt_bench import lm_tasks

    for task in suite.tasks:
        try:
            loaded = lm_tasks.load(suite, task, called)
            if task.name in loaded["groups"]:
                continue  # what it measures is worked out from its members
            one = loaded["tasks"][task.name]
            metrics, filters = list(one.aggregation()), [each.name for each in one._filters]  # noqa: SLF001
            if task.metric not in metrics and not task.metric.startswith("pass@"):
                raise _no_metric(called, task, f"metric '{task.metric}'", metrics)  # noqa: TRY301 - kept with the others
            if task.filter not in filters:
                raise _no_metric(called, task, f"filter '{task.filter}'", filters)  # noqa: TRY301 - see above
        except PktBenchError as error:
            findings.errors.append(error)
        except Exception as error:  # noqa: BLE001 - a task is code
            first = (str(error).strip().splitlines() or [""])[0]
            findings.errors.append(
                UnavailableError(
                    f"suite {called}: lm-eval cannot load its task '{task.name}': {type(error).__name__}: {first}\n"
                    "  Leave the suite out with --suite, or tell its author."
                )
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars and reports of transformers: what they say is said here, once."""
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _load_empty(ref: ModelRef) -> None:
    """Lets transformers match a checkpoint with the model that its configuration describes, on the meta device."""
    from transformers import AutoConfig, AutoModelForCausalLM

    said = "configuration"
    try:
        code = models.runs_code(ref)
        AutoConfig.from_pretrained(ref.path, local_files_only=True, trust_remote_code=code)
        said = "tokenizer"
        models.load_tokenizer(ref)
        said = "model"
        _, report = AutoModelForCausalLM.from_pretrained(
            ref.path,
            device_map="meta",
            local_files_only=True,
            trust_remote_code=code,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except Exception as error:  # noqa: BLE001 - transformers raises what it likes on files it does not like
        first = (str(error).strip().splitlines() or [""])[0]
        raise UnavailableError(
            f"{ref.path}: transformers cannot make its {said}: {type(error).__name__}: {first}\n"
            "  Fetch the whole checkpoint again, or use one that the installed transformers knows."
        ) from None
    models.check_report(ref, report)


def _check_lengths(ref: ModelRef, suite: Suite) -> None:
    tokenizer, positions = models.load_tokenizer(ref), models.architecture(ref).positions
    for text in sorted(suite.test_prompts(), key=len)[-LONGEST_PROMPTS:]:
        length = len(tokenizer.encode(text, add_special_tokens=False)) + int(suite.prompt.bos)
        if length >= positions:
            raise RequestError(
                f"suite '{suite.name}': a test prompt has {length} tokens, and {ref.path} has {positions} positions: it"
                " would be cut, and its score would mean nothing.\n  Choose another suite or another student."
            )

"""What a user asked for: command line flags over a sweep file over defaults, validated once, here."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import os
import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from pydantic import Field, ValidationError, field_validator

from pkt_bench.domain import Budget, CellLimits, Outcome, TrainingKnobs
from pkt_bench.errors import RequestError, together
from pkt_bench.settings import Settings, nearest, plainly

MAX_CONFIG_BYTES = 1 << 20
# unknown keys of a file that are named: a file of another kind has nothing else
MOST_SAID = 5
# what a cell on a small pair needs, libraries included
SLOT_BYTES = 1 << 30
# what a file system takes as one name, and as a path
MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 4096

MAX_BATCH = 4096
_DEVICES = ("cpu", "cuda", "mps", "xpu")
_LISTS = (
    *("methods", "controls", "pairs", "suites", "also_score", "tasks", "track", "retry"),
    *("allow_pickle", "trust_remote_code"),
)
BUDGET = tuple(field.name for field in dataclasses.fields(Budget))
RETRIED = tuple(str(outcome) for outcome in Outcome if outcome not in {Outcome.DONE, Outcome.SKIPPED})
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_BYTES = {"": 1, "b": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("kmgt", start=1)
    for suffix, base in (("b", 1000), ("ib", 1024))
}


class Request(Settings):
    """One run, as asked for. Every field may stand in a sweep file under this name."""

    methods: tuple[str, ...] = ("all",)
    """Methods to run, or `all` that are no control of another."""
    controls: tuple[str, ...] = ()
    """Controls to run beside these methods, by name, or `all` of theirs."""
    pairs: tuple[str, ...] = ("tiny",)
    """Pairs by name, or TEACHER:STUDENT: a folder, a GGUF file or a model of the hub each."""
    pairs_file: Path | None = None
    """A file of pairs (TOML) to choose from beside those of plugins; unset means ./pairs.toml, where there is one."""
    suites: tuple[str, ...] = ("all",)
    """Suites to train on and score, or `all` of the pair's. Any lm-eval task with a training split is one."""
    also_score: tuple[str, ...] = ()
    """Suites to score every student on beside its own, or `all` of the pair's: what it forgot. Not trained on."""
    tasks: tuple[str, ...] = ()
    """lm-eval tasks or groups to score every student on too: arc_easy,hellaswag."""
    data_dir: tuple[Path, ...] = ()
    """Folders that hold data sets as files, NAME/SPLIT.jsonl, to be used instead of the hub's."""
    offline: bool = False
    """Never use the network: whatever is missing is said before anything starts."""
    allow_pickle: tuple[str, ...] = ()
    """Models (as written in the pair) whose pickled weights may be unpickled, once, to convert them."""
    trust_remote_code: tuple[str, ...] = ()
    """Models (as written in the pair) whose own code may be run."""
    seeds: int = Field(default=1, ge=1, le=1000)
    """How many seeds: 3 runs seeds 0, 1 and 2."""
    limit: int | None = Field(default=None, ge=1)
    """Score the first so many documents of each task only; unset means all."""
    device: str = "cpu"
    """A torch device: cpu, cuda, cuda:1."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """What weights are computed in."""
    teacher_dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """What the teacher's weights are held in, where it is not `dtype`."""
    device_map: Literal["auto", "balanced", "sequential"] | None = None
    """How the teacher is spread over devices, then memory, then the disk; unset: whole on `device`."""
    scorer: Literal["fast", "stock"] = "fast"
    """`fast` computes what requests share once, checked against `stock`, which is lm-eval's own, as it goes."""
    batch_size: int | Literal["auto"] = 16
    """Documents per batch when scoring, or `auto`: what fits, by the memory. Part of what a score is."""
    train_records: int | None = Field(default=None, ge=1)
    """Every method trains on the first so many records of the train split; unset means all."""
    gradient_checkpointing: bool = False
    """Trains in less memory, a third slower: activations are computed again on the way back."""
    autocast: Literal["bfloat16"] | None = None
    """Trains with matrices multiplied in this type, while weights stay in theirs."""
    pass_tokens: int | None = Field(default=None, ge=1)
    """Padded tokens of one training pass; several passes add up to one step. Unset: as the device likes."""
    threads: int = Field(default=1, ge=1, le=256)
    """Threads torch may use in a cell. Part of what a score is."""
    executor: str = "process"
    """`process`: each phase of each cell in a process of its own; `inline`: all in this one, for debugging; others come
    with plugins."""
    track: tuple[str, ...] = ()
    """Trackers to tell how the run goes: pkt-bench ls trackers."""
    retry: tuple[str, ...] = ("all",)
    """Outcomes of earlier attempts after which a cell is run again: failed,timeout or all or none. Cells that were
    interrupted or never tried always run."""
    budget: dict[str, int | float] = Field(default_factory=dict)
    """What every method may spend on one student: tokens=1e6,steps=200,trainable=500000,seconds=60, each if wanted."""
    cell_seconds: float | None = Field(default=None, gt=0)
    """Wall time after which a cell is ended as `timeout`: seconds, or 10m, 2h."""
    cell_memory: int | None = Field(default=None, ge=1 << 20)
    """Memory a cell's processes may hold, in bytes or as 8GB; unset means its share of nine tenths of the machine's."""
    cell_disk: int | None = Field(default=None, ge=1 << 20)
    """What a cell may write to disk, in bytes or as 8GB."""
    slots: int | None = Field(default=None, ge=1, le=1024)
    """Cells under way at once; unset means as many as the processor has cores for."""
    out: Path = Path("runs")
    """The run folder."""
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Settings of methods: settings.METHOD.FIELD = VALUE."""
    sweep: dict[str, dict[str, list[Any]]] = Field(default_factory=dict)
    """Settings to try several values of: sweep.METHOD.FIELD = [VALUE, ...]; every combination is a cell of its own."""
    plugins: tuple[Path, ...] = ()
    """Single-file plugins to load."""
    fresh: bool = False
    """Run every cell again, done or not."""
    assigned: tuple[str, ...] = ()
    """Methods that `--set` names: not a key of sweep files."""
    allow_small_teacher: bool = False
    """Run pairs whose teacher has no more parameters than the student."""

    @property
    def spending(self) -> Budget:
        """What every method may spend on one student."""
        return Budget(**cast("dict[str, Any]", self.budget))

    @property
    def limits(self) -> CellLimits:
        """What one cell may take of the machine."""
        return CellLimits(self.cell_seconds, self.cell_memory, self.cell_disk)

    @property
    def retried(self) -> frozenset[str]:
        """Outcomes after which a cell is run again; those of cells that nothing is known of are always among them."""
        words = RETRIED if "all" in self.retry else () if "none" in self.retry else self.retry
        return frozenset(words) | {Outcome.INTERRUPTED, Outcome.SKIPPED}

    @property
    def training(self) -> TrainingKnobs:
        """How every method trains."""
        return TrainingKnobs(self.train_records, self.gradient_checkpointing, self.autocast)

    @field_validator(*_LISTS, mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        parts = [value] if isinstance(value, str) else value
        if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
            return value
        names = tuple(name.strip() for part in parts for name in part.split(",") if name.strip())
        if not names:
            raise ValueError("nothing is selected")
        return tuple(dict.fromkeys(names))

    @field_validator("retry")
    @classmethod
    def _retry(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        allowed = (*RETRIED, "all", "none")
        for word in value:
            if word == Outcome.DONE:
                raise ValueError("what is done is run again with --fresh")
            if word not in allowed:
                near = difflib.get_close_matches(word, allowed, n=1, cutoff=0.6)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                raise ValueError(f"no cell ends as '{word}' and is tried again{hint}\n  Outcomes: {', '.join(allowed)}")
        if len(value) > 1 and {"all", "none"} & set(value):
            raise ValueError("all and none stand alone")
        return value

    @field_validator("seeds", "limit", "threads", "slots", "train_records", "pass_tokens", mode="before")
    @classmethod
    def _whole(cls, value: object) -> object:
        return _whole_number(value)

    @field_validator("batch_size", mode="before")
    @classmethod
    def _batch_size(cls, value: object) -> object:
        if value == "auto":
            return value
        try:
            size = _whole_number(value)
        except ValueError:
            raise ValueError("a whole number or auto is wanted") from None
        if isinstance(size, int) and not 1 <= size <= MAX_BATCH:
            raise ValueError("at least 1 is wanted" if size < 1 else f"at most {MAX_BATCH} is allowed")
        return size

    @field_validator("budget", mode="before")
    @classmethod
    def _budget(cls, value: object) -> object:
        return _budget_of(value)

    @field_validator("cell_seconds", mode="before")
    @classmethod
    def _duration(cls, value: object) -> object:
        return _duration_of(value)

    @field_validator("cell_memory", "cell_disk", mode="before")
    @classmethod
    def _size(cls, value: object) -> object:
        return _size_of(value)

    @field_validator("out")
    @classmethod
    def _possible_path(cls, value: Path) -> Path:
        try:
            name = max((os.fsencode(part) for part in value.parts), key=len, default=b"")
            str(value).encode()
        except UnicodeEncodeError:
            raise ValueError("the name of a folder is UTF-8 text") from None
        if "\0" in str(value):
            raise ValueError("the name of a folder holds no NUL")
        if len(name) > MAX_NAME_BYTES:
            raise ValueError(f"'{name[:16].decode(errors='replace')}...' has {len(name)} bytes; a name has at most 255")
        if len(os.fsencode(value.absolute())) > MAX_PATH_BYTES:
            raise ValueError(f"a path has at most {MAX_PATH_BYTES} bytes")
        return value

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        kind, _, index = value.partition(":")
        if kind not in _DEVICES or (index and not index.isdecimal()):
            near = difflib.get_close_matches(kind, _DEVICES, n=1, cutoff=0.7)
            hint = f"; did you mean '{near[0]}'?" if near and kind not in _DEVICES else ""
            raise ValueError(f"a torch device is wanted: cpu, cuda, cuda:1, mps or xpu{hint}")
        return value


KEYS = tuple(name for name in Request.model_fields if name != "assigned")
"""What may stand in a sweep file."""


def build(flags: Mapping[str, Any], config: Path | None, assignments: Sequence[str] = ()) -> Request:
    """The request from flags (None: not given), a sweep file, and `METHOD.FIELD=VALUE` assignments.

    Raises:
        RequestError: anything in it is unknown, of the wrong type or out of range; all problems at once.
    """
    values = read_config(config) if config is not None else {}
    given = {name: value for name, value in flags.items() if value not in (None, [], ())}
    if "budget" in given and isinstance(values.get("budget"), Mapping):
        # a part of it that the flags do not name stays as the file has it
        given["budget"] = [*(f"{name}={amount}" for name, amount in values["budget"].items()), *given["budget"]]
    values.update(given)
    settings = _tables("settings", values, config)
    sweep = _tables("sweep", values, config)
    _check_sweep(sweep, settings, config)
    for method, field, value in map(_assignment, assignments):
        settings.setdefault(method, {})[field] = value
        # a flag wins over the file
        sweep.get(method, {}).pop(field, None)
    values["settings"], values["sweep"] = settings, sweep
    values["assigned"] = tuple(method for method, _, _ in map(_assignment, assignments))
    try:
        return Request.model_validate(values)
    except ValidationError as error:
        raise RequestError(together(_say(problem, given, config) for problem in error.errors())) from None


def read_config(path: Path) -> dict[str, Any]:
    """A sweep file, TOML or YAML, as a mapping with known keys only.

    Raises:
        RequestError: it is missing, too large, not in its language, or holds a key nobody knows.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}. Give the path of a TOML or YAML file to --config.") from None
    if len(content) > MAX_CONFIG_BYTES:
        raise RequestError(f"{path} has more than {MAX_CONFIG_BYTES} bytes: not a sweep file.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RequestError(f"{path} is not UTF-8 text. Save it as UTF-8.") from None
    readers = {".yaml": _read_yaml, ".yml": _read_yaml, ".toml": _read_toml}
    if path.suffix not in readers:
        raise RequestError(f"{path}: a sweep file ends in .toml, .yaml or .yml.")
    try:
        values = readers[path.suffix](path, text)
    except RecursionError:
        raise RequestError(f"{path} is nested too deeply to be a sweep file.") from None
    except ValueError as error:
        # a date that is none, a number of thousands of digits
        raise RequestError(f"{path} holds a value that cannot be read: {error}.") from None
    if not isinstance(values, dict):
        raise RequestError(f"{path} holds a {type(values).__name__}; a sweep file is a table of keys.")
    if isinstance(values.get("$schema"), str):
        # where an editor finds the schema of the file: no part of the request
        del values["$schema"]
    _refuse_strange(path, [key for key in values if key not in KEYS])
    return values


def _refuse_strange(path: Path, strange: Sequence[object]) -> None:
    unknown = []
    for key in strange[:MOST_SAID]:
        near = difflib.get_close_matches(str(key), KEYS, n=1, cutoff=0.5)
        unknown.append(f"{path}: nobody knows the key '{key}'." + (f" Did you mean '{near[0]}'?" if near else ""))
    if unknown:
        more = f"\n  And {len(strange) - MOST_SAID} more." if len(strange) > MOST_SAID else ""
        raise RequestError(together(unknown) + f"{more}\n  Keys: {', '.join(KEYS)}")


class _OnceLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice instead of keeping the last one silently, and anchors altogether."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001
        seen = set()
        for key_node, _ in node.value:
            # as written: what a key stands for may not be hashable, and is refused below
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else key_node
            if key in seen:
                said = f"the key '{key}' is given twice"
                raise yaml.constructor.ConstructorError(None, None, said, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401 - the library's own signature
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not allowed here", mark)
        return super().compose_node(parent, index)


def _plain_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(node.value).replace("_", "").lstrip("+-")
    if ":" in text or (len(text) > 1 and text[0] == "0" and text.isdigit()):
        as_yaml = "a number to the base of 60" if ":" in text else "an octal number"
        raise yaml.constructor.ConstructorError(
            None, None, f"{node.value} is {as_yaml} in YAML; write it plainly, or in quotes", node.start_mark
        )
    return yaml.SafeLoader.construct_yaml_int(loader, node)


_OnceLoader.add_constructor("tag:yaml.org,2002:int", _plain_int)


def _read_yaml(path: Path, text: str) -> Any:  # noqa: ANN401 - checked by the caller
    try:
        return yaml.load(text, Loader=_OnceLoader) or {}  # noqa: S506 - a SafeLoader, made stricter
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        if mark is None:
            raise RequestError(f"{path} is not YAML: {error.problem}.") from None
        said = str(error.problem)
        if said.startswith("could not determine a constructor"):
            said = "tags (!name) are not allowed here"
        raise RequestError(_at(path, text, mark.line, mark.column, said)) from None
    except yaml.reader.ReaderError as error:
        sign = chr(error.character)
        raise RequestError(
            f"{path}: the sign {sign!r} at position {error.position} may not stand in YAML. Save it as text."
        ) from None
    except yaml.YAMLError as error:
        raise RequestError(f"{path} is not YAML: {error}.") from None


def _read_toml(path: Path, text: str) -> Any:  # noqa: ANN401 - checked by the caller
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said, _, where = str(error).rstrip(")").rpartition(" (at ")
        said = said.replace("Cannot overwrite a value", "the key is given twice")
        place = re.fullmatch(r"line (\d+), column (\d+)", where)
        lines = text.splitlines() or [""]
        line, column = (int(place[1]), int(place[2])) if place else (len(lines), len(lines[-1]) + 1)
        raise RequestError(_at(path, text, line - 1, column - 1, said or str(error))) from None


def _at(path: Path, text: str, line: int, column: int, said: str) -> str:
    """What is wrong, with the place (counted from 0, shown from 1), the line and a caret below the sign."""
    lines = text.splitlines()
    shown = lines[line] if line < len(lines) else ""
    # a tab is as wide as the terminal likes, so the caret takes the same ones
    before = "".join("\t" if sign == "\t" else " " for sign in shown[:column].ljust(column))
    return f"{path}:{line + 1}:{column + 1}: {said}.\n  {shown}\n  {before}^"


def _tables(key: str, values: Mapping[str, Any], config: Path | None) -> dict[str, dict[str, Any]]:
    tables = values.get(key, {})
    if isinstance(tables, Mapping) and all(isinstance(fields, Mapping) for fields in tables.values()):
        return {method: dict(fields) for method, fields in tables.items()}
    example = "rank = 8" if key == "settings" else "rank = [4, 8]"
    raise RequestError(f"{config}: {key} is a table of tables: [{key}.lora] with {example} under it (TOML).")


def _check_sweep(
    sweep: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Mapping[str, Any]], config: Path | None
) -> None:
    for method, fields in sweep.items():
        for field, choices in fields.items():
            if not isinstance(choices, list) or not choices:
                raise RequestError(
                    f"{config}: sweep.{method}.{field} is {choices!r}; give a list of the values to try.\n"
                    f"  A single value belongs under [settings.{method}]."
                )
            if field in settings.get(method, {}):
                raise RequestError(
                    f"{config}: {method}.{field} stands under [settings.{method}] and under [sweep.{method}];"
                    " leave one of them out."
                )


def _assignment(text: str) -> tuple[str, str, str]:
    name, equals, value = text.partition("=")
    method, dot, field = name.strip().rpartition(".")
    if not (equals and dot and method and field):
        raise RequestError(f"--set {text}: write METHOD.FIELD=VALUE, for example --set lora.rank=8.")
    return method, field, value.strip()


def _say(problem: Any, given: Mapping[str, Any], config: Path | None) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    """Who said it (a flag, or a key of the file), what was given, what is wanted, and what the field is for."""
    name, *inside = problem["loc"]
    seen = given.get(name, problem["input"])
    if name in given:
        spelled = _FLAGS.get(name, f"--{name.replace('_', '-')}")
        texts = [seen] if isinstance(seen, str | int | float | Path) else seen
        shown = " ".join(shlex.quote(str(text)) for text in texts)
    else:
        spelled = f"{config}: {name}" + "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in inside)
        shown = json.dumps(problem["input"], ensure_ascii=False, default=str)
    shown = f"{shown[:60]}..." if len(shown) > 60 else shown
    shown = shown.encode(errors="backslashreplace").decode()
    about = " ".join((Request.model_fields[name].description or "").split())
    # what the validators above say themselves may end in a listing of its own
    text, newline, listing = plainly(problem).partition("\n")
    stop = "" if text.endswith("?") else "."
    return f"{spelled} {shown} will not do: {text}{stop}{nearest(problem)}{newline}{listing}\n  {name}: {about}"


_FLAGS = {"pairs": "--pair", "suites": "--suite", "plugins": "--plugin"}


# ---------------------------------------------------------------- amounts


def _whole_number(value: object) -> object:
    """A whole number from a number or from text: 1e6 and 3.0 are whole, 1.5 is not, nor is 012 (octal, or twelve?)."""
    if value is None:
        return None
    number = _number(value)
    if number is None or not number.is_integer():
        raise ValueError("a whole number is wanted")
    return int(value) if isinstance(value, int) else int(number)


def _number(value: object) -> float | None:
    """A finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and not re.fullmatch(
        r"[-+]?(0|[1-9][0-9_]*)?(\.[0-9]+)?([eE][-+]?[0-9]+)?", value.strip()
    ):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _budget_of(value: object) -> object:
    parts = [value] if isinstance(value, str) else value
    if isinstance(parts, Sequence) and all(isinstance(part, str) for part in parts):
        # the last one wins, as with --set
        pairs = [part.partition("=") for text in parts for part in text.split(",") if part.strip()]
        if not pairs or not all(equals for _, equals, _ in pairs):
            raise ValueError("write it as tokens=1e6,steps=200,trainable=500000,seconds=60, with what is wanted of it")
        parts = {name.strip(): amount.strip() for name, _, amount in pairs}
    if not isinstance(parts, Mapping):
        return value
    budget: dict[str, int | float] = {}
    for name, amount in parts.items():
        if name not in BUDGET:
            near = difflib.get_close_matches(str(name), BUDGET, n=1, cutoff=0.5)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ValueError(f"nobody budgets '{name}'{hint}\n  There are: {', '.join(BUDGET)}")
        number = _number(amount)
        if number is None or number <= 0:
            raise ValueError(f"{name} is {amount!r}, and a number above 0 is wanted")
        if name != "seconds" and not number.is_integer():
            raise ValueError(f"{name} is {amount!r}, and {name} are counted in whole numbers")
        budget[name] = number if name == "seconds" else int(number)
    return budget


def _duration_of(value: object) -> object:
    if value is None:
        return None
    seconds = _number(value)
    if seconds is None and isinstance(value, str) and re.fullmatch(r"(\d+(\.\d+)?[smhd])+", value.strip()):
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", value)
        seconds = sum(float(amount) * _SECONDS[unit] for amount, unit in parts)
    if seconds is None or seconds <= 0:
        raise ValueError("a time above 0 is wanted: 600 (seconds), 10m or 2h")
    return seconds


def _size_of(value: object) -> object:
    if value is None:
        return None
    amount: float | None = _number(value)
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]*)", value.strip().lower()) if isinstance(value, str) else None
    if amount is None and found is not None and found[2] in _BYTES:
        amount = float(found[1]) * _BYTES[found[2]]
    if amount is None:
        raise ValueError("a size is wanted: bytes, 8GB (8e9 bytes) or 8GiB (8 * 2**30)")
    if amount < 1 << 20:
        raise ValueError("at least 1MiB is wanted: bytes, 8GB (8e9 bytes) or 8GiB (8 * 2**30)")
    return int(amount)


def default_slots(threads: int) -> int:
    """Cells that fit side by side, by the cores this process may use and the memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # all of the memory, not what is free at the moment: a full page cache must not halve the speed of a run
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(cores // threads, memory // SLOT_BYTES))

"""What a user asked for: command line flags over a sweep file over defaults, validated once, here."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from pkt_bench.errors import RequestError
from pkt_bench.settings import Settings

MAX_CONFIG_BYTES = 1 << 20
# what a cell on a small pair needs, libraries included
SLOT_BYTES = 1 << 30


class Request(Settings):
    """One run, as asked for. Every field may stand in a sweep file under this name."""

    methods: tuple[str, ...] = ("all",)
    """Methods to run, or `all` that are no control of another."""
    controls: tuple[str, ...] = ()
    """Controls to run beside these methods, by name, or `all` of theirs."""
    pairs: tuple[str, ...] = ("tiny",)
    """Pairs by name, or TEACHER_DIR:STUDENT_DIR."""
    suites: tuple[str, ...] = ("all",)
    """Suites to train on and score, or `all`."""
    seeds: int = Field(default=1, ge=1, le=1000)
    """How many seeds: 3 runs seeds 0, 1 and 2."""
    limit: int | None = Field(default=None, ge=1)
    """Score the first so many documents of each task only; unset means all."""
    device: str = "cpu"
    """A torch device: cpu, cuda, cuda:1."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """What weights are computed in."""
    batch_size: int = Field(default=16, ge=1, le=4096)
    """Documents per batch when scoring. Part of what a score is: another size gives other bits."""
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
    budget: dict[str, float] = Field(default_factory=dict)
    """What every method may spend on one student: tokens, steps, trainable (parameters), seconds."""
    cell_seconds: float | None = Field(default=None, gt=0)
    """Wall time after which a cell is ended as `timeout`."""
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

    @field_validator("methods", "controls", "pairs", "suites", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        parts = [value] if isinstance(value, str) else value
        if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
            return value
        names = tuple(name.strip() for part in parts for name in part.split(",") if name.strip())
        if not names:
            raise ValueError("nothing is selected")
        return tuple(dict.fromkeys(names))

    @field_validator("seeds", "limit", "batch_size", "threads", "slots", mode="before")
    @classmethod
    def _no_bool(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("a number is wanted, not true or false")  # noqa: TRY004 - pydantic reads ValueError
        return value

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        kind, _, index = value.partition(":")
        if kind not in {"cpu", "cuda", "mps", "xpu"} or (index and not index.isdecimal()):
            raise ValueError("a torch device is wanted: cpu, cuda, cuda:1, mps or xpu")
        return value


def build(flags: Mapping[str, Any], config: Path | None, assignments: Sequence[str] = ()) -> Request:
    """The request from flags (None: not given), a sweep file, and `METHOD.FIELD=VALUE` assignments.

    Raises:
        RequestError: anything in it is unknown, of the wrong type or out of range; all problems at once.
    """
    values = read_config(config) if config is not None else {}
    values.update({name: value for name, value in flags.items() if value not in (None, [], ())})
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
        where = f"{config}: " if config is not None else ""
        raise RequestError("\n".join(where + _say(problem, flags) for problem in error.errors())) from None


def read_config(path: Path) -> dict[str, Any]:
    """A sweep file, TOML or YAML, as a mapping with known keys only.

    Raises:
        RequestError: it is missing, too large, not in its language, or holds a key nobody knows.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise RequestError(f"{path} has more than {MAX_CONFIG_BYTES} bytes: not a sweep file.")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}. Give the path of a TOML or YAML file to --config.") from None
    except UnicodeDecodeError:
        raise RequestError(f"{path} is not UTF-8 text. Save it as UTF-8.") from None
    if path.suffix in {".yaml", ".yml"}:
        values = _read_yaml(path, text)
    elif path.suffix == ".toml":
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RequestError(f"{path} is not TOML: {error}.") from None
    else:
        raise RequestError(f"{path}: a sweep file ends in .toml, .yaml or .yml.")
    if not isinstance(values, dict):
        raise RequestError(f"{path} holds a {type(values).__name__}; a sweep file is a table of keys.")
    known = [name for name in Request.model_fields if name != "assigned"]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise RequestError(f"{path}: nobody knows the key '{key}'.{hint}\n  Keys: {', '.join(known)}")
    return values


class _OnceLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice instead of keeping the last one silently, and anchors altogether."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' is given twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401 - the library's own signature
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not allowed here", mark)
        return super().compose_node(parent, index)


def _read_yaml(path: Path, text: str) -> Any:  # noqa: ANN401 - checked by the caller
    try:
        return yaml.load(text, Loader=_OnceLoader) or {}  # noqa: S506 - a SafeLoader, made stricter
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        if mark is None:
            raise RequestError(f"{path} is not YAML: {error.problem}.") from None
        lines = text.splitlines()
        line = lines[mark.line] if mark.line < len(lines) else ""
        raise RequestError(
            f"{path}:{mark.line + 1}:{mark.column + 1}: {error.problem}.\n  {line}\n  {' ' * mark.column}^"
        ) from None
    except yaml.YAMLError as error:
        raise RequestError(f"{path} is not YAML: {error}.") from None


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


def _say(problem: Any, flags: Mapping[str, Any]) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    name = str(problem["loc"][0]) if problem["loc"] else "?"
    spelled = f"--{name.replace('_', '-')}" if flags.get(name) not in (None, [], ()) else name
    if name in {"pairs", "suites"} and spelled.startswith("--"):
        spelled = spelled[:-1]
    message = problem["msg"].removeprefix("Value error, ")
    about = Request.model_fields[name].description if name in Request.model_fields else ""
    seen = problem["input"]
    hint = ""
    if problem["type"] == "literal_error" and isinstance(seen, str):
        choices = [part.strip(" '") for part in problem["ctx"]["expected"].replace(" or ", ", ").split(",")]
        near = difflib.get_close_matches(seen, choices, n=1, cutoff=0.4)
        hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"{spelled} {seen!r} will not do: {message}.{hint}" + (f"\n  {name}: {about}" if about else "")


def default_slots(threads: int) -> int:
    """Cells that fit side by side, by the cores this process may use and the memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # all of the memory, not what is free at the moment: a full page cache must not halve the speed of a run
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(cores // threads, memory // SLOT_BYTES))

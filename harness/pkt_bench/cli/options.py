"""The flags that `run` and `plan` share, declared once, and how they become a Request."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from pkt_bench.cli import completion

if TYPE_CHECKING:
    from pkt_bench.domain import Executor as ExecutorOffer
    from pkt_bench.planning import Plan
    from pkt_bench.plugins import Registry
    from pkt_bench.request import Request
    from pkt_bench.store import Store

WHAT, HOW = "What to run", "How to run it"

Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--methods",
        "--method",
        help="Methods, or all. (default: all)",
        autocompletion=completion.methods,
        rich_help_panel=WHAT,
    ),
]
Controls = Annotated[
    list[str] | None,
    typer.Option(
        "--controls",
        metavar="all|NAME",
        help="Controls of these methods, to run beside them: pkt-bench ls controls. (default: none)",
        autocompletion=completion.controls,
        rich_help_panel=WHAT,
    ),
]
Pairs = Annotated[
    list[str] | None,
    typer.Option(
        "--pair",
        "--pairs",
        help="Pairs by name, or TEACHER:STUDENT, each a folder, a GGUF file or a model of the hub. (default: tiny)",
        autocompletion=completion.pairs,
        rich_help_panel=WHAT,
    ),
]
Suites = Annotated[
    list[str] | None,
    typer.Option(
        "--suite",
        "--suites",
        help="Suites, or all of the pair's; any lm-eval task with a training split. (default: all)",
        autocompletion=completion.suites,
        rich_help_panel=WHAT,
    ),
]
AlsoScore = Annotated[
    list[str] | None,
    typer.Option(
        "--also-score",
        metavar="all|SUITE",
        help="Score every student on these suites too, to see what it forgot. (default: none)",
        autocompletion=completion.suites,
        rich_help_panel=WHAT,
    ),
]
PairsFile = Annotated[
    Path | None,
    typer.Option(
        "--pairs-file", metavar="FILE.toml", help="Pairs of your own. (default: ./pairs.toml)", rich_help_panel=WHAT
    ),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--tasks",
        metavar="TASK",
        help="Score every student on these lm-eval tasks or groups too: arc_easy,hellaswag. (default: none)",
        rich_help_panel=WHAT,
    ),
]
DataDir = Annotated[
    list[Path] | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Data sets as files: DIR/NAME/SPLIT.jsonl. (default: none)",
        rich_help_panel=WHAT,
    ),
]
TrainRecords = Annotated[
    str | None,
    typer.Option(
        "--train-records",
        metavar="N",
        help="Train on the first so many records, whatever the method. (default: all)",
        rich_help_panel=WHAT,
    ),
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Never use the network; say first what is missing.", rich_help_panel=HOW)
]
AllowPickle = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-pickle", metavar="MODEL", help="Unpickle this model's weights. (default: none)", rich_help_panel=HOW
    ),
]
RemoteCode = Annotated[
    list[str] | None,
    typer.Option(
        "--trust-remote-code", metavar="MODEL", help="Run this model's own code. (default: none)", rich_help_panel=HOW
    ),
]
TeacherDtype = Annotated[
    str | None,
    typer.Option("--teacher-dtype", metavar="DTYPE", help="Hold the teacher in another type.", rich_help_panel=HOW),
]
DeviceMap = Annotated[
    str | None,
    typer.Option(
        "--device-map",
        metavar="auto|balanced|sequential",
        help="Spread the teacher over devices, memory and disk. (default: whole on the device)",
        rich_help_panel=HOW,
    ),
]
Scorer = Annotated[
    str | None,
    typer.Option(
        "--scorer",
        metavar="fast|stock",
        help="fast computes what requests share once, checked as it goes; stock is lm-eval's own. (default: fast)",
        rich_help_panel=HOW,
    ),
]
Checkpointing = Annotated[
    bool,
    typer.Option("--gradient-checkpointing", help="Train in less memory, a third slower.", rich_help_panel=HOW),
]
Autocast = Annotated[
    str | None,
    typer.Option(
        "--autocast", metavar="bfloat16", help="Multiply matrices in this type when training.", rich_help_panel=HOW
    ),
]
PassTokens = Annotated[
    str | None,
    typer.Option(
        "--pass-tokens",
        metavar="N",
        help="Padded tokens of one training pass. (default: as the device likes)",
        rich_help_panel=HOW,
    ),
]
# numbers are read where those of a sweep file are: by the request, which says what is wrong in one voice
Seeds = Annotated[
    str | None,
    typer.Option("--seeds", metavar="N", help="How many seeds: 3 is 0, 1, 2. (default: 1)", rich_help_panel=WHAT),
]
Limit = Annotated[
    str | None,
    typer.Option(
        "--limit", metavar="N", help="Score the first so many documents only. (default: all)", rich_help_panel=WHAT
    ),
]
Budget = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        metavar="NAME=AMOUNT",
        help="What every method may spend on one student: tokens=1e6,steps=200,trainable=500000,seconds=60."
        " (default: as much as it likes)",
        rich_help_panel=WHAT,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="METHOD.FIELD=VALUE",
        help="A setting of a method.",
        autocompletion=completion.settings,
        rich_help_panel=WHAT,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", help="A sweep file, TOML or YAML; flags win over it.", rich_help_panel=WHAT),
]
Plugin = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE.py", help="Load a single-file plugin.", rich_help_panel=WHAT),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", help="The run folder. (default: runs)", autocompletion=completion.run_folders, rich_help_panel=HOW
    ),
]
Device = Annotated[str | None, typer.Option("--device", help="A torch device. (default: cpu)", rich_help_panel=HOW)]
Dtype = Annotated[
    str | None,
    typer.Option("--dtype", help="float32, bfloat16 or float16. (default: float32)", rich_help_panel=HOW),
]
BatchSize = Annotated[
    str | None,
    typer.Option(
        "--batch-size",
        "--batch_size",
        metavar="N|auto",
        help="Documents per batch when scoring. (default: 16)",
        rich_help_panel=HOW,
    ),
]
Threads = Annotated[
    str | None, typer.Option("--threads", metavar="N", help="Threads per cell. (default: 1)", rich_help_panel=HOW)
]
Executor = Annotated[
    str | None,
    typer.Option(
        "--executor",
        help="process, inline, or one that a plugin offers. (default: process)",
        autocompletion=completion.executors,
        rich_help_panel=HOW,
    ),
]
Track = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="NAME",
        help="Tell a tracker how the run goes. (default: none)",
        autocompletion=completion.trackers,
        rich_help_panel=HOW,
    ),
]
Slots = Annotated[
    str | None,
    typer.Option("--slots", metavar="N", help="Cells under way at once. (default: one per core)", rich_help_panel=HOW),
]
CellSeconds = Annotated[
    str | None,
    typer.Option(
        "--cell-seconds", metavar="TIME", help="End a cell after 600, 10m or 2h. (default: never)", rich_help_panel=HOW
    ),
]
CellMemory = Annotated[
    str | None,
    typer.Option(
        "--cell-memory",
        metavar="SIZE",
        help="End a cell that holds more than 8GB or 8GiB. (default: its share of the machine's)",
        rich_help_panel=HOW,
    ),
]
CellDisk = Annotated[
    str | None,
    typer.Option(
        "--cell-disk",
        metavar="SIZE",
        help="End a cell that writes more than 2GB. (default: no limit)",
        rich_help_panel=HOW,
    ),
]
Retry = Annotated[
    list[str] | None,
    typer.Option(
        "--retry",
        metavar="all|none|OUTCOME",
        help="Of cells tried before that are not done, run those again that ended so: failed,timeout. (default: all)",
        autocompletion=completion.outcomes,
        rich_help_panel=HOW,
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Run done cells again.", rich_help_panel=HOW)]
SmallTeacher = Annotated[
    bool,
    typer.Option("--allow-small-teacher", help="Allow a teacher no larger than the student.", rich_help_panel=HOW),
]


class _Shared:
    """The flags of every command that makes a request, in the order they are listed in."""

    methods: Methods = None
    controls: Controls = None
    pairs: Pairs = None
    pairs_file: PairsFile = None
    suites: Suites = None
    also_score: AlsoScore = None
    tasks: Tasks = None
    seeds: Seeds = None
    limit: Limit = None
    train_records: TrainRecords = None
    budget: Budget = None
    set_: Set = None
    config: Config = None
    plugin: Plugin = None
    data_dir: DataDir = None
    out: Out = None
    device: Device = None
    dtype: Dtype = None
    teacher_dtype: TeacherDtype = None
    device_map: DeviceMap = None
    scorer: Scorer = None
    batch_size: BatchSize = None
    gradient_checkpointing: Checkpointing = False
    autocast: Autocast = None
    pass_tokens: PassTokens = None
    threads: Threads = None
    executor: Executor = None
    track: Track = None
    slots: Slots = None
    cell_seconds: CellSeconds = None
    cell_memory: CellMemory = None
    cell_disk: CellDisk = None
    retry: Retry = None
    fresh: Fresh = False
    offline: Offline = False
    allow_pickle: AllowPickle = None
    trust_remote_code: RemoteCode = None
    allow_small_teacher: SmallTeacher = False


def with_request(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the flags of a request: it takes them as one mapping, `flags`, before flags of its own."""
    own = [p for name, p in inspect.signature(command, eval_str=True).parameters.items() if name != "flags"]
    shared = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=vars(_Shared)[name], annotation=kind)
        for name, kind in get_type_hints(_Shared, include_extras=True).items()
    ]

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:  # noqa: ANN401 - as typer parsed them
        flags = {parameter.name: given.pop(parameter.name) for parameter in shared}
        command(flags, **given)

    parameters = [*shared, *own]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return wrapped


def read(flags: dict[str, Any]) -> tuple[Request, Registry, Store]:
    """The request the flags make, the plugins it may use, and the store it writes to (nothing is written yet)."""
    from pkt_bench import mirrors, plugins, request
    from pkt_bench.store import Store

    fields = {name: value for name, value in flags.items() if value is not False}
    config, assignments = fields.pop("config"), fields.pop("set_") or ()
    fields["plugins"] = fields.pop("plugin")
    asked = request.build(fields, config, assignments)
    mirrors.use(asked.data_dir)
    if asked.offline:
        mirrors.cut_network()
    return asked, plugins.load(asked.plugins), Store(asked.out)


def prepare(request: Request, registry: Registry, store: Store, *, writes: bool) -> tuple[Plan, ExecutorOffer, Any]:
    """The plan, and the executor with its settings: whatever is wrong with the request is said at once, here.

    Raises:
        PktBenchError: of the worst kind among what is wrong.
    """
    from pkt_bench import executors
    from pkt_bench.errors import PktBenchError
    from pkt_bench.planning import make_plan
    from pkt_bench.preflight import Findings

    findings = Findings()
    with findings.gathered():
        executor, settings = executors.choose(request.executor, request.settings, registry)
    new = not store.root.exists()
    if writes:
        with findings.gathered():
            store.check_writable()
    try:
        plan = make_plan(request, registry, store, findings, fetch=writes)
    except PktBenchError:
        if writes and new:
            with contextlib.suppress(OSError):
                store.root.rmdir()  # a request that made no sense leaves nothing behind
        raise
    return plan, executor, settings

"""The flags that `run` and `plan` share, declared once, and how they become a Request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pkt_bench.plugins import Registry
    from pkt_bench.request import Request
    from pkt_bench.store import Store

WHAT, HOW = "What to run", "How to run it"

Methods = Annotated[
    list[str] | None,
    typer.Option("--methods", "--method", help="Methods, or all. (default: all)", rich_help_panel=WHAT),
]
Controls = Annotated[
    list[str] | None,
    typer.Option(
        "--controls",
        metavar="all|NAME",
        help="Controls of these methods, to run beside them: pkt-bench ls controls. (default: none)",
        rich_help_panel=WHAT,
    ),
]
Pairs = Annotated[
    list[str] | None,
    typer.Option(
        "--pair", "--pairs", help="Pairs by name, or TEACHER_DIR:STUDENT_DIR. (default: tiny)", rich_help_panel=WHAT
    ),
]
Suites = Annotated[
    list[str] | None,
    typer.Option("--suite", "--suites", help="Suites, or all. (default: all)", rich_help_panel=WHAT),
]
Seeds = Annotated[
    int | None, typer.Option("--seeds", help="How many seeds: 3 is 0, 1, 2. (default: 1)", rich_help_panel=WHAT)
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", help="Score the first so many documents only. (default: all)", rich_help_panel=WHAT),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="METHOD.FIELD=VALUE", help="A setting of a method.", rich_help_panel=WHAT),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", help="A sweep file, TOML or YAML; flags win over it.", rich_help_panel=WHAT),
]
Plugin = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE.py", help="Load a single-file plugin.", rich_help_panel=WHAT),
]
Out = Annotated[Path | None, typer.Option("--out", help="The run folder. (default: runs)", rich_help_panel=HOW)]
Device = Annotated[str | None, typer.Option("--device", help="A torch device. (default: cpu)", rich_help_panel=HOW)]
Dtype = Annotated[
    str | None,
    typer.Option("--dtype", help="float32, bfloat16 or float16. (default: float32)", rich_help_panel=HOW),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size", "--batch_size", help="Documents per batch when scoring. (default: 16)", rich_help_panel=HOW
    ),
]
Threads = Annotated[int | None, typer.Option("--threads", help="Threads per cell. (default: 1)", rich_help_panel=HOW)]
Executor = Annotated[
    str | None, typer.Option("--executor", help="process or inline. (default: process)", rich_help_panel=HOW)
]
Track = Annotated[
    list[str] | None,
    typer.Option("--track", metavar="NAME", help="Trackers to tell how it goes. (default: none)", rich_help_panel=HOW),
]
Slots = Annotated[
    int | None,
    typer.Option("--slots", help="Cells under way at once. (default: one per core)", rich_help_panel=HOW),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Run done cells again.", rich_help_panel=HOW)]
SmallTeacher = Annotated[
    bool,
    typer.Option("--allow-small-teacher", help="Allow a teacher no larger than the student.", rich_help_panel=HOW),
]


def read(flags: dict[str, Any]) -> tuple[Request, Registry, Store]:
    """The request the flags make, the plugins it may use, and the store it writes to (nothing is written yet)."""
    from pkt_bench import plugins, request
    from pkt_bench.store import Store

    config, assignments = flags.pop("config"), flags.pop("set_") or ()
    fields = {name: value for name, value in flags.items() if value is not False}
    asked = request.build(fields, config, assignments)
    return asked, plugins.load(asked.plugins), Store(asked.out)

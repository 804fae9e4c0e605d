"""The command line: one file per command. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Annotated, Any

import typer

from pkt_bench import __version__
from pkt_bench.cli import mistyped
from pkt_bench.cli.board import board
from pkt_bench.cli.browse import browse
from pkt_bench.cli.cache import cache
from pkt_bench.cli.compact import compact
from pkt_bench.cli.compare import compare
from pkt_bench.cli.completion import answering
from pkt_bench.cli.doctor import doctor
from pkt_bench.cli.export import export
from pkt_bench.cli.import_ import import_
from pkt_bench.cli.ls import ls
from pkt_bench.cli.merge import merge
from pkt_bench.cli.pairs import pairs
from pkt_bench.cli.plan import plan
from pkt_bench.cli.plugins import plugins
from pkt_bench.cli.prefetch import prefetch
from pkt_bench.cli.publish import publish
from pkt_bench.cli.report import report
from pkt_bench.cli.run import run
from pkt_bench.cli.schema import schema
from pkt_bench.cli.verify import verify
from pkt_bench.cli.views import views
from pkt_bench.errors import Interrupted, PktBenchError

app = typer.Typer(
    name="pkt-bench",
    help="Does moving parameters from a large teacher into a small student help, and by which method?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run)
app.command()(plan)
app.command()(prefetch)
app.command()(board)
app.command()(browse)
app.command()(compare)
app.command()(report)
app.command()(compact)
app.command()(verify)
app.command()(doctor)
app.command()(schema)
app.command()(merge)
app.command()(publish)
app.command()(export)
app.command("import")(import_)
app.add_typer(ls, name="ls")
app.add_typer(cache, name="cache")
app.add_typer(pairs, name="pairs")
app.add_typer(plugins, name="plugins")
app.add_typer(views, name="views")


def _version(value: bool) -> None:  # noqa: FBT001 - a flag's callback
    if value:
        typer.echo(f"pkt-bench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[  # noqa: ARG001 - read by its callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Benchmarks cross-scale parametric knowledge transfer between language models."""
    if debug:
        os.environ["PKT_BENCH_DEBUG"] = "1"


# of the library below typer, which some versions of it bring along under another name
_USAGE: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def _obey() -> int | None:
    """Does what the command line asks; usage errors come to us, so that they are said like every other."""
    try:
        with answering():
            for said in mistyped.variables(os.environ):
                print(f"pkt-bench: warning: {said}", file=sys.stderr)  # noqa: T201 - the command line
            code: int | None = app(prog_name="pkt-bench", standalone_mode=False)
    except _USAGE as error:
        return _say_usage(error)
    return code


def _say_usage(error: Any) -> int:  # noqa: ANN401 - see above
    """Says what is wrong with the words of a command; shows its help, where it was called without any."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return int(error.exit_code)
    said = mistyped.usage(error)
    command = getattr(error.ctx, "command_path", None) or "pkt-bench"
    print(f"pkt-bench: {said}\n  {command} --help lists what there is.", file=sys.stderr)  # noqa: T201 - the command line
    return int(error.exit_code)


def main() -> None:
    """Runs the command line; the process ends with an exit code of the contract and, unless asked, no traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a sign the terminal does not have must not end a run
    try:
        sys.exit(_obey() or 0)
    except PktBenchError as error:
        if os.environ.get("PKT_BENCH_DEBUG"):
            raise
        sys.stdout.flush()
        print(f"pkt-bench: {error}", file=sys.stderr)  # noqa: T201 - this is the command line
        sys.exit(error.exit_code)
    except Interrupted as interrupted:
        print("pkt-bench: interrupted", file=sys.stderr)  # noqa: T201 - see above
        sys.exit(interrupted.exit_code)
    except BrokenPipeError:
        # the reader of our output left (`| head`): nothing more can be said, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        if os.environ.get("PKT_BENCH_DEBUG"):
            raise
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO}:
            print(f"pkt-bench: {error}. Make room and give the same command again.", file=sys.stderr)  # noqa: T201 - see above
            sys.exit(4)
        said = f"a defect in pkt-bench or a plugin: {type(error).__name__}: {error}"
        print(f"pkt-bench: {said}\n  pkt-bench --debug ... shows where.", file=sys.stderr)  # noqa: T201 - see above
        sys.exit(1)

"""`pkt-bench plugins new`: a project with a working method, to be made into one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The method's name: layer-swap.")],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="The project's folder. (default: ./pkt-bench-NAME)")
    ] = None,
) -> None:
    """Write a whole plugin project with a working method: tests, types, packaging, CI. Nothing is fetched."""
    import shlex

    from pkt_bench import plugins
    from pkt_bench.new_plugin import names_for, write_project

    names = names_for(name, plugins.load().methods.offers)
    folder = to or Path(names.distribution)
    files = write_project(names, folder)
    where = str(folder) if folder.is_absolute() else f"./{folder}"
    print(f"{folder}/")  # noqa: T201 - this is the output
    for file in files:
        print(f"  {file}")  # noqa: T201 - see above
    print(  # noqa: T201 - see above
        "\nIt works as it is. Install it, and run it on the embedded pair:\n\n"
        f"  pip install -e {shlex.quote(where)}\n"
        f"  pkt-bench run --methods student,{names.method},teacher --suite knowledge\n\n"
        f"The method is {folder / 'src' / f'pkt_bench_{names.snake}' / '__init__.py'}; once it is yours:\n\n"
        f"  pkt-bench plugins check {names.method}\n"
        f"  pip install -e {shlex.quote(f'{where}[dev]')} && pytest {shlex.quote(where)}"
    )

"""A bundle on the screen: what it holds by what it is for, or as JSON lines."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from pkt_bench.spans import size
from pkt_bench.tui.listing import show

if TYPE_CHECKING:
    from pkt_bench.bundling import Bundle


def print_bundle(made: Bundle, *, dry_run: bool) -> None:
    """A line for each data set, model and task; what is to be known on stderr."""
    rows = []
    for of in dict.fromkeys(each.of for each in made.files):
        own = [each for each in made.files if each.of == of]
        new = sum(each.state != "there" for each in own)
        rows.append(
            {
                "what": of,
                "files": len(own),
                "size": size(sum(each.bytes for each in own)),
                "would be written" if dry_run else "written": new,
                "licence": ", ".join(dict.fromkeys(each.licence for each in own if each.licence)),
            }
        )
    show("files", rows, "table", nothing="nothing of this needs to be fetched")
    for note in made.notes:
        _say(note)
    if not dry_run:
        _say(f"{made.folder / 'MANIFEST.json'} says what is in it. Run it with: {made.command}")


def print_json(made: Bundle) -> None:
    """One object a file, then one of the bundle."""
    for each in made.files:
        print(json.dumps({"type": "file", **asdict(each)}, ensure_ascii=False))  # noqa: T201 - this is the output
    whole = {"folder": str(made.folder), "missing": made.missing, "notes": made.notes, "run": made.command}
    print(json.dumps({"type": "bundle", **whole}, ensure_ascii=False))  # noqa: T201 - this is the output


def _say(text: str) -> None:
    print(f"pkt-bench: {text}", file=sys.stderr)  # noqa: T201 - this is the command line

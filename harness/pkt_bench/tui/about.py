"""What is known of a plugin or an offer, on the screen or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from pkt_bench.tui.console import results

if TYPE_CHECKING:
    from rich.console import Console

    from pkt_bench.about import About, Skips


def print_json(found: About) -> None:
    """Everything, as one object."""
    print(json.dumps(asdict(found), ensure_ascii=False, indent=1))  # noqa: T201 - this is the output


def print_about(found: About, suites: Sequence[str]) -> None:
    """Who offers it, what its module says, its settings, its controls, what it skips; `suites` are all there are."""
    console = results()
    console.print(Text.assemble((f"{found.kind} {found.name}", "bold"), f"  {found.summary}"))
    whose = f"{found.distribution} {found.version}" + (f", plugin {found.plugin}" if found.plugin else "")
    console.print(_pairs([("offered by", whose), ("module", found.module), *found.facts.items()]))
    for other in found.also:
        console.print(f"  also {_article(other)} of this name: pkt-bench plugins show --kind {other} {found.name}")
    if found.offers:
        console.print("\noffers", style="bold")
        for offer in found.offers:
            console.print(f"  {offer}", markup=False)
    if found.docstring:
        console.print(f"\n{found.docstring}", markup=False)
    if found.settings:
        console.print("\nsettings", style="bold")
        console.print(_settings(found))
    if found.controls:
        console.print("\ncontrols", style="bold")
        console.print(_pairs(found.controls))
    if found.skips is not None:
        _print_skips(console, found.skips, suites)


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _pairs(lines: Sequence[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines:
        table.add_row(f"  {name}", Text(value))
    return table


def _settings(found: About) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("  name", "type", "default", "bounds", "description"):
        table.add_column(name, overflow="fold", no_wrap=name == "  name")
    for each in found.settings:
        default = "(must be given)" if each.required else "(depends)" if each.default is None else each.default
        kind = each.kind if not each.choices else f"{'list of ' * each.several}{' | '.join(each.choices)}"
        row = (f"  {each.name}", kind, default, each.bounds, each.description)
        table.add_row(*(Text(cell) for cell in row))
    return table


def _print_skips(console: Console, skips: Skips, suites: Sequence[str]) -> None:
    from pkt_bench.about import gathered

    console.print("\nskips", style="bold")
    number = sum(len(each.squares) for each in skips.skipped)
    if skips.asked:
        console.print(f"  {number} of {skips.asked} pairs x suites, asked with its default settings", markup=False)
    for each in skips.skipped:
        console.print(f"  – {each.reason}", markup=False)
        console.print(f"    {', '.join(gathered(each, suites))}", markup=False)
    for what, names in (("models of", skips.unknown), ("data of", skips.lacking)):
        if names:
            console.print(f"  not asked, for the {what} these are not known here: {', '.join(names)}", markup=False)
    if skips.problem:
        console.print(f"  {skips.problem}", markup=False)

"""A diagnosis on the screen, or as JSON."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from json import dumps
from typing import TYPE_CHECKING

from rich.table import Table

from pkt_bench.spans import size
from pkt_bench.tui.console import remarks, results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pkt_bench.diagnosis import Diagnosis, Fact, PairReport
    from pkt_bench.matching import Match, Stored


def print_json(found: Diagnosis) -> None:
    """Everything that was seen, as one object."""
    print(dumps({"record": "doctor", **asdict(found), "problems": list(found.problems)}))  # noqa: T201 - the output


def print_diagnosis(found: Diagnosis) -> None:
    """The machine by topic, then each pair; what was asked for and cannot work is said last, on stderr."""
    _print_facts(found.facts)
    for pair in found.pairs:
        _print_pair(pair)
    for problem in found.problems:
        remarks().print(f"cannot work: {problem}", style="red", markup=False)


def _print_facts(facts: Sequence[Fact]) -> None:
    console = results()
    for topic, group in groupby(facts, key=lambda fact: fact.topic):
        console.print(topic, style="bold")
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for fact in group:
            mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: " "}[fact.works]
            table.add_row(f"  {mark}", fact.what, _escaped(fact.said))
        console.print(table)


def _print_pair(pair: PairReport) -> None:
    console = results()
    console.print(f"\npair {pair.pair}", style="bold", markup=False)
    for fact in pair.facts:
        console.print(f"  {fact.what}  {fact.said}", markup=False)
    if pair.licence:
        console.print(f"  licence  {pair.licence}", markup=False)
    if pair.match is None:
        return
    console.print(_sides(pair.match))
    console.print(f"  vocabularies: {pair.match.vocabularies}", markup=False)
    console.print(
        f"  windows of the student's shape can be cut out of: {', '.join(pair.match.windowed) or 'nothing'}",
        markup=False,
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("memory for", "at most", "fits", "by"):
        table.add_column(f"  {heading}" if heading == "memory for" else heading, overflow="fold")
    for stage in pair.stages:
        table.add_row(f"  {stage.stage}", size(stage.bytes), _yes(stage.fits), stage.formula)
    console.print(table)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("  method", "on", "can run", "largest need", "fits", "why not"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "  method")
    for each in pair.abilities:
        needs = "" if each.bytes is None else size(each.bytes)
        fits = "" if each.fits is None else _yes(each.fits)
        can = "no" if each.why_not else "yes"
        table.add_row(f"  {each.method}", ", ".join(each.suites), can, needs, fits, _escaped(each.why_not))
    if table.row_count:
        console.print(table)


def _sides(match: Match) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("  ")
    for heading in ("teacher", "student", "ratio"):
        table.add_column(heading, justify="right")
    table.add_row("  family", *match.families, "")
    for each in match.sizes:
        table.add_row(f"  {each.what}", f"{each.teacher:,}", f"{each.student:,}", f"{each.ratio:.3g}")
    table.add_row("  head is the embedding", *map(_yes, match.tied), "")
    table.add_row("  stored as", *(_listed(each, "dtypes") for each in match.stored), "")
    table.add_row("  biases in", *(_listed(each, "biases") for each in match.stored), "")
    return table


def _listed(stored: Stored | None, what: str) -> str:
    return "not known yet" if stored is None else ", ".join(getattr(stored, what)) or "none"


def _yes(value: bool) -> str:  # noqa: FBT001 - what is shown
    return "yes" if value else "no"


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")

"""A check of methods as words: each promise with its sign, what was seen, and what to do where it is broken."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.padding import Padding
from rich.text import Text

from pkt_bench.contract import Finding, Report
from pkt_bench.tui.console import remarks, results

SIGNS = {"kept": ("✓", "green"), "broken": ("✗", "bold red"), "remark": ("!", "yellow"), "untried": ("-", "dim")}
LEGEND = "✓ kept   ✗ broken   ! worth a look   - nothing can be said"


def tell(what: str) -> None:
    """Says on stderr what comes next."""
    remarks().print(f"[dim]pkt-bench: {what}[/]")


def print_json(reports: Sequence[Report]) -> None:
    """One JSON object a method, a line each."""
    for report in reports:
        print(json.dumps(report.as_json(), ensure_ascii=False))  # noqa: T201 - this is the output


def print_reports(reports: Sequence[Report]) -> None:
    """Every method with its promises."""
    console = results()
    for report in reports:
        console.print(Text.assemble((report.method, "bold"), f"  {report.distribution} {report.version}"))
        for finding in report.findings:
            _print(finding)
        console.print(_sum(report))
        console.print()
    console.print(Text(LEGEND, "dim"))


def _print(finding: Finding) -> None:
    console = results()
    sign, style = SIGNS[finding.standing]
    first = Text.assemble("  ", (sign, style), " ", finding.promise)
    if finding.standing == "kept" and "\n" not in finding.seen:
        console.print(first.append(f": {finding.seen}", "dim"))
        return
    console.print(first)
    for text, tone in ((finding.seen, "dim" if finding.standing == "kept" else ""), (finding.advice, "italic")):
        for line in text.splitlines():
            console.print(Padding(Text(line, tone), (0, 0, 0, 6), expand=False))


def _sum(report: Report) -> Text:
    kept = sum(finding.standing == "kept" for finding in report.findings)
    if report.keeps:
        return Text(f"  {report.method} keeps its contract: {kept} promises ({report.seconds:.0f} s)", "green")
    broken = len(report.broken)
    word = "promise is" if broken == 1 else "promises are"
    return Text(f"  {report.method} does not keep its contract: {broken} {word} broken ({report.seconds:.0f} s)", "red")

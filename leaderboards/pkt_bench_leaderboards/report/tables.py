"""The tables of the page: the board as on the screen, who is ahead of whom, forgetting, failures and skips."""

from __future__ import annotations

from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.contests import better
from pkt_bench_leaderboards.records import NOT_RUN, Board
from pkt_bench_leaderboards.report.markup import Markup, join, scrolling, table, tag
from pkt_bench_leaderboards.report.verdict import standings
from pkt_bench_leaderboards.sheet import Cell, Sheet, write

MOST_OPEN = 24
"""A table with more rows than this is folded."""


def board_table(board: Board) -> Markup:
    """The board with every figure as on the screen, its notes below."""
    sheet = write(board)
    caption = f"{sheet.title}: {sheet.subtitle}"
    named = [number for number, heading in enumerate(sheet.headings) if heading.key == "method"]
    head = [
        tag(
            "th",
            heading.title,
            *([tag("small", heading.detail)] if heading.detail else []),
            scope="col",
            class_="n" if heading.right else None,
        )
        for heading in sheet.headings
    ]
    body = []
    for line in sheet.lines:
        cells = [
            _cell(cell, right=heading.right, names=number in named)
            for number, (heading, cell) in enumerate(zip(sheet.headings, line.cells, strict=True))
        ]
        kind = "reference" if line.reference else "winner" if line.winner else None
        body.append(tag("tr", *cells, class_=kind))
    made = tag(
        "table",
        tag("caption", tag("span", caption)),
        tag("thead", tag("tr", *head)),
        tag("tbody", *body),
        class_="board sortable",
    )
    return join([scrolling(made, f"The board of {sheet.title}"), _notes(sheet)])


def ahead_table(board: Board) -> Markup:
    """For every method whom it is ahead of and behind, and whom it cannot be told apart from; or nothing."""
    found = standings(board)
    if not found:
        return Markup()
    rows = [
        [
            each.row.label,
            str(each.row.place),
            ", ".join(each.ahead) or "none",
            ", ".join(each.behind) or "none",
            ", ".join(each.provisional) or "none",
            ", ".join(each.alike) or "none",
        ]
        for each in found
    ]
    headings = [
        ("method", False),
        ("place", True),
        ("ahead of", False),
        ("behind", False),
        ("on one seed, no win yet", False),
        ("not told apart from", False),
    ]
    caption = "Every pair of methods, on the mean over suites: paired on the same items, corrected after Holm, 5 %"
    return tag("details", tag("summary", "Every pair of methods"), table(headings, rows, caption, class_="wordy"))


def control_table(board: Board) -> Markup:
    """Methods against their controls, or nothing."""
    fraction = all(column.fraction for column in board.columns)
    rows = [
        [
            row.label,
            against.label,
            text.number(against.paired.difference, fraction=fraction),
            _interval(against.paired.low, against.paired.high, fraction=fraction),
            text.probability(against.paired.p_holm),
            str(against.paired.n),
            str(against.paired.seeds),
        ]
        for row in board.rows
        for against in row.controls
    ]
    if not rows:
        return Markup()
    headings = [
        ("method", False),
        ("control", False),
        ("difference", True),
        ("95 % interval", True),
        ("corrected p", True),
        ("items", True),
        ("seeds", True),
    ]
    return table(headings, rows, "Methods against their controls, over the suites that both have")


def forgetting_table(board: Board) -> Markup:
    """What students lost on the tasks of other suites, or why nothing is known of it."""
    rows = []
    for row in board.rows:
        for lost in row.forgotten:
            fraction = lost.higher_is_better and 0 <= lost.value <= 1 and 0 <= lost.student <= 1
            paired = lost.paired
            rows.append(
                [
                    row.label,
                    lost.suite,
                    f"{lost.task} {lost.metric}",
                    text.number(lost.value, fraction=fraction),
                    text.number(lost.student, fraction=fraction),
                    text.UNKNOWN if paired is None else text.number(paired.difference, fraction=fraction),
                    text.UNKNOWN if paired is None else _interval(paired.low, paired.high, fraction=fraction),
                    text.probability(None if paired is None else paired.p_holm),
                    "" if lost.higher_is_better else "lower is better",
                ]
            )
    if not rows:
        return tag(
            "p", "Not measured: no student was scored on the tasks of other suites (pkt-bench run --also-score)."
        )
    headings = [
        ("method", False),
        ("made for", False),
        ("scored on", False),
        ("student now", True),
        ("untouched", True),
        ("difference", True),
        ("95 % interval", True),
        ("corrected p", True),
        ("", False),
    ]
    if not any(row[-1] for row in rows):
        headings, rows = headings[:-1], [row[:-1] for row in rows]
    caption = "Students on the tasks of other suites, against the untouched student on the same items"
    made = table(headings, rows, caption)
    said = tag("p", _forgotten(board))
    if len(rows) <= MOST_OPEN:
        return join([said, made])
    return join([said, tag("details", tag("summary", f"All {len(rows)} comparisons"), made)])


def _forgotten(board: Board) -> str:
    """In a sentence, what was lost by the corrected test."""
    every = [(row, each) for row in board.rows for each in row.forgotten]
    tested = [(row, each, each.paired) for row, each in every if each.paired is not None]
    lost = [
        f"{row.label} made for {each.suite} on {each.task}" + (", one seed" if row.one_seed else "")
        for row, each, paired in tested
        if better(paired, higher_is_better=each.higher_is_better) is False
    ]
    counted = f"{len(tested)} of {len(every)} comparisons tested"
    if not lost:
        return f"Significantly worse than the untouched student (corrected after Holm): none, {counted}."
    return f"Significantly worse than the untouched student (corrected after Holm), {counted}: {'; '.join(lost)}."


def failures_table(board: Board) -> Markup:
    """What is not done, and why."""
    rows = [
        [row.label, column.suite, reason.outcome, text.spans(reason.seeds), reason.text or "no reason given"]
        for row in board.rows
        for column, square in zip(board.columns, row.squares, strict=True)
        for reason in square.reasons
    ]
    absent = [
        f"{row.label} on {column.suite}"
        for row in board.rows
        for column, square in zip(board.columns, row.squares, strict=True)
        if square.outcome == NOT_RUN
    ]
    parts = []
    if rows:
        headings = [("method", False), ("suite", False), ("outcome", False), ("seeds", True), ("reason", False)]
        parts.append(table(headings, rows, "Cells that are not done", class_="wordy"))
    else:
        parts.append(tag("p", "Every cell that was run is done."))
    if absent:
        parts.append(tag("p", f"Not run: {'; '.join(absent)}."))
    return join(parts)


def _cell(cell: Cell, *, right: bool, names: bool) -> Markup:
    classes = " ".join(word for word in ("n" if right else "", cell.tone if cell.tone != "plain" else "") if word)
    marks = [" ", tag("span", cell.marks, class_="marks")] if cell.marks else []
    if names:
        return tag("th", cell.text, *marks, scope="row", class_=classes or None)
    return tag("td", cell.text, *marks, class_=classes or None)


def _notes(sheet: Sheet) -> Markup:
    notes = [tag("div", tag("dt", note.mark), tag("dd", note.words)) for note in sheet.notes]
    return tag("dl", *notes, class_="notes")


def _interval(low: float | None, high: float | None, *, fraction: bool) -> str:
    if low is None or high is None:
        return text.UNKNOWN
    return f"{text.number(low, fraction=fraction)} to {text.number(high, fraction=fraction)}"

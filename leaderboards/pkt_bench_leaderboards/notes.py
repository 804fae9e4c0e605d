"""What is said under a board: how it was tested, what to make of its marks, and why something is not there.

A note never grows with the board: many of a kind are counted, and the first few are named. JSON has them all.
"""

from __future__ import annotations

from collections.abc import Sequence

from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.board import Against, Board, Column, Forgotten, Noise, Row, Square
from pkt_bench_leaderboards.contests import better
from pkt_bench_leaderboards.figures import against_baseline, is_lost, is_share, probability
from pkt_bench_leaderboards.labels import OWN
from pkt_bench_leaderboards.sheet import Line, Note
from pkt_bench_leaderboards.statistics import SIGNIFICANT, Paired

MOST_LINES = 8
"""Most lines that notes of one kind take; more of a kind are drawn together."""


class Footnotes:
    """Numbers the reasons of a board: one number for the same reason, however often it is given."""

    def __init__(self, board: Board, rows: Sequence[Row]) -> None:
        self._where: dict[tuple[str, str], list[str]] = {}
        for row in rows:
            for column, square in zip(board.columns, row.squares, strict=True):
                for reason in square.reasons:
                    seeds = f"seed{'s' if len(reason.seeds) > 1 else ''} {text.spans(reason.seeds)}"
                    place = f"{row.label} on {column.suite}, {seeds}"
                    self._where.setdefault((reason.outcome, reason.text), []).append(place)
        self._numbers = {reason: number for number, reason in enumerate(self._where, 1)}
        self._older = [
            f"{row.label}, {row.older_runs} run{'s' if row.older_runs > 1 else ''}" for row in rows if row.older_runs
        ]
        self._older_mark = text.superscript(len(self._numbers) + 1)

    def marks(self, square: Square) -> str:
        """The numbers of a square's reasons."""
        numbers = [self._numbers[reason.outcome, reason.text] for reason in square.reasons]
        return "⁻".join(text.superscript(number) for number in numbers)

    def older_mark(self, row: Row) -> str:
        """The number of the note on older variants, where the row has any."""
        return self._older_mark if row.older_runs else ""

    def notes(self) -> list[Note]:
        """One note per reason, and one on all that is not shown because it is out of date."""
        reasons = [
            Note(
                text.superscript(self._numbers[outcome, why]),
                f"{outcome}: {why or 'no reason given'} [{_several(where)}]",
            )
            for (outcome, why), where in self._where.items()
        ]
        if not self._older:
            return reasons
        words = f"older variants not shown, made by other code or libraries [{_several(self._older)}]"
        return [*reasons, Note(self._older_mark, words)]


def notes(board: Board, rows: Sequence[Row], lines: Sequence[Line], footnotes: Footnotes) -> list[Note]:
    """All that is said under a board that shows `rows`, of which `lines` are what is written."""
    marks = {mark for line in lines for cell in line.cells for mark in cell.marks}
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(board.outcomes.items()))
    found = [Note("cells", f"{sum(board.outcomes.values())}: {counts}")]
    if board.apart:
        differ = "scores made under other conditions are never ranked together"
        found.append(Note("apart", f"from the other boards of {board.pair} by {'; '.join(board.apart)}: {differ}"))
    found += [Note("caveat", caveat) for caveat in board.caveats[:MOST_LINES]]
    if len(board.caveats) > MOST_LINES:
        found.append(Note("caveat", f"and {len(board.caveats) - MOST_LINES} more"))
    about = [_about(column) for column in board.columns if column.task]
    if about:
        found.append(Note("tasks", " · ".join(about)))
    found += _of_strangers(rows)
    found += _of_places(board)
    found += _of_tests(board, rows, marks)
    found += _of_gaps(board)
    if board.mean_note:
        found.append(Note("mean", f"none: {board.mean_note}"))
    elif len(board.columns) > 1 and any(row.mean is None for row in rows):
        found.append(Note("mean", "and place only where every suite has a score"))
    found += _of_controls(board, rows)
    found += _of_forgetting(board, rows)
    found += _of_noise(board.noise)
    oracles = [row.label for row in rows if row.oracle]
    if oracles:
        words = f"{text.named(oracles)}: chosen by test scores, so an upper bound and no place"
        found.append(Note("oracle", words))
    found.append(Note("±", "standard error; seconds, bytes moved and parameters trained are those of a cell, averaged"))
    return found + footnotes.notes()


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _several(places: Sequence[str]) -> str:
    if len(places) <= MOST_LINES + 1:
        return "; ".join(places)
    return f"{'; '.join(places[:MOST_LINES])}; and {len(places) - MOST_LINES} more"


def _about(column: Column) -> str:
    parts = [f"{column.suite}: {column.task} {column.metric}"]
    if column.shots:
        parts.append(f"{column.shots} shots")
    if column.chance is not None:
        parts.append(f"chance {text.number(column.chance, fraction=column.fraction)}")
    if not column.higher_is_better:
        parts.append("lower is better")
    return ", ".join(parts)


def _of_strangers(rows: Sequence[Row]) -> list[Note]:
    """Whose methods those are that the bench does not offer itself: a name alone might be taken for one of its own."""
    whose: dict[str, list[str]] = {}
    for row in rows:
        if row.distribution != OWN and not row.label.startswith(f"{row.distribution}/"):
            whose.setdefault(row.distribution, []).append(row.label)
    said = [f"{text.named(labels)} by {distribution or text.UNKNOWN}" for distribution, labels in whose.items()]
    return [Note("offered", "; ".join(said))] if said else []


# ---------------------------------------------------------------- places and tests


def _of_places(board: Board) -> list[Note]:
    if sum(row.place is not None for row in board.rows) < 2:
        return []
    words = "place: one more than the number of methods that are significantly ahead; methods that cannot be told "
    words += "apart share it"
    if board.place_note:
        words += f"; not by paired tests: {board.place_note}"
    elif any(row.beats for row in board.rows):
        words += " (every pair on the same items, p < 0.05 after Holm)"
    return [Note("#", words)]


def _of_tests(board: Board, rows: Sequence[Row], marks: set[str]) -> list[Note]:
    contestants = [row for row in board.rows if not row.reference]
    on_suites = [square.paired for row in contestants for square in row.squares if square.paired]
    of_means = [row.paired for row in contestants if row.paired and len(board.columns) > 1]
    tests = on_suites + of_means
    found: list[Note] = []
    if tests:
        how = f"than {board.baseline} on the same items: p < {SIGNIFICANT} {_family(on_suites, of_means)}"
        if marks & {"▲", "▼"}:
            found.append(Note("▲ ▼", f"better, worse {how}"))
        if marks & {"△", "▽"}:
            one = "from one seed: not yet a win"
            found.append(Note("△ ▽", f"the same {one}" if found else f"better, worse {how}, but {one}"))
        kinds = list(dict.fromkeys(test.test for test in tests))
        corrected = "corrected after Holm" if _corrected(tests) else "uncorrected"
        found.append(Note("p", f"two-sided, against {board.baseline}, {corrected}: {', or '.join(kinds)}"))
        found += _of_power(board, contestants)
    elif not board.baseline:
        found.append(Note("p", "none: the board does not have the row that was to be tested against"))
    single = [row.label for row in rows if row.one_seed]
    if single and not marks & {"△", "▽"}:
        found.append(Note("1 seed", "what another seed would give is unknown"))
    return found


def _family(on_suites: Sequence[Paired], of_means: Sequence[Paired]) -> str:
    if not _corrected([*on_suites, *of_means]):
        return "uncorrected"
    parts = [f"{_counted(len(on_suites), 'comparison')} on suites"] if on_suites else []
    parts += [f"{len(of_means)} of means"] if of_means else []
    return f"after Holm over the {' and, apart from them, the '.join(parts)}"


def _corrected(tests: Sequence[Paired]) -> bool:
    return all(test.p_holm is not None for test in tests)


def _of_power(board: Board, contestants: Sequence[Row]) -> list[Note]:
    tests = [paired for row in contestants if (paired := against_baseline(board, row))]
    # where no answer differs nothing is known of how they scatter
    known = sorted(paired.detectable for paired in tests if paired.detectable)
    if not known:
        return []
    fraction = board.columns[0].fraction
    ends = [text.number(value, fraction=fraction) for value in (known[0], known[-1])]
    size = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
    what = "of the mean " if len(board.columns) > 1 else ""
    words = f"with as many items and seeds a difference {what}of {size} is found four times out of five, a smaller one"
    return [Note("detects", f"{words} less often")]


# ---------------------------------------------------------------- gap, controls, forgetting, noise


def _of_gaps(board: Board) -> list[Note]:
    found = []
    if any(row.gap_closed is not None for row in board.rows):
        found.append(Note("gap", "closed: (method - student) / (teacher - student)"))
    elif board.gap_note and not board.mean_note:
        found.append(Note("gap", f"not given: {board.gap_note}"))
    if len(board.columns) > 1:
        noted = [column for column in board.columns if column.gap_note not in {"", board.gap_note}]
        found += [Note("gap", f"not given on {column.suite}: {column.gap_note}") for column in noted[:MOST_LINES]]
        if len(noted) > MOST_LINES:
            found.append(Note("gap", f"not given on {len(noted) - MOST_LINES} more suites"))
    return found


def _of_controls(board: Board, rows: Sequence[Row]) -> list[Note]:
    """Each method against its controls; a control without such a test is still said to be one."""
    first = board.columns[0]
    tested = [each for row in rows for each in row.controls]
    verdicts = {True: "ahead", False: "behind", None: "not to be told apart"}
    by_verdict: dict[str, list[Against]] = {word: [] for word in verdicts.values()}
    for each in tested:
        by_verdict[verdicts[better(each.paired, higher_is_better=first.higher_is_better)]].append(each)
    found: list[Note] = []
    if len(tested) <= MOST_LINES:
        for word, members in by_verdict.items():
            found += [Note("control", f"{_against(each, fraction=first.fraction)}: {word}") for each in members]
    else:
        for word, members in by_verdict.items():
            named = [f"{each.method} against {each.label}" for each in members]
            found += [Note("control", f"{word}, {len(named)} of {len(tested)}: {text.named(named)}")] if named else []
    if tested:
        corrected = ", after Holm" if _corrected([each.paired for each in tested]) else ""
        how = "over the suites that both have, p two-sided on the same items"
        found.append(Note("control", f"a method against its controls {how}{corrected}"))
    said = {each.label for each in tested}
    others = [f"{row.label} of {row.control_of}" for row in rows if row.control_of and row.label not in said]
    return found + ([Note("control", f"not tested against its method: {text.named(others)}")] if others else [])


def _against(each: Against, *, fraction: bool) -> str:
    p = text.probability(probability(each.paired))
    seed = ", one seed" if each.paired.seeds < 2 else ""
    difference = text.difference(each.paired.difference, fraction=fraction)
    return f"{each.method} against {each.label}: {difference}, p {p}{seed}"


def _of_forgetting(board: Board, rows: Sequence[Row]) -> list[Note]:
    lost = {row.label: list(filter(is_lost, row.forgotten)) for row in rows}
    tested = [each for row in board.rows for each in row.forgotten if each.paired]
    if not tested:
        return []
    how = f"{_counted(len(tested), 'figure')} on tasks of other suites, each against the untouched student on "
    how += "the same items"
    how += ", after Holm" if _corrected([each.paired for each in tested if each.paired]) else ""
    losers = {label: found for label, found in lost.items() if found}
    if not losers:
        return [Note("forgot", f"nothing that could be told from chance ({how})")]
    found = [Note("forgot", f"{label}: {_losses(each)}") for label, each in list(losers.items())[:MOST_LINES]]
    if len(losers) > MOST_LINES:
        rest = [f"{label} ({len(each)})" for label, each in list(losers.items())[MOST_LINES:]]
        found.append(Note("forgot", f"also, with the number of tasks: {text.named(rest)}"))
    return [*found, Note("forgot", f"p < {SIGNIFICANT} ({how})")]


def _losses(lost: Sequence[Forgotten]) -> str:
    worst_first = sorted(lost, key=lambda each: abs(each.paired.difference) if each.paired else 0.0, reverse=True)
    parts = []
    for each in worst_first[:3]:
        difference = text.difference(each.paired.difference if each.paired else None, fraction=is_share(each))
        seed = ", one seed" if each.paired and each.paired.seeds < 2 else ""
        p = text.probability(probability(each.paired))
        parts.append(f"{difference} on {each.task}, made for {each.suite} (p {p}{seed})")
    rest = len(worst_first) - len(parts)
    return "; ".join(parts) + (f"; and {rest} more" if rest else "")


def _of_noise(noise: Sequence[Noise]) -> list[Note]:
    """The floor under every difference: what comes of running the same model again."""
    if not noise:
        return []
    runs = sum(each.runs for each in noise)
    methods = list(dict.fromkeys(each.method for each in noise))
    moved = sorted((each for each in noise if each.spread or each.items), key=lambda each: -each.spread)
    whose = f"{runs} runs of the untouched {' and '.join(methods)}"
    if not moved:
        known = all(each.items is not None for each in noise)
        same = "gave the same answers" if known else "gave the same scores"
        return [Note("noise", f"none: {whose} {same}, suite by suite")]
    parts = []
    for each in moved[:3]:
        fraction = each.spread <= 1
        items = "" if each.items is None else f", answers to {_counted(each.items, 'item')} differ"
        spread = text.number(each.spread, fraction=fraction)
        parts.append(f"{each.method} on {each.suite} {spread} between {each.runs} runs{items}")
    rest = f"; less on {len(moved) - 3} more" if len(moved) > 3 else ""
    return [Note("noise", f"the same untouched model run again scores differently: {'; '.join(parts)}{rest}")]

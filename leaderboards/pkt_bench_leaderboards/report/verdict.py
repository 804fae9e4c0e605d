"""The verdict in plain sentences: only what a corrected test found is a difference, and one seed makes no win."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.contests import better
from pkt_bench_leaderboards.records import Against, Board, Row

MOST_LISTED = 16
"""With more methods than this, who is ahead of whom is left to a table."""


@dataclass(frozen=True)
class Standing:
    """A ranked row, those it is ahead of and behind by a corrected test, and those it cannot be told apart from.

    `provisional` are the differences in which either side rests on one seed: found, and not called a win.
    """

    row: Row
    ahead: tuple[str, ...]
    behind: tuple[str, ...]
    provisional: tuple[str, ...]
    alike: tuple[str, ...]


def ranked(board: Board) -> list[Row]:
    """The rows that have a place."""
    return [row for row in board.rows if row.place is not None]


def standings(board: Board) -> list[Standing]:
    """Every ranked row against every other, in the order of the board; empty where pairs were not tested."""
    rows = ranked(board)
    if not tested(board):
        return []
    one_seed = {row.label for row in rows if row.one_seed}
    found = []
    for row in rows:
        over = set(row.beats)
        under = {other.label for other in rows if row.label in other.beats}
        unsure = {label for label in over | under if label in one_seed or row.one_seed}
        labels = [other.label for other in rows if other.label != row.label]
        found.append(
            Standing(
                row,
                ahead=tuple(label for label in labels if label in over - unsure),
                behind=tuple(label for label in labels if label in under - unsure),
                provisional=tuple(
                    f"{'ahead of' if label in over else 'behind'} {label}" for label in labels if label in unsure
                ),
                alike=tuple(label for label in labels if label not in over | under),
            )
        )
    return found


def tested(board: Board) -> bool:
    """Whether places rest on tests of every pair: else some are behind, and nobody is said to be ahead of them."""
    rows = ranked(board)
    return len(rows) > 1 and (any(row.beats for row in rows) or all(row.place == 1 for row in rows))


def sentences(board: Board) -> list[str]:
    """The verdict, a sentence or two each: the lead, the student, controls, single seeds, what is missing."""
    return [
        *_lead(board),
        *_against_baseline(board),
        *_controls(board),
        *_single_seeds(board),
        *_gap(board),
        *_missing(board),
        *_noise(board),
    ]


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: `a`, `a and b`, `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _lead(board: Board) -> list[str]:
    rows = ranked(board)
    if not any(square.value is not None for row in board.rows for square in row.squares):
        return ["Nothing here has a score, so nothing can be said of any method."]
    if not rows:
        why = f" ({board.mean_note})" if board.mean_note else ""
        return [f"No method has a place over all suites{why}; see the suites one by one."]
    if len(rows) == 1:
        return [f"{rows[0].label} is the only method with a place, so there is no other to be ahead of."]
    if not tested(board):
        why = "Not every pair of methods could be tested on the same items, so places rest on standard errors alone"
        return [f"{why}, and no method is said to be ahead of another."]
    return _first(standings(board))


def _first(found: Sequence[Standing]) -> list[str]:
    said = [
        f"{each.row.label} is significantly ahead of every other method with a place."
        for each in found
        if len(each.ahead) == len(found) - 1
    ]
    if not said:
        first = [each.row.label for each in found if each.row.place == 1]
        shared = f" {listed(first)} have nobody significantly ahead of them." if len(first) > 1 else ""
        alone = f" {first[0]} has nobody significantly ahead of it." if len(first) == 1 else ""
        said.append(f"No method is significantly ahead of all others.{shared}{alone}")
    behind: dict[tuple[str, ...], list[str]] = {}
    for each in found:
        if each.ahead and len(each.ahead) < len(found) - 1:
            behind.setdefault(tuple(sorted(each.ahead)), []).append(each.row.label)
    order = [each.row.label for each in found]
    if len(found) > MOST_LISTED:
        behind.clear()
        said.append("The table of every pair, below the board, says for each method whom it is ahead of.")
    said += [
        f"{listed(names)} {'is' if len(names) == 1 else 'are each'} significantly ahead of "
        f"{listed([label for label in order if label in others])}."
        for others, names in behind.items()
    ]
    pairs = [
        f"{each.row.label} and {label}"
        for number, each in enumerate(found)
        for label in each.alike
        if label in {later.row.label for later in found[number + 1 :]}
    ]
    if pairs and len(pairs) <= 8:
        said.append(f"Not told apart: {'; '.join(pairs)}.")
    elif pairs:
        every = len(found) * (len(found) - 1) // 2
        said.append(f"{len(pairs)} of the {every} pairs of methods cannot be told apart; the table below names them.")
    return said


def _against_baseline(board: Board) -> list[str]:
    if not board.baseline:
        return ["There is no untouched student on this board, so whether a method helps at all cannot be said."]
    higher = board.columns[0].higher_is_better
    groups: dict[str, list[str]] = {"better": [], "worse": [], "alike": [], "unsure": []}
    for row in board.rows:
        if row.reference or row.oracle or row.paired is None:
            continue
        found = better(row.paired, higher_is_better=higher)
        name = "alike" if found is None else "unsure" if row.one_seed else "better" if found else "worse"
        if name == "unsure":
            groups[name].append(f"{row.label} ({'better' if found else 'worse'})")
        else:
            groups[name].append(row.label)
    phrases = {
        "better": "Significantly better than {0}: {1}.",
        "worse": "Significantly worse than {0}: {1}.",
        "alike": "Not told apart from {0}: {1}.",
        "unsure": "Different from {0} on one seed, which is not called a win or a loss: {1}.",
    }
    name = "the untouched student" if board.baseline == "student" else board.baseline
    return [phrases[key].format(name, listed(names)) for key, names in groups.items() if names]


def _controls(board: Board) -> list[str]:
    said = []
    single = {row.label for row in board.rows if row.one_seed}
    for row in board.rows:
        for against in row.controls:
            unsure = row.label in single or against.label in single
            said.append(_control(row, against, unsure=unsure, higher_is_better=board.columns[0].higher_is_better))
    without = [row.label for row in board.rows if _takes_from_teacher(row) and not row.controls]
    if without:
        said.append(
            f"Without a control here: {listed(without)}. Whether the teacher's knowledge counts there is not known."
        )
    return said


def _control(row: Row, against: Against, *, unsure: bool, higher_is_better: bool) -> str:
    found = better(against.paired, higher_is_better=higher_is_better)
    p = against.paired.p if against.paired.p_holm is None else against.paired.p_holm
    name = f"{row.label} against its control {against.label} (corrected p {_equals(p)})"
    if found is None:
        return f"{name}: not told apart, so nothing here shows that the teacher's knowledge counts."
    if unsure:
        return f"{name}: {'ahead' if found else 'behind'} on one seed, which is not called a win or a loss."
    return f"{name}: significantly ahead." if found else f"{name}: significantly behind."


def _takes_from_teacher(row: Row) -> bool:
    return bool(row.costs.payload_bytes) and not (row.reference or row.control_of)


def _single_seeds(board: Board) -> list[str]:
    names = [row.label for row in board.rows if row.one_seed]
    if not names:
        return []
    return [f"Resting on one seed somewhere: {listed(names)}. What another seed would give is unknown."]


def _gap(board: Board) -> list[str]:
    if board.mean_note or not board.gap_note:
        return []
    return [f"No share of the gap between student and teacher is given: {board.gap_note}."]


def _missing(board: Board) -> list[str]:
    names = [row.label for row in board.rows if not row.reference and row.mean is None]
    if not names or board.mean_note:
        return []
    return [f"No mean, and so no place, for want of a score on some suite: {listed(names)}."]


def _noise(board: Board) -> list[str]:
    if not board.noise:
        return []
    units = {column.suite: column.fraction for column in board.columns}
    loose = [each for each in board.noise if each.spread > 0 or each.items]
    if not loose:
        most = max(each.runs for each in board.noise)
        return [f"Repeated runs of the untouched models, up to {most} each, gave the same score every time."]
    said = [
        f"{each.method} on {each.suite}, {each.runs} runs: "
        f"{text.number(each.spread, fraction=units.get(each.suite, True))}"
        for each in loose
    ]
    return [f"Repeated runs of the same untouched model are this far apart: {'; '.join(said)}."]


def _equals(p: float) -> str:
    written = text.probability(p)
    return written if written.startswith("<") else f"= {written}"

"""Two tables of runs, or two rows of them, set against each other: what changed from A to B, and is it real?

Every figure is B minus A, as stored: positive is more, which is better where the metric is better the higher it is.

- Rows are matched by method, settings and distribution (not by the version the method gives itself, which is what
  changes), or the caller names one on each side.
- Only runs of one `comparability` are set against each other. Others are listed with what they differ in.
- Of each side the newest comparable runs and the newest variant count, as on a board; of those, the seeds both have.
- p values of the lines of suites are one family, those of the means over suites another, each corrected after Holm.
  Runs whose answers are all alike and untouched models are no part of a family.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pkt_bench_leaderboards.comparable import Conditions, Entry, Group, RowKey, groups, read_entries, sets_apart
from pkt_bench_leaderboards.items import ItemKey, read_answers
from pkt_bench_leaderboards.labels import labels_of
from pkt_bench_leaderboards.records import Costs
from pkt_bench_leaderboards.squares import costs_of
from pkt_bench_leaderboards.statistics import Answers, Paired, compare_all
from pkt_bench_leaderboards.statistics.paired import Differences, differences

if TYPE_CHECKING:
    import pyarrow as pa

K = TypeVar("K")

MEAN = "mean"
"""What stands for the suite in the line of the mean over suites."""
_OTHER_VERSION = "the digest of its conditions, which another version of pkt-bench made"


@dataclass(frozen=True)
class Side:
    """One of the two: its name, a runs table, and where answers are known an items table.

    `row` picks the runs of one row; None takes every row.
    """

    name: str
    runs: pa.Table
    items: pa.Table | None = None
    row: RowKey | None = None


@dataclass(frozen=True)
class Line:
    """One row against another on one suite, or in the mean over suites: `delta` is `b - a`, in the metric's own unit.

    `seeds` are those that were compared; where the two have none in common, `note` says what was. `paired` is the test
    on the same items, null where answers are not known. `runs` are the runs that were set against each other.
    """

    pair: str
    suite: str
    a_row: RowKey
    b_row: RowKey
    a_label: str
    b_label: str
    a: float
    b: float
    higher_is_better: bool
    fraction: bool
    seeds: tuple[int, ...]
    conditions: Conditions
    a_costs: Costs
    b_costs: Costs
    metric: str | None = None
    task: str | None = None
    paired: Paired | None = None
    note: str = ""
    runs: tuple[tuple[Entry, Entry], ...] = ()

    @property
    def delta(self) -> float:
        """B minus A."""
        return self.b - self.a

    @property
    def same_runs(self) -> bool:
        """Whether both sides hold the very same runs."""
        return bool(self.runs) and all(_mark_of(one) == _mark_of(other) for one, other in self.runs)

    @property
    def better(self) -> str:
        """The side whose figure is better, `A` or `B`, chance or not; empty where they are equal."""
        if self.delta == 0:
            return ""
        return "B" if (self.delta > 0) is self.higher_is_better else "A"


def _mark_of(run: Entry) -> tuple[Any, ...]:
    return run.cell_key, run.run_id, run.created_at, run.value, run.seconds


@dataclass(frozen=True)
class Apart:
    """Two rows that have no number on a suite: `differs` says in what they are not comparable, or what is missing.

    `conditions` are those it was missed under; None where the two have none in common.
    """

    pair: str
    suite: str
    a_label: str
    b_label: str
    differs: tuple[str, ...]
    conditions: Conditions | None = None


@dataclass(frozen=True)
class Alone:
    """A row that only one side has: `side` is `A` or `B`."""

    side: str
    pair: str
    label: str
    suites: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """What changed from A to B, what cannot be compared, and what only one of them has."""

    a: str
    b: str
    lines: tuple[Line, ...]
    apart: tuple[Apart, ...]
    alone: tuple[Alone, ...]


class _Place(NamedTuple):
    """Where two rows meet."""

    pair: str
    suite: str


# the runs of one row on one suite, by what they have in common; first the newest
_Runs = dict[Conditions, tuple[Entry, ...]]
_Rows = dict[RowKey, dict[_Place, _Runs]]


def compare(a: Side, b: Side) -> Comparison:
    """Sets B against A, every row that both have, or the rows they name. See the module for what is compared."""
    ours, theirs = _rows(a), _rows(b)
    labels_a, labels_b = _labels(a.runs, theirs), _labels(b.runs, ours)
    pairs = _matched(a, b, ours, theirs)
    lines: list[Line] = []
    apart: list[Apart] = []
    for row_a, row_b in pairs:
        names = labels_a[row_a], labels_b[row_b]
        for place in sorted({*ours[row_a], *theirs[row_b]}):
            met, why = _meet(place, (row_a, row_b), names, ours[row_a].get(place, {}), theirs[row_b].get(place, {}))
            lines += met
            apart += [Apart(place.pair, place.suite, *names, differs, under) for under, differs in why]
    alone = [
        *_alone("A", ours, {row for row, _ in pairs}, labels_a),
        *_alone("B", theirs, {row for _, row in pairs}, labels_b),
    ]
    answers = _answers(a, b, lines)
    tested = _with_means(lines, answers, apart)
    return Comparison(
        a.name, b.name, tuple(tested), tuple(apart), tuple(alone) if a.row is None and b.row is None else ()
    )


def rows_of(runs: pa.Table) -> dict[RowKey, str]:
    """Every row of a runs table, with its label."""
    return _labels(runs)


# ---------------------------------------------------------------- which runs


def _labels(runs: pa.Table, beside: Iterable[RowKey] = ()) -> dict[RowKey, str]:
    return labels_of({entry.row: entry for entry in read_entries(runs)}.values(), beside)


def _rows(side: Side) -> _Rows:
    """The runs of each row: of all that ran under the same conditions, the newest that are comparable."""
    found: _Rows = {}
    for group in groups(read_entries(side.runs)):
        newest: dict[tuple[RowKey, _Place, int], Entry] = {}
        for entry in group.entries:
            key = (entry.row, _Place(entry.pair, entry.suite), entry.seed)
            if key not in newest or entry.age > newest[key].age:
                newest[key] = entry
        runs: dict[tuple[RowKey, _Place], list[Entry]] = {}
        for (row, place, _), entry in sorted(newest.items(), key=lambda item: item[0][2]):
            if side.row is None or row == side.row:
                runs.setdefault((row, place), []).append(entry)
        for (row, place), entries in runs.items():
            # groups come by age: what is known already is newer than a suite, its records or its code here
            found.setdefault(row, {}).setdefault(place, {}).setdefault(group.conditions, tuple(entries))
    return found


def _matched(a: Side, b: Side, ours: _Rows, theirs: _Rows) -> list[tuple[RowKey, RowKey]]:
    """Which row is set against which."""
    if a.row is not None and b.row is not None:
        return [(a.row, b.row)] if a.row in ours and b.row in theirs else []
    found = []
    by_name = {_name(row): row for row in theirs}
    for row in ours:
        other = row if row in theirs else by_name.get(_name(row))
        if other is not None:
            found.append((row, other))
    return sorted(found)


def _name(row: RowKey) -> tuple[str, str, str]:
    """What a row is known by across two tables: a method whose version went up is still that method."""
    return row.method, row.distribution, row.settings


def _alone(side: str, rows: _Rows, matched: set[RowKey], labels: Mapping[RowKey, str]) -> list[Alone]:
    found: dict[tuple[str, RowKey], list[str]] = {}
    for row in sorted(rows.keys() - matched):
        for place in sorted(rows[row]):
            found.setdefault((place.pair, row), []).append(place.suite)
    return [Alone(side, pair, labels[row], tuple(suites)) for (pair, row), suites in sorted(found.items())]


# ---------------------------------------------------------------- one suite


# why two rows have no number, and under which conditions
_Why = tuple[Conditions | None, tuple[str, ...]]


def _meet(
    place: _Place, rows: tuple[RowKey, RowKey], names: tuple[str, str], ours: _Runs, theirs: _Runs
) -> tuple[list[Line], list[_Why]]:
    """The lines of two rows on one suite, one for each set of conditions that both have, and why there are no more."""
    if not ours or not theirs:
        return [], [(None, (f"only {'B' if theirs else 'A'} has runs of it",))]
    newest_a, newest_b = (next(iter(each.values()))[-1] for each in (ours, theirs))
    both = [conditions for conditions in ours if conditions in theirs]
    if not both:
        return [], [(None, _differences_of(newest_a, newest_b))]
    lines: list[Line] = []
    why: list[_Why] = []
    for conditions in both:
        line = _line(place, rows, names, conditions, ours[conditions], theirs[conditions])
        if isinstance(line, Line):
            lines.append(line)
        else:
            why.append((conditions, line))
    why += [(left, _differences_of(ours[left][-1], newest_b)) for left in ours if left not in theirs]
    why += [(left, _differences_of(newest_a, theirs[left][-1])) for left in theirs if left not in ours]
    return lines, why


def _line(
    place: _Place,
    rows: tuple[RowKey, RowKey],
    names: tuple[str, str],
    conditions: Conditions,
    ours: Sequence[Entry],
    theirs: Sequence[Entry],
) -> Line | tuple[str, ...]:
    scored_a, scored_b = (
        {entry.seed: entry for entry in each if entry.done and entry.value is not None} for each in (ours, theirs)
    )
    if not scored_a and not scored_b and _missing("", ours) == _missing("", theirs):
        return tuple(_missing("A and B", ours))
    if not scored_a or not scored_b:
        return (*([] if scored_a else _missing("A", ours)), *([] if scored_b else _missing("B", theirs)))
    last_a, last_b = (list(each.values())[-1] for each in (scored_a, scored_b))
    if last_a.comparability != last_b.comparability:
        return _differences_of(last_a, last_b)
    runs_a, runs_b, seeds, note = _same_seeds(scored_a, scored_b)
    missing = [*_missing("A", ours), *_missing("B", theirs)]
    values = [entry.value for entry in (*runs_a, *runs_b) if entry.value is not None]
    higher = last_a.higher_is_better is not False
    return Line(
        pair=place.pair,
        suite=place.suite,
        a_row=rows[0],
        b_row=rows[1],
        a_label=names[0],
        b_label=names[1],
        a=_mean(runs_a),
        b=_mean(runs_b),
        higher_is_better=higher,
        fraction=higher and all(0 <= value <= 1 for value in values),
        seeds=seeds,
        conditions=conditions,
        a_costs=costs_of(runs_a),
        b_costs=costs_of(runs_b),
        metric=last_a.metric,
        task=last_a.task,
        note="; ".join([*([note] if note else []), *missing]),
        runs=_paired_up(runs_a, runs_b),
    )


def _same_seeds(
    ours: Mapping[int, Entry], theirs: Mapping[int, Entry]
) -> tuple[list[Entry], list[Entry], tuple[int, ...], str]:
    """The runs of both under the seeds that both have. An untouched model is the same under every seed."""
    fixed_a, fixed_b = (_is_fixed(each) for each in (ours, theirs))
    if fixed_a is not fixed_b:
        seeds = tuple(sorted(theirs if fixed_a else ours))
        return list(ours.values()), list(theirs.values()), seeds, ""
    both = tuple(sorted(ours.keys() & theirs.keys()))
    if both:
        return [ours[seed] for seed in both], [theirs[seed] for seed in both], both, ""
    said = f"no seed in common: A has {_listed(ours)}, B has {_listed(theirs)}"
    return list(ours.values()), list(theirs.values()), (), said


def _is_fixed(runs: Mapping[int, Entry]) -> bool:
    return all(entry.paradigm == "reference" for entry in runs.values())


def _paired_up(ours: Sequence[Entry], theirs: Sequence[Entry]) -> tuple[tuple[Entry, Entry], ...]:
    """Each run with the one of the other side that it is read beside: of the same seed, or the first there is."""
    by_a, by_b = ({entry.seed: entry for entry in each} for each in (ours, theirs))
    if len(ours) >= len(theirs):
        return tuple((entry, by_b.get(entry.seed, theirs[0])) for entry in ours)
    return tuple((by_a.get(entry.seed, ours[0]), entry) for entry in theirs)


def _mean(runs: Sequence[Entry]) -> float:
    values = [entry.value for entry in runs if entry.value is not None]
    return sum(values) / len(values)


def _missing(side: str, runs: Sequence[Entry]) -> list[str]:
    """What is said of the runs without a score."""
    said: dict[str, list[int]] = {}
    for entry in runs:
        if not entry.done:
            said.setdefault(f"{entry.outcome}: {entry.reason}" if entry.reason else entry.outcome, []).append(
                entry.seed
            )
        elif entry.value is None:
            said.setdefault("the scorer gave no value", []).append(entry.seed)
    return [f"{side}, {_listed(seeds)}: {what}" for what, seeds in said.items()]


def _listed(seeds: Iterable[int]) -> str:
    from pkt_bench_leaderboards import text

    return f"seed {text.spans(tuple(seeds))}"


def _differences_of(a: Entry, b: Entry) -> tuple[str, ...]:
    """In what two runs of the same suite are not comparable, in words."""
    of_a, of_b = (Group(entry.conditions, {entry.suite: (entry,)}, ()) for entry in (a, b))
    found = []
    for mine, other in zip(sets_apart(of_b, [of_a, of_b]), sets_apart(of_a, [of_a, of_b]), strict=True):
        prefix = f"{a.suite}: "
        if mine.startswith(prefix) and ", not " in mine:
            found.append(f"{mine.removeprefix(prefix)} (B, not A)")
        else:
            found.append(f"{mine} (B), {other} (A)")
    return tuple(found) or (_OTHER_VERSION,)


# ---------------------------------------------------------------- tests


_Answered = Mapping[ItemKey, Answers]


def _answers(a: Side, b: Side, lines: Sequence[Line]) -> tuple[_Answered, _Answered]:
    """The answers of both sides' runs, documents numbered alike in both."""
    if a.items is None or b.items is None:
        return {}, {}
    wanted_a = {_key(entry, "a") for line in lines for entry, _ in line.runs}
    wanted_b = {_key(entry, "b") for line in lines for _, entry in line.runs}
    items = _tagged(a.items, "a"), _tagged(b.items, "b")
    import pyarrow as pa

    found = read_answers(pa.concat_tables(items), wanted_a | wanted_b)
    return (
        {key: each for key, each in found.items() if key in wanted_a},
        {key: each for key, each in found.items() if key in wanted_b},
    )


def _tagged(items: pa.Table, tag: str) -> pa.Table:
    """Items whose runs are known by `tag` too: both sides may hold the same run, and need not agree on it."""
    import pyarrow.compute as pc

    from pkt_bench_leaderboards.items import COLUMNS

    table = items.select(COLUMNS)
    # not a scalar, which would import pandas
    tagged = pc.replace_substring_regex(table["run_id"], "^", f"{tag} ", max_replacements=1)
    return table.set_column(table.column_names.index("run_id"), table.schema.field("run_id"), tagged)


def _key(entry: Entry, tag: str) -> ItemKey:
    return (f"{tag} {entry.run_id}", entry.task or "", entry.metric or "", entry.filter or "")


def _by_seed(runs: Iterable[Entry], answers: _Answered, tag: str) -> dict[int, Answers]:
    """The answers by seed; none at all where those of one are missing."""
    found = {entry.seed: answers.get(_key(entry, tag)) for entry in runs}
    known = {seed: answer for seed, answer in found.items() if answer is not None}
    return known if len(known) == len(found) else {}


def _differences(line: Line, answers: tuple[_Answered, _Answered]) -> Differences | None:
    """What B is worth more than A on each item and seed; None where that is unknown, or is not what the delta is of."""
    of_a = _by_seed((entry for entry, _ in line.runs), answers[0], "a")
    of_b = _by_seed((entry for _, entry in line.runs), answers[1], "b")
    fixed_a, fixed_b = (all(runs[side].paradigm == "reference" for runs in line.runs) for side in (0, 1))
    if fixed_b and not fixed_a:
        found = differences(of_a, of_b, fixed=True)
        if found is not None:
            table = None if found.table is None else replace(found.table, mean=-found.table.mean)
            found = replace(found, values=-found.values, table=table)
    else:
        found = differences(of_b, of_a, fixed=fixed_a and not fixed_b)
    # a score that is no mean of what its answers were worth is not tested by them
    return None if found is None or abs(float(found.values.mean()) - line.delta) > 1e-6 else found


def _with_means(lines: Sequence[Line], answers: tuple[_Answered, _Answered], apart: Sequence[Apart]) -> list[Line]:
    """The lines with their tests, and after those of two rows the line of their mean over suites."""
    known = {index: found for index, line in enumerate(lines) if (found := _differences(line, answers)) is not None}
    tested = _families({index: [index] for index in known}, lines, known)
    together: dict[tuple[Any, ...], list[int]] = {}
    for index, line in enumerate(lines):
        together.setdefault((line.a_row, line.b_row, line.pair, line.conditions), []).append(index)
    lacking = {(each.pair, each.a_label, each.b_label, each.conditions) for each in apart}
    means = {
        key: indices
        for key, indices in together.items()
        if len(indices) > 1 and _has_mean([lines[index] for index in indices], lacking)
    }
    over = _families(
        {key: indices for key, indices in means.items() if all(index in known for index in indices)}, lines, known
    )
    written = []
    for key, indices in together.items():
        written += [replace(lines[index], paired=tested.get(index)) for index in indices]
        if key in means:
            written.append(_mean_line([lines[index] for index in indices], over.get(key)))
    return written


def _families(
    asked: Mapping[K, Sequence[int]], lines: Sequence[Line], known: Mapping[int, Differences]
) -> dict[K, Paired]:
    """Tests each on the mean over its lines: one family, but for what is no question, which is tested by itself."""
    strata = {key: {_stratum(lines[index]): known[index] for index in indices} for key, indices in asked.items()}
    questions = {
        key for key, indices in asked.items() if any(_is_a_question(lines[index], known[index]) for index in indices)
    }
    tested = compare_all({key: found for key, found in strata.items() if key in questions})
    for key in asked.keys() - questions:
        tested |= compare_all({key: strata[key]})
    return tested


def _is_a_question(line: Line, found: Differences) -> bool:
    """Whether the two can differ at all, so that the test makes others stricter and tells how far seeds scatter.

    Not a run and itself, nor an untouched model and itself; nor answers that are alike on every item and seed, as of a
    run that was repeated: no sign can be flipped there, so such a test cannot come out below 1 (Tarone 1990).
    """
    if line.same_runs or not found.values.any():
        return False
    return not all(entry.paradigm == "reference" for runs in line.runs for entry in runs)


def _stratum(line: Line) -> str:
    """What the variance that seeds add is shared over: the same suite of the same pair."""
    return f"{line.pair}\n{line.suite}"


def _has_mean(lines: Sequence[Line], lacking: set[tuple[str, str, str, Conditions | None]]) -> bool:
    """A mean over some suites would pass for one over all, and one over different units says nothing."""
    first = lines[0]
    missed = any((first.pair, first.a_label, first.b_label, each) in lacking for each in (None, first.conditions))
    return not missed and all(line.fraction for line in lines)


def _mean_line(lines: Sequence[Line], paired: Paired | None) -> Line:
    first = lines[0]
    runs = [runs for line in lines for runs in line.runs]
    seeds = set(lines[0].seeds).intersection(*(line.seeds for line in lines))
    return replace(
        first,
        suite=MEAN,
        task=None,
        metric=None,
        a=sum(line.a for line in lines) / len(lines),
        b=sum(line.b for line in lines) / len(lines),
        seeds=tuple(sorted(seeds)),
        a_costs=costs_of(list({entry.run_id: entry for entry, _ in runs}.values())),
        b_costs=costs_of(list({entry.run_id: entry for _, entry in runs}.values())),
        paired=paired,
        note="",
        runs=tuple(runs),
    )
